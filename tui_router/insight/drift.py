"""Drift: since when requests, models or outcomes are not what they were.

Each thing that is watched is a stream of yes and no, one for each turn that says anything about it. Its usual share comes
from the first turns; from then on a bet is held against "no more often than usual", for several alternatives at once, and
starts afresh whenever it loses (an e-detector: Shin, Ramdas and Rinaldo 2023, "E-detectors: a nonparametric framework for
sequential change detection"). When the bets have multiplied their stake by `BUDGET` times the number of streams, that is
told. However often one looks, false alarms come at most once in `BUDGET` turns on average, for as long as the usual share
is really as it was taken: it is taken at the far end of its 68 % interval, because it was estimated. Outcomes have half of
that budget, the other streams share the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.types import Turn

About = Literal["requests", "fleet", "outcomes"]
BUDGET = 1000
"""Turns for one false alarm at most, on average, all streams together."""
USUAL = 150
"""Turns that say what is usual, for each stream."""
FEWEST = 30
"""With fewer than that nothing is usual yet."""
_BETS = (0.12, 0.3, 0.6)
"""The alternatives: so much of the way from the usual share to certainty."""
_EXAMPLES = 5
_ANCHOR = 1000
"""The history is watched from a turn whose number is a multiple of this, so that looking again finds the same."""

DriftCheck = Callable[[Turn], bool | None]
"""Whether a turn shows what is watched; None when it says nothing about it."""


class Drift(Struct, frozen=True, kw_only=True):
    """A change, found."""

    about: About
    what: str
    """Name of the stream: `unsure`, `route code`, `slow gpt-oss-20b`, ..."""
    says: str
    since: str
    """Id of the turn at which it seems to have begun."""
    at: str
    """When that was."""
    found: str
    """Id of the turn at which it was found."""
    turns: tuple[str, ...]
    """Ids of some turns that show it, newest first."""


class Detector:
    """Watches one share for a rise.

    Args:
        usual: The share that is usual at most, above 0 and below 1.
        limit: How often the stake must have multiplied.
    """

    def __init__(self, usual: float, limit: float) -> None:
        self.usual, self._limit = usual, limit
        self._bets = [usual + (1 - usual) * way for way in _BETS]
        self._stakes = [1.0] * len(_BETS)
        self.began = 0
        """Steps since the bets that lead now were last at their start."""
        self._ages = [0] * len(_BETS)

    def step(self, shown: bool) -> bool:
        """One more turn; whether the share has risen."""
        for place, bet in enumerate(self._bets):
            if self._stakes[place] <= 1:
                self._stakes[place], self._ages[place] = 1.0, 0
            self._ages[place] += 1
            self._stakes[place] *= bet / self.usual if shown else (1 - bet) / (1 - self.usual)
        lead = max(range(len(_BETS)), key=self._stakes.__getitem__)
        self.began = self._ages[lead]
        return sum(self._stakes) / len(_BETS) >= self._limit


class _Stream:
    """One thing that is watched: first what is usual, then the bets."""

    def __init__(self, about: About, what: str, look: DriftCheck, says: str, limit: float) -> None:
        self.about, self.what, self.look, self.says, self._limit = about, what, look, says, limit
        self._shown = self._n = 0
        self._detector: Detector | None = None
        self._since: list[tuple[Turn, bool]] = []

    def step(self, turn: Turn) -> Drift | None:
        """One more turn."""
        shown = self.look(turn)
        if shown is None:
            return None
        if self._detector is None:
            self._shown += shown
            self._n += 1
            if self._n == USUAL:
                high = wilson(self._shown, self._n, 1.0)[1]
                self._detector = Detector(min(0.98, max(0.01, high)), self._limit)
            return None
        self._since.append((turn, shown))
        if not self._detector.step(shown):
            del self._since[: -(self._detector.began)]
            return None
        return self._told()

    def _told(self) -> Drift:
        assert self._detector is not None
        lately = self._since[-self._detector.began :]
        hits = sum(shown for _, shown in lately)
        said = f"{self.says} in {hits} of {len(lately)} turns since turn {lately[0][0].number}; before in {self._shown} of {self._n}"
        made = Drift(
            about=self.about, what=self.what, says=said, since=lately[0][0].id, at=lately[0][0].at, found=lately[-1][0].id,
            turns=tuple(turn.id for turn, shown in reversed(lately) if shown)[:_EXAMPLES],
        )  # fmt: skip
        self._shown = self._n = 0  # what is usual is learned anew
        self._detector = None
        self._since.clear()
        return made


class Watch:
    """All streams of a history, turn by turn.

    Args:
        fleet: Routes of today.
        threshold: Confidence below which the router is unsure.
        known: The first turns: which models and how long requests there are.
    """

    def __init__(self, fleet: Fleet, threshold: float, known: Sequence[Turn]) -> None:
        streams: list[tuple[About, str, DriftCheck, str]] = [
            ("requests", "unsure", lambda t: t.decision.confidence < threshold, "the router was unsure"),
            (
                "requests",
                "images",
                lambda t: t.request.shows_image,
                "an image came with the request",
            ),
            ("requests", "other script", lambda t: _foreign(t.request.text), "the request was in another script"),
            ("outcomes", "wrong", _wrong, "the decision was wrong"),
            ("fleet", "no answer", _unanswered, "no model answered"),
            ("fleet", "another model", _instead, "another model served than was meant"),
        ]
        lengths = sorted(len(t.request.text) for t in known)
        if len(lengths) >= FEWEST:
            long = lengths[len(lengths) * 9 // 10]
            streams.append(
                (
                    "requests",
                    "long",
                    lambda t: len(t.request.text) > long,
                    f"the request had more than {long} characters",
                )
            )
        for route in fleet.routes:
            streams.append(
                ("requests", f"route {route.name}", _decided(fleet, route.name), f"the request went to {route.name}")
            )
        slowest: dict[str, float] = {}
        for model in sorted({t.dispatch.served for t in known if t.dispatch is not None and t.dispatch.served}):
            speeds = sorted(s for t in known if (s := _speed(t, model)) is not None)
            if len(speeds) >= FEWEST:
                slow = slowest[model] = speeds[len(speeds) // 10]
                streams.append(
                    ("fleet", f"slow {model}", _slow(model, slow), f"{model} was slower than {slow:.0f} tokens/s")
                )
            name = _usual_name(known, model)
            if name:
                streams.append(
                    (
                        "fleet",
                        f"changed {model}",
                        _changed(model, name),
                        f"{model} was served as something else than {name}",
                    )
                )
        streams.append(("fleet", "slow", _slow_of_all(slowest), "the model was slower than it mostly is"))
        others = sum(about != "outcomes" for about, *_ in streams)
        self.streams = [_Stream(*one, BUDGET * 2 * (1 if one[0] == "outcomes" else others)) for one in streams]

    def step(self, turn: Turn) -> Iterator[Drift]:
        """What is found with one more turn."""
        if turn.state == "cancelled":
            return
        for stream in self.streams:
            if (found := stream.step(turn)) is not None:
                yield found


def drifts(turns: Sequence[Turn], fleet: Fleet, threshold: float) -> list[Drift]:
    """The changes in a history, oldest first.

    Args:
        turns: Oldest first; those from `anchor` on.
        fleet: Routes of today.
        threshold: Confidence below which the router is unsure.
    """
    watch = Watch(fleet, threshold, turns[: 2 * USUAL])
    return [found for turn in turns for found in watch.step(turn)]


def anchor(newest: int) -> int:
    """The number of the turn from which on a history is watched whose newest turn is this one: 1,000 to 2,000 turns."""
    return max(0, newest // _ANCHOR - 1) * _ANCHOR


# -- what is watched -----------------------------------------------------------------------------------------------
def _wrong(turn: Turn) -> bool | None:
    verdict = turn.verdict
    return None if verdict is None or not verdict.counts else verdict.rating == "wrong"


def _unanswered(turn: Turn) -> bool | None:
    return None if turn.dispatch is None else turn.dispatch.served is None


def _instead(turn: Turn) -> bool | None:
    made = turn.dispatch
    return None if made is None or made.served is None else made.served != made.intended


def _foreign(text: str) -> bool:
    letters = [c for c in text[:400] if c.isalpha()]
    return bool(letters) and sum(c > "\u024f" for c in letters) > len(letters) / 2


def _decided(fleet: Fleet, route: str) -> DriftCheck:
    return lambda turn: fleet.names.get(turn.decision.route) == route


def _speed(turn: Turn, model: str) -> float | None:
    if turn.dispatch is None or turn.dispatch.served != model or turn.answer is None:
        return None
    return turn.answer.tokens_per_second


def _slow(model: str, limit: float) -> DriftCheck:
    return lambda turn: None if (speed := _speed(turn, model)) is None else speed < limit


def _slow_of_all(limits: Mapping[str, float]) -> DriftCheck:
    def look(turn: Turn) -> bool | None:
        model = turn.dispatch.served if turn.dispatch is not None else None
        if model is None or model not in limits or (speed := _speed(turn, model)) is None:
            return None
        return speed < limits[model]

    return look


def _usual_name(known: Sequence[Turn], model: str) -> str:
    names = Counter(t.dispatch.served_as for t in known if t.dispatch is not None and t.dispatch.served == model)
    return names.most_common(1)[0][0] if names else ""


def _changed(model: str, name: str) -> DriftCheck:
    def look(turn: Turn) -> bool | None:
        made = turn.dispatch
        return None if made is None or made.served != model else made.served_as != name

    return look
