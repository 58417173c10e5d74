"""When a request may be sent once more to the model that has just failed on it: the only place that decides it.

A server that crashed on a request would crash on it again, and one whose connection broke may still be working on it. So
after a lost connection, silence or a 5xx the request is never sent to that model again; other models of the server may be
asked as long as the server is alive. There are two exceptions, both in the server's own words: it has not begun (503 while
it loads, 429 while it is busy), or it refused a part of the request that can be left out or written in another way (4xx, for
which llama.cpp and Ollama sometimes send 500 with the same words).

The question whether a body was read does not arise elsewhere: each request has a connection of its own (`client.py`), so
none is written to an idle connection that the server has dropped meanwhile.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError

_WAIT_S = 1.0
"""Seconds to wait for a server that is loading or busy and does not say how long. Chosen by hand, not measured."""
_LONGEST_WAIT_S = 30.0


class SecondTry(Struct, frozen=True):
    """How a request may be sent once more."""

    wait_s: float = 0.0
    """Seconds to wait before it is sent."""
    correction: str = ""
    """What must be changed in it; empty when it is sent as it was."""


def second_try(error: BackendError, corrected: Container[str]) -> SecondTry | None:
    """Say how a request may be sent once more after this error; None when it may not.

    Args:
        error: What went wrong.
        corrected: The corrections that have been made for this model; none is made twice.
    """
    if error.failure in ("loading", "busy"):
        return SecondTry(wait_s=min(error.retry_after_s or _WAIT_S, _LONGEST_WAIT_S))
    if error.correction and error.correction not in corrected:
        return SecondTry(correction=error.correction)
    return None
