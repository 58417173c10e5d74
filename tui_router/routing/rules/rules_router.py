"""The rules router: weighted evidence of words, patterns and shapes, never the first match.

Each trigger of the fleet that matches adds its weight to its route once; negative evidence takes away. In a
conversation the turn before lends a part of its evidence, more when the request reads like a follow-up.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tui_router.core.fleet import Fleet, Trigger
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Ranking, Reason, Request
from tui_router.routing.router import ranked, ties
from tui_router.routing.rules.pattern_set import PatternSet
from tui_router.routing.rules.text_features import SHAPES, TextView

_CAP = 12.0
_FOLLOW_UP = re.compile(
    r"\A\W*(?:and|now|also|but|so|then|again|ok(?:ay)?,? now|make (?:it|that|them|this)|do (?:it|that|the same)|can you also|"
    r"commit (?:it|that)|(?:shorter|longer|simpler|another|one more|more|continue|go on|keep going|instead|same)\b|"
    r"what about|how about|why\W*\Z|in \w+\W*\Z|use \w+ instead|try again|rewrite|rephrase|fix (?:it|that)|"
    r"take (?:the|your)|redo|given|based on|explain (?:it|that|the))",
    re.IGNORECASE,
)
_POINTS_BACK = re.compile(
    r"\b(?:it|them|those|that(?= one\b|\W*\Z|[,.;!?]| (?:again|instead|please|too|to|into|with|as|in)\b)|these(?!\s+\w+s\b)"
    r"|this one|the (?:first|second|third|last|other|previous|above) (?:one|part|line|paragraph)?"
    r"|your (?:answer|response|previous|last|own)|previous|above|earlier|same)\b",
    re.IGNORECASE,
)
_HOLD_FOLLOW_UP, _HOLD_POINTING, _HOLD_PLAIN = 0.9, 0.7, 0.15
_EARLIER_KEPT = 256
_DECAY = 0.5
_CLEAR = 3.0
"""A lead over the second route, in score, from which on a request speaks for itself."""


class Hit(NamedTuple):
    """A trigger that matched."""

    trigger: int
    """Its place in `RulesRouter.trigger_names`."""
    matched: str


class Evidence(NamedTuple):
    """What the rules find in one text, whatever was said before it."""

    look: TextView
    hits: list[Hit]
    scores: list[float]
    """One of each route, in the fleet's order."""


