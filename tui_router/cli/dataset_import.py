"""`dataset import`: requests from files of other programs. A first reading is shown; only then are they kept.

On a terminal, what the files leave open is asked: which columns hold the request and its route, and which route a name stands
for. `--columns` and `--map` answer the same questions.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, configuration, emit, folder, notice

if TYPE_CHECKING:
    from tui_router.core.fleet import Fleet
    from tui_router.datasets.importing.reader import ImportSummary
    from tui_router.store.store import Store

Question = Callable[[str], str]
_MOST_QUESTIONS = 30
"""Names that are asked about; the rarer ones are left out. Chosen by hand, not measured."""
_MOST_REASONS = 10
"""Reasons that are printed; `--json` has all."""


def import_files(args: Namespace) -> int:
    """Read files and folders, show what is in them, keep it. Raises StoreError."""
    from tui_router.store.store import Store

    with closing(Store(folder(args))) as store:
        return _import(args, configuration(args).fleet, store)


def _import(args: Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.datasets.importing.reader import ImportReader

    paths, names, columns = args.files, _names(args.map or (), fleet), _columns(args.columns)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not args.json and not args.dry_run

    def seen() -> ImportSummary:
        reader = ImportReader(fleet, names, columns)
        try:
            for _ in reader.requests(paths):
                pass
        except OSError as error:
            raise UsageError(f"{error.filename or 'FILE'}: cannot be read: {error.strerror or error}") from error
        return reader.summary()

    found = seen()
    if asks and found.columns and columns is None:
        columns = _asked_columns(found.columns, _ask)
        found = seen() if columns else found
    if asks and found.unknown:
        names |= _asked_names(found.unknown, names, fleet, _ask)
        found = seen()
    stopped = bool(found.damaged) and not args.skip_faults
    if not args.json:
        _show(found)
    keeps = not stopped and not args.dry_run
    stored = keeps and found.read > 0 and (not asks or _yes(f"Keep {found.read:,} requests?"))
    kept = store.training.keep_imported(ImportReader(fleet, names, columns).requests(paths)) if stored else (0, 0)
    if args.json:
        emit(_account(found, kept, dry_run=args.dry_run))
    elif keeps:
        print(_result(found, kept))
    for one in found.left_out[: args.limit]:
        notice(f"{one.where}: {one.why}")
    if stopped:
        message = f"{found.damaged:,} records cannot be read"
        hint = "--columns TEXT,ROUTE names the columns; " if found.columns and not columns else ""
        return complain(f"{message}; nothing was kept. {hint}--skip-faults keeps the others", FAILED)
    return DONE


def _names(pairs: Iterable[str], fleet: Fleet) -> dict[str, str]:
    names = {}
    for pair in pairs:
        name, is_pair, route = pair.partition("=")
        if not is_pair or not name:
            raise UsageError(f"--map is NAME=ROUTE, or NAME= to leave its rows out; found {pair!r}")
        if route and route not in fleet.names:
            raise UsageError(f"--map: there is no route {route!r}; known: {', '.join(fleet.by_route)}")
        names[name] = route
    return names


def _columns(pair: str) -> tuple[str, str] | None:
    if not pair:
        return None
    text, is_pair, route = pair.partition(",")
    if not is_pair or not text or not route:
        raise UsageError(f"--columns is TEXT,ROUTE: the columns of the request and of its route; found {pair!r}")
    return text, route


def _show(found: ImportSummary) -> None:
    print(f"{found.source}: {found.read:,} requests, {found.labelled:,} with a route, {found.pending:,} without")
    for name, route in sorted(found.mapped.items()):
        print(f"  {cleaned(name)} → {route}")
    for name, count in found.unknown.items():
        print(f"  no route for {cleaned(name)!r}: {count:,} left out; --map {cleaned(name)!r}=ROUTE takes them in")
    for why, count in sorted(found.reasons.items(), key=lambda item: -item[1])[:_MOST_REASONS]:
        print(f"  left out, {cleaned(why)}: {count:,}")


def _result(found: ImportSummary, kept: tuple[int, int]) -> str:
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


def _ask(question: str) -> str:
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _yes(question: str) -> bool:
    return _ask(f"{question} [y/N]").casefold() in ("y", "yes")


def _asked_columns(columns: tuple[str, ...], ask: Question) -> tuple[str, str] | None:
    """Ask which columns hold the request and its route; None when the answer is no column."""
    print("Columns: " + ", ".join(f"{place} {cleaned(name)}" for place, name in enumerate(columns, 1)), file=sys.stderr)
    found = []
    for what in ("request", "route"):
        answer = ask(f"Which one holds the {what}? (number or name, enter: none)")
        named = columns[int(answer) - 1] if answer.isdecimal() and 0 < int(answer) <= len(columns) else answer
        if named not in columns:
            return None
        found.append(named)
    return found[0], found[1]


def _asked_names(unknown: dict[str, int], known: dict[str, str], fleet: Fleet, ask: Question) -> dict[str, str]:
    """Ask which route each name stands for, the most frequent names first."""
    routes = list(fleet.by_route)
    print("Routes: " + ", ".join(f"{place} {name}" for place, name in enumerate(routes, 1)), file=sys.stderr)
    answers: dict[str, str] = {}
    for name, count in sorted(unknown.items(), key=lambda item: -item[1])[:_MOST_QUESTIONS]:
        if name in known:
            continue
        answer = ask(f"{cleaned(name)} ({count:,} rows) is which route? (number or name, enter: leave them out)")
        route = routes[int(answer) - 1] if answer.isdecimal() and 0 < int(answer) <= len(routes) else answer
        answers[name] = route if route in fleet.names else ""
    return answers
