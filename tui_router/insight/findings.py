"""Findings: what goes wrong in the rated turns, and which change of fleet.toml would help.

Many hypotheses are tested, so some would look bad by chance: within one kind of finding the p-values are corrected for their
number (Benjamini and Hochberg 1995, "Controlling the false discovery rate"), and those at or below `SIGNIFICANCE` are kept.
What a proposal would do is not estimated but replayed on the stored turns, by the router that is acted on.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from tui_router.core.clock import local
from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet, Route, Trigger
from tui_router.core.statistics import overlap, tail
from tui_router.core.text import one_line
from tui_router.core.types import Request, Turn
from tui_router.core.verdicts import decision_was_right, labelled_route
from tui_router.insight.drift import tried_models
from tui_router.insight.replay import ReplayResult, replay
from tui_router.routing.ensemble.grading import grade
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter

FindingKind = Literal[
    "misleading_trigger", "confused_routes", "failing_fallback", "threshold_too_high", "differs", "unhandled"
]
Name = TypeVar("Name")
RouterFor = Callable[[Fleet], Router]
"""Makes the router that is acted on under a fleet."""
SIGNIFICANCE = 0.01
"""False discovery rate of each kind of finding."""
_MIN_TURNS, _MIN_WRONG, _MIN_CONFUSED = 5, 3, 5
"""Turns below which nothing is tested: of a trigger or group, wrong ones, confused ones. Chosen by hand, not measured."""
_MIN_ASKED = 20
"""Answered asks from which on a lower threshold is considered. Chosen by hand, not measured."""
_ACCEPTED = 0.95
"""Share of accepted decisions below the threshold from which on a lower one is proposed. Chosen by hand, not measured."""
_ACCEPTED_BY_CHANCE = 0.85
"""The hypothesis that is rejected before: so many are accepted at most."""
_USUALLY_WITHOUT_ROUTE = 0.25
"""Share of wrong verdicts that usually name no right route. Chosen by hand, not measured."""
_NEW_TRIGGER_WEIGHTS = (3.0, 4.5, 6.0)
"""Weights of a proposed trigger in the unit of the rules' score, tried in this order; most shipped triggers have 1.5 to 6."""
_LOWER_WEIGHT_FACTORS = (0.5, 0.25, 0.0)
"""Factors of the weight of a misleading trigger, tried in this order. Chosen by hand, not measured."""
_CANDIDATE_WORDS = 8
"""Most frequent words of the confused requests that are considered as a trigger. Chosen by hand, not measured."""
_HOURS = 6
"""Length of a time of day. Chosen by hand, not measured."""
_CACHED_TEXTS = 4096
"""Texts of conversations of which it is remembered whether a change affects them."""
_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_STOP_WORDS = frozenset(
    _WORD.findall(
        "the and for you your are was with that this what how can could would please from have has not but all any about "
        "into out when where who why which will just like some make want need tell give get its let them they then than"
    )
)


class ChangeEffect(Struct, frozen=True):
    """What a change of fleet.toml would do to the decisions on the stored turns."""

    fixes: int
    breaks: int
    unrated: int
    """Turns without a known right route that would change their route."""


class Finding(Struct, frozen=True, kw_only=True):
    """Something that goes wrong."""

    kind: FindingKind
    text: str = field(name="says")
    turns: tuple[str, ...]
    """Ids of the turns that it is about, newest first."""
    n: int
    p: float
    """Probability of so bad a count, or a worse one, if nothing were wrong; corrected for the number of tests."""
    proposal: str = ""
    """What to change, in a sentence; empty when there is nothing to propose."""
    toml: str = ""
    """The change as lines of fleet.toml."""
    effect: ChangeEffect | None = None


