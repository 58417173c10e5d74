"""`replay`: stored turns decided again, by another router or other rules."""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, UsageError, cleaned, configuration, emit, folder, known_router
from tui_router.core.text import plural

if TYPE_CHECKING:
    from tui_router.core.types import Turn
    from tui_router.insight.replay import Move
    from tui_router.store.store import Store


def replay(args: Namespace) -> int:
    """Decide the turns of a period again, and show what would change route. Raises StoreError."""
    from tui_router.config.settings import ConfigError, load_config
    from tui_router.insight.replay import replay as replayed
    from tui_router.learning.online_learner import as_taught
    from tui_router.routing.evaluation.parallel import by_rules
    from tui_router.store.store import STORE_FILE, Store

    known_router(args.router)
    config, place = configuration(args), folder(args)
    if args.rules:
        try:
            config = load_config(args.rules)
        except ConfigError as error:
            raise UsageError(f"--rules: {error}") from error
    if not (place / STORE_FILE).exists():
        raise UsageError(f"there is no store in {place}; nothing to replay")
    rules = args.router == "rules" or (args.rules and not args.router)
    make = by_rules(config.fleet) if rules else partial(as_taught, config, place, args.router)
    since, until = _period(args)
    gc.disable()  # hundreds of thousands of records without reference cycles; the process ends after them
    store = Store(place)
    try:
        found = replayed(_turns(store, since, until), make, config.fleet)
    finally:
        store.close()
    if args.json:
        emit(
            {
                "turns": found.turns,
                "changed": len(found.moves),
                "labelled": found.labelled,
                "right": {"before": found.right_before, "after": found.right_after},
                "fixes": found.fixes,
                "breaks": found.breaks,
                "unrated": found.unrated,
                "moves": [_move(move) for move in found.moves[: args.limit]],
            }
        )
        return DONE
    print(
        f"{plural(found.turns, 'turn')}, {len(found.moves):,} would change route: fixes {found.fixes:,}, breaks {found.breaks:,}, "
        f"unrated {found.unrated:,}"
    )
    if found.labelled:
        print(
            f"right route known for {found.labelled:,}: right before {found.right_before:,}, after {found.right_after:,}"
        )
    for move in found.moves[: args.limit]:
        sign = "✓" if move.fixes else "✗" if move.breaks else "·"
        text = " ".join(cleaned(move.text).split())[:80]
        print(f"  {sign} {move.turn.partition('-')[0]:>6}  {move.before} → {move.after} {move.confidence:.0%}: {text}")
    if len(found.moves) > args.limit:
        print(f"  and {len(found.moves) - args.limit:,} more; --limit N shows more")
    return DONE


def _move(move: Move) -> dict[str, Any]:
    return {
        "turn": move.turn,
        "time": move.at,
        "text": move.text,
        "before": move.before,
        "after": move.after,
        "confidence": move.confidence,
        "right_route": move.label,
    }


def _period(args: Namespace) -> tuple[str, str]:
    """Return (first day, last day), both as `YYYY-MM-DD`; empty: no bound."""
    if args.days is None:
        return args.since or "", args.until or ""
    if args.since or args.until:
        raise UsageError("--days is mutually exclusive with --since and --until")
    return (date.today() - timedelta(days=args.days - 1)).isoformat(), ""


def _turns(store: Store, since: str, until: str) -> Iterator[Turn]:
    from tui_router.core.clock import local_day

    for turn in store.turns():
        if turn.state == "cancelled":
            continue
        day = local_day(turn.at) if since or until else ""
        if day >= since and (not until or day <= until):  # a clock that jumped back puts days out of order
            yield turn
