"""Finds examples that a person should look at: possible label errors, conflicts, near-duplicates and private data.

Possible label errors come from confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
Uncertainty in Dataset Labels"): an example is reported when a router that never saw its label gives another route nearly the
confidence that this route has on average where router and label agree. That router is the shipped one, without the person's
own model and memory. It was trained on the seeds, so it does not judge them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Literal

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from tui_router.core.example import Example, normal
from tui_router.core.fleet import Fleet
from tui_router.datasets import pii
from tui_router.datasets.near_duplicates import StoppedError, representatives
from tui_router.datasets.splits import Part, split
from tui_router.routing.evaluation.parallel import as_shipped, decide_parallel
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder

IssueKind = Literal["duplicate", "conflict", "suspect", "private"]
"""`duplicate`: nearly the same request as an earlier one. `conflict`: near-duplicates with different routes.
`suspect`: possibly mislabelled. `private`: holds private data."""
MIN_PER_ROUTE = 20
"""Examples that each route should have. Chosen by hand, not measured."""
_CONFIDENCE_SHARE = 0.9
"""Share of the average confidence at which a label is doubted, 0 to 1. tests/datasets/test_label_audit.py holds the recall
(at least 0.7) and precision (at least 0.6) that it reaches on labels changed on purpose."""
_DEFAULT_CONFIDENCE = 0.5
"""Average confidence assumed for a route that no example agrees on. Chosen by hand, not measured."""
_CHECK_EVERY = 500
"""Decisions between two calls of `should_continue`: a fraction of a second."""


class LabelIssue(Struct, frozen=True, kw_only=True):
    """One problem of one example. `dataset check --json` prints these fields."""

    kind: IssueKind
    index: int = field(name="place")
    """Of the example, in the order in which they were given."""
    message: str = field(name="says")
    other: int | None = None
    """Index of the example that it repeats or contradicts."""
    route: str | None = None
    """The route that it probably belongs to."""
    confidence: float = 0.0
    """Of the router in `route`, 0 to 1; only for suspects."""


class AuditReport(Struct, frozen=True, kw_only=True):
    """All issues of a set of examples, with counts per route."""

    issues: tuple[LabelIssue, ...]
    per_route: dict[str, int]
    """Examples of each route of the fleet, duplicates not counted."""
    starving: dict[str, int]
    """Route with fewer than `MIN_PER_ROUTE` examples -> how many are missing."""
    parts: tuple[Part, ...]
    """The part of each example."""
    representatives: tuple[int, ...]
    """For each example the index of its representative; see `near_duplicates`."""

    def of(self, kind: IssueKind) -> list[LabelIssue]:
        """Return the issues of one kind."""
        return [issue for issue in self.issues if issue.kind == kind]


def audit(
    examples: Sequence[Example],
    fleet: Fleet,
    encoder: RandomProjectionEncoder,
    should_continue: Callable[[], bool] = lambda: True,
) -> AuditReport:
    """Check all examples. Uses all cores when there are many.

    Args:
        examples: From any source.
        fleet: The fleet of today.
        encoder: Embeds requests, to find near-duplicates.
        should_continue: Returns False once the result is no longer wanted; called several times a second.

    Raises:
        StoppedError: `should_continue` returned False.
    """
    represented_by = representatives(examples, encoder, should_continue)
    issues = [
        *_repeated(examples, represented_by),
        *_suspects(examples, fleet, should_continue),
        *_with_private_data(examples),
    ]
    duplicates = {issue.index for issue in issues if issue.kind == "duplicate"}
    counts = Counter(example.route for index, example in enumerate(examples) if index not in duplicates)
    per_route = {route.name: counts[route.name] for route in fleet.routes}
    return AuditReport(
        issues=tuple(sorted(issues, key=lambda issue: (issue.index, issue.kind))),
        per_route=per_route,
        starving={name: MIN_PER_ROUTE - n for name, n in per_route.items() if n < MIN_PER_ROUTE},
        parts=tuple(split(examples, represented_by.tolist())),
        representatives=tuple(represented_by.tolist()),
    )


def _repeated(examples: Sequence[Example], represented_by: NDArray[np.intp]) -> list[LabelIssue]:
    """Return near-duplicates, as conflicts where their routes differ. Shape of `represented_by`: (examples,)."""
    issues = []
    routes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for example, first in zip(examples, represented_by.tolist(), strict=True):
        routes[first][example.route] += 1
    for index, (example, first) in enumerate(zip(examples, represented_by.tolist(), strict=True)):
        # A follow-up depends on what came before it, so the same words may rightly have two routes in conversations.
        in_conversation = examples[first].history or example.history
        if len(routes[first]) > 1 and not in_conversation:
            others = ", ".join(sorted(route for route in routes[first] if route != example.route))
            message = f"nearly the same request is labelled {others} elsewhere"
            most, count = routes[first].most_common(1)[0]
            better = most if most != example.route and count > routes[first][example.route] else None
            issues.append(LabelIssue(kind="conflict", index=index, message=message, other=first, route=better))
        elif first != index:
            same = "the same" if normal(examples[first].text) == normal(example.text) else "nearly the same"
            message = f"{same} request as another example"
            issues.append(LabelIssue(kind="duplicate", index=index, message=message, other=first))
    return issues


def _suspects(examples: Sequence[Example], fleet: Fleet, should_continue: Callable[[], bool]) -> list[LabelIssue]:
    """Return examples whose label the shipped router contradicts with confidence."""
    judged = [index for index, example in enumerate(examples) if example.source != "seed"]
    decisions: list[tuple[str, float]] = []
    with closing(decide_parallel((examples[index].request for index in judged), as_shipped(fleet))) as stream:
        for decision in stream:
            decisions.append(decision)
            if len(decisions) % _CHECK_EVERY == 0 and not should_continue():
                raise StoppedError
    agreed: defaultdict[str, list[float]] = defaultdict(list)
    for index, (route, confidence) in zip(judged, decisions, strict=True):
        if route == examples[index].route:
            agreed[route].append(confidence)
    average = {route: float(np.mean(values)) for route, values in agreed.items()}
    issues = []
    for index, (route, confidence) in zip(judged, decisions, strict=True):
        label = examples[index].route
        if route != label and confidence >= _CONFIDENCE_SHARE * average.get(route, _DEFAULT_CONFIDENCE):
            message = f"looks like {route} ({confidence:.0%}), not {label}"
            issues.append(LabelIssue(kind="suspect", index=index, message=message, route=route, confidence=confidence))
    return issues


def _with_private_data(examples: Sequence[Example]) -> list[LabelIssue]:
    issues = []
    for index, example in enumerate(examples):
        texts = (example.text, *(m.content for m in example.history))
        matches = [match for text in texts for match in pii.find(text)]
        # Which key it is tells whether it matters; what an e-mail address is, everybody sees.
        kinds = Counter(f"{one.kind} ({one.reason})" if one.kind == "key" else one.kind for one in matches)
        if kinds:
            message = "contains " + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
            issues.append(LabelIssue(kind="private", index=index, message=message))
    return issues
