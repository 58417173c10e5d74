"""What goes wrong, and what to change: findings in the rated turns, each with the turns that it speaks of.

Many things are looked at, so some would look bad by chance: the probabilities of one kind of finding are corrected for
their number (Benjamini and Hochberg 1995), and what is left at 1 % is told. A proposal is a change of fleet.toml; what it would
do is not guessed but replayed on the turns.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet, Route, Trigger
from tui_router.core.statistics import overlap, tail
from tui_router.core.text import one_line
from tui_router.core.types import Turn
from tui_router.insight.replay import replay
from tui_router.routers.bulk import by_rules
from tui_router.routers.grading import grade
from tui_router.routers.rules import RulesRouter

Kind = Literal["misleading_trigger", "confused_routes", "failing_fallback", "threshold_too_high"]
Name = TypeVar("Name")
LEVEL = 0.01
_LEAST_TURNS, _LEAST_WRONG, _LEAST_CONFUSED = 5, 3, 5
_SAFE = 0.95
"""How often a low confidence must be right for a lower threshold to be proposed."""
_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_COMMON = frozenset(
    re.findall(
        "[a-z]+",
        "the and for you your are was with that this what how can could would please from have has not but all any about "
        "into out when where who why which will just like some make want need tell give get its let them they then than",
    )
)


class Effect(Struct, frozen=True):
    """What a change would do, replayed on the stored turns by the rules."""

    fixes: int
    breaks: int
    unrated: int
    """Turns without a known right route that would move."""


class Finding(Struct, frozen=True, kw_only=True):
    """Something that goes wrong."""

    kind: Kind
    says: str
    turns: tuple[str, ...]
    """Ids of the turns that it speaks of, newest first."""
    n: int
    p: float
    """Probability of so bad a count if nothing were the matter, corrected for how many were looked at."""
    proposal: str = ""
    """What to change, in a sentence; empty when there is nothing to propose."""
    toml: str = ""
    """The change as lines of fleet.toml."""
    effect: Effect | None = None


def find(turns: Sequence[Turn], fleet: Fleet, threshold: float, *, effects: bool = True) -> list[Finding]:
    """The findings in these turns, the surest first.

    Args:
        turns: Oldest first.
        fleet: Routes of today.
        threshold: Confidence below which the person is asked.
        effects: Whether the proposals are replayed; that takes a moment for each.
    """
    found = [*_triggers(turns, fleet), *_confused(turns, fleet), *_fallbacks(turns), *_threshold(turns, threshold)]
    found.sort(key=lambda one: one.p)
    if not effects:
        return found
    return [replace(one, effect=_effect(one, turns, fleet)) if one.toml else one for one in found]


# -- triggers that mislead -----------------------------------------------------------------------------------------
def _triggers(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    rules = RulesRouter(fleet)
    wrong: defaultdict[int, list[Turn]] = defaultdict(list)
    seen: Counter[int] = Counter()
    rated = missed = 0
    for turn in turns:
        if turn.verdict is None or not turn.verdict.counts:
            continue
        rated += 1
        bad = turn.verdict.rating == "wrong"
        missed += bad
        decided = fleet.names.get(turn.decision.route)
        for hit in rules.evidence(turn.request).hits:
            if rules.trigger_names[hit.trigger].partition(".")[0] == decided and rules.weight(hit.trigger) > 0:
                seen[hit.trigger] += 1
                if bad:
                    wrong[hit.trigger].append(turn)
    usual = missed / rated if rated else 0.0
    cases = {t: (len(wrong[t]), seen[t]) for t in seen if seen[t] >= _LEAST_TURNS and len(wrong[t]) >= _LEAST_WRONG}
    for trigger, p in corrected({t: tail(w, n, usual) for t, (w, n) in cases.items()}).items():
        count, n = cases[trigger]
        route, _, name = rules.trigger_names[trigger].partition(".")
        weight = rules.weight(trigger)
        said = f"‘{name}’ led to {route} {n} times and was wrong {count} times (usual: {usual:.0%})"
        lower = round(weight / 2, 2)
        yield Finding(
            kind="misleading_trigger", says=said, turns=_newest(wrong[trigger]), n=n, p=p,
            proposal=f"weigh ‘{name}’ {lower:g} instead of {weight:g}",
            toml=f'[routes.{route}.triggers."{name}"]\nweight = {lower:g}\n',
        )  # fmt: skip


# -- routes that are taken for one another -------------------------------------------------------------------------
def _confused(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    pairs: defaultdict[tuple[str, str], list[Turn]] = defaultdict(list)
    words_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    missed = 0
    for turn in turns:
        made = grade(turn, fleet)
        if made is None or not made.label:
            continue
        decided = made.decisions[turn.decision.router].route
        words_of[made.label].update(set(_WORD.findall(turn.request.text.lower())) - _COMMON)
        if decided != made.label:
            missed += 1
            pairs[made.label, decided].append(turn)
    of_decided = Counter[str]()
    of_label = Counter[str]()
    for (label, decided), found in pairs.items():
        of_decided[decided] += len(found)
        of_label[label] += len(found)
    cases = {pair: len(found) for pair, found in pairs.items() if len(found) >= _LEAST_CONFUSED}
    chances = {
        (label, decided): overlap(count, missed, of_label[label], of_decided[decided])
        for (label, decided), count in cases.items()
    }
    for pair, p in corrected(chances).items():
        label, decided = pair
        count, n = cases[pair], of_decided[decided]
        word = _telling(pairs[pair], words_of, label)
        said = f"{count} of {n} wrong decisions for {decided} should have been {label}"
        proposal = f"let ‘{word}’ speak for {label}" if word else ""
        toml = f'[routes.{label}.triggers."{word}"]\nwords = ["{word}"]\nweight = 3.0\n' if word else ""
        yield Finding(
            kind="confused_routes", says=said, turns=_newest(pairs[pair]), n=n, p=p, proposal=proposal, toml=toml
        )


def _telling(missed: Sequence[Turn], words_of: Mapping[str, Counter[str]], label: str) -> str:
    """The word that most of the missed requests have and that speaks for no other route; empty when there is none."""
    counts = Counter(word for turn in missed for word in set(_WORD.findall(turn.request.text.lower())) - _COMMON)
    for word, count in counts.most_common(8):
        others = sum(words[word] for route, words in words_of.items() if route != label)
        if count >= _LEAST_WRONG and others <= count // 4:
            return str(word)
    return ""


# -- models and the threshold --------------------------------------------------------------------------------------
def _fallbacks(turns: Sequence[Turn]) -> Iterable[Finding]:
    tried: Counter[str] = Counter()
    failed: defaultdict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        dispatch = turn.dispatch
        if dispatch is None:
            continue
        bad = turn.verdict is not None and turn.verdict.kind == "answer" and turn.verdict.rating == "wrong"
        for name in {hop.model for hop in dispatch.hops} | ({dispatch.served} if dispatch.served else set()):
            tried[name] += 1
            if name != dispatch.served or bad:
                failed[name].append(turn)
    everything = sum(tried.values())
    usual = sum(map(len, failed.values())) / everything if everything else 0.0
    cases = {m: (len(failed[m]), tried[m]) for m in failed if len(failed[m]) >= _LEAST_WRONG}
    for model, p in corrected({m: tail(w, n, usual) for m, (w, n) in cases.items()}).items():
        count, n = cases[model]
        said = f"{model} was tried {n} times and failed, or answered badly, {count} times"
        yield Finding(
            kind="failing_fallback", says=said, turns=_newest(failed[model]), n=n, p=p,
            proposal=f"look at {model} with `tui-router --health`, or take it out of the fallbacks",
        )  # fmt: skip


def _threshold(turns: Sequence[Turn], threshold: float) -> Iterable[Finding]:
    asked = [t for t in turns if t.asked == "unsure" and t.verdict is not None and t.verdict.source == "ask"]
    right = [t for t in asked if t.verdict is not None and t.verdict.kind == "accepted"]
    if len(asked) < 20:
        return
    p = tail(len(right), len(asked), _SAFE - 0.1)
    if p <= LEVEL and len(right) / len(asked) >= _SAFE:
        sure = sorted(t.decision.confidence for t in right)[len(right) // 4]
        lower = round(min(threshold - 0.05, sure), 2)
        yield Finding(
            kind="threshold_too_high",
            says=f"{len(right)} of {len(asked)} decisions below {threshold:.0%} were accepted as they were",
            turns=_newest(right), n=len(asked), p=p, proposal=f"ask only below {lower:.0%}",
            toml=f"[settings]\nconfidence_threshold = {lower}\n",
        )  # fmt: skip


# -- arithmetic ------------------------------------------------------------------------------------------------------
def corrected(chances: Mapping[Name, float]) -> dict[Name, float]:
    """What is left at `LEVEL` after the correction of Benjamini and Hochberg, with the corrected probabilities."""
    order = sorted(chances, key=lambda name: chances[name])
    least, kept = 1.0, {}
    for rank in range(len(order), 0, -1):
        name = order[rank - 1]
        least = min(least, chances[name] * len(order) / rank)
        if least <= LEVEL:
            kept[name] = least
    return dict(reversed(kept.items()))


def _newest(turns: Sequence[Turn]) -> tuple[str, ...]:
    return tuple(turn.id for turn in reversed(turns))


# -- what a change would do ----------------------------------------------------------------------------------------
def _effect(finding: Finding, turns: Sequence[Turn], fleet: Fleet) -> Effect | None:
    """The change, replayed; None for one that does not touch the rules."""
    changed = with_change(fleet, finding.toml)
    if changed is None:
        return None
    before = {t.id: made for t, made in zip(turns, _routes(turns, fleet), strict=True)}
    now = [replace(t, decision=replace(t.decision, ranking=((before[t.id], 1.0),))) for t in turns]
    found = replay(now, by_rules(changed), changed, workers=1)
    return Effect(found.fixes, found.breaks, found.unlabelled)


def _routes(turns: Sequence[Turn], fleet: Fleet) -> list[str]:
    """What the rules of today make of each turn: the effect of a change is against these, not against old decisions."""
    return [made.route for made in RulesRouter(fleet).decide_many(t.request for t in with_histories(turns))]


def with_change(fleet: Fleet, toml: str) -> Fleet | None:
    """The fleet after a proposed change of one trigger; None for any other change."""
    routes = tomllib.loads(toml).get("routes", {})
    if not routes:
        return None
    changed = [_changed(route, routes.get(route.name, {}).get("triggers", {})) for route in fleet.routes]
    return replace(fleet, routes=tuple(changed))


def _changed(route: Route, triggers: Mapping[str, Mapping[str, object]]) -> Route:
    found = {trigger.name: trigger for trigger in route.triggers}
    for name, fields in triggers.items():
        weight = float(str(fields["weight"]))
        words = fields.get("words")
        if name in found:
            found[name] = replace(found[name], weight=weight)
        elif isinstance(words, list):
            found[name] = Trigger(
                name=name, weight=weight, words=tuple(words), says=f"one of your own: {one_line(name, 40)}"
            )
    return replace(route, triggers=tuple(found.values()))
