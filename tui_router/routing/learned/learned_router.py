"""The learned router: a linear model over the text, shipped fitted to the seeds, and what the person has taught it.

A decision is made of four voices. The text model speaks for what the words say. A model fitted to the person's own
verdicts speaks the louder, the more the request is like the requests that it was fitted to. The memory speaks where a
single verdict was given on a request like this one. The conversation speaks where the request does not speak for itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Message, Ranking, Reason, Request
from tui_router.routing.labels import Label
from tui_router.routing.learned import batch, conversation_gate, knn_memory
from tui_router.routing.learned.embedding_head import EmbeddingHead
from tui_router.routing.learned.knn_memory import KnnMemory, Neighbour, StoredLabel
from tui_router.routing.learned.personal_model import PersonalModel
from tui_router.routing.learned.shipped_model import ShippedModel
from tui_router.routing.learned.shipped_model import shipped as shipped_prior
from tui_router.routing.learned.text_stage import TextAnalysis, TextStage, earlier
from tui_router.routing.linear.lbfgs import logs, softmax
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.router import ranked, ties
from tui_router.routing.rules.rules_router import RulesRouter

Floats = NDArray[np.floating]

_DESCRIBED = 5.0
"""How far a new route's own description moves a request that reads just like it."""
_SMALL_TALK = "simple_chat"
_ENOUGH = 2
"""Reasons for the decided route from which on single words are not quoted as well."""
_AT_A_TIME = 512
"""Requests that are decided together."""


class PriorTurn(NamedTuple):
    """An earlier request of the conversation, as it was decided."""

    reading: TextAnalysis
    chances: Floats
    message: Message


class Blended(NamedTuple):
    """What n requests come to, when memory and conversation have had their say."""

    chances: Floats
    """Shape (n, routes)."""
    near: list[list[Neighbour]]
    held: Floats
    """How much the conversation lent, 0 to 1. Shape (n,)."""
    lender: NDArray[np.intp]
    """The turn that lent most, counted back from the request. Shape (n,)."""
    scope: Floats


