"""Request, Decision, Dispatch, Answer, Verdict, Turn: what a turn is made of.

All are frozen and serialise to JSON by `msgspec`; the field names are the stored format (schema version in
`tui_router.store.schema`) and, where the command line prints them, a contract with other programs.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Role = Literal["system", "user", "assistant"]
Rating = Literal["right", "wrong"]

VerdictKind = Literal["route", "answer", "note", "accepted", "chosen", "audit"]
"""What a verdict is about; `core.verdicts` says what follows from it.

`route`: the route acted on was right or wrong. `accepted`, `chosen`: the person was asked before sending, and kept the
decided route or chose another. `audit`: an answer to a random check. `answer`: the answer was bad; never a route label.
`note`: a comment alone.
"""

TurnState = Literal[
    "asking", "routed", "answering", "done", "stopped", "interrupted", "failed", "unanswered", "cancelled"
]
"""`asking` waits for the person; `stopped` was stopped by the person; `interrupted` broke after text was shown;
`failed` broke before; `unanswered` was never sent on purpose; `cancelled` by the person before it was sent."""


AskReason = Literal["", "unsure", "worth"]
"""Why the person was asked: not at all; before sending, because the decision was `unsure`; after the answer had begun, because
the label would be `worth` much to the router."""


class Attachment(Struct, frozen=True, kw_only=True):
    """A file that goes with a request. Its bytes stay where they are; they are read when the request is sent."""

    path: str
    media_type: str
    size_bytes: int
    sha256: str
    kind: Literal["image"] = "image"


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of the conversation so far."""

    role: Role
    content: str
    attachments: tuple[Attachment, ...] = ()
    has_image: bool = False
    """The caller says that an image came with it; an attachment says so too."""

    @property
    def shows_image(self) -> bool:
        """Whether an image came with it."""
        return self.has_image or bool(self.attachments)


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked: text, attachments, and the conversation so far (oldest first)."""

    text: str
    """What is classified and sent: as it came, without the `@image PATH` references that became attachments."""
    typed: str = ""
    """The text exactly as typed, kept when it differs from `text`."""
    attachments: tuple[Attachment, ...] = ()
    history: tuple[Message, ...] = ()
    has_image: bool = False
    """An image is attached, or the caller says that one will be."""
    has_code: bool = False
    """The caller says that the request carries code."""

    @property
    def shows_image(self) -> bool:
        """Whether an image comes with it."""
        return self.has_image or bool(self.attachments)


class Reason(Struct, frozen=True):
    """One piece of evidence, in words: `'goto' + a domain name: browser action`."""

    text: str
    route: str
    weight: float
    """Signed; negative evidence speaks against its route. Unit: the router's own score."""


Ranking = tuple[tuple[str, float], ...]
"""(route, probability), likeliest first; the probabilities sum to 1."""


class Decision(Struct, frozen=True, kw_only=True):
    """Probabilities over all routes, made without calling the target model."""

    ranking: Ranking
    model: str
    """The primary model of the likeliest route."""
    reasons: tuple[Reason, ...]
    router: str
    version: str
    elapsed_ms: float
    classified: str = ""
    """The text that was classified, when it is not the whole request."""
    temperature: float = 1.0
    """By which the router's own probabilities were flattened (above 1) or sharpened, to be calibrated."""

    @property
    def route(self) -> str:
        """The likeliest route."""
        return self.ranking[0][0]

    @property
    def confidence(self) -> float:
        """The probability of the likeliest route, 0 to 1."""
        return self.ranking[0][1]

    def probability(self, route: str) -> float:
        """Return the probability of one route; 0 for a route that was not known then."""
        return next((p for name, p in self.ranking if name == route), 0.0)


class Promotion(Struct, frozen=True, kw_only=True):
    """A router became champion, or ceased to be, by a gate, a rollback or missing answers: not by comparing verdicts."""

    at: str
    router: str
    """The champion from here on."""
    reason: str
    after: int
    """Number of the newest turn then: later turns were decided by this champion."""
    run: str = ""
    """The training that made the router; empty for those that come with the program."""


class Hop(Struct, frozen=True):
    """A candidate that did not serve the turn, and why."""

    model: str
    reason: str
    elapsed_ms: float


class Dispatch(Struct, frozen=True, kw_only=True):
    """Which model served a turn. Intended and served stay apart: availability must never become a label."""

    intended: str
    served: str | None = None
    served_as: str = ""
    """What the server calls the model."""
    backend: str = ""
    """Base URL of the server."""
    hops: tuple[Hop, ...] = ()
    note: str = ""
    """Anything else worth showing, such as a server that answered with another model than asked."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back. Text is kept as it came; it is cleaned where it is shown."""

    text: str = ""
    reasoning: str = ""
    finish: str = ""
    """The server's finish reason (`stop`, `length`, `tool_calls`, ...), or empty when it gave none."""
    tool_calls: tuple[str, ...] = ()
    """Each call as JSON text: `{"name": ..., "arguments": ...}`. Shown, never executed."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_ms: float | None = None
    """From sending to the first token of text or reasoning."""
    tokens_per_second: float | None = None
    """Completion tokens over the time from the first to the last one, measured here."""
    elapsed_ms: float = 0.0
    load_ms: float | None = None
    error: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """The person's feedback on a turn."""

    kind: VerdictKind
    at: str
    """UTC, ISO 8601 with milliseconds."""
    rating: Rating | None = None
    """None for a note alone."""
    route: str | None = None
    """The right route, when it is known. None with `wrong`: negative evidence only."""
    comment: str = ""
    source: str = "key"
    """`key`, `ask` (chosen or accepted before sending) or `command line`."""


class Turn(Struct, frozen=True, kw_only=True):
    """One Request, its Decision, Dispatch, Answer and Verdict, under one id that everything joins on."""

    id: str
    """`<number>-<six hex digits>`: the number is the turn's place in the store, the digits make it unique
    across stores."""
    session: str
    at: str
    request: Request
    decision: Decision
    route: str
    """The route that was acted on: the decided one, or the one that the person chose or pinned."""
    state: TurnState
    source: str = "screen"
    pinned_model: str = ""
    pinned_route: bool = False
    asked: AskReason = ""
    audit: float = 0.0
    """Probability, above 0 and at most 1, with which the turn was drawn at random for an audit; 0 when it was not drawn."""
    shadows: tuple[Decision, ...] = ()
    dispatch: Dispatch | None = None
    answer: Answer | None = None
    verdict: Verdict | None = None

    @property
    def number(self) -> int:
        """The part of the id that a person says: turn 12."""
        return int(self.id.partition("-")[0])


class Session(Struct, frozen=True, kw_only=True):
    """A conversation that can be resumed."""

    id: str
    started: str
    title: str = ""
    turns: int = 0
    rated: int = 0
    last: str = ""


NoticeLevel = Literal["info", "good", "caution", "wrong"]
"""How much something matters to the person, from news to trouble."""


class Observation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened beside the turns: a fallback, a repair, a server that came or went."""

    at: str
    tag: str
    text: str
    level: NoticeLevel = "info"
    turns: tuple[str, ...] = ()
    by: str = ""
    """Who says it: empty for the program itself, `counts` for what was counted, else the model that observes."""
    elapsed_ms: float = 0.0
    tokens: int = 0
    """What the observer's remark took."""
