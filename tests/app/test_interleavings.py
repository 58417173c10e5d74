"""Random interleavings of everything that writes a turn: the store ends as if the acts had come one after the other.

The store's thread is replaced by a queue that the test empties one job at a time, so that any act can come between any two
jobs of another. `INTERLEAVINGS=10000` is the long form (`make faults`).
"""

import asyncio
import os
import tempfile
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from tests.worlds import RULES, SHIPPED, a_turn
from tui_router.app.context import AppContext
from tui_router.app.events import TurnEvent
from tui_router.app.store_queue import StoreQueue
from tui_router.app.turn_writer import TurnWriter
from tui_router.backends.health import Health
from tui_router.core.types import Answer, Request, Verdict
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreFullError, UnknownTurnError

ROUTES = [route.name for route in SHIPPED.fleet.routes]
HEALTH = Health(SHIPPED.fleet, SHIPPED.backends, checked=False)
SHADOW = replace(RULES.decide(Request(text="write a function")), router="llm")


class OneJobAtATime(Executor):
    """Runs a job when the test says so."""

    def __init__(self):
        self.jobs = []

    def submit(self, fn, *args):
        future = Future()
        self.jobs.append((future, fn, args))
        return future

    def run_next(self):
        future, fn, args = self.jobs.pop(0)
        try:
            future.set_result(fn(*args))
        except BaseException as error:
            future.set_exception(error)


class Effect:
    """What an act does to the expected turn, once the disk has taken it.

    Args:
        change: From the expected turn before to the one after.
        unsaved: The same when the disk did not take it and it waits for room; None: then it is as if it never was.
    """

    def __init__(self, change, unsaved=None):
        self.change, self.unsaved = change, unsaved


