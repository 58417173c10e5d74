"""The learned router: a linear model over the text, shipped fitted to the seeds, and what the person has taught it.

A decision is made of four voices. The text model speaks for what the words say. A model fitted to the person's own
verdicts speaks the louder, the more the request is like the requests that it was fitted to. The memory speaks where a
single verdict was given on a request like this one. The conversation speaks where the request does not speak for itself.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Message, Reason, Request
from tui_router.routers import context, scope
from tui_router.routers import memory as memories
from tui_router.routers.base import choices_of
from tui_router.routers.embedded import Head, pooled
from tui_router.routers.grams import pieces
from tui_router.routers.lessons import Lesson
from tui_router.routers.logistic import softmax
from tui_router.routers.memory import Kept, Memory, Near, Sketcher
from tui_router.routers.own import AGREED, VOTE_SHARE, Own, form_features
from tui_router.routers.prior import Prior
from tui_router.routers.prior import shipped as shipped_prior
from tui_router.routers.rules import Evidence, RulesRouter
from tui_router.routers.textmodel import Features, Scored, TextModel
from tui_router.routers.words import shipped as shipped_words

Floats = NDArray[np.floating]

_KEPT_READINGS = 256
_BLIND, _FLOOR = 10.0, 1e-3
"""How far a route that cannot see falls behind when an image comes with the request."""
_DESCRIBED = 5.0
"""How far a new route's own description moves a request that reads just like it."""
_SMALL_TALK = "simple_chat"
_IN_SCOPE = 0.9995
_ENOUGH = 2
"""Reasons for the decided route from which on single words are not quoted as well."""


class Reading:
    """What the text of one request says by itself."""

    def __init__(self, evidence: Evidence, features: Features, scored: Scored, sketcher: Sketcher) -> None:
        self.evidence, self.features, self.scored, self._sketcher = evidence, features, scored, sketcher
        self.chances: Floats = np.zeros(0)
        """Probability of each of the fleet's routes, before memory, conversation and scope."""
        self.heard = False
        """Whether the head has had its say in them."""
        self.scope = 1.0

    @cached_property
    def sketch(self) -> NDArray[np.float32]:
        """For likeness to other requests. Made when it is needed."""
        return self._sketcher.sketch(self.features.pieces)


class Voices(NamedTuple):
    """How a decision came about."""

    reading: Reading
    chances: Floats
    near: list[Near]
    held: float
    """How much the conversation lent, 0 to 1."""
    lender: str
    """The text of the turn that lent most."""
    scope: float