def find_findings(
    turns: Sequence[Turn],
    fleet: Fleet,
    threshold: float,
    *,
    effects: bool = True,
    router_for: RouterFor = RulesRouter,
) -> list[Finding]:
    """Find what goes wrong in these turns, the most significant first.

    Args:
        turns: Oldest first.
        fleet: Routes of today.
        threshold: Confidence, 0 to 1, below which the person is asked.
        effects: Whether the proposals are replayed; that takes a moment for each.
        router_for: Makes the router that is acted on under a fleet; the proposals are replayed with it.
    """
    found = [
        *_misleading_triggers(turns, fleet),
        *_confused_routes(turns, fleet),
        *_failing_models(turns, fleet),
        *_threshold_too_high(turns, threshold),
        *_groups_that_differ(turns),
        *_unhandled(turns),
    ]
    found.sort(key=lambda one: one.p)
    if not effects:
        return found
    if not any(one.toml for one in found):
        return found
    simulation = _Simulation(list(with_histories(turns)), fleet, router_for)
    return _one_proposal_a_key([_with_effect(one, simulation) if one.toml else one for one in found])


def _one_proposal_a_key(findings: Sequence[Finding]) -> list[Finding]:
    """The findings without proposals that fix nothing; of several that change the same key, the best one stays."""
    kept: list[Finding] = []
    keys: set[str] = set()
    for one in sorted(findings, key=_gain, reverse=True):
        if one.toml and _gain(one) > 0 and keys.isdisjoint(_keys(one.toml)):
            keys.update(_keys(one.toml))
            kept.append(one)
    return [one if not one.toml or one in kept else replace(one, proposal="", toml="", effect=None) for one in findings]


def _gain(finding: Finding) -> float:
    """Decisions that a proposal mends; those without a replay come after those with one."""
    return 0.5 if finding.effect is None else finding.effect.fixes - finding.effect.breaks


def _keys(toml: str) -> list[str]:
    """The keys of fleet.toml that a proposal sets: `routes.code.triggers.make`, `routes.code.model`, ..."""
    found = []
    for route, table in tomllib.loads(toml).get("routes", {}).items():
        for name, value in table.items():
            found += (
                [f"routes.{route}.triggers.{trigger}" for trigger in value]
                if name == "triggers"
                else [f"routes.{route}.{name}"]
            )
    return found or [toml]


def _with_effect(finding: Finding, simulation: _Simulation) -> Finding:
    """The finding with the effect of its proposal; a stronger proposal replaces one that is too weak to change a decision."""
    best = finding
    affected = simulation.affected_turns(finding.toml)
    variants = _variants(finding, simulation.fleet)
    strongest = effect_of(simulation.replayed(variants[-1][1], affected))
    if (
        strongest is None or not strongest.fixes
    ):  # then no weaker one fixes anything either, and making a router takes a while
        return replace(finding, effect=strongest)
    for proposal, toml in variants:
        effect = effect_of(simulation.replayed(toml, affected))
        if effect is None:
            return finding
        if best.effect is None or effect.fixes - effect.breaks > best.effect.fixes - best.effect.breaks:
            best = replace(finding, proposal=proposal, toml=toml, effect=effect)
        if effect.fixes > effect.breaks and 2 * effect.fixes >= len(finding.turns):
            break
    return best


def _variants(finding: Finding, fleet: Fleet) -> list[tuple[str, str]]:
    """The proposal and two stronger ones, the weakest first: (its sentence, its lines of fleet.toml)."""
    variants = [(finding.proposal, finding.toml)]
    for route, table in tomllib.loads(finding.toml).get("routes", {}).items():
        for name, fields in table.get("triggers", {}).items():
            if words := fields.get("words"):
                variants += [_add_trigger(route, words[0], weight) for weight in _NEW_TRIGGER_WEIGHTS[1:]]
            else:
                weight = next(t.weight for t in fleet.route(route).triggers if t.name == name)
                variants += [_lower_trigger(route, name, weight, factor) for factor in _LOWER_WEIGHT_FACTORS[1:]]
    return variants


def _add_trigger(route: str, word: str, weight: float) -> tuple[str, str]:
    """(sentence, lines of fleet.toml) of a new trigger."""
    quoted = json.dumps(word, ensure_ascii=False)
    toml = f"[routes.{route}.triggers.{quoted}]\nwords = [{quoted}]\nweight = {weight}\n"
    return f"add trigger ‘{word}’ → {route} (weight {weight:g})", toml


