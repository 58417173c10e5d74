"""Decisions on many cores: what one core decides, and nothing left behind however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.routing.learned.test_batch import ODD, requests
from tests.worlds import SHIPPED
from tui_router.core.types import Message
from tui_router.routing.evaluation.parallel import CHUNK, as_shipped, decide_parallel

ENDLESS = """
from itertools import repeat
from multiprocessing import active_children
from tests.worlds import SHIPPED
from tui_router.core.types import Request
from tui_router.routing.evaluation.parallel import by_rules, decide_parallel
found = decide_parallel(repeat(Request(text="hello")), by_rules(SHIPPED.fleet), workers=2)
try:
    next(found)
    print(*[worker.pid for worker in active_children()], flush=True)
    for _ in found:
        pass
except KeyboardInterrupt:
    found.close()
    print("stopped")
"""


@pytest.fixture
def endless():
    """A process that decides on two others until it is stopped, and those two."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process, [int(one) for one in process.stdout.readline().split()]
    process.kill()
    process.wait()


def gone(process: int) -> bool:
    """Whether a process has ended, if nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_many_cores_decide_what_one_decides():
    asked = ODD[-1:] * CHUNK + requests()
    long = "It is a long answer. " * 100 + "Shall I go on?"
    asked += [replace(one, history=(Message("user", "plan a trip"), Message("assistant", long))) for one in ODD]
    make = as_shipped(SHIPPED.fleet)
    one, many = list(decide_parallel(asked, make, workers=1)), list(decide_parallel(asked, make, workers=2))
    assert [route for route, _ in many] == [route for route, _ in one]
    assert [p for _, p in many] == pytest.approx([p for _, p in one], abs=2e-5)


def test_ctrl_c_ends_all_of_it_without_a_word(endless):
    process, workers = endless
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "stopped\n"
    assert len(workers) == 2 and all(map(gone, workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_do_not_outlive_who_started_them(endless):
    process, workers = endless
    assert len(workers) == 2 and not any(map(gone, workers))
    process.kill()
    until = time.monotonic() + 30
    while not all(map(gone, workers)):
        assert time.monotonic() < until
        time.sleep(0.05)
