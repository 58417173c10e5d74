"""Runs a trained router in a process of its own, for people who do not serve it: the app does not import torch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui_router.core.letter_choice import LetterChoice
from tui_router.core.types import Message
from tui_router.training import launcher
from tui_router.training.router_manifest import ROUTER, RouterManifest, read_json
from tui_router.training.training_error import TrainingError

START_S = 180.0
"""Longest wait for the model to be loaded."""


class ModelProcess:
    """Asks the model of an artifact.

    The process is started by the first question. It ends by `close`, or when this program ends, in whatever way. A question
    after `close` starts it again.

    Args:
        artifact: The folder that a training left.
        wait: Let a question wait until the model is loaded. Otherwise questions get no answer until then.
    """

    def __init__(self, artifact: Path, *, wait: bool = False) -> None:
        self.artifact, self._wait = artifact.absolute(), wait
        self._manifest: RouterManifest | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Task[bool] | None = None
        self._one_question = asyncio.Lock()
        self._question_id = 0
        self.error = ""
        """Why it cannot answer, in one sentence; empty when it can or was not started yet."""

    @property
    def loading(self) -> bool:
        """Whether the model is being loaded."""
        return self._ready is not None and not self._ready.done()

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """Return the model's choice, or None when it is still loading, too slow or cannot be loaded."""
        try:
            if not await self._started():
                return None
            async with asyncio.timeout(deadline_s), self._one_question:
                found = await self._ask([{"role": m.role, "content": m.content} for m in messages])
        except (TimeoutError, OSError, ValueError):
            return None
        if found is None or self._manifest is None:
            return None
        answers = zip(letters, self._manifest.answers, strict=False)
        by_letter = {letter: found.get(answer, 0.0) for letter, answer in answers}
        return LetterChoice(max(by_letter, key=lambda letter: by_letter[letter]), by_letter)

    async def probabilities(self, messages: Sequence[dict[str, str]]) -> dict[str, float] | None:
        """Return answer -> probability without a deadline; None when the model cannot be asked."""
        if not await self._started():
            return None
        async with self._one_question:
            return await self._ask(list(messages))

    async def _started(self) -> bool:
        if self._ready is None:
            self._ready = asyncio.create_task(self._start(), name="load the trained router")
        if not self._ready.done() and not self._wait:
            return False
        return await asyncio.shield(self._ready)

    async def _start(self) -> bool:
        if names := launcher.missing_packages():
            self.error = f"the trained router needs {', '.join(names)}: pip install 'tui-router[train]', or serve it"
            return False
        try:
            self._manifest = read_json(self.artifact / ROUTER, RouterManifest)
        except TrainingError as error:
            self.error = str(error)
            return False
        self._process = process = await asyncio.create_subprocess_exec(
            *launcher.command("serve", "--artifact", str(self.artifact)),
            cwd=self.artifact,
            env=launcher.environment(self.artifact.parent),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(START_S):
                first = await _read_object(process)
        except TimeoutError:
            first = {"error": f"the trained router was not loaded within {START_S:.0f} s"}
        self.error = str(first.get("error", "")) if first else "the process of the trained router ended"
        return bool(first and first.get("ready"))

    async def _ask(self, messages: list[dict[str, str]]) -> dict[str, float] | None:
        process = self._process
        if process is None or process.stdin is None:  # closed while the question waited for its turn
            return None
        self._question_id += 1
        question = {"id": self._question_id, "messages": messages}
        process.stdin.write(json.dumps(question).encode() + b"\n")
        await process.stdin.drain()
        while (reply := await _read_object(process)) is not None:
            if reply.get("id") == self._question_id:  # others answer earlier questions that timed out
                found: dict[str, float] = reply["probabilities"]
                return found
            if "error" in reply and "id" not in reply:
                return None
        self.error = "the process of the trained router ended"
        return None

    async def close(self) -> None:
        """End the process, also while the model is being loaded."""
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


async def _read_object(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """Return the next JSON object on standard output; None at its end. Other lines come from libraries."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None
