"""The routers of a running program: they decide, learn from verdicts and are fitted again beside the turns.

`routing.ensemble` says which router is champion, `learning` what verdicts have made of the routers. This module says when: a
decision waits for a verdict that is being learned and for an embedding that comes in time, and for nothing else. Work of
seconds runs in other processes, or in small steps between two keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tui_router.app.context import AppContext
from tui_router.app.events import ChampionEvent, EffectEvent
from tui_router.backends.served_chooser import ServedLetterChooser
from tui_router.core.types import Decision, Request, Turn
from tui_router.routing.ensemble.champion import TUNED
from tui_router.routing.llm.llm_router import LLMRouter
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError
from tui_router.training import RUNS

if TYPE_CHECKING:
    from tui_router.app.tuned_router import TunedRouter
    from tui_router.backends.embeddings import Embedder
    from tui_router.core.types import NoticeLevel, Promotion
    from tui_router.learning.online_learner import OnlineLearner
    from tui_router.routing.ensemble.ensemble import EnsembleDecision
    from tui_router.training.runs import Run

EMBEDDING_BUDGET_S = 0.03
"""How long a decision waits for the vector of its request."""
_EMBED_AT_A_TIME = 128
_FIT_DELAY_S = 10.0
"""How long a fit waits: the verdicts that make it due come in runs, and a start has other things to do."""
_RUN_CHECK_S = 5.0
"""How often it is looked whether a training has ended."""
_AT_A_TIME = 8
"""Earlier requests that are looked at in one go after a correction: a few milliseconds."""


class RouterService:
    """All routers of a running program. Until `load` nothing can be decided, and verdicts are left to the next start.

    Args:
        context: Settings, events, tasks and the store.
        all_idle: Waits until no answer is running.
    """

    def __init__(self, context: AppContext, all_idle: Callable[[], Awaitable[None]]) -> None:
        self._context, self._all_idle = context, all_idle
        self.learner: OnlineLearner | None = None
        """The routers and what they were taught."""
        self.llm_routers: dict[str, LLMRouter] = {}
        """The routers that ask a model."""
        if model := context.config.settings.llm_router:
            self.llm_routers["llm"] = LLMRouter(
                "llm", context.config.fleet, model, ServedLetterChooser(context.health, model)
            )
        self.tuned: TunedRouter | None = None
        """The trained router, when there is one."""
        self._next_run_check = 0.0
        self._embedder: Embedder | None = None
        self._head_fit: asyncio.Task[None] | None = None
        self._personal_fit: asyncio.Task[None] | None = None
        self._learning = asyncio.Lock()
        """Held while a verdict is learned: the next request waits for it (milliseconds)."""

    async def load(self, store: Store) -> None:
        """Load the routers with what the store has taught them. Raises StoreError."""
        context = self._context

        def work() -> OnlineLearner:
            from tui_router.learning.online_learner import OnlineLearner

            made = OnlineLearner(context.config.fleet, context.folder, context.config.settings)
            made.catch_up(store)
            return made

        self.learner = learner = await context.store_queue.call(work)
        from tui_router.backends.embeddings import Embedder

        self._embedder = Embedder(context.health, learner.folder)
        await self.load_tuned_router()
        if learner.trouble:
            context.notice("caution", "learned_again", learner.trouble)
        context.emit(ChampionEvent(self.champion))
        if learner.backlog:
            context.start_task(self._catch_up(learner), "learning earlier verdicts")
        else:
            self._fit_if_due(learner)

    def loaded(self) -> OnlineLearner:
        """Return the routers. Raises StoreError until they are loaded."""
        if self.learner is None:
            raise StoreError("the routers are not loaded")
        return self.learner

    # -- deciding ------------------------------------------------------------------------------------------------
    @property
    def champion(self) -> str:
        """The name of the router that is acted on; empty until the routers are loaded."""
        return self.learner.ensemble.champion if self.learner is not None else ""

    def shadow_grades(self) -> dict[str, list[tuple[int, bool]]]:
        """Return router -> (turn number, was it right) of the graded turns, oldest first; without the champion."""
        found: dict[str, list[tuple[int, bool]]] = {}
        for one in self.learner.ensemble.grades if self.learner is not None else ():
            for name in one.decisions:
                right = one.right(name)
                if name != self.champion and right is not None:
                    found.setdefault(name, []).append((one.key, right))
        return found

    async def decide(self, request: Request) -> EnsembleDecision:
        """Have all immediate routers decide; a champion that asks a model is waited for until its deadline."""
        learner = self.loaded()
        await self._add_embedding(learner, request)
        async with self._learning:
            decided = learner.ensemble.decide(request)
        champion = self.champion
        late = self.llm_routers.get(champion)
        led = await self.decide_deferred(late, request) if late is not None else None
        if champion == TUNED:
            await self._count_miss(missed=led is None)
        return decided if led is None else decided.with_champion(led)

    async def decide_deferred(self, late: LLMRouter, request: Request) -> Decision | None:
        """Return the calibrated decision of a router that asks a model; None when it does not come in time."""
        made = await late.decide(request)
        return None if made is None else self.loaded().ensemble.calibrated(made)

    def is_worth_asking(self, request: Request, decided: EnsembleDecision) -> bool:
        """Return whether to ask although the decision is sure enough; a yes counts against the day's questions."""
        return self.loaded().is_worth_asking(request, decided)

    # -- served embeddings ---------------------------------------------------------------------------------------
    def look_for_embeddings(self) -> None:
        """Start to use an embedding model that a server has, unless that is done or under way."""
        idle = self._head_fit is None or self._head_fit.done()
        if idle and self._context.interactive and self.learner is not None:
            encoder, head = self._encoder(), self.learner.learned.text_stage.head
            if encoder and (head is None or head.encoder != encoder):
                self._head_fit = asyncio.create_task(self._fit_embedding_head(self.learner, encoder), name="embeddings")

    def _encoder(self) -> str:
        """Return what the server calls its embedding model; empty when there is none."""
        found = self._embedder.served() if self._embedder is not None else None
        return found[1].id if found is not None else ""

    async def _fit_embedding_head(self, learner: OnlineLearner, encoder: str) -> None:
        """Embed the seeds, a batch at a time while no answer is running, and fit a head to their vectors."""
        from tui_router.learning.online_learner import head_texts

        assert self._embedder is not None
        texts = head_texts()
        vectors = []
        for start in range(0, len(texts), _EMBED_AT_A_TIME):
            await self._all_idle()
            part = await self._embedder.vectors(texts[start : start + _EMBED_AT_A_TIME])
            if part is None:
                return  # it went away: what came is kept, and the next look begins where this one ended
            vectors.append(part)
        try:
            head = await asyncio.to_thread(learner.fit_head, encoder, vectors)
        except (OSError, ValueError) as error:
            self._context.notice("caution", "embeddings", f"the embeddings of {encoder} are not used: {error}")
            return
        learner.learned.use_head(head)
        self._context.notice("good", "embeddings", f"the learned router listens to {encoder} too")
        self._context.emit(ChampionEvent(self.champion))

    async def _add_embedding(self, learner: OnlineLearner, request: Request) -> None:
        """Give the learned router the embedding of a request, if it comes in time."""
        head = learner.learned.text_stage.head
        if head is None or self._embedder is None or head.encoder != self._encoder():
            return
        vector = await self._embedder.vector(request.text, EMBEDDING_BUDGET_S)
        if vector is not None and len(vector) == len(head.weights):
            learner.learned.text_stage.add_embedding(replace(request, history=()), vector)

    # -- learning ------------------------------------------------------------------------------------------------
    async def learn(self, turn_id: str) -> None:
        """Learn from a new, changed or withdrawn verdict, and publish what it changed."""
        learner, context = self.learner, self._context
        if learner is None:
            return
        async with self._learning:
            effect, champion = None, self.champion
            try:
                found = await context.store_queue.run(lambda store: _labelled_turn(learner, store, turn_id))
            except StoreError:
                return  # the next start learns it from the store
            if found is None:
                return
            turn, at, earlier = found
            if turn.verdict is not None and turn.verdict.rating == "wrong":
                probe = learner.correction_probe(turn)
                for place, other in enumerate(earlier):
                    probe.add(other)
                    if place % _AT_A_TIME == 0:
                        await asyncio.sleep(0)  # keys come first
                change = learner.apply_verdict(turn, at)
                effect = probe.result()
            else:
                change = learner.apply_verdict(turn, at)
        if effect is not None:
            context.emit(EffectEvent(effect))
        if change is not None:
            reason = learner.describe_change(change)
            if change.old == TUNED:
                await self._demote(change.new, reason)
            else:
                context.notice("good", "new_leader", reason)
        if self.champion != champion:
            context.emit(ChampionEvent(self.champion))
        if learner.save_is_due:
            await self.save()
        self._fit_if_due(learner)

    async def learn_foreign_verdicts(self, numbers: frozenset[int]) -> None:
        """Learn the verdicts that other processes gave on these turns."""
        learner, context = self.learner, self._context
        if learner is None:
            return
        for number in sorted(numbers):
            with suppress(StoreError):
                found = await context.store_queue.run(partial(learner.unlearned_verdict, number=number))
                if found is not None:
                    async with self._learning:
                        learner.apply_verdict(*found)
        context.emit(ChampionEvent(self.champion))

    async def _catch_up(self, learner: OnlineLearner) -> None:
        """Learn the verdicts that a start left for later, a few at a time."""
        context = self._context
        while learner.backlog:
            try:
                part = await context.store_queue.run(learner.next_of_backlog)
            except StoreError:
                return
            async with self._learning:
                for turn, at in part:
                    learner.learn(turn, at)
                    await asyncio.sleep(0)  # keys come first
        await self.save()
        self._fit_if_due(learner)

    def _fit_if_due(self, learner: OnlineLearner) -> None:
        idle = self._personal_fit is None or self._personal_fit.done()
        if idle and self._context.interactive and learner.refit_is_due():
            self._personal_fit = asyncio.create_task(self._fit_personal_model(learner), name="refit")

    async def _fit_personal_model(self, learner: OnlineLearner) -> None:
        """Fit the personal model in another process and put it into the ensemble."""
        from tui_router.learning.personal_fit import FitJob, refit

        context = self._context
        learner.fit_begun()
        await asyncio.sleep(_FIT_DELAY_S)
        await self._all_idle()
        try:
            labels = await context.store_queue.run(learner.labels)
        except StoreError:
            return
        trouble = await refit(FitJob(context.config.fleet, str(learner.folder), tuple(labels)))
        if trouble:
            context.notice("caution", "not_fitted", trouble)
            return
        fresh = await context.store_queue.call(learner.load_refitted)
        if fresh is not None:
            async with self._learning:
                learner.replace_learned(fresh)
            context.notice("good", "fitted", f"the learned router was fitted to your {len(labels)} labels")
            context.emit(ChampionEvent(self.champion))

    # -- the trained router ----------------------------------------------------------------------------------------
    async def load_tuned_router(self) -> None:
        """Make the run that is champion, or else the newest one, the trained router."""
        learner, context = self.loaded(), self._context
        if not (context.folder / RUNS).is_dir():
            return  # nothing was ever trained here
        from tui_router.app.tuned_router import TunedRouter, chosen_run
        from tui_router.training.router_manifest import ArtifactError

        run = await asyncio.to_thread(chosen_run, context.folder, learner.ensemble.champion_run)
        if self.tuned is not None and run is not None and self.tuned.run.id == run.id:
            return
        if self.tuned is not None:
            await self.tuned.close()
        self.tuned = None
        self.llm_routers.pop(TUNED, None)
        if run is None:
            return
        try:
            self.tuned = TunedRouter(run, context.config, context.health, lambda: self.champion == TUNED)
        except ArtifactError as error:
            context.notice("caution", "tuned", f"run {run.id} cannot be asked: {error}")
            return
        self.llm_routers[TUNED] = self.tuned.router

    async def check_runs(self) -> None:
        """Now and then: a training that has ended, whoever watched it, gives a shadow."""
        if self.learner is not None and time.monotonic() >= self._next_run_check:
            self._next_run_check = time.monotonic() + _RUN_CHECK_S
            await self.load_tuned_router()

    async def promote(self, run: Run) -> Promotion:
        """Make a run champion, if it passes its gate. Raises PromotionError, RunError, ArtifactError, StoreError."""
        from tui_router.app.tuned_router import passes

        ensemble, context = self.loaded().ensemble, self._context
        reason = await asyncio.to_thread(passes, ensemble, run, context.config, context.folder)
        return await self._make_champion(TUNED, reason, "good", run.id)

    async def rollback(self) -> Promotion:
        """Make the router champion again that was so before the trained one. Raises PromotionError, StoreError."""
        from tui_router.app.tuned_router import ROLLED_BACK, before

        return await self._make_champion(before(self.loaded().ensemble), ROLLED_BACK, "caution")

    async def reload_promotions(self) -> None:
        """Read the promotions again. The process of a trained router that is champion no longer ends."""
        ensemble, context = self.loaded().ensemble, self._context
        ensemble.restore_promotions(await context.store_queue.run(lambda store: store.promotions()))
        await self.load_tuned_router()
        if self.tuned is not None and self.champion != TUNED:
            await self.tuned.helper.close()
        context.emit(ChampionEvent(self.champion))

    async def _make_champion(self, router: str, reason: str, level: NoticeLevel, run: str = "") -> Promotion:
        """Record a new champion and publish it. Raises StoreError; then nothing has changed."""
        context = self._context
        lead = await context.store_queue.run(lambda store: store.record_promotion(router, reason, run))
        await self.reload_promotions()
        context.notice(level, "new_leader", f"{router} is champion now: {reason}")
        return lead

    async def _count_miss(self, *, missed: bool) -> None:
        """Demote a trained champion that leaves several requests in a row unanswered."""
        from tui_router.app.tuned_router import MISSES

        if self.tuned is None:
            if missed:
                await self._demote(self.loaded().ensemble.best_immediate, "the run that led is gone")
            return
        if missed and self.tuned.helper.loading:
            return  # its process has just been started
        self.tuned.misses = self.tuned.misses + 1 if missed else 0
        if self.tuned.misses >= MISSES:
            why = f" ({self.tuned.helper.error})" if self.tuned.helper.error else ""
            await self._demote(
                self.loaded().ensemble.best_immediate, f"tuned did not answer {MISSES} times in a row{why}"
            )

    async def _demote(self, router: str, reason: str) -> None:
        """Record that the trained router is champion no longer."""
        with suppress(StoreError):  # the verdicts tell the same at the next start
            await self._make_champion(router, reason, "caution")

    # -- the end -------------------------------------------------------------------------------------------------
    async def save(self) -> None:
        """Write what was learned to the disk, if there is anything new."""
        if self.learner is None or not self.learner.unsaved:
            return
        try:
            await self._context.store_queue.call(self.learner.save)
        except OSError as error:
            said = f"what was learned is not written down: {error.strerror}; verdicts are safe"
            self._context.notice("caution", "not_saved", said)

    async def stop(self) -> None:
        """Stop the work beside the turns; a later start goes on with it."""
        if self.learner is not None:
            self.learner.backlog.clear()
        for task in (self._personal_fit, self._head_fit):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._embedder is not None:
            await self._embedder.close()
        if self.tuned is not None:
            await self.tuned.close()


def _labelled_turn(learner: OnlineLearner, store: Store, turn_id: str) -> tuple[Turn, str, list[Turn]] | None:
    """Return the newest copy of a turn with what `OnlineLearner` needs to learn from it. Runs in the store's thread."""
    turn = store.find(turn_id)
    return None if turn is None else learner.load_for_turn(store, turn)