class LearnedRouter:
    """Decides by what it was fitted to, and learns from every verdict.

    Args:
        fleet: Routes of today; those that the prior does not know work from their description and triggers.
        rules: The rules of the same fleet: their evidence is a feature.
        prior: The model of the seeds.
        own: A model fitted to the person's own verdicts.
        text: The prior's text model, when another router has made it already.
    """

    name = "learned"

    @classmethod
    def as_shipped(cls, fleet: Fleet) -> LearnedRouter:
        """One that was taught nothing."""
        return cls(fleet, RulesRouter(fleet))

    def __init__(
        self,
        fleet: Fleet,
        rules: RulesRouter,
        *,
        prior: Prior | None = None,
        own: Own | None = None,
        text: TextModel | None = None,
    ) -> None:
        self.fleet, self.rules = fleet, rules
        self.prior, self.own = prior or shipped_prior(), own
        self.words = shipped_words()
        self.text = text or TextModel(self.prior.weights, self.words)
        self._own_text = TextModel(own.weights, self.words) if own is not None else None
        self.sketcher = Sketcher(self.words, self.text.rarity)
        self.memory = Memory(self.sketcher)
        self._routes = [route.name for route in fleet.routes]
        self._columns = self._known_columns(self.text.routes)
        self._own_columns = self._known_columns(own.weights.routes) if own is not None else []
        self._sees = np.array([route.needs.vision for route in fleet.routes])
        self._priority = np.log(np.array([route.priority for route in fleet.routes]))
        self._plain = not self._priority.any()
        self._small_talk = next((i for i, r in enumerate(fleet.routes) if _SMALL_TALK in (r.name, *r.was)), -1)
        self._readings: OrderedDict[tuple[str, bool, bool], Reading] = OrderedDict()
        self.names_then = tuple(route.was[-1] if route.was else route.name for route in fleet.routes)
        """The first name of each route: what models are fitted to, so that they outlive every renaming."""
        self.trigger_names = self._triggers_then()
        """The rules' triggers, by the names that the prior knows."""
        self._says_something = [name.partition(".")[2] not in _LENGTHS for name in self.trigger_names]
        self._scope_weights = self.prior.scope.tolist()
        self._known = np.zeros(len(self._routes), bool)
        self._known[[place for _, place in self._columns]] = True
        self._all_known = bool(self._known.all())
        self._same = [(place, place) for place in range(len(self._routes))]
        self.head: Head | None = None
        """A model over the vectors of a served encoder, when there is one."""
        self._head_columns: list[tuple[int, int]] = []
        self._taught = hashlib.blake2b(digest_size=4)
        self._version = ""
        self._describe_new_routes()

    def _known_columns(self, routes: tuple[str, ...]) -> list[tuple[int, int]]:
        """(column of a model, place in the fleet) of every route that both have; a renamed one is the same."""
        names = self.fleet.names
        return [(c, self._routes.index(names[route])) for c, route in enumerate(routes) if route in names]

    def _triggers_then(self) -> tuple[str, ...]:
        """The rules' triggers by the names that the prior knows: a renamed route kept its triggers."""
        before = {route.name: route.was[-1] for route in self.fleet.routes if route.was}
        return tuple(
            f"{before.get(route, route)}.{trigger}"
            for route, _, trigger in (name.partition(".") for name in self.rules.trigger_names)
        )

    def _describe_new_routes(self) -> None:
        """Let a route that the prior does not know begin with its own description as its only example."""
        for place, route in enumerate(self.fleet.routes):
            if not self._known[place]:
                words = " ".join(word.rstrip("*") for t in route.triggers if t.weight > 0 for word in t.words)
                said = f"{route.name.replace('_', ' ')} {route.description} {words}"
                self.memory.keep(
                    Kept(-1 - place, route.description, route.name, _DESCRIBED, ""), self.sketcher.sketch(pieces(said))
                )

    @property
    def version(self) -> str:
        """Eight hex digits: the prior, the rules, the own model and every lesson."""
        if not self._version:
            own = self.own.name if self.own is not None else ""
            head = self.head.encoder if self.head is not None else ""
            made = hashlib.blake2b(f"{self.prior.made_from} {self.rules.version} {own} {head}".encode(), digest_size=4)
            made.update(self._taught.digest())
            self._version = made.hexdigest()
        return self._version

    # -- deciding ------------------------------------------------------------------------------------------------
    def decide(self, request: Request) -> Decision:
        """One decision. Calls nothing; time grows with the text up to `shape.HEAD + shape.TAIL` characters."""
        start = time.perf_counter()
        voices = self.consider(request)
        chances = self._by_priority(voices.chances)
        p = chances.tolist()
        order = sorted(range(len(p)), key=lambda i: (-p[i], -self.fleet.routes[i].priority, i))
        ranking = tuple((self._routes[i], p[i]) for i in order)
        look = voices.reading.evidence.look
        return Decision(
            ranking=ranking,
            model=self.fleet.routes[order[0]].model,
            reasons=self._reasons(voices, ranking[0][0]),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
            classified=look.classified,
        )

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decisions in the order of the requests."""
        return map(self.decide, requests)

    def choices(self, requests: Iterable[Request]) -> Iterator[tuple[str, float]]:
        """(route, confidence) of each request."""
        return choices_of(self.decide_many(requests))

    def _by_priority(self, chances: Floats) -> Floats:
        """Probabilities after the routes' priorities; they sum to 1."""
        return chances if self._plain else softmax(np.log(np.maximum(chances, 1e-9)) + self._priority)

    def consider(self, request: Request) -> Voices:
        """All voices on a request, in its conversation."""
        reading = self.read(request)
        if not request.history:
            return self._mix(reading, (), "", False)
        past: list[tuple[Reading, Floats, Message]] = []
        asked = False
        for message in _window(request.history):
            if message.role == "assistant":
                asked = message.content.rstrip().endswith("?")
                continue
            before = self.read(Request(text=message.content, has_image=message.shows_image))
            voices = self._mix(before, self._past(before, past), message.content, asked)
            past.append((before, voices.chances, message))
            asked = False
        return self._mix(reading, self._past(reading, past), request.text, asked)

    def read(self, request: Request) -> Reading:
        """What the text says by itself. Kept for the texts of late: conversations repeat them."""
        key = (request.text, request.has_image or bool(request.attachments), request.has_code)
        reading = self._readings.get(key)
        if reading is None:
            if request.history:
                request = Request(
                    text=request.text, typed=request.typed, attachments=request.attachments,
                    has_image=request.has_image, has_code=request.has_code,
                )  # fmt: skip
            reading = self._readings[key] = self._read(request)
            if len(self._readings) > _KEPT_READINGS:
                self._readings.popitem(last=False)
        return reading

    def _read(self, request: Request) -> Reading:
        evidence = self.rules.evidence(request)
        hits = [self.trigger_names[hit.trigger] for hit in evidence.hits]
        rules = dict(zip(self.names_then, evidence.scores, strict=True))
        features = Features(pieces(evidence.look.text), tuple(hits), rules)
        reading = Reading(evidence, features, self.text.score(features), self.sketcher)
        chances = self._spread(softmax(reading.scored.scores / self.prior.temperature), self._columns)
        chances = self._with_new_routes(chances, evidence)
        if self.own is not None and self._own_text is not None:
            chances = self._with_own(chances, reading)
        if request.has_image or request.attachments:
            if self._sees.any():
                chances = softmax(np.log(np.maximum(chances, _FLOOR)) - _BLIND * ~self._sees)
        else:
            found = self.scope_features(reading.scored.known, float(chances.max()), evidence)
            reading.scope = scope.judge(self._scope_weights, found)
        reading.chances = chances
        return reading

    def scope_features(self, known: scope.Known, surest: float, evidence: Evidence) -> list[float]:
        """What the judgement of scope looks at."""
        hits = [hit.trigger for hit in evidence.hits if self._says_something[hit.trigger]]
        return scope.features(known, surest, len(hits), max((self.rules.weight(i) for i in hits), default=0.0))

    def use_head(self, head: Head | None) -> None:
        """Let a head speak too, wherever `hear` brings a vector."""
        self.head = head
        self._head_columns = self._known_columns(head.routes) if head is not None else []
        self._readings.clear()
        self._version = ""

    def hear(self, request: Request, vector: NDArray[np.float32]) -> None:
        """Let the head speak on a request whose vector is there; the next decision on it knows."""
        reading = self.read(request)
        if self.head is None or reading.heard or request.has_image or request.attachments:
            return
        reading.heard = True
        said = self._spread(self.head.chances(vector), self._head_columns)
        known = np.zeros(len(said), bool)
        known[[place for _, place in self._head_columns]] = True
        reading.chances = pooled(reading.chances, np.where(known, said * reading.chances[known].sum(), reading.chances))

    def _spread(self, p: Floats, columns: list[tuple[int, int]]) -> Floats:
        """A model's probabilities on the places of the fleet; routes that the fleet has no more are left out."""
        if columns == self._same:
            return p
        chances = np.zeros(len(self._routes))
        chances[[place for _, place in columns]] = p[[column for column, _ in columns]]
        total = float(chances.sum())
        return chances / total if total else np.full(len(chances), 1 / len(chances))

    def _with_new_routes(self, chances: Floats, evidence: Evidence) -> Floats:
        """Routes that the prior does not know get what the rules give them."""
        if self._all_known:
            return chances
        rules = softmax(np.array(evidence.scores) / self.fleet.temperature)
        return np.where(self._known, chances * rules[self._known].sum(), rules)

    def _with_own(self, chances: Floats, reading: Reading) -> Floats:
        """The own model's say, as much as it is to be believed on this request."""
        assert self.own is not None and self._own_text is not None
        form = form_features(reading.evidence.look.text)
        scores = self._own_text.score(reading.features).scores + form @ self.own.form_weights
        mine = self._spread(softmax(scores / self.own.temperature), self._own_columns)
        own = np.zeros(len(chances), bool)
        own[[place for _, place in self._own_columns]] = True
        mine = np.where(own, mine * chances[own].sum(), chances)
        trust = AGREED
        if int(mine.argmax()) != int(chances.argmax()):
            alike = self.own.mine.alike(reading.sketch, form)
            vote = self._spread(self.own.vote(alike), self._own_columns)
            mine = softmax(np.log(np.maximum(mine, 1e-9)) + VOTE_SHARE * np.log(np.maximum(vote, 1e-9)))
            trust = self.own.trust(alike, reading.sketch, form, float(mine.max()))
        return softmax((1 - trust) * np.log(np.maximum(chances, 1e-9)) + trust * np.log(np.maximum(mine, 1e-9)))

    def _past(self, reading: Reading, past: list[tuple[Reading, Floats, Message]]) -> tuple[context.Past, ...]:
        return tuple(
            context.Past(
                message.content, chances, float(before.sketch @ reading.sketch),
                self._small_talk >= 0 and chances[self._small_talk] > 0.5, message.shows_image,
            )
            for before, chances, message in reversed(past[-context.TURNS :])
        )  # fmt: skip

    def _mix(self, reading: Reading, past: tuple[context.Past, ...], text: str, asked: bool) -> Voices:
        own = reading.chances
        if not past and not len(self.memory):
            chances = own if reading.scope > _IN_SCOPE else reading.scope * own + (1 - reading.scope) / len(own)
            return Voices(reading, chances, [], 0.0, "", reading.scope)
        held, lender, lent = 0.0, "", own
        if past:
            idle = float(own[self._small_talk]) if self._small_talk >= 0 else 0.0
            held = context.gate(self.prior.context, context.Signs(text, own, past, asked, idle))
            lent, place = context.lent(past)
            lender = past[place].text
        around = self._routes[int(lent.argmax())] if held >= 0.5 else ""
        near = self.memory.near(reading.sketch, around) if len(self.memory) else []
        sure = max((one.share for one in near if one.lesson.strength > 0 and one.lesson.key >= 0), default=0.0)
        held *= 1 - sure
        inside = max(reading.scope, held, sure)
        if near:
            moves = memories.evidence(near)
            own = softmax(np.log(np.maximum(own, 1e-9)) + np.array([moves.get(route, 0.0) for route in self._routes]))
        chances = (1 - held) * own + held * lent
        chances = inside * chances + (1 - inside) / len(chances)
        return Voices(reading, chances, near, held, lender, inside)

    # -- why -----------------------------------------------------------------------------------------------------
    def _reasons(self, voices: Voices, route: str) -> tuple[Reason, ...]:
        said: list[Reason] = []
        if voices.held >= 0.4:
            said.append(
                Reason(f"held from the turn before: ‘{one_line(voices.lender, 40)}’", route, round(voices.held * 5, 1))
            )
        for near in voices.near[:2]:
            lesson = near.lesson
            if near.share > 0.2 and lesson.key >= 0:
                means = "you said so of" if lesson.strength > 0 else "you said it is not this for"
                weight = round(near.share * lesson.strength, 1)
                said.append(Reason(f"{means} ‘{one_line(lesson.text, 40)}’", lesson.route, weight))
        if voices.scope < 0.6:
            said.append(Reason("little in it that the router knows", route, round(4 * (voices.scope - 1), 1)))
        said += [r for r in self.rules.reasons(voices.reading.evidence.hits, route, most=4) if r.weight]
        known = next((self.text.routes[c] for c, place in self._columns if self._routes[place] == route), None)
        if known is not None and sum(reason.route == route for reason in said) < _ENOUGH:
            words = self.text.because(voices.reading.features, voices.reading.scored, known, 2)
            said += [
                Reason(f"‘{one_line(word, 32)}’: usual in such requests", route, round(gain, 1)) for word, gain in words
            ]
        return tuple(said[:8]) or (Reason("nothing in it speaks for any route", route, 0.0),)

    # -- learning ------------------------------------------------------------------------------------------------
    def learn(self, lesson: Lesson) -> None:
        """Take a verdict to heart: the next request like it is decided by it. A few tenths of a millisecond."""
        self.memory.forget(lesson.key)
        voices = self.consider(lesson.request)
        scores = np.log(np.maximum(self._by_priority(voices.chances), 1e-9))
        place = self._routes.index(lesson.route)
        others = float(np.delete(scores, place).max()) if len(scores) > 1 else 0.0
        if lesson.against:
            strength = -float(np.clip(scores[place] - others, 0.5, 2.0))
        else:
            strength = lesson.weight * float(np.clip(others - scores[place] + memories.MARGIN, 0.0, memories.STRONGEST))
        around = self._routes[int(voices.chances.argmax())] if voices.held >= 0.5 else ""
        self.recall(Kept(lesson.key, lesson.request.text[:200], lesson.route, strength, around), voices.reading.sketch)

    def recall(self, kept: Kept, sketch: NDArray[np.float32]) -> None:
        """Put a lesson that was worked out before into memory."""
        self.memory.keep(kept, sketch)
        self._taught.update(f"{kept.key} {kept.route} {kept.strength:.2f};".encode())
        self._version = ""

    def forget(self, key: int) -> None:
        """Unlearn what the verdict of a turn taught."""
        self.memory.forget(key)
        self._taught.update(f"{key} forgotten;".encode())
        self._version = ""


def _window(history: tuple[Message, ...]) -> list[Message]:
    """The end of a conversation: at most `context.TURNS` requests of the person's, and the answers between them."""
    seen = 0
    for place in range(len(history) - 1, -1, -1):
        seen += history[place].role == "user"
        if seen == context.TURNS:
            return list(history[place:])
    return list(history)


_LENGTHS = frozenset({"very short", "short", "longer", "long", "long text", "no digits", "another script"})