class Interleavings(RuleBasedStateMachine):
    """One turn, everything that can happen to it, and a model of what must come of that."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        folder = Path(self.folder.name)
        self.executor = OneJobAtATime()
        context = AppContext(SHIPPED, folder, HEALTH)
        context.store_queue = StoreQueue(folder, lambda *_: None, self.executor)
        context.store_queue.store = self.store = Store(folder, check=False)
        self.other = Store(folder, check=False)
        for storage in (self.store.db.storage, self.other.db.storage):
            storage.run("PRAGMA synchronous=OFF")  # what is tested is the order, not the disk
        self.full = False
        self.store.db.storage.put = partial(self.put, self.store.db.storage.put)
        self.writer = TurnWriter(context)
        self.shown = []
        context.listen(lambda event: self.shown.append(event.turn) if isinstance(event, TurnEvent) else None)
        self.acts = []
        self.turn = self.store.record(a_turn("write a function", state="asking", answer=None))
        self.other.poll()
        self.expected = {"state": "asking", "route": self.turn.route, "answer": None, "shadows": 0, "verdicts": []}
        self.waiting = []
        """Changes of the expected turn that wait for room on the disk."""
        self.foreign = False
        self.count = 0

    def put(self, put, *args, **more):
        if self.full:
            raise StoreFullError("disk full")
        put(*args, **more)

    def teardown(self):
        while self.executor.jobs:
            self.run_a_job()
        assert all(act.done() for act in self.acts)
        assert seen(self.store.find(self.turn.id)) == with_latest(self.expected)
        for store in (self.store, self.other):
            store.close()
        self.loop.close()
        self.folder.cleanup()

    def start(self, act, effect):
        """Start an act. Its effect on the expected turn comes when its job has run, not now."""
        before = len(self.executor.jobs)
        self.acts.append(self.loop.create_task(act))
        self.tick()
        assert len(self.executor.jobs) == before + 1
        future, job, args = self.executor.jobs.pop()

        def job_and_model(*args):
            try:
                done = job(*args)
            except StoreFullError:
                if effect.unsaved is not None:
                    self.waiting.append(effect.unsaved)
                raise
            for change in [*self.waiting, effect.change]:
                self.expected = change(self.expected)
            self.waiting.clear()
            return done

        self.executor.jobs.append((future, job_and_model, args))

    def tick(self):
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))

    # -- the acts ------------------------------------------------------------------------------------------------
    @precondition(lambda self: self.executor.jobs)
    @rule()
    def run_a_job(self):
        self.executor.run_next()
        self.tick()

    @rule()
    def a_late_shadow_comes(self):
        def add(expected):
            return {**expected, "shadows": expected["shadows"] + 1}

        act = self.writer.change(self.turn.id, lambda t: replace(t, shadows=(*t.shadows, SHADOW)), "the shadow")
        self.start(act, Effect(add, add))

    @rule(state=st.sampled_from(["done", "stopped", "interrupted", "failed"]))
    def the_answer_ends(self, state):
        text = self.name("answer")

        def end(expected):
            return {**expected, "state": state, "answer": text}

        act = self.writer.change(
            self.turn.id, lambda t: replace(t, state=state, answer=Answer(text=text)), "the answer"
        )
        self.start(act, Effect(end, end))

    @rule(route=st.sampled_from(ROUTES))
    def the_person_chooses(self, route):
        verdict = self.verdict(route, "chosen")

        def send(expected):
            return {**expected, "route": route, "state": "routed"}

        act = self.writer.rate(self.turn.id, verdict, lambda t: replace(t, route=route, state="routed"))
        self.start(act, Effect(lambda expected: rated(send(expected), verdict), send))

    @rule(route=st.sampled_from(ROUTES))
    def the_person_rates(self, route):
        verdict = self.verdict(route, "route")
        self.start(self.writer.rate(self.turn.id, verdict), Effect(lambda expected: rated(expected, verdict)))

    @rule()
    def the_person_undoes(self):
        act = unless_unknown(self.writer.rate(self.turn.id, None))
        self.start(act, Effect(lambda expected: {**expected, "verdicts": expected["verdicts"][:-1]}))

    @rule(route=st.sampled_from(ROUTES))
    def another_process_rates(self, route):
        verdict = self.verdict(route, "route")
        self.other.rate(self.turn.id, verdict)
        self.expected, self.foreign = rated(self.expected, verdict), True

    @rule()
    def poll(self):
        change = self.store.poll()
        assert (change is not None and self.turn.number in change.turns) == self.foreign
        self.foreign = False

    @rule()
    def the_disk_is_full_or_has_room_again(self):
        self.full = not self.full

    @precondition(lambda self: not self.executor.jobs and self.shown)
    @invariant()
    def the_newest_copy_is_shown(self):
        wanted = self.expected
        for change in self.waiting:
            wanted = change(wanted)
        assert {**seen(self.shown[-1]), "verdict": None} == {**with_latest(wanted), "verdict": None}

    def verdict(self, route, kind):
        return Verdict(kind=kind, at=self.turn.at, rating="wrong", route=route, comment=self.name("verdict"))

    def name(self, what):
        self.count += 1
        return f"{what} {self.count}"


def seen(turn):
    return {
        "state": turn.state,
        "route": turn.route,
        "answer": turn.answer.text if turn.answer else None,
        "shadows": len(turn.shadows),
        "verdict": turn.verdict.comment if turn.verdict else None,
    }


def with_latest(expected):
    shown = dict(expected)
    verdicts = shown.pop("verdicts")
    return {**shown, "verdict": verdicts[-1] if verdicts else None}


def rated(expected, verdict):
    return {**expected, "verdicts": [*expected["verdicts"], verdict.comment]}


async def unless_unknown(act):
    try:
        return await act
    except UnknownTurnError:  # nothing to take back
        return None


Interleavings.TestCase.settings = settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "150")),
    stateful_step_count=24,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_acts_that_meet_end_as_if_they_had_come_one_after_the_other = Interleavings.TestCase
