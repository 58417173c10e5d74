"""The rules router: weighted evidence of words, patterns and shapes, never the first match.

Each trigger of the fleet that matches adds its weight to its route once; negative evidence takes away. In a
conversation the earlier requests add a part of their evidence, more when the request reads like a follow-up.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tui_router.core.fleet import Fleet, Trigger
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Ranking, Reason, Request
from tui_router.routing.router import rank_routes, tie_break_order
from tui_router.routing.rules.follow_up import follow_up_cues
from tui_router.routing.rules.pattern_set import PatternSet
from tui_router.routing.rules.text_features import SHAPES, TextView

_CARRY_FOLLOW_UP, _CARRY_POINTING, _CARRY_PLAIN = 0.9, 0.7, 0.15
"""Share of the earlier requests' evidence that is added when the request begins like a follow-up, points back, or does
neither. Chosen by hand; `tui-router eval benchmarks/sets/conversations.jsonl --router rules` shows what they do."""
_LONGEST_POINTING = 160
"""Characters of a request up to which "it" and "that" are taken to point back; in a longer one they point inside."""
_AGE_DECAY = 0.5
"""Factor of the carried evidence for each turn that it is older."""
_EARLIER_TURNS = 3
_MOST_CARRIED = 12.0
"""Evidence of one earlier request for a route beyond this adds nothing."""
_CLEAR_LEAD = 3.0
"""Lead over the second route, in score, from which on a request decides for itself and less is carried over."""
_OWN_SHARE = 0.5
"""Factor of a follow-up's own evidence: its length and tone are those of any follow-up."""
_CACHED_SCORES = 256
"""Earlier requests whose scores are cached: a conversation shows them again and again."""
_MOST_REASONS = 6


class TriggerMatch(NamedTuple):
    """A trigger that matched."""

    trigger: int
    """Its index in `RulesRouter.trigger_names`."""
    matched: str


class Evidence(NamedTuple):
    """What the rules find in one text, without its conversation."""

    view: TextView
    hits: list[TriggerMatch]
    scores: list[float]
    """One of each route, in the fleet's order."""