class Trace(NamedTuple):
    """How a decision came about."""

    reading: TextAnalysis
    chances: Floats
    near: list[Neighbour]
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
        personal: A model fitted to the person's own verdicts.
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
        prior: ShippedModel | None = None,
        personal: PersonalModel | None = None,
        text: TextModel | None = None,
    ) -> None:
        self.fleet, self.rules, self.personal = fleet, rules, personal
        self.prior = prior or shipped_prior()
        self.text_stage = TextStage(fleet, rules, self.prior, personal, text)
        self.projection = self.text_stage.projection
        self.memory = KnnMemory(self.projection)
        self._routes = self.text_stage.routes
        self._priority = np.log(np.array([route.priority for route in fleet.routes]))
        self._ties = ties(fleet)
        self._plain = not self._priority.any()
        self._small_talk = next((i for i, r in enumerate(fleet.routes) if _SMALL_TALK in (r.name, *r.was)), -1)
        self._taught = hashlib.blake2b(digest_size=4)
        self._version = ""
        self._describe_new_routes()

    def _describe_new_routes(self) -> None:
        """Let a route that the prior does not know begin with its own description as its only example."""
        for place, route in enumerate(self.fleet.routes):
            if not self.text_stage.known[place]:
                words = " ".join(word.rstrip("*") for t in route.triggers if t.weight > 0 for word in t.words)
                said = f"{route.name.replace('_', ' ')} {route.description} {words}"
                self.memory.keep(
                    StoredLabel(-1 - place, route.description, route.name, _DESCRIBED, ""),
                    self.projection.embedding(tokenize(said)),
                )

    @property
    def version(self) -> str:
        """Eight hex digits: the prior, the rules, the own model and every lesson."""
        if not self._version:
            own = self.personal.name if self.personal is not None else ""
            head = self.text_stage.head.encoder if self.text_stage.head is not None else ""
            made = hashlib.blake2b(f"{self.prior.made_from} {self.rules.version} {own} {head}".encode(), digest_size=4)
            made.update(self._taught.digest())
            self._version = made.hexdigest()
        return self._version

    # -- deciding ------------------------------------------------------------------------------------------------
    def decide(self, request: Request) -> Decision:
        """One decision. Calls nothing; time grows with the text up to `shape.HEAD + shape.TAIL` characters."""
        start = time.perf_counter()
        voices = self.consider(request)
        ranking = self._ranking(self.by_priority(voices.chances).tolist())
        look = voices.reading.evidence.look
        return Decision(
            ranking=ranking,
            model=self.fleet.route(ranking[0][0]).model,
            reasons=self._reasons(voices, ranking[0][0]),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
            classified=look.classified,
        )

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decisions in the order of the requests."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """The ranking of each decision, in the order of the requests; three times as fast as the decisions.

        A served encoder has no say in them: it is asked for one request at a time.
        """
        rest = iter(requests)
        while some := list(islice(rest, _AT_A_TIME)):
            yield from map(self._ranking, batch.chances(self, some).tolist())

    def _ranking(self, p: list[float]) -> Ranking:
        return ranked(self._routes, p, self._ties)

    def by_priority(self, chances: Floats) -> Floats:
        """Probabilities after the routes' priorities; they sum to 1."""
        return chances if self._plain else softmax(logs(chances) + self._priority)

    def use_head(self, head: EmbeddingHead | None) -> None:
        """Let a head over the vectors of a served encoder speak too, wherever `reader.hear` brings a vector."""
        self.text_stage.use_head(head)
        self._version = ""

    def consider(self, request: Request) -> Trace:
        """All voices on a request, in its conversation."""
        return self._mixed_one(*self._told(request))

    def signs(self, request: Request) -> conversation_gate.GateInputs | None:
        """What the gate of the conversation looks at; None without one."""
        reading, past, asked = self._told(request)
        return self._signs(reading, past, asked) if past else None

    def _told(self, request: Request) -> tuple[TextAnalysis, list[PriorTurn], bool]:
        """(what the request says by itself, the turns before it, whether the answer before it ended with a question)."""
        past: list[PriorTurn] = []
        asked = False
        for message in conversation_gate.window(request.history):
            if message.role == "assistant":
                asked = conversation_gate.asks(message)
                continue
            before = self.text_stage.read(earlier(message))
            past.append(PriorTurn(before, self._mixed_one(before, past, asked).chances, message))
            asked = False
        return self.text_stage.read(request), past, asked

    def _mixed_one(self, reading: TextAnalysis, past: list[PriorTurn], asked: bool) -> Trace:
        own = reading.chances
        if not past and not len(self.memory):
            chances = reading.scope * own + (1 - reading.scope) / len(own)
            return Trace(reading, chances, [], 0.0, "", reading.scope)
        signs = self._signs(reading, past, asked) if past else None
        sketches = reading.embedding[None] if len(self.memory) else None
        made = self.mixed(own[None], np.array([reading.scope]), signs, sketches)
        lender = past[-1 - int(made.lender[0])].message.content if past else ""
        return Trace(reading, made.chances[0], made.near[0], float(made.held[0]), lender, float(made.scope[0]))

    def _signs(self, reading: TextAnalysis, past: list[PriorTurn], asked: bool) -> conversation_gate.GateInputs:
        newest_first = past[: -conversation_gate.TURNS - 1 : -1]
        chances = np.array([[before.chances for before in newest_first]])
        before = conversation_gate.Past(
            chances,
            np.array([[before.reading.embedding @ reading.embedding for before in newest_first]]),
            self.small_talk(chances) > conversation_gate.IDLE,
            np.array([[before.message.shows_image for before in newest_first]]),
            np.array([[before.reading.said.role > 0 for before in newest_first]]),
        )
        own = reading.chances[None]
        return conversation_gate.GateInputs(
            np.array([reading.said]), own, before, np.array([float(asked)]), self.small_talk(own)
        )

    def small_talk(self, chances: Floats) -> Floats:
        """The probability of small talk; 0 where the fleet has no route for it."""
        return chances[..., self._small_talk] if self._small_talk >= 0 else np.zeros(chances.shape[:-1])

    def mixed(
        self, own: Floats, scope: Floats, signs: conversation_gate.GateInputs | None, sketches: Floats | None
    ) -> Blended:
        """What requests come to.

        Args:
            own: What each says by itself. Shape (n, routes).
            scope: Of each. Shape (n,).
            signs: Of their conversations; None when they have none.
            sketches: Of the requests; None when nothing is in memory.
        """
        n = len(own)
        held: Floats = np.zeros(n)
        lent, lender = own, np.zeros(n, np.intp)
        if signs is not None:
            lent, lender = conversation_gate.lent(signs.past)
            held = conversation_gate.gate(self.prior.context, conversation_gate.features(signs, lent, lender))
        near: list[list[Neighbour]] = [[]] * n
        inside = scope
        if sketches is not None:
            sure, moves = np.zeros(n), np.zeros(own.shape)
            likeness = self.memory.likeness(sketches)
            some = np.flatnonzero((likeness > knn_memory.ALIKE).any(axis=1))
            for i in some.tolist():
                around = self._routes[int(lent[i].argmax())] if held[i] >= 0.5 else ""
                near[i] = self.memory.near(likeness[i], around)
                taught = (one.share for one in near[i] if one.lesson.strength > 0 and one.lesson.key >= 0)
                sure[i] = max(taught, default=0.0)
                by_route = knn_memory.evidence(near[i])
                moves[i] = [by_route.get(route, 0.0) for route in self._routes]
            own = own.copy()
            own[some] = softmax(logs(own[some]) + moves[some])
            held = held * (1 - sure)
            inside = np.maximum(inside, sure)
        inside = np.maximum(inside, held)
        chances = (1 - held)[:, None] * own + held[:, None] * lent
        chances = inside[:, None] * chances + ((1 - inside) / own.shape[1])[:, None]
        return Blended(chances, near, held, lender, inside)

    # -- why -----------------------------------------------------------------------------------------------------
    def _reasons(self, voices: Trace, route: str) -> tuple[Reason, ...]:
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
        text = self.text_stage.text
        known = next((text.routes[c] for c, place in self.text_stage.columns if self._routes[place] == route), None)
        if known is not None and sum(reason.route == route for reason in said) < _ENOUGH:
            words = text.because(voices.reading.features, voices.reading.scored, known, 2)
            said += [
                Reason(f"‘{one_line(word, 32)}’: usual in such requests", route, round(gain, 1)) for word, gain in words
            ]
        return tuple(said[:8]) or (Reason("nothing in it speaks for any route", route, 0.0),)

    # -- learning ------------------------------------------------------------------------------------------------
    def learn(self, lesson: Label) -> None:
        """Take a verdict to heart: the next request like it is decided by it. A few tenths of a millisecond."""
        self.memory.forget(lesson.key)
        voices = self.consider(lesson.request)
        scores = logs(self.by_priority(voices.chances))
        place = self._routes.index(lesson.route)
        others = float(np.delete(scores, place).max()) if len(scores) > 1 else 0.0
        if lesson.against:
            strength = -float(np.clip(scores[place] - others, 0.5, 2.0))
        else:
            strength = lesson.weight * float(
                np.clip(others - scores[place] + knn_memory.MARGIN, 0.0, knn_memory.STRONGEST)
            )
        around = self._routes[int(voices.chances.argmax())] if voices.held >= 0.5 else ""
        self.restore(
            StoredLabel(lesson.key, lesson.request.text[:200], lesson.route, strength, around), voices.reading.embedding
        )

    def restore(self, kept: StoredLabel, embedding: NDArray[np.float32]) -> None:
        """Put a lesson that was worked out before into memory."""
        self.memory.keep(kept, embedding)
        self._taught.update(f"{kept.key} {kept.route} {kept.strength:.2f};".encode())
        self._version = ""

    def forget(self, key: int) -> None:
        """Unlearn what the verdict of a turn taught."""
        self.memory.forget(key)
        self._taught.update(f"{key} forgotten;".encode())
        self._version = ""
