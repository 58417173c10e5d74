"""Questions of the main screen to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_router.app.engine import Engine
    from tui_router.store.store import Store

T = TypeVar("T")


async def read_store(engine: Engine | None, question: Callable[[Store], T]) -> T | None:
    """Ask the store something, in its own thread; None when it is not open (any more) or cannot answer."""
    from tui_router.store.store_errors import StoreError

    store = engine.store if engine is not None else None
    if engine is None or store is None:
        return None
    try:
        return await engine.in_store(lambda: question(store))
    except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
        return None
