"""`replay`: stored turns under another router or other rules."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, ROUTERS, UsageError, cleaned, configuration, emit, folder
from tui_router.core.text import plural

if TYPE_CHECKING:
    from tui_router.core.types import Turn
    from tui_router.store.store import Store


def replay(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Decide the turns of a period again, and show what would go elsewhere. Raises StoreError."""
    from tui_router.config.settings import ConfigError, load_config
    from tui_router.insight.replay import replay as replayed
    from tui_router.learning.online_learner import as_taught
    from tui_router.routing.evaluation.parallel import by_rules
    from tui_router.store.store import STORE_FILE, Store

    if args.router and args.router not in ROUTERS:
        raise UsageError(f"there is no router {args.router!r}; known: {', '.join(ROUTERS)}")
    config, place = configuration(given), folder(given)
    if args.rules:
        try:
            config = load_config(Path(args.rules))
        except ConfigError as error:
            raise UsageError(f"--rules: {error}") from error
    if not (place / STORE_FILE).exists():
        raise UsageError(f"there is no store in {place}; nothing to replay")
    rules = args.router == "rules" or (args.rules and not args.router)
    make = by_rules(config.fleet) if rules else partial(as_taught, config, place, args.router)
    since, until = _period(given.get("days", 0), args)
    gc.disable()  # hundreds of thousands of records and no circle among them; the process ends with them
    store = Store(place)
    try:
        found = replayed(_turns(store, since, until), make, config.fleet)
    finally:
        store.close()
    if given.get("json"):
        emit(
            {
                "turns": found.turns, "changed": len(found.moves), "labelled": found.labelled,
                "right": {"before": found.right_before, "after": found.right_after}, "fixes": found.fixes,
                "breaks": found.breaks, "unrated": found.unrated,
                "moves": [
                    {"turn": m.turn, "time": m.at, "text": m.text, "before": m.before, "after": m.after,
                     "confidence": m.confidence, "right_route": m.label}
                    for m in found.moves[: args.limit]
                ],
            }
        )  # fmt: skip
        return DONE
    print(
        f"{plural(found.turns, 'turn')}, {len(found.moves):,} would go elsewhere: fixes {found.fixes:,}, breaks {found.breaks:,}, "
        f"without a verdict {found.unrated:,}"
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


def _period(days: int, args: argparse.Namespace) -> tuple[str, str]:
    """(first day, last day), both as `YYYY-MM-DD`; empty: no bound."""
    if days and (args.since or args.until):
        raise UsageError("--days and --since or --until are two ways to say when: one at a time")
    if days:
        return (date.today() - timedelta(days=days - 1)).isoformat(), ""
    for name in ("since", "until"):
        try:
            day = getattr(args, name)
            if day:
                date.fromisoformat(day)
        except ValueError:
            raise UsageError(f"--{name}: expected a day such as 2026-11-24, found {day!r}") from None
    return args.since, args.until


def _turns(store: Store, since: str, until: str) -> Iterator[Turn]:
    from tui_router.core.clock import local_day

    for turn in store.turns():
        if turn.state == "cancelled":
            continue
        day = local_day(turn.at) if since or until else ""
        if until and day > until:
            return
        if day >= since:
            yield turn
