"""Drift: since when requests, models or outcomes differ from what is usual.

Each monitored property is a stream of yes and no, one value for each turn that says anything about it. The first turns
estimate its usual share. From then on an e-detector tests "no more often than usual" (Shin, Ramdas and Rinaldo 2023,
"E-detectors: a nonparametric framework for sequential change detection"): it bets on several larger shares at once, and a
bet starts again whenever it has lost its stake. A drift is reported when the mean wealth of the bets reaches
`TURNS_PER_FALSE_ALARM` times the number of streams. However often one looks, false alarms come at most once in
`TURNS_PER_FALSE_ALARM` turns on average, for as long as the usual share is what it was taken to be; because it is an estimate,
the upper end of its 68 % interval is taken. Outcomes have half of that budget, the other streams share the rest.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.types import Turn
from tui_router.core.verdicts import decision_was_right
from tui_router.routing.rules.text_features import is_other_script

DriftSubject = Literal["requests", "fleet", "outcomes"]
TURNS_PER_FALSE_ALARM = 1000
"""Turns for one false alarm at most, on average, all streams together. `python scripts/sim_drift.py` shows what comes of it."""
BASELINE_TURNS = 150
"""Turns of a stream that estimate its usual share. Chosen by hand; `python scripts/sim_drift.py` shows what comes of it."""
MIN_VALUES = 30
"""Values from which on a limit of length or speed is estimated. Chosen by hand, not measured."""
_ALTERNATIVES = (0.12, 0.3, 0.6)
"""The shares that are bet on, as fractions of the way from the usual share to 1. Chosen by hand; see `scripts/sim_drift.py`."""
_SHARE_RANGE = (0.01, 0.98)
"""The usual share is kept within it: at 0 or 1 no bet is possible."""
_ONE_SIGMA = 1.0
"""Standard errors above its estimate at which the usual share is taken."""
_HOLDS_TURNS = 30
"""Values after which a drift is checked for having ended. Chosen by hand, not measured."""
_EXAMPLES = 5
"""Turns that are shown for a drift."""
_START_EVERY = 1000
"""The monitored history begins at a turn number that is a multiple of this, so that looking again finds the same."""
_SCRIPT_CHARS = 400
"""Characters from which the script of a request is read."""

DriftCheck = Callable[[Turn], bool | None]
"""Whether a turn shows the monitored property; None when it says nothing about it."""


class Drift(Struct, frozen=True, kw_only=True):
    """A change that was found."""

    subject: DriftSubject = field(name="about")
    stream: str = field(name="what")
    """Name of the stream: `unsure`, `route code`, `slow gpt-oss-20b`, ..."""
    text: str = field(name="says")
    since: str
    """Id of the turn at which it seems to have begun."""
    at: str
    """Time of that turn."""
    found: str
    """Id of the turn at which it was found."""
    turns: tuple[str, ...]
    """Ids of some turns that show it, newest first."""
    ended: str = ""
    """Time of the turn at which it had ended: of the last 30 turns that tell, fewer showed it than halfway between before and
    since. Empty while it still holds."""


class _Ending:
    """Watches whether a drift still holds."""

    def __init__(self, halfway: float) -> None:
        self.at = ""
        self._halfway = halfway
        self._values: deque[bool] = deque(maxlen=_HOLDS_TURNS)

    def step(self, turn: Turn, shown: bool) -> None:
        self._values.append(shown)
        if not self.at and len(self._values) == _HOLDS_TURNS and sum(self._values) < self._halfway * _HOLDS_TURNS:
            self.at = turn.at


class RiseDetector:
    """Tests one share for a rise, one observation at a time.

    Args:
        usual: The largest usual share, above 0 and below 1.
        limit: Mean wealth of the bets, in stakes, at which a rise is reported.
    """

    def __init__(self, usual: float, limit: float) -> None:
        self.usual, self._limit = usual, limit
        self._bets = [usual + (1 - usual) * way for way in _ALTERNATIVES]
        self._wealth = [1.0] * len(_ALTERNATIVES)
        self._ages = [0] * len(_ALTERNATIVES)
        """Per bet: observations since it last started again."""
        self.run_length = 0
        """Observations since the richest bet last started again: where the rise seems to have begun."""

    def step(self, shown: bool) -> bool:
        """Take one more observation; returns whether the share has risen."""
        for place, bet in enumerate(self._bets):
            if self._wealth[place] <= 1:
                self._wealth[place], self._ages[place] = 1.0, 0
            self._ages[place] += 1
            self._wealth[place] *= bet / self.usual if shown else (1 - bet) / (1 - self.usual)
        richest = max(range(len(_ALTERNATIVES)), key=self._wealth.__getitem__)
        self.run_length = self._ages[richest]
        return sum(self._wealth) / len(_ALTERNATIVES) >= self._limit


class Property(Struct, frozen=True):
    """Something that is monitored: a name, a test of one turn, and what to say when it happens more often."""

    subject: DriftSubject
    name: str
    check: DriftCheck
    text: str


class _Stream:
    """One property over the turns: first its usual share is estimated, then it is tested for a rise."""

    def __init__(self, monitored: Property, limit: float) -> None:
        self._property, self._limit = monitored, limit
        self._baseline_hits = self._baseline_n = 0
        self._detector: RiseDetector | None = None
        self._recent: list[tuple[Turn, bool]] = []
        """The turns of the detector's present run, oldest first."""
        self.endings: dict[str, _Ending] = {}
        """Id of the turn at which a drift was found -> whether it has ended."""

    @property
    def name(self) -> str:
        return self._property.name

    def step(self, turn: Turn) -> Drift | None:
        shown = self._property.check(turn)
        if shown is None:
            return None
        for ending in self.endings.values():
            ending.step(turn, shown)
        if self._detector is None:
            self._baseline_hits += shown
            self._baseline_n += 1
            if self._baseline_n == BASELINE_TURNS:
                upper = wilson(self._baseline_hits, self._baseline_n, _ONE_SIGMA)[1]
                least, most = _SHARE_RANGE
                self._detector = RiseDetector(min(most, max(least, upper)), self._limit)
            return None
        self._recent.append((turn, shown))
        if self._detector.step(shown):
            return self._report(self._detector)
        del self._recent[: -self._detector.run_length]
        return None

    def _report(self, detector: RiseDetector) -> Drift:
        """The drift that was just found. The stream then learns its usual share anew."""
        run = self._recent[-detector.run_length :]
        hits, first = sum(shown for _, shown in run), run[0][0]
        text = (
            f"{self._property.text} in {hits} of {len(run)} turns since turn {first.number}; "
            f"before in {self._baseline_hits} of {self._baseline_n}"
        )
        drift = Drift(
            subject=self._property.subject,
            stream=self._property.name,
            text=text,
            since=first.id,
            at=first.at,
            found=run[-1][0].id,
            turns=tuple(turn.id for turn, shown in reversed(run) if shown)[:_EXAMPLES],
        )
        halfway = (hits / len(run) + self._baseline_hits / self._baseline_n) / 2
        self.endings[drift.found] = _Ending(halfway)
        self._baseline_hits = self._baseline_n = 0
        self._detector = None
        self._recent.clear()
        return drift


