"""Events of the engine. Listeners get them in the order in which they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from tui_router.core.types import Observation, Turn
from tui_router.store.store import StoreChange

if TYPE_CHECKING:
    from tui_router.learning.online_learner import CorrectionEffect


class TurnEvent(Struct, frozen=True):
    """A turn began, or its stored state changed."""

    turn: Turn
    new: bool = False


TextReset = Literal["", "retracted", "discarded"]
"""`retracted`: all text so far is reasoning; `discarded`: it came from a model that failed."""


class TextEvent(Struct, frozen=True):
    """A piece of an answer that is being streamed. Not cleaned."""

    turn_id: str
    text: str = ""
    reasoning: str = ""
    reset: TextReset = ""


class PhaseEvent(Struct, frozen=True):
    """What a turn waits for: `asking MODEL`, `loading`, `reading`, `slow`, ..."""

    turn_id: str
    phase: str
    model: str = ""
    fraction: float | None = None


class NoticeEvent(Struct, frozen=True):
    """Something that a person should know, beside the turns."""

    observation: Observation


class HealthEvent(Struct, frozen=True):
    """The state of a model or a server changed."""


class EffectEvent(Struct, frozen=True):
    """A verdict was learned; says what it changed."""

    effect: CorrectionEffect


class ChampionEvent(Struct, frozen=True):
    """The champion is another one, or was fitted again."""

    champion: str


class StoreEvent(Struct, frozen=True):
    """Another process wrote into the store."""

    change: StoreChange


EngineEvent = TurnEvent | TextEvent | PhaseEvent | NoticeEvent | HealthEvent | EffectEvent | ChampionEvent | StoreEvent
