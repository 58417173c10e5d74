"""The label doctor: what is wrong with a set of examples.

Suspected wrong labels come from confident learning (Northcutt, Jiang and Chuang 2021): an example is suspected when a
router that never saw its label gives another route nearly the confidence that it has on average where it agrees with the
label of that route.
That router is the one that was shipped, without the person's own model and memory; so it has seen no label but the seeds',
and the seeds are not judged by it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tui_router.core.example import Example, normal
from tui_router.core.fleet import Fleet
from tui_router.datasets import pii
from tui_router.datasets.near_duplicates import StoppedError, clusters
from tui_router.datasets.splits import Part, split
from tui_router.routing.evaluation.parallel import as_shipped, decide_parallel
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder

Trouble = Literal["duplicate", "conflict", "suspect", "private"]
_BREATH = 500
FEWEST = 20
"""Examples of a route below which it starves."""
_SHARE = 0.9
"""Of the usual confidence that is enough to suspect a label."""
_USUAL = 0.5
"""The average confidence that is asked of a route of which there are no examples."""


class LabelIssue(Struct, frozen=True, kw_only=True):
    """Something about one example that a person should look at."""

    kind: Trouble
    place: int
    """Of the example, in the order in which they were given."""
    says: str
    other: int | None = None
    """The example that it repeats or contradicts."""
    route: str | None = None
    """The route that it probably belongs to."""
    confidence: float = 0.0


class AuditReport(Struct, frozen=True, kw_only=True):
    """What the doctor found."""

    findings: tuple[LabelIssue, ...]
    per_route: dict[str, int]
    """Examples of each route of the fleet, repetitions left out."""
    starving: dict[str, int]
    """Route -> how many examples are missing."""
    parts: tuple[Part, ...]
    """The part of each example."""
    clusters: tuple[int, ...]
    """For each example the place of the one that stands for it."""

    def of(self, kind: Trouble) -> list[LabelIssue]:
        """The findings of one kind."""
        return [one for one in self.findings if one.kind == kind]


def check(
    examples: Sequence[Example],
    fleet: Fleet,
    projection: RandomProjectionEncoder,
    going: Callable[[], bool] = lambda: True,
) -> AuditReport:
    """Look at all examples; many are judged on all cores.

    Args:
        examples: Of any source.
        fleet: Routes of today.
        sketcher: Compares requests.
        going: Whether somebody still wants to know; asked some times a second.

    Raises:
        StoppedError: nobody wants to know.
    """
    clustered = clusters(examples, projection, going)
    findings = [*_repeated(examples, clustered), *_suspects(examples, fleet, going), *_private(examples)]
    repeats = {one.place for one in findings if one.kind == "duplicate"}
    counts = Counter(example.route for place, example in enumerate(examples) if place not in repeats)
    per_route = {route.name: counts[route.name] for route in fleet.routes}
    return AuditReport(
        findings=tuple(sorted(findings, key=lambda one: (one.place, one.kind))), per_route=per_route,
        starving={name: FEWEST - n for name, n in per_route.items() if n < FEWEST},
        parts=tuple(split(examples, clustered.tolist())), clusters=tuple(clustered.tolist()),
    )  # fmt: skip


def _repeated(examples: Sequence[Example], clustered: NDArray[np.intp]) -> list[LabelIssue]:
    """Repetitions, and the same request with two routes."""
    found = []
    routes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for example, first in zip(examples, clustered.tolist(), strict=True):
        routes[first][example.route] += 1
    for place, (example, first) in enumerate(zip(examples, clustered.tolist(), strict=True)):
        if len(routes[first]) > 1 and _alike_enough(examples[first], example):
            others = ", ".join(sorted(route for route in routes[first] if route != example.route))
            said = f"nearly the same request goes to {others} elsewhere"
            most, count = routes[first].most_common(1)[0]
            better = most if most != example.route and count > routes[first][example.route] else None
            found.append(LabelIssue(kind="conflict", place=place, says=said, other=first, route=better))
        elif first != place:
            word = "the same" if normal(examples[first].text) == normal(example.text) else "nearly the same"
            found.append(LabelIssue(kind="duplicate", place=place, says=f"{word} request as another one", other=first))
    return found


def _alike_enough(first: Example, other: Example) -> bool:
    """Whether two routes for these two are a contradiction: a follow-up depends on what it follows."""
    return not first.history and not other.history


def _suspects(examples: Sequence[Example], fleet: Fleet, going: Callable[[], bool]) -> list[LabelIssue]:
    judged = [place for place, example in enumerate(examples) if example.source != "seed"]
    decided: list[tuple[str, float]] = []
    with closing(decide_parallel((examples[place].request for place in judged), as_shipped(fleet))) as made:
        for one in made:
            decided.append(one)
            if len(decided) % _BREATH == 0 and not going():
                raise StoppedError
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for place, (route, confidence) in zip(judged, decided, strict=True):
        if route == examples[place].route:
            sums[route].append(confidence)
    usual = {route: float(np.mean(values)) for route, values in sums.items()}
    found = []
    for place, (route, confidence) in zip(judged, decided, strict=True):
        label = examples[place].route
        if route != label and confidence >= _SHARE * usual.get(route, _USUAL):
            said = f"looks like {route} ({confidence:.0%}), not {label}"
            found.append(LabelIssue(kind="suspect", place=place, says=said, route=route, confidence=confidence))
    return found


def _private(examples: Sequence[Example]) -> list[LabelIssue]:
    found = []
    for place, example in enumerate(examples):
        kinds = Counter(
            one.kind for text in (example.text, *(m.content for m in example.history)) for one in pii.find(text)
        )
        if kinds:
            said = "holds " + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
            found.append(LabelIssue(kind="private", place=place, says=said))
    return found