class DriftMonitor:
    """Monitors all properties of a history, turn by turn.

    Args:
        fleet: Routes of today.
        threshold: Confidence, 0 to 1, below which the router is unsure.
        known: The first turns, from which the usual length of requests and the models with their speeds are read.
    """

    def __init__(self, fleet: Fleet, threshold: float, known: Sequence[Turn]) -> None:
        properties = [*_request_properties(fleet, threshold, known), *_fleet_properties(known)]
        outcomes = Property("outcomes", "wrong", _is_wrong, "the decision was wrong")
        self._streams = [_Stream(one, TURNS_PER_FALSE_ALARM * 2 * len(properties)) for one in properties]
        self._streams.append(_Stream(outcomes, TURNS_PER_FALSE_ALARM * 2))

    def step(self, turn: Turn) -> Iterator[Drift]:
        """Take one more turn; yields the drifts that it completes. A caller must exhaust the iterator."""
        if turn.state == "cancelled":
            return
        for stream in self._streams:
            if (found := stream.step(turn)) is not None:
                yield found

    def with_ending(self, drift: Drift) -> Drift:
        """Return a drift that was found here with the time at which it had ended, if it has."""
        stream = next(stream for stream in self._streams if stream.name == drift.stream)
        return replace(drift, ended=stream.endings[drift.found].at)


def find_drifts(turns: Sequence[Turn], fleet: Fleet, threshold: float) -> list[Drift]:
    """Find the changes in a history, oldest first.

    Args:
        turns: Oldest first; from `first_monitored` on, so that the same drifts are found again.
        fleet: Routes of today.
        threshold: Confidence, 0 to 1, below which the router is unsure.
    """
    monitor = DriftMonitor(fleet, threshold, turns[: 2 * BASELINE_TURNS])
    found = [drift for turn in turns for drift in monitor.step(turn)]
    return [monitor.with_ending(drift) for drift in found]


