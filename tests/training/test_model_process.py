"""The trained router in a process of its own: it ends with the program that started it, and by `close`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui_router.training import launcher
from tui_router.training.model_process import ModelProcess
from tui_router.training.router_manifest import ROUTER

pytestmark = [pytest.mark.timeout(120), pytest.mark.trains]
QUESTION = [{"role": "user", "content": "is kestrel ready"}]


def gone(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


async def test_close_ends_it_and_a_later_question_starts_it_again(full):
    process = ModelProcess(full.artifact, wait=True)
    first = await process.probabilities(QUESTION)
    pid = process._process.pid
    await process.close()
    assert gone(pid) and not process.loading
    assert await process.probabilities(QUESTION) == pytest.approx(first)
    assert process._process.pid != pid
    await process.close()


async def test_close_while_it_loads(full):
    process = ModelProcess(full.artifact)
    assert await process.choose((), "ABC", 1.0) is None
    while process._process is None:
        await asyncio.sleep(0.01)
    pid = process._process.pid
    await process.close()
    assert gone(pid)


def test_it_ends_when_the_program_that_started_it_is_killed(full):
    code = (
        "import asyncio, sys; from pathlib import Path; from tui_router.training.model_process import ModelProcess\n"
        "async def main():\n"
        "    process = ModelProcess(Path(sys.argv[1]), wait=True)\n"
        "    await process.probabilities([{'role': 'user', 'content': 'x'}])\n"
        "    print(process._process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(full.artifact)], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait(10)
    assert gone(pid)


def test_it_ends_with_its_input_while_it_still_loads(tmp_path):
    os.mkfifo(tmp_path / ROUTER)  # nobody writes into it, so loading never ends
    environment = launcher.environment(tmp_path)
    process = subprocess.Popen(
        launcher.command("serve", "--artifact", str(tmp_path)), stdin=subprocess.PIPE, env=environment
    )
    process.stdin.close()
    assert process.wait(60) == 0