class RulesRouter:
    """Decides by the triggers of a fleet."""

    name = "rules"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.version = _version(fleet)
        self._triggers: list[tuple[int, Trigger]] = [
            (index, trigger) for index, route in enumerate(fleet.routes) for trigger in route.triggers
        ]
        self.trigger_names = tuple(f"{fleet.routes[index].name}.{trigger.name}" for index, trigger in self._triggers)
        self._newest: tuple[Request, Evidence] | None = None
        self._score_cache: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        self._bias = [route.bias for route in fleet.routes]
        self._routes = [route.name for route in fleet.routes]
        self._log_priority = [math.log(route.priority) for route in fleet.routes]
        self._tie_break = tie_break_order(fleet)
        self._shapes = [(SHAPES[t.shape], i) for i, (_, t) in enumerate(self._triggers) if t.shape]
        self._worded = [i for i, (_, t) in enumerate(self._triggers) if not t.shape]
        self.patterns = PatternSet([t.pattern or t.words for _, t in self._triggers if not t.shape])

    def decide(self, request: Request) -> Decision:
        """Decide one request. Time grows with the text only up to `text_features.HEAD + TAIL` characters."""
        start = time.perf_counter()
        view, hits, own_scores = self.evidence(request)
        scores = list(own_scores)
        carried = self._add_conversation(request, scores)
        ranking = self._ranking(scores)
        reasons = self.reasons(hits, ranking[0][0])
        if carried is not None:
            reasons = (carried, *reasons)
        return Decision(
            ranking=ranking,
            model=self.fleet.route(ranking[0][0]).model,
            reasons=reasons,
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
            classified=view.classified,
        )

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decide requests in their order."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """Return the ranking of each decision, in the order of the requests."""
        for request in requests:
            scores = list(self.evidence(request).scores)
            self._add_conversation(request, scores)
            yield self._ranking(scores)

    def _ranking(self, scores: list[float]) -> Ranking:
        """Return the softmax of scores / temperature, weighted by the routes' priorities."""
        temperature = self.fleet.temperature
        logits = [score / temperature + priority for score, priority in zip(scores, self._log_priority, strict=True)]
        top = max(logits)
        weights = [math.exp(logit - top) for logit in logits]
        total = sum(weights)
        return rank_routes(self._routes, [weight / total for weight in weights], self._tie_break)

    def evidence(self, request: Request) -> Evidence:
        """Return what the rules find in the text of a request. Cached for the newest one: several routers ask for the same."""
        if self._newest is not None and self._newest[0] is request:
            return self._newest[1]
        view = TextView(request)
        hits = self._matches(view)
        found = Evidence(view, hits, self._scores(hits))
        self._newest = (request, found)
        if not (request.shows_image or request.has_code):
            self._cache_scores(request.text, found.scores)
        return found

    def _scores_of_text(self, text: str) -> tuple[float, ...]:
        """Return the scores of an earlier request, from the cache where it is there."""
        scores = self._score_cache.get(text)
        if scores is None:
            scores = self._cache_scores(text, self._scores(self._matches(TextView(Request(text=text)))))
        return scores

    def _cache_scores(self, text: str, scores: list[float]) -> tuple[float, ...]:
        cached = self._score_cache[text] = tuple(scores)
        if len(self._score_cache) > _CACHED_SCORES:
            self._score_cache.popitem(last=False)
        return cached

    def weight(self, trigger: int) -> float:
        """Return the weight of a trigger, by its index in `trigger_names`."""
        return self._triggers[trigger][1].weight

    def _matches(self, view: TextView) -> list[TriggerMatch]:
        hits = [TriggerMatch(self._worded[i], matched.strip()) for i, matched in self.patterns.search(view.text)]
        hits += [TriggerMatch(i, shown) for shape, i in self._shapes if (shown := shape(view)) is not None]
        return hits

    def _scores(self, hits: list[TriggerMatch]) -> list[float]:
        scores = list(self._bias)
        for index, _ in hits:
            route, trigger = self._triggers[index]
            scores[route] += trigger.weight
        return scores

    def _add_conversation(self, request: Request, scores: list[float]) -> Reason | None:
        """Add the evidence of the conversation's earlier requests to `scores`; returns the reason to show, if any."""
        earlier = [m.content for m in request.history if m.role == "user"][-_EARLIER_TURNS:]
        if not earlier:
            return None
        share = _carried_share(request.text)
        first, second = sorted(scores, reverse=True)[:2] if len(scores) > 1 else (scores[0], scores[0])
        share *= math.exp(-max(0.0, first - second - _CLEAR_LEAD) / _CLEAR_LEAD)
        decided = scores.index(first)
        carried = [0.0] * len(scores)
        for age, content in enumerate(reversed(earlier)):
            past = self._scores_of_text(content)
            mean = sum(past) / len(past)
            weight = share * _AGE_DECAY**age
            for index, score in enumerate(past):
                carried[index] += weight * min(_MOST_CARRIED, score - mean)
        if share >= 0.5:
            mean = sum(scores) / len(scores)
            scores[:] = [mean + (s - mean) * _OWN_SHARE for s in scores]
        for index, gain in enumerate(carried):
            scores[index] += gain
        now = max(range(len(scores)), key=scores.__getitem__)
        if now == decided and share < 0.5:
            return None
        route = self.fleet.routes[now].name
        return Reason(
            f"follows on from your last message: ‘{one_line(earlier[-1], 40)}’", route, round(carried[now], 2)
        )

    def reasons(self, hits: list[TriggerMatch], route: str, limit: int = _MOST_REASONS) -> tuple[Reason, ...]:
        """Return the strongest evidence in words: first that for the decided route, then the rest by weight."""
        routes = self.fleet.routes
        found = [(*self._triggers[index], matched) for index, matched in hits]
        found.sort(key=lambda f: (routes[f[0]].name != route or f[1].weight < 0, -abs(f[1].weight)))
        reasons = []
        for index, trigger, matched in found[:limit]:
            meaning = trigger.says or trigger.name
            text = meaning if trigger.shape else f"‘{one_line(matched, 32)}’: {meaning}"
            reasons.append(Reason(text, routes[index].name, round(trigger.weight, 2)))
        if not reasons:
            return (Reason("no trigger matched: the route that is most often right then", route, 0.0),)
        return tuple(reasons)


def _carried_share(text: str) -> float:
    """Return how much of the earlier requests' evidence a request takes over, 0 to 1, by its words."""
    cues = follow_up_cues(text)
    if cues.follow_up:
        return _CARRY_FOLLOW_UP
    if cues.points_back and len(text) < _LONGEST_POINTING:
        return _CARRY_POINTING
    return _CARRY_PLAIN


def _version(fleet: Fleet) -> str:
    """Return a hash of what decides, eight hex digits: triggers, weights, priorities, temperature; not the reasons' words."""
    import msgspec

    triggers = [
        (r.name, r.priority, r.bias, [(t.name, t.weight, t.words, t.pattern, t.shape) for t in r.triggers])
        for r in fleet.routes
    ]
    return hashlib.blake2b(msgspec.json.encode([fleet.temperature, triggers]), digest_size=4).hexdigest()