class RulesRouter:
    """Decides by the triggers of a fleet."""

    name = "rules"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.version = _version(fleet)
        self._triggers: list[tuple[int, Trigger]] = [
            (place, trigger) for place, route in enumerate(fleet.routes) for trigger in route.triggers
        ]
        self.trigger_names = tuple(f"{fleet.routes[place].name}.{trigger.name}" for place, trigger in self._triggers)
        self._newest: tuple[Request, Evidence] | None = None
        self._earlier: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        """Scores of earlier requests: a conversation shows them again and again."""
        self._bias = [route.bias for route in fleet.routes]
        self._routes = [route.name for route in fleet.routes]
        self._priority = [math.log(route.priority) for route in fleet.routes]
        self._ties = ties(fleet)
        self._shapes = [(SHAPES[t.shape], i) for i, (_, t) in enumerate(self._triggers) if t.shape]
        self._worded = [i for i, (_, t) in enumerate(self._triggers) if not t.shape]
        self.patterns = PatternSet([t.pattern or t.words for _, t in self._triggers if not t.shape])

    def decide(self, request: Request) -> Decision:
        """One decision. Time grows with the text only up to `shape.HEAD + shape.TAIL` characters."""
        start = time.perf_counter()
        look, hits, found = self.evidence(request)
        scores = list(found)
        held = self._hold(request, scores)
        ranking = self._ranking(scores)
        reasons = self.reasons(hits, ranking[0][0])
        if held is not None:
            reasons = (held, *reasons)
        return Decision(
            ranking=ranking,
            model=self.fleet.route(ranking[0][0]).model,
            reasons=reasons,
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
            classified=look.classified,
        )

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decisions in the order of the requests."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """The ranking of each decision, a sixth faster than the decision."""
        for request in requests:
            scores = list(self.evidence(request).scores)
            self._hold(request, scores)
            yield self._ranking(scores)

    def _ranking(self, scores: list[float]) -> Ranking:
        """The softmax of scores / temperature, weighted by the routes' priorities."""
        temperature = self.fleet.temperature
        logits = [score / temperature + priority for score, priority in zip(scores, self._priority, strict=True)]
        top = max(logits)
        weights = [math.exp(logit - top) for logit in logits]
        total = sum(weights)
        return ranked(self._routes, [weight / total for weight in weights], self._ties)

    def evidence(self, request: Request) -> Evidence:
        """What the rules find in the text of a request. Kept for the newest one: several routers ask for the same."""
        if self._newest is not None and self._newest[0] is request:
            return self._newest[1]
        look = TextView(request)
        hits = self._evidence(look)
        found = Evidence(look, hits, self._scores(hits))
        self._newest = (request, found)
        if not (request.shows_image or request.has_code):
            self._keep(request.text, found.scores)
        return found

    def _scores_of(self, text: str) -> tuple[float, ...]:
        """The scores of an earlier request."""
        scores = self._earlier.get(text)
        if scores is None:
            scores = self._keep(text, self._scores(self._evidence(TextView(Request(text=text)))))
        return scores

    def _keep(self, text: str, scores: list[float]) -> tuple[float, ...]:
        kept = self._earlier[text] = tuple(scores)
        if len(self._earlier) > _EARLIER_KEPT:
            self._earlier.popitem(last=False)
        return kept

    def weight(self, trigger: int) -> float:
        """The weight of a trigger, by its place in `trigger_names`."""
        return self._triggers[trigger][1].weight

    def _evidence(self, look: TextView) -> list[Hit]:
        hits = [Hit(self._worded[place], matched.strip()) for place, matched in self.patterns.search(look.text)]
        hits += [Hit(i, shown) for shape, i in self._shapes if (shown := shape(look)) is not None]
        return hits

    def _scores(self, hits: list[Hit]) -> list[float]:
        scores = list(self._bias)
        for index, _ in hits:
            place, trigger = self._triggers[index]
            scores[place] += trigger.weight
        return scores

    def _hold(self, request: Request, scores: list[float]) -> Reason | None:
        """Lend the evidence of earlier requests of the conversation to `scores`; the reason to show, if any."""
        earlier = [m.content for m in request.history if m.role == "user"][-3:]
        if not earlier:
            return None
        text = request.text
        if _FOLLOW_UP.search(text):
            hold = _HOLD_FOLLOW_UP
        elif len(text) < 160 and _POINTS_BACK.search(text):
            hold = _HOLD_POINTING
        else:
            hold = _HOLD_PLAIN
        first, second = sorted(scores, reverse=True)[:2]
        hold *= math.exp(-max(0.0, first - second - _CLEAR) / _CLEAR)  # what speaks for itself is held less
        decided = scores.index(first)
        lent = [0.0] * len(scores)
        for age, content in enumerate(reversed(earlier)):
            past = self._scores_of(content)
            mean = sum(past) / len(past)
            weight = hold * _DECAY**age
            for place, score in enumerate(past):
                lent[place] += weight * min(_CAP, score - mean)
        if hold >= 0.5:  # what the words of a follow-up say about its own length or tone counts less
            mean = sum(scores) / len(scores)
            scores[:] = [mean + (s - mean) * 0.5 for s in scores]
        for place, gain in enumerate(lent):
            scores[place] += gain
        now = max(range(len(scores)), key=scores.__getitem__)
        if now == decided and hold < 0.5:
            return None
        return Reason(
            f"held from the turn before: ‘{one_line(earlier[-1], 40)}’",
            self.fleet.routes[now].name,
            round(lent[now], 2),
        )

    def reasons(self, hits: list[Hit], route: str, most: int = 6) -> tuple[Reason, ...]:
        """The weightiest evidence in words, what speaks for that route first."""
        names = self.fleet.routes
        found = [(*self._triggers[index], matched) for index, matched in hits]
        found.sort(key=lambda f: (names[f[0]].name != route or f[1].weight < 0, -abs(f[1].weight)))
        said = []
        for place, trigger, matched in found[:most]:
            means = trigger.says or trigger.name
            text = means if trigger.shape else f"‘{one_line(matched, 32)}’: {means}"
            said.append(Reason(text, names[place].name, round(trigger.weight, 2)))
        if not said:
            return (Reason("nothing that the rules know: the route that answers such requests most often", route, 0.0),)
        return tuple(said)


def _version(fleet: Fleet) -> str:
    """Eight hex digits of what decides: any change of triggers, weights, priorities or temperature changes it."""
    import msgspec

    what = [(r.name, r.priority, r.bias, r.triggers) for r in fleet.routes]
    return hashlib.blake2b(msgspec.json.encode([fleet.temperature, what]), digest_size=4).hexdigest()
