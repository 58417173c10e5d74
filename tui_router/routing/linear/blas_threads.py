"""How many cores numpy multiplies on: one."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def limit_to_one() -> None:
    """Make numpy multiply on one core from now on, in this process.

    By default its library divides even small products among all cores and waits for the last of them. On cores that a model
    server or other processes of ours are using, that takes many times as long as doing without.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
