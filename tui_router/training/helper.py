"""The trained model in a process of its own, for those who serve it nowhere: the app itself stays light."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui_router.core.letter_choice import LetterChoice
from tui_router.core.types import Message
from tui_router.training import launcher
from tui_router.training.router_manifest import ROUTER, RouterManifest, read
from tui_router.training.training_error import TrainingError

START_S = 180.0
"""Longest wait for the model to be loaded."""


class Helper:
    """Asks the model of an artifact. Started by the first question, ended by `close`.

    Args:
        artifact: What a run left.
        wait: Wait for the model to be loaded when a question comes first; else that question gets no answer.
    """

    def __init__(self, artifact: Path, *, wait: bool = False) -> None:
        self.artifact, self._wait = artifact, wait
        self._card: RouterManifest | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Task[bool] | None = None
        self._turn = asyncio.Lock()
        self._asked = 0
        self.error = ""
        """Why it cannot answer, in a sentence."""

    @property
    def loading(self) -> bool:
        """Whether its process is being started."""
        return self._ready is not None and not self._ready.done()

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """The choice; None while the model is being loaded, when it does not answer in time, or cannot be loaded."""
        try:
            if not await self._started():
                return None
            async with asyncio.timeout(deadline_s), self._turn:
                found = await self._ask([{"role": m.role, "content": m.content} for m in messages])
        except (TimeoutError, OSError, ValueError):
            return None
        if found is None or self._card is None:
            return None
        by_letter = {
            letter: found.get(answer, 0.0) for letter, answer in zip(letters, self._card.answers, strict=False)
        }
        return LetterChoice(max(by_letter, key=lambda letter: by_letter[letter]), by_letter)

    async def probabilities(self, messages: Sequence[dict[str, str]]) -> dict[str, float] | None:
        """Answer -> probability, however long it takes; None when the model cannot be asked."""
        if not await self._started():
            return None
        async with self._turn:
            return await self._ask(list(messages))

    async def _started(self) -> bool:
        if self._ready is None:
            self._ready = asyncio.create_task(self._start(), name="trained model")
        if not self._ready.done() and not self._wait:
            return False
        return await asyncio.shield(self._ready)

    async def _start(self) -> bool:
        if names := launcher.missing():
            self.error = f"the trained model needs {', '.join(names)}: pip install 'tui-router[train]', or serve it"
            return False
        try:
            self._card = read(self.artifact / ROUTER, RouterManifest)
        except TrainingError as error:
            self.error = str(error)
            return False
        self._process = await asyncio.create_subprocess_exec(
            *launcher.command("serve", "--artifact", str(self.artifact)), cwd=self.artifact,
            env=launcher.environment(self.artifact.parent), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_S):
                said = await self._line()
        except TimeoutError:
            said = {"error": f"it was not loaded within {START_S:.0f} s"}
        self.error = str(said.get("error", "")) if said else "its process ended"
        return bool(said and said.get("ready"))

    async def _ask(self, messages: list[dict[str, str]]) -> dict[str, float] | None:
        assert self._process is not None and self._process.stdin is not None
        self._asked += 1
        self._process.stdin.write(json.dumps({"id": self._asked, "messages": messages}).encode() + b"\n")
        await self._process.stdin.drain()
        while (said := await self._line()) is not None:
            if said.get("id") == self._asked:  # an answer that came too late for an earlier question is passed over
                found: dict[str, float] = said["probabilities"]
                return found
            if "error" in said and "id" not in said:
                return None
        self.error = "its process ended"
        return None

    async def _line(self) -> dict[str, Any] | None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library that talks
            if isinstance(said, dict):
                return said
        return None

    async def close(self) -> None:
        """End the process."""
        if self._ready is not None and not self._ready.done():
            self._ready.cancel()
            await asyncio.gather(self._ready, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
