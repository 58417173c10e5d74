"""The trained router in a running program: which run it is, how it is asked, when it is champion.

It is asked through a server that serves it. While it is champion and no server has it, a process of its own answers; as a
mere shadow it gets none, because that takes a gigabyte of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tui_router.backends.health import Health
from tui_router.backends.served_chooser import ServedLetterChooser
from tui_router.config.settings import Config
from tui_router.core.fleet import Model
from tui_router.core.letter_choice import LetterChoice, LetterChooser
from tui_router.core.types import Decision, Message, Request
from tui_router.routing.ensemble.ensemble import AUTO, RouterEnsemble
from tui_router.routing.llm.llm_router import LLMRouter
from tui_router.training.export.forms import served_name
from tui_router.training.gate.run_gate import evaluate_run
from tui_router.training.model_process import START_S, ModelProcess
from tui_router.training.router_manifest import ROUTER, ArtifactError, RouterManifest, read_json
from tui_router.training.runs import Run, RunError, all_runs, find_run
from tui_router.training.training_error import TrainingError

MISSES = 5
"""Requests in a row that it may leave unanswered; then who led before leads again."""


class PromotionError(TrainingError):
    """A run cannot become champion; the message says why."""


class TunedLetterChooser:
    """Asks the trained model: through a server, else through a process of its own if it may.

    Args:
        served: Asks a server.
        helper: The process; not started before it is needed.
        may_help: Whether it is worth a process now.
    """

    def __init__(self, served: LetterChooser, helper: ModelProcess, may_help: Callable[[], bool]) -> None:
        self._served, self.helper, self._may_help = served, helper, may_help

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """Return the choice; None when nobody answers in time."""
        start = asyncio.get_running_loop().time()
        chosen = await self._served.choose(messages, letters, deadline_s)
        left = deadline_s - (asyncio.get_running_loop().time() - start)
        if chosen is not None or left <= 0 or not self._may_help():
            return chosen
        return await self.helper.choose(messages, letters, left)


class TunedRouter:
    """One run as a router.

    Args:
        run: Finished.
        config: Settings and fleet.
        health: Where it may be served.
        may_help: Whether it is worth a process of its own.
        wait: Wait for that process to be ready, instead of going without it.

    Raises:
        ArtifactError: what the run left cannot be read.
    """

    def __init__(
        self, run: Run, config: Config, health: Health, may_help: Callable[[], bool], *, wait: bool = False
    ) -> None:
        card = read_json(run.artifact / ROUTER, RouterManifest)
        self.run = run
        name = served_name(run)
        health.watch(Model(name=name, context=4096))
        self.helper = ModelProcess(run.artifact, wait=wait)
        chooser = TunedLetterChooser(ServedLetterChooser(health, name, trained=True), self.helper, may_help)
        self.router = LLMRouter("tuned", config.fleet, name, chooser, card.letter_prompt, card.temperature)
        self.misses = 0
        """Requests in a row that it did not answer."""

    async def close(self) -> None:
        """Stop its process."""
        await self.helper.close()


def chosen_run(folder: Path, leading: str) -> Run | None:
    """Return the run that is the trained router: the champion, else the newest that can decide; None without one."""
    if leading:
        with suppress(RunError):
            run = find_run(folder, leading)
            return run if run.finished else None
        return None
    return next((run for run in all_runs(folder) if run.finished and run.record.recipe.label == "letter"), None)


# -- the lead ----------------------------------------------------------------------------------------------------
def passes(ensemble: RouterEnsemble, run: Run, config: Config, folder: Path) -> str:
    """Judge a run by its gate and return why it may be champion. Blocks for seconds; the caller then promotes it.

    Raises:
        PromotionError, RunError, ArtifactError: it does not pass, or cannot be asked.
    """
    if ensemble.pinned != AUTO:
        raise PromotionError(f'fleet.toml pins {ensemble.pinned} (settings.router); set it to "auto" first')
    if ensemble.champion_run == run.id:
        raise PromotionError(f"run {run.id} is champion already")
    if not run.finished:
        raise PromotionError(f"run {run.id} has no artifact yet; its training must end first")
    sheet = read_json(run.artifact / ROUTER, RouterManifest).letter_prompt
    known = {config.fleet.names.get(name) for name in sheet.routes}
    if unknown := [r.name for r in config.fleet.routes if r.name not in known]:
        raise PromotionError(
            f"run {run.id} was never taught {', '.join(unknown)}; export the dataset again and train anew"
        )
    verdict = evaluate_run(run, config, folder, ensemble.champion, ensemble.champion_run, promoting=True)
    if not verdict.passed:
        failed = "; ".join(f"{check.name}: {check.message}" for check in verdict.checks if not check.passed)
        raise PromotionError(f"the gate refuses run {run.id}: {failed}")
    right = (
        f"{verdict.candidate_right} of {verdict.n} sealed requests right, {verdict.champion} {verdict.baseline_right}"
    )
    return f"run {run.id} passed its gate: {right}"


def before(ensemble: RouterEnsemble) -> str:
    """Return the champion before the trained router. Raises PromotionError when no trained router is champion."""
    if not ensemble.champion_run:
        raise PromotionError("no trained router is champion, so there is nothing to roll back")
    return ensemble.best_immediate


ROLLED_BACK = "rolled back by you"


class BlockingTunedRouter:
    """A trained champion for callers that wait for each decision: the command line.

    Args:
        ensemble: With the trained router as champion.
        config: Settings and fleet.
        folder: The data folder.
    """

    def __init__(self, ensemble: RouterEnsemble, config: Config, folder: Path) -> None:
        self._race, self._loop = ensemble, asyncio.Runner()
        self.trouble = ""
        """Why another router decided, in a sentence; empty when all is well."""
        self._health = Health(config.fleet, config.backends)
        self._tuned: TunedRouter | None = None
        run = chosen_run(folder, ensemble.champion_run)
        try:
            if run is None:
                raise ArtifactError(f"run {ensemble.champion_run} is gone")
            self._tuned = TunedRouter(run, config, self._health, lambda: True, wait=True)
        except ArtifactError as error:
            self.trouble = f"{error}; {ensemble.best_immediate} decides"
        self._loop.run(self._health.look())

    def decide(self, request: Request) -> Decision:
        """Decide; the champion before it decides when the trained router does not answer."""
        if self._tuned is not None:
            made = self._loop.run(self._tuned.router.decide(request, START_S))  # its process may have to load first
            if made is not None:
                return self._race.calibrated(made)
            self.trouble = self.trouble or f"the trained router did not answer; {self._race.best_immediate} decides"
            if self._tuned.helper.error:
                self.trouble = f"{self._tuned.helper.error}; {self._race.best_immediate} decides"
        return self._race.decide(request).decision

    def close(self) -> str:
        """Stop its process and close its connections; returns why another router decided, if one did."""
        if self._tuned is not None:
            self._loop.run(self._tuned.close())
        self._loop.run(self._health.close())
        self._loop.close()
        return self.trouble
