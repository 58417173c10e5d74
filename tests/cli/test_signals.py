"""Asked to end, a command ends in order: what came of an answer is kept, and the exit code names the signal."""

import asyncio
import json
import signal
import sys

import pytest

from tests.doubles.scripted import ScriptedServer, frame
from tui_router.cli import main


async def endless(request, reply):
    await reply.start_stream()
    for number in range(10_000):
        await reply.chunk(frame({"content": f"word{number} "}))
        await asyncio.sleep(0.05)


@pytest.fixture
async def asking(tmp_path, config_file):
    """`ask` in the middle of an answer; returns the process and the folder of its store."""
    server = ScriptedServer(endless, models=("gemma-3-1b",))
    file = config_file(await server.start())
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tui_router",
            "ask",
            "hello",
            "--config",
            str(file),
            "--data-dir",
            str(tmp_path / "store"),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readuntil(b"word3")
    yield process, tmp_path / "store"
    await server.close()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
async def test_a_signal_keeps_what_came_and_is_the_exit_code(asking, name, capsys):
    process, store = asking
    number = getattr(signal, name)
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == 128 + number and err.decode().splitlines()[-1] == "tui-router: stopped"
    assert b"Traceback" not in err and b"Exception ignored" not in err
    assert await asyncio.to_thread(main.run, ["turns", "--json", "--data-dir", str(store)]) == 0
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert turn["served"] == "gemma-3-1b" and turn["state"] in ("stopped", "interrupted")


async def test_a_signal_that_the_parent_ignores_is_ignored(tmp_path):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from tui_router.cli.shared import run_async\n"
        "async def work():\n os.kill(os.getpid(), signal.SIGHUP)\n import asyncio\n await asyncio.sleep(0.1)\n return 0\n"
        "sys.exit(run_async(work()))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
