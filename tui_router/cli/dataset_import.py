"""`dataset import`: requests from other programs' files. They are read once to be shown, and only then stored.

On a terminal, the person is asked what the files leave open: which columns hold the request and its route, and which
route a name stands for. `--columns` and `--map` answer the same without a question.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, emit

if TYPE_CHECKING:
    from tui_router.core.fleet import Fleet
    from tui_router.datasets.importing.reader import ImportSummary
    from tui_router.store.store import Store

Question = Callable[[str], str]
_MOST_QUESTIONS = 30
_MOST_REASONS = 10


def import_files(given: dict[str, Any], args: argparse.Namespace, fleet: Fleet, store: Store) -> int:
    """Read files and folders, show what is in them, store it. Raises StoreError."""
    from tui_router.datasets.importing.reader import ImportReader

    if not args.files:
        raise UsageError("dataset import needs one or more FILES")
    paths, names, columns = [Path(name) for name in args.files], _names(args.map, fleet), _columns(args.columns)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not given.get("json") and not args.dry_run

    def seen() -> ImportSummary:
        reader = ImportReader(fleet, names, columns)
        try:
            for _ in reader.requests(paths):
                pass
        except OSError as error:
            raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return reader.summary()

    found = seen()
    if asks and found.columns and columns is None:
        columns = _asked_columns(found.columns, _ask)
        found = seen() if columns else found
    if asks and found.unknown:
        names |= _asked_names(found.unknown, names, fleet, _ask)
        found = seen()
    stopped = bool(found.damaged) and not args.skip_faults
    if not given.get("json"):
        _show(found)
    stored = (
        not stopped and not args.dry_run and found.read > 0 and (not asks or _yes(f"Keep {found.read:,} requests?"))
    )
    kept = store.keep_imported(ImportReader(fleet, names, columns).requests(paths)) if stored else (0, 0)
    if given.get("json"):
        emit(_account(found, kept, dry_run=bool(args.dry_run)))
    elif not stopped and not args.dry_run:
        print(_stored(found, kept))
    for one in found.left_out[: args.limit]:
        print(f"tui-router: {cleaned(one.where)}: {cleaned(one.why)}", file=sys.stderr)
    if stopped:
        hint = "--columns TEXT,ROUTE names the columns; " if found.columns and not columns else ""
        return complain(
            f"{found.damaged:,} records cannot be read; nothing was kept. {hint}--skip-faults keeps the others", FAILED
        )
    return DONE


def _names(given: list[str], fleet: Fleet) -> dict[str, str]:
    names = {}
    for one in given:
        name, is_pair, route = one.partition("=")
        if not is_pair or not name:
            raise UsageError(f"--map is NAME=ROUTE, or NAME= to leave its rows out; found {one!r}")
        if route and route not in fleet.names:
            raise UsageError(f"--map: there is no route {route!r}; known: {', '.join(fleet.by_route)}")
        names[name] = route
    return names


def _columns(given: str) -> tuple[str, str] | None:
    if not given:
        return None
    text, is_pair, route = given.partition(",")
    if not is_pair or not text or not route:
        raise UsageError(f"--columns is TEXT,ROUTE: the columns of the request and of its route; found {given!r}")
    return text, route


def _show(found: ImportSummary) -> None:
    print(f"{found.source}: {found.read:,} requests, {found.labelled:,} with a route, {found.pending:,} without")
    for name, route in sorted(found.mapped.items()):
        print(f"  {cleaned(name)} → {route}")
    for name, count in found.unknown.items():
        print(f"  no route for {cleaned(name)!r}: {count:,} left out; --map {cleaned(name)!r}=ROUTE takes them in")
    for why, count in sorted(found.reasons.items(), key=lambda item: -item[1])[:_MOST_REASONS]:
        print(f"  left out, {cleaned(why)}: {count:,}")


def _stored(found: ImportSummary, kept: tuple[int, int]) -> str:
    examples, pending = kept
    if not examples and not pending:
        return "nothing new was kept"
    waiting = f", {pending:,} wait for a label" if pending else ""
    return f"{examples:,} kept as examples{waiting}; {found.read - examples - pending:,} were there already"


def _account(found: ImportSummary, kept: tuple[int, int], *, dry_run: bool) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "source": found.source,
        "read": found.read,
        "labelled": found.labelled,
        "pending": found.pending,
        "left_out": [{"where": one.where, "why": one.why} for one in found.left_out],
        "kept": sum(kept),
        "dry_run": dry_run,
        "layouts": found.shapes,
        "mapped": found.mapped,
        "unlabelled": found.pending,
        "unknown": found.unknown,
        "faults": [{"where": one.where, "says": one.why} for one in found.left_out if one.damaged],
    }


# -- questions ---------------------------------------------------------------------------------------------------
def _ask(question: str) -> str:
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _yes(question: str) -> bool:
    return _ask(f"{question} [y/N]").casefold() in ("y", "yes")


def _asked_columns(columns: tuple[str, ...], ask: Question) -> tuple[str, str] | None:
    """Which columns hold the request and its route; None when it is not said."""
    print("Columns: " + ", ".join(f"{place} {cleaned(name)}" for place, name in enumerate(columns, 1)), file=sys.stderr)
    found = []
    for what in ("request", "route"):
        said = ask(f"Which one holds the {what}? (number or name, enter: none)")
        named = columns[int(said) - 1] if said.isdigit() and 0 < int(said) <= len(columns) else said
        if named not in columns:
            return None
        found.append(named)
    return found[0], found[1]


def _asked_names(unknown: dict[str, int], known: dict[str, str], fleet: Fleet, ask: Question) -> dict[str, str]:
    """Which route each name stands for; the most frequent names first."""
    routes = list(fleet.by_route)
    print("Routes: " + ", ".join(f"{place} {name}" for place, name in enumerate(routes, 1)), file=sys.stderr)
    said: dict[str, str] = {}
    for name, count in sorted(unknown.items(), key=lambda item: -item[1])[:_MOST_QUESTIONS]:
        if name in known:
            continue
        answer = ask(f"{cleaned(name)} ({count:,} rows) is which route? (number or name, enter: leave them out)")
        route = routes[int(answer) - 1] if answer.isdigit() and 0 < int(answer) <= len(routes) else answer
        said[name] = route if route in fleet.names else ""
    return said
