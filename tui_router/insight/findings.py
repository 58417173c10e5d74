"""What goes wrong, and what to change: findings in the rated turns, each with the turns that it speaks of.

Many things are looked at, so some would look bad by chance: the probabilities of one kind of finding are corrected for
their number (Benjamini and Hochberg 1995), and what is left at 1 % is told. A proposal is a change of fleet.toml; what it would
do is not guessed but replayed on the turns.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.clock import local
from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet, Route, Trigger
from tui_router.core.statistics import overlap, tail
from tui_router.core.text import one_line
from tui_router.core.types import Request, Turn
from tui_router.insight.replay import Replayed, replay
from tui_router.routing.ensemble.grading import grade
from tui_router.routing.evaluation.parallel import by_rules
from tui_router.routing.rules.rules_router import RulesRouter

FindingKind = Literal[
    "misleading_trigger", "confused_routes", "failing_fallback", "threshold_too_high", "differs", "unhandled"
]
Name = TypeVar("Name")
LEVEL = 0.01
_LEAST_TURNS, _LEAST_WRONG, _LEAST_CONFUSED = 5, 3, 5
_USUALLY_LOST = 0.25
"""Share of wrong decisions that people usually mark without naming the right route."""
_SAFE = 0.95
"""How often a low confidence must be right for a lower threshold to be proposed."""
_HEARD = 4096
"""Texts of conversations of which it is remembered whether a change bears on them."""
_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_COMMON = frozenset(
    re.findall(
        "[a-z]+",
        "the and for you your are was with that this what how can could would please from have has not but all any about "
        "into out when where who why which will just like some make want need tell give get its let them they then than",
    )
)


class ChangeEffect(Struct, frozen=True):
    """What a change of the rules would do, replayed on the stored turns."""

    fixes: int
    breaks: int
    unrated: int
    """Turns without a known right route that would move."""


class Finding(Struct, frozen=True, kw_only=True):
    """Something that goes wrong."""

    kind: FindingKind
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
    effect: ChangeEffect | None = None


def find(turns: Sequence[Turn], fleet: Fleet, threshold: float, *, effects: bool = True) -> list[Finding]:
    """The findings in these turns, the surest first.

    Args:
        turns: Oldest first.
        fleet: Routes of today.
        threshold: Confidence below which the person is asked.
        effects: Whether the proposals are replayed; that takes a moment for each.
    """
    found = [*_triggers(turns, fleet), *_confused(turns, fleet), *_fallbacks(turns, fleet), *_threshold(turns, threshold),
             *_differences(turns), *_unhandled(turns)]  # fmt: skip
    found.sort(key=lambda one: one.p)
    if not effects:
        return found
    whole = list(with_histories(turns)) if any(one.toml for one in found) else []
    return [_with_effect(one, whole, fleet) if one.toml else one for one in found]


def _with_effect(finding: Finding, whole: Sequence[Turn], fleet: Fleet) -> Finding:
    """The finding with what its proposal would do; a stronger one takes its place when it is too weak to do anything."""
    best = finding
    touched = _touched(finding.toml, whole, fleet)
    for proposal, toml in _strengths(finding):
        effect = effect_of(_replayed(toml, touched, fleet, len(whole)))
        if effect is None:
            return finding
        made = replace(finding, proposal=proposal, toml=toml, effect=effect)
        if best.effect is None or effect.fixes - effect.breaks > best.effect.fixes - best.effect.breaks:
            best = made
        if effect.fixes > effect.breaks and 2 * effect.fixes >= len(finding.turns):
            break
    return best


def _strengths(finding: Finding) -> Iterable[tuple[str, str]]:
    """The proposal, weaker first: (what it says, its lines of fleet.toml)."""
    yield finding.proposal, finding.toml
    for route, table in tomllib.loads(finding.toml).get("routes", {}).items():
        for name, fields in table.get("triggers", {}).items():
            weight = float(fields["weight"])
            head = f"[routes.{route}.triggers.{json.dumps(name, ensure_ascii=False)}]\n"
            if "words" in fields:
                words = f"words = {json.dumps(fields['words'], ensure_ascii=False)}\n"
                for more in (4.5, 6.0):
                    yield f"{finding.proposal} (weight {more:g})", f"{head}{words}weight = {more}\n"
            else:
                for less in (round(weight / 2, 2), 0.0):
                    yield (
                        re.sub(r"(?<=’ )[\d.]+(?= instead)", f"{less:g}", finding.proposal),
                        f"{head}weight = {less}\n",
                    )


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
    """Pairs of routes: against chance among the wrong decisions, and against how often any pair is taken for one another."""
    pairs: defaultdict[tuple[str, str], list[Turn]] = defaultdict(list)
    made_for: Counter[str] = Counter()
    words_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    missed = 0
    for turn in turns:
        made = grade(turn, fleet)
        if made is None or not made.label:
            continue
        decided = made.decisions[turn.decision.router].route
        words_of[made.label].update(set(_WORD.findall(turn.request.text.lower())) - _COMMON)
        made_for[decided] += 1
        if decided != made.label:
            missed += 1
            pairs[made.label, decided].append(turn)
    of_decided = Counter[str]()
    of_label = Counter[str]()
    for (label, decided), found in pairs.items():
        of_decided[decided] += len(found)
        of_label[label] += len(found)
    cases = {pair: len(found) for pair, found in pairs.items() if len(found) >= _LEAST_CONFUSED}
    usual = missed / max(1, made_for.total()) / max(1, len(fleet.routes) - 1)
    chances = {
        (label, decided): min(
            1.0,
            2
            * min(overlap(count, missed, of_label[label], of_decided[decided]), tail(count, made_for[decided], usual)),
        )
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
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]:
        others = sum(words[word] for route, words in words_of.items() if route != label)
        if count >= _LEAST_WRONG and others <= count // 4:
            return str(word)
    return ""


# -- models and the threshold --------------------------------------------------------------------------------------
def _fallbacks(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    simulate_change: Counter[str] = Counter()
    failed: defaultdict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        dispatch = turn.dispatch
        if dispatch is None:
            continue
        bad = turn.verdict is not None and turn.verdict.kind == "answer" and turn.verdict.rating == "wrong"
        for name in {hop.model for hop in dispatch.hops} | ({dispatch.served} if dispatch.served else set()):
            simulate_change[name] += 1
            if name != dispatch.served or bad:
                failed[name].append(turn)
    everything = sum(simulate_change.values())
    usual = sum(map(len, failed.values())) / everything if everything else 0.0
    cases = {m: (len(failed[m]), simulate_change[m]) for m in failed if len(failed[m]) >= _LEAST_WRONG}
    for model, p in corrected({m: tail(w, n, usual) for m, (w, n) in cases.items()}).items():
        count, n = cases[model]
        said = f"{model} was tried {n} times and failed, or answered badly, {count} times"
        yield Finding(
            kind="failing_fallback", says=said, turns=_newest(failed[model]), n=n, p=p,
            proposal=f"look at {model} with `tui-router --health`, or take it out of the fallbacks",
            toml=_without_fallback(model, fleet),
        )  # fmt: skip


def _without_fallback(model: str, fleet: Fleet) -> str:
    """The routes that fall back on a model, without it; empty when none does."""
    kept = {r.name: [m for m in r.fallbacks if m != model] for r in fleet.routes if model in r.fallbacks}
    return "".join(
        f"[routes.{name}]\nfallbacks = [{', '.join(map(json.dumps, models))}]\n" for name, models in kept.items()
    )


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


# -- when, and what nobody handles -----------------------------------------------------------------------------------
def _differences(turns: Sequence[Turn]) -> Iterable[Finding]:
    """Sessions and times of day in which far more is wrong than usual."""
    seen: defaultdict[str, list[Turn]] = defaultdict(list)
    rated = [turn for turn in turns if turn.verdict is not None and turn.verdict.counts]
    wrong = {turn.id for turn in rated if turn.verdict is not None and turn.verdict.rating == "wrong"}
    for turn in rated:
        hour = local(turn.at).hour // 6 * 6
        seen[f"between {hour}:00 and {hour + 6}:00"].append(turn)
        if turn.session:
            seen[f"in session {turn.session.partition('-')[0]}"].append(turn)
    usual = len(wrong) / len(rated) if rated else 0.0
    cases = {}
    for name, found in seen.items():
        bad = sum(turn.id in wrong for turn in found)
        if len(found) >= _LEAST_TURNS and bad >= _LEAST_WRONG and len(found) < len(rated):
            cases[name] = (bad, len(found))
    for name, p in corrected({name: tail(w, n, usual) for name, (w, n) in cases.items()}).items():
        count, n = cases[name]
        yield Finding(
            kind="differs", says=f"{name} {count} of {n} decisions were wrong (usual: {usual:.0%})",
            turns=_newest([turn for turn in seen[name] if turn.id in wrong]), n=n, p=p,
        )  # fmt: skip


def _unhandled(turns: Sequence[Turn]) -> Iterable[Finding]:
    """Wrong decisions for which the person knew no route either."""
    wrong = [t for t in turns if t.verdict is not None and t.verdict.counts and t.verdict.rating == "wrong"]
    lost = [t for t in wrong if t.verdict is not None and not t.verdict.route]
    p = tail(len(lost), len(wrong), _USUALLY_LOST)
    if len(lost) >= _LEAST_CONFUSED and p <= LEVEL:
        yield Finding(
            kind="unhandled", says=f"{len(lost)} of {len(wrong)} wrong decisions have no right route: no lane is made for them",
            turns=_newest(lost), n=len(wrong), p=p, proposal="add a route for them to fleet.toml, with a description and a model",
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
def simulate_change(toml: str, turns: Iterable[Turn], fleet: Fleet) -> Replayed | None:
    """A change, replayed on turns: what the rules decide before it and would decide after it.

    None for a change that does not touch what the rules decide by. The turns are not held.
    """
    number = itertools.count()
    counted = (turn for turn, _ in zip(turns, number, strict=False))
    touched = _touched(toml, with_histories(counted), fleet)
    return _replayed(toml, touched, fleet, next(number))


def _touched(toml: str, whole: Iterable[Turn], fleet: Fleet) -> list[tuple[Turn, str]]:
    """The turns on which the change bears, each with what the rules of today decide.

    Those are the turns in whose request, or in the requests before it that lend it evidence, a changed trigger speaks.
    """
    changed = with_change(fleet, toml)
    if changed is None:
        return []
    names = tomllib.loads(toml)["routes"]
    only = replace(changed, routes=tuple(_only(route, names.get(route.name, {})) for route in changed.routes))
    speaks, today = RulesRouter(only), RulesRouter(fleet)

    @lru_cache(_HEARD)
    def heard(text: str) -> bool:
        return bool(speaks.evidence(Request(text=text)).hits)

    touched = [
        turn for turn in whole
        if speaks.evidence(turn.request).hits or any(heard(m.content) for m in turn.request.history if m.role == "user")
    ]  # fmt: skip
    routes = (ranking[0][0] for ranking in today.rankings(turn.request for turn in touched))
    return list(zip(touched, routes, strict=True))


def _only(route: Route, change: Mapping[str, Mapping[str, object]]) -> Route:
    """A route with the triggers that a change names."""
    return replace(route, triggers=tuple(t for t in route.triggers if t.name in change.get("triggers", {})))


def _replayed(toml: str, touched: Sequence[tuple[Turn, str]], fleet: Fleet, count: int) -> Replayed | None:
    changed = with_change(fleet, toml)
    if changed is None:
        return None
    now = [replace(turn, decision=replace(turn.decision, ranking=((route, 1.0),))) for turn, route in touched]
    return replace(replay(now, by_rules(changed), changed, workers=1), turns=count)


def effect_of(found: Replayed | None) -> ChangeEffect | None:
    """The counts of a replay."""
    return ChangeEffect(found.fixes, found.breaks, found.unlabelled) if found is not None else None


def with_change(fleet: Fleet, toml: str) -> Fleet | None:
    """The fleet after a proposed change of one trigger; None for any other change."""
    routes = tomllib.loads(toml).get("routes", {})
    if not any("triggers" in route for route in routes.values()):
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