def first_monitored(newest: int) -> int:
    """Return the turn number from which a history with this newest number is monitored: 1,000 to 2,000 turns before it."""
    return max(0, newest // _START_EVERY - 1) * _START_EVERY


# -- monitored properties ------------------------------------------------------------------------------------------
def _request_properties(fleet: Fleet, threshold: float, known: Sequence[Turn]) -> Iterator[Property]:
    yield Property("requests", "unsure", lambda t: t.decision.confidence < threshold, "the router was unsure")
    yield Property("requests", "images", lambda t: t.request.shows_image, "an image came with the request")
    yield Property(
        "requests",
        "other script",
        lambda t: is_other_script(t.request.text[:_SCRIPT_CHARS]),
        "the request was in another script",
    )
    lengths = sorted(len(t.request.text) for t in known)
    if len(lengths) >= MIN_VALUES:
        limit = lengths[len(lengths) * 9 // 10]
        text = f"the request had more than {limit} characters"
        yield Property("requests", "long", lambda t: len(t.request.text) > limit, text)
    for route in fleet.routes:
        yield Property(
            "requests", f"route {route.name}", _is_decided(fleet, route.name), f"the request went to {route.name}"
        )


def _fleet_properties(known: Sequence[Turn]) -> Iterator[Property]:
    yield Property("fleet", "no answer", _is_unanswered, "no model answered")
    yield Property("fleet", "another model", _fell_back, "another model served than was meant")
    for model in sorted({name for turn in known for name in tried_models(turn)}):
        yield Property("fleet", f"failing {model}", _has_failed(model), f"{model} failed")
    limits: dict[str, float] = {}
    for model in sorted({t.dispatch.served for t in known if t.dispatch is not None and t.dispatch.served}):
        speeds = sorted(speed for t in known if (speed := _speed(t, model)) is not None)
        if len(speeds) >= MIN_VALUES:
            limit = limits[model] = speeds[len(speeds) // 10]
            text = f"{model} was slower than {limit:.0f} tokens/s"
            yield Property("fleet", f"slow {model}", _is_slower(model, limit), text)
        if served_as := _usual_served_name(known, model):
            text = f"{model} was served as something else than {served_as}"
            yield Property("fleet", f"changed {model}", _has_other_name(model, served_as), text)
    yield Property("fleet", "slow", _is_slow(limits), "the model was slower than it mostly is")


def _is_wrong(turn: Turn) -> bool | None:
    right = decision_was_right(turn)
    return None if right is None else not right


def _is_unanswered(turn: Turn) -> bool | None:
    return None if turn.dispatch is None else turn.dispatch.served is None


def tried_models(turn: Turn) -> set[str]:
    """Return the models that were asked to answer a turn: the one that served, and those that failed before it."""
    dispatch = turn.dispatch
    if dispatch is None:
        return set()
    return {hop.model for hop in dispatch.hops} | ({dispatch.served} if dispatch.served else set())


def _has_failed(model: str) -> DriftCheck:
    def check(turn: Turn) -> bool | None:
        if model not in tried_models(turn):
            return None
        return turn.dispatch is not None and turn.dispatch.served != model

    return check


def _fell_back(turn: Turn) -> bool | None:
    dispatch = turn.dispatch
    return None if dispatch is None or dispatch.served is None else dispatch.served != dispatch.intended


def _is_decided(fleet: Fleet, route: str) -> DriftCheck:
    return lambda turn: fleet.names.get(turn.decision.route) == route


def _speed(turn: Turn, model: str) -> float | None:
    """Tokens per second of a turn that this model served."""
    if turn.dispatch is None or turn.dispatch.served != model or turn.answer is None:
        return None
    return turn.answer.tokens_per_second


def _is_slower(model: str, limit: float) -> DriftCheck:
    return lambda turn: None if (speed := _speed(turn, model)) is None else speed < limit


def _is_slow(limits: Mapping[str, float]) -> DriftCheck:
    """Whether the serving model was below its own limit, in tokens per second."""

    def check(turn: Turn) -> bool | None:
        model = turn.dispatch.served if turn.dispatch is not None else None
        if model is None or model not in limits or (speed := _speed(turn, model)) is None:
            return None
        return speed < limits[model]

    return check


def _usual_served_name(known: Sequence[Turn], model: str) -> str:
    """The name that servers mostly use for a model; empty when it never served."""
    names = Counter(t.dispatch.served_as for t in known if t.dispatch is not None and t.dispatch.served == model)
    return names.most_common(1)[0][0] if names else ""


def _has_other_name(model: str, served_as: str) -> DriftCheck:
    def check(turn: Turn) -> bool | None:
        dispatch = turn.dispatch
        return None if dispatch is None or dispatch.served != model else dispatch.served_as != served_as

    return check
