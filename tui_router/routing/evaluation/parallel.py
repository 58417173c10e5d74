"""Decide many requests, on all cores when there are enough of them to be worth it."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread, current_thread, main_thread

import msgspec
from msgspec.structs import replace

from tui_router.core.fleet import Fleet
from tui_router.core.types import Request
from tui_router.routing.router import Router

MakeRouter = Callable[[], Router]
"""Makes the router in whichever process it is needed; must be picklable."""

CHUNK = 2000
"""Requests that a process is given at a time; fewer than that are decided in this process."""
_ANSWER_END = 200
"""Characters of an answer, from its end, that are sent to another process: no router looks at more."""


def decide_parallel(
    requests: Iterable[Request], make: MakeRouter, workers: int | None = None
) -> Generator[tuple[str, float], None, None]:
    """Yield (route, confidence) of each request, in their order.

    Args:
        requests: Read no further ahead than the processes need.
        make: What decides.
        workers: Processes; by default as many as there are cores, and none for a few requests.
    """
    rest = iter(requests)
    first = list(islice(rest, CHUNK))
    if not first:
        return
    count = workers if workers is not None else (os.cpu_count() or 1)
    if len(first) < CHUNK or count < 2:
        router = make()
        for chunk in _chunks(rest, first):
            yield from _chosen(router, chunk)
        return
    waiting: list[Future[list[tuple[str, float]]]] = []
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(make,)) as pool:
        try:
            for chunk in _chunks(rest, first):
                job = msgspec.json.encode([*map(_trimmed, chunk)])
                with _sigint_blocked():
                    waiting.append(pool.submit(_decide_chunk, job))
                while len(waiting) > 2 * count:
                    yield from waiting.pop(0).result()
            for one in waiting:
                yield from one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _chunks(rest: Iterator[Request], first: list[Request]) -> Iterator[list[Request]]:
    chunk = first
    while chunk:
        yield chunk
        chunk = list(islice(rest, CHUNK))


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block Ctrl+C while processes are started, so that they inherit the block.

    A terminal sends Ctrl+C to all of its processes; only the first one must act on it, and it ends the others. A Ctrl+C that
    came meanwhile is raised again afterwards.
    """
    received: list[int] = []
    in_main = current_thread() is main_thread()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number)) if in_main else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler)
    if received:
        signal.raise_signal(signal.SIGINT)


def _trimmed(request: Request) -> Request:
    """Return the request with only the ends of the answers before it: they are sent between processes."""
    history = tuple(
        [
            m if len(m.content) <= _ANSWER_END or m.role == "user" else replace(m, content=m.content[-_ANSWER_END:])
            for m in request.history
        ]
    )
    return replace(request, history=history)


_router: Router | None = None


def _begin(make: MakeRouter) -> None:
    global _router  # noqa: PLW0603  # a worker has one router for its life
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # for Windows, where `_sigint_blocked` changes nothing for a new process
    Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)
    _router = make()
    gc.disable()  # a worker makes thousands of small objects, none of them in a reference cycle


def _end_with_parent() -> None:
    """End this worker when its parent was killed: otherwise it would wait for its next job for ever."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _decide_chunk(job: bytes) -> list[tuple[str, float]]:
    assert _router is not None
    return _chosen(_router, msgspec.json.decode(job, type=list[Request]))


def _chosen(router: Router, requests: list[Request]) -> list[tuple[str, float]]:
    return [ranking[0] for ranking in router.rankings(requests)]


def by_rules(fleet: Fleet) -> MakeRouter:
    """Return what makes the rules router of a fleet."""
    return partial(_make_rules, msgspec.json.encode(fleet))


def as_shipped(fleet: Fleet) -> MakeRouter:
    """Return what makes the learned router of a fleet without any label."""
    return partial(_make_shipped, msgspec.json.encode(fleet))


def _make_rules(fleet: bytes) -> Router:
    from tui_router.routing.rules.rules_router import RulesRouter

    return RulesRouter(msgspec.json.decode(fleet, type=Fleet))


def _make_shipped(fleet: bytes) -> Router:
    from tui_router.routing.learned.learned_router import LearnedRouter

    return LearnedRouter.as_shipped(msgspec.json.decode(fleet, type=Fleet))