def _lower_trigger(route: str, name: str, weight: float, factor: float) -> tuple[str, str]:
    """(sentence, lines of fleet.toml) of a smaller weight."""
    lower = round(weight * factor, 2)
    toml = f"[routes.{route}.triggers.{json.dumps(name, ensure_ascii=False)}]\nweight = {lower:g}\n"
    return f"lower the weight of ‘{name}’ from {weight:g} to {lower:g}", toml


# -- misleading triggers -------------------------------------------------------------------------------------------
def _misleading_triggers(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    """Triggers of the decided route that are in far more wrong decisions than usual (binomial test)."""
    rules = RulesRouter(fleet)
    wrong: defaultdict[int, list[Turn]] = defaultdict(list)
    seen: Counter[int] = Counter()
    rated = wrong_in_all = 0
    for turn in turns:
        if (right := decision_was_right(turn)) is None:
            continue
        rated += 1
        is_wrong = not right
        wrong_in_all += is_wrong
        decided = fleet.names.get(turn.decision.route)
        for hit in rules.evidence(turn.request).hits:
            if rules.trigger_names[hit.trigger].partition(".")[0] == decided and rules.weight(hit.trigger) > 0:
                seen[hit.trigger] += 1
                if is_wrong:
                    wrong[hit.trigger].append(turn)
    usual = wrong_in_all / rated if rated else 0.0
    cases = {t: (len(wrong[t]), seen[t]) for t in seen if seen[t] >= _MIN_TURNS and len(wrong[t]) >= _MIN_WRONG}
    for trigger, p in benjamini_hochberg({t: tail(w, n, usual) for t, (w, n) in cases.items()}).items():
        count, n = cases[trigger]
        route, _, name = rules.trigger_names[trigger].partition(".")
        proposal, toml = _lower_trigger(route, name, rules.weight(trigger), _LOWER_WEIGHT_FACTORS[0])
        yield Finding(
            kind="misleading_trigger",
            text=f"‘{name}’ led to {route} {n} times and was wrong {count} times (usual: {usual:.0%})",
            turns=_newest_first(wrong[trigger]),
            n=n,
            p=p,
            proposal=proposal,
            toml=toml,
        )


# -- confused routes -----------------------------------------------------------------------------------------------
def _confused_routes(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    """Pairs of routes that are confused too often.

    Each pair is tested twice: against chance among the wrong decisions (Fisher's exact test), and against how often any
    pair is confused (binomial test). The smaller p-value is doubled (Bonferroni).
    """
    confused: defaultdict[tuple[str, str], list[Turn]] = defaultdict(list)
    decisions: Counter[str] = Counter()
    words_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for turn in turns:
        graded = grade(turn, fleet)
        if graded is None or not graded.label:
            continue
        decided = graded.decisions[turn.decision.router].route
        words_of[graded.label].update(_words(turn))
        decisions[decided] += 1
        if decided != graded.label:
            confused[graded.label, decided].append(turn)
    wrong_decided, wrong_label = Counter[str](), Counter[str]()
    for (label, decided), found in confused.items():
        wrong_decided[decided] += len(found)
        wrong_label[label] += len(found)
    wrong = wrong_decided.total()
    usual = wrong / max(1, decisions.total()) / max(1, len(fleet.routes) - 1)
    p_values = {}
    for (label, decided), found in confused.items():
        if len(found) >= _MIN_CONFUSED:
            by_chance = overlap(len(found), wrong, wrong_label[label], wrong_decided[decided])
            more_than_others = tail(len(found), decisions[decided], usual)
            p_values[label, decided] = min(1.0, 2 * min(by_chance, more_than_others))
    for (label, decided), p in benjamini_hochberg(p_values).items():
        found = confused[label, decided]
        word = _distinctive_word(found, words_of, label)
        proposal, toml = _add_trigger(label, word, _NEW_TRIGGER_WEIGHTS[0]) if word else ("", "")
        yield Finding(
            kind="confused_routes",
            text=f"{len(found)} of {wrong_decided[decided]} wrong decisions for {decided} should have been {label}",
            turns=_newest_first(found),
            n=wrong_decided[decided],
            p=p,
            proposal=proposal,
            toml=toml,
        )


def _words(turn: Turn) -> set[str]:
    return set(_WORD.findall(turn.request.text.lower())) - _STOP_WORDS


def _distinctive_word(confused: Sequence[Turn], words_of: Mapping[str, Counter[str]], label: str) -> str:
    """The word that most of the confused requests contain and requests of other routes rarely; empty without one."""
    counts = Counter(word for turn in confused for word in _words(turn))
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_CANDIDATE_WORDS]:
        elsewhere = sum(words[word] for route, words in words_of.items() if route != label)
        if count >= _MIN_WRONG and elsewhere <= count // 4:
            return word
    return ""


# -- models and the threshold --------------------------------------------------------------------------------------
def _failing_models(turns: Sequence[Turn], fleet: Fleet) -> Iterable[Finding]:
    """Models that fail, or answer badly, more often than models usually do (binomial test)."""
    tried: Counter[str] = Counter()
    failed: defaultdict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        dispatch = turn.dispatch
        if dispatch is None:
            continue
        bad_answer = turn.verdict is not None and turn.verdict.kind == "answer" and turn.verdict.rating == "wrong"
        for name in tried_models(turn):
            tried[name] += 1
            if name != dispatch.served or bad_answer:
                failed[name].append(turn)
    usual = sum(map(len, failed.values())) / tried.total() if tried else 0.0
    p_values = {name: tail(len(bad), tried[name], usual) for name, bad in failed.items() if len(bad) >= _MIN_WRONG}
    significant = benjamini_hochberg(p_values)
    changed: set[str] = set()
    for model, p in significant.items():
        proposal, toml = _without_model(model, significant, changed, fleet)
        yield Finding(
            kind="failing_fallback",
            text=f"{model} was tried {tried[model]} times and failed, or answered badly, {len(failed[model])} times",
            turns=_newest_first(failed[model]),
            n=tried[model],
            p=p,
            proposal=f"check {model} with `tui-router --health`{proposal}",
            toml=toml,
        )


def _without_model(model: str, failing: Container[str], changed: set[str], fleet: Fleet) -> tuple[str, str]:
    """(rest of the sentence, lines of fleet.toml) that replace a failing model where it comes first, and remove it elsewhere.

    Args:
        model: The failing model.
        failing: All failing models: none of them takes the place.
        changed: Routes that an earlier proposal changes; this one's are added.
        fleet: Routes of today.
    """
    replaced, removed, lines = [], False, []
    for route in fleet.routes:
        if model not in (route.model, *route.fallbacks) or route.name in changed:
            continue
        others = [name for name in (route.model, *route.fallbacks) if name not in failing]
        if route.model in failing and not others:
            replaced.append(f"the model of {route.name} with another one: all of its fallbacks fail too")
            continue
        changed.add(route.name)
        lines.append(f"[routes.{route.name}]\n")
        if route.model in failing:
            replaced.append(f"the model of {route.name} with {others[0]}")
            lines.append(f"model = {json.dumps(others[0])}\n")
            others = others[1:]
        else:
            removed, others = True, others[1:]
        lines.append(f"fallbacks = [{', '.join(map(json.dumps, others))}]\n")
    words = [f"replace {' and '.join(replaced)}"] if replaced else []
    words += ["take it out of the fallbacks"] if removed else []
    return f", or {' and '.join(words)}" if words else "", "".join(lines)


def _threshold_too_high(turns: Sequence[Turn], threshold: float) -> Iterable[Finding]:
    """Whether nearly all decisions below the threshold are accepted as they are (binomial test)."""
    asked = [t for t in turns if t.asked == "unsure" and t.verdict is not None and t.verdict.source == "ask"]
    accepted = [t for t in asked if t.verdict is not None and t.verdict.kind == "accepted"]
    if len(asked) < _MIN_ASKED:
        return
    p = tail(len(accepted), len(asked), _ACCEPTED_BY_CHANCE)
    if p <= SIGNIFICANCE and len(accepted) / len(asked) >= _ACCEPTED:
        lower_quartile = sorted(t.decision.confidence for t in accepted)[len(accepted) // 4]
        lower = round(min(threshold - 0.05, lower_quartile), 2)
        yield Finding(
            kind="threshold_too_high",
            text=f"{len(accepted)} of {len(asked)} decisions below {threshold:.0%} were accepted as they were",
            turns=_newest_first(accepted),
            n=len(asked),
            p=p,
            proposal=f"ask only below {lower:.0%}",
            toml=f"[settings]\nconfidence_threshold = {lower}\n",
        )


# -- groups of turns -----------------------------------------------------------------------------------------------
def _groups_that_differ(turns: Sequence[Turn]) -> Iterable[Finding]:
    """Sessions and times of day with far more wrong decisions than usual (binomial test)."""
    groups: defaultdict[str, list[Turn]] = defaultdict(list)
    rated = [turn for turn in turns if decision_was_right(turn) is not None]
    wrong = {turn.id for turn in rated if not decision_was_right(turn)}
    for turn in rated:
        hour = local(turn.at).hour // _HOURS * _HOURS
        groups[f"between {hour}:00 and {hour + _HOURS}:00"].append(turn)
        if turn.session:
            groups[f"in session {turn.session.partition('-')[0]}"].append(turn)
    usual = len(wrong) / len(rated) if rated else 0.0
    bad = {name: [turn for turn in group if turn.id in wrong] for name, group in groups.items()}
    p_values = {
        name: tail(len(bad[name]), len(group), usual)
        for name, group in groups.items()
        if _MIN_TURNS <= len(group) < len(rated) and len(bad[name]) >= _MIN_WRONG
    }
    for name, p in benjamini_hochberg(p_values).items():
        n = len(groups[name])
        text = f"{name} {len(bad[name])} of {n} decisions were wrong (usual: {usual:.0%})"
        yield Finding(kind="differs", text=text, turns=_newest_first(bad[name]), n=n, p=p)


def _unhandled(turns: Sequence[Turn]) -> Iterable[Finding]:
    """Whether unusually many wrong decisions have no right route (binomial test)."""
    wrong = [turn for turn in turns if decision_was_right(turn) is False]
    without_route = [turn for turn in wrong if labelled_route(turn) is None]
    p = tail(len(without_route), len(wrong), _USUALLY_WITHOUT_ROUTE)
    if len(without_route) >= _MIN_CONFUSED and p <= SIGNIFICANCE:
        yield Finding(
            kind="unhandled",
            text=f"{len(without_route)} of {len(wrong)} wrong decisions have no right route: no route covers them",
            turns=_newest_first(without_route),
            n=len(wrong),
            p=p,
            proposal="add a route for them to fleet.toml, with a description and a model",
        )


def benjamini_hochberg(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Correct p-values for their number; returns those at or below `SIGNIFICANCE`, the smallest first.

    Benjamini and Hochberg 1995: the p-value of rank r of m is multiplied by m / r, and is never above that of a later rank.
    """
    order = sorted(p_values, key=lambda name: p_values[name])
    smallest, kept = 1.0, {}
    for rank in range(len(order), 0, -1):
        name = order[rank - 1]
        smallest = min(smallest, p_values[name] * len(order) / rank)
        if smallest <= SIGNIFICANCE:
            kept[name] = smallest
    return dict(reversed(kept.items()))


def _newest_first(turns: Sequence[Turn]) -> tuple[str, ...]:
    return tuple(turn.id for turn in reversed(turns))


# -- the effect of a change ----------------------------------------------------------------------------------------
def simulate_change(
    toml: str, turns: Iterable[Turn], fleet: Fleet, router_for: RouterFor = RulesRouter
) -> ReplayResult | None:
    """Replay a change on turns: what the router decides before it, and what it would decide after it.

    Only turns on which the change bears are decided again. The turns are read once and not kept, so that a whole store can be
    replayed.

    Args:
        toml: The change, as lines of fleet.toml.
        turns: Oldest first.
        fleet: Before the change.
        router_for: Makes the router that is acted on under a fleet, with all that it has learned.

    Returns:
        None when the change does not touch what routers decide by.
    """
    number = itertools.count()
    counted = (turn for turn, _ in zip(turns, number, strict=False))
    simulation = _Simulation(with_histories(counted), fleet, router_for)
    affected = simulation.affected_turns(toml)
    replayed = simulation.replayed(toml, affected)
    return replace(replayed, turns=next(number)) if replayed is not None else None


class _Simulation:
    """Changes of one fleet, replayed on the same turns with the router that is acted on."""

    def __init__(self, turns: Iterable[Turn], fleet: Fleet, router_for: RouterFor) -> None:
        self.fleet = fleet
        self._turns, self._router_for = turns, router_for

    @cached_property
    def _today(self) -> Router:
        return self._router_for(self.fleet)

    def affected_turns(self, toml: str) -> list[tuple[Turn, str]]:
        """The turns that the change can affect, each with the route that is decided today.

        A changed trigger fires in their request, or in an earlier request of the conversation, which lends them evidence.
        """
        changed = with_change(self.fleet, toml)
        if changed is None:
            return []
        changes = tomllib.loads(toml)["routes"]
        routes = [_with_changed_triggers(route, changes.get(route.name, {})) for route in changed.routes]
        changed_triggers = RulesRouter(replace(changed, routes=tuple(routes)))

        @lru_cache(_CACHED_TEXTS)
        def fires(text: str) -> bool:
            return bool(changed_triggers.evidence(Request(text=text)).hits)

        affected = [
            turn
            for turn in self._turns
            if changed_triggers.evidence(turn.request).hits
            or any(fires(m.content) for m in turn.request.history if m.role == "user")
        ]
        decided = (ranking[0][0] for ranking in self._today.rankings(turn.request for turn in affected))
        return list(zip(affected, decided, strict=True))

    def replayed(self, toml: str, affected: Sequence[tuple[Turn, str]]) -> ReplayResult | None:
        """The affected turns, decided under the changed fleet."""
        changed = with_change(self.fleet, toml)
        if changed is None:
            return None
        before = [replace(turn, decision=replace(turn.decision, ranking=((route, 1.0),))) for turn, route in affected]
        return replay(before, lambda: self._router_for(changed), changed, workers=1)


def _with_changed_triggers(route: Route, change: Mapping[str, Mapping[str, object]]) -> Route:
    """A route with only the triggers that a change names."""
    return replace(route, triggers=tuple(t for t in route.triggers if t.name in change.get("triggers", {})))


def effect_of(replayed: ReplayResult | None) -> ChangeEffect | None:
    """Return the counts of a replay."""
    return ChangeEffect(replayed.fixes, replayed.breaks, replayed.unrated) if replayed is not None else None


def with_change(fleet: Fleet, toml: str) -> Fleet | None:
    """Return the fleet after a change of triggers; None for a change of anything else."""
    routes = tomllib.loads(toml).get("routes", {})
    if not any("triggers" in route for route in routes.values()):
        return None
    changed = [_changed_route(route, routes.get(route.name, {}).get("triggers", {})) for route in fleet.routes]
    return replace(fleet, routes=tuple(changed))


def _changed_route(route: Route, triggers: Mapping[str, Mapping[str, object]]) -> Route:
    by_name = {trigger.name: trigger for trigger in route.triggers}
    for name, fields in triggers.items():
        weight = float(str(fields["weight"]))
        words = fields.get("words")
        if name in by_name:
            by_name[name] = replace(by_name[name], weight=weight)
        elif isinstance(words, list):
            reason = f"one of your own: {one_line(name, 40)}"
            by_name[name] = Trigger(name=name, weight=weight, words=tuple(words), says=reason)
    return replace(route, triggers=tuple(by_name.values()))
