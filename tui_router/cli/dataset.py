"""`dataset export` and `dataset check`: training data without a screen."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, configuration, emit, folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tui_router.core.example import Example
    from tui_router.core.fleet import Fleet
    from tui_router.datasets.exported_dataset import ExportedDataset
    from tui_router.datasets.label_audit import AuditReport, LabelIssue
    from tui_router.store.store import Store


def export(args: Namespace) -> int:
    """Write training data into a new folder. Raises StoreError."""
    with closing(_store(args)) as store:
        fleet = configuration(args).fleet
        if args.kind == "tool-use":
            return _export_tools(args, fleet, store)
        return _export_requests(args, fleet, store)


def check(args: Namespace) -> int:
    """Look for wrong labels, duplicates and private data in the examples. Raises StoreError."""
    with closing(_store(args)) as store:
        return _check(args, configuration(args).fleet, store)


def _store(args: Namespace) -> Store:
    from tui_router.store.store import Store

    return Store(folder(args))


def _examples(store: Store, fleet: Fleet) -> list[Example]:
    from tui_router.datasets.sources import all_examples

    return all_examples(store.turns(), store.training.examples(), fleet, store.training.edits())


def _export_requests(args: Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.core.example import SOURCES
    from tui_router.datasets.export import ExportOptions, export
    from tui_router.datasets.exported_dataset import DatasetExportError
    from tui_router.datasets.formats import FORMATS, TARGETS
    from tui_router.datasets.sources import iter_examples
    from tui_router.routing.learned.learned_router import LearnedRouter

    _one_of("--format", [args.format], FORMATS)
    _one_of("--target", [args.target], TARGETS)
    routes = args.route or []
    _one_of("--route", routes, fleet.by_route)
    choice = ExportOptions(
        form=args.format,
        target=args.target,
        sources=tuple(args.source or SOURCES),
        routes=tuple(routes),
        private=args.private or "mask",
        duplicates=args.duplicates,
    )
    projection = LearnedRouter.as_shipped(fleet).projection
    try:
        with store.db.transaction(write=False):  # the examples are read twice, and must be the same both times
            edits = store.training.edits()

            def examples() -> Iterator[Example]:
                return iter_examples(store.turns(), store.training.examples(), fleet, edits)

            made = export(examples, fleet, choice, args.out, projection)
    except DatasetExportError as error:
        return complain(str(error), FAILED)
    return _show_export(args, made, "examples")


def _export_tools(args: Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.datasets.exported_dataset import DatasetExportError
    from tui_router.datasets.synthetic.tool_export import FORMS, export
    from tui_router.routing.learned.learned_router import LearnedRouter

    _one_of("--format", [args.format], FORMS)
    projection = LearnedRouter.as_shipped(fleet).projection
    try:
        made = export(
            list(store.training.dialogues()), fleet, args.format, args.out, projection, args.private or "keep"
        )
    except DatasetExportError as error:
        return complain(str(error), FAILED)
    return _show_export(args, made, "conversations with tools")


def _show_export(args: Namespace, made: ExportedDataset, noun: str) -> int:
    if args.json:
        emit(to_builtins(made))
        return DONE
    parts = ", ".join(f"{part} {count:,}" for part, count in made.parts.items())
    print(f"{sum(made.parts.values()):,} {noun} in {made.folder}: {parts}")
    for why, count in made.left_out.items():
        print(f"  left out, {why}: {count:,}")
    for what, count in made.dropped.items():
        print(f"  {made.form} has no place for {what}: {count:,} examples lose it")
    if made.masked:
        print(f"  private data masked in {made.masked:,}")
    return DONE


def _one_of(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: there is no {name!r}; known: {', '.join(known)}")


def _check(args: Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.core.example import GOAL
    from tui_router.datasets.label_audit import audit
    from tui_router.routing.learned.learned_router import LearnedRouter

    found = _examples(store, fleet)
    if not args.seeds:
        found = [example for example in found if example.source != "seed"]
    made = audit(found, fleet, LearnedRouter.as_shipped(fleet).projection)
    labels = sum(example.source == "verdict" for example in found)
    if args.json:
        emit(
            {
                "examples": len(found),
                "validated": labels,
                "goal": GOAL,
                "per_route": made.per_route,
                "starving": made.starving,
                "findings": [_issue(one, found[one.index]) for one in made.issues],
            }
        )
    else:
        _show_audit(made, found, labels, GOAL, args.limit)
    return DONE


def _issue(issue: LabelIssue, example: Example) -> dict[str, Any]:
    return {**to_builtins(issue), "text": example.text, "origin": example.origin, "label": example.route}


def _show_audit(made: AuditReport, found: list[Example], labels: int, goal: int, limit: int) -> None:
    print(f"{len(found):,} examples, {labels:,} of {goal} labelled by verdicts")
    for route, count in made.per_route.items():
        missing = f"   {made.starving[route]} more would help" if route in made.starving else ""
        print(f"  {route:<14} {count:>6,}{missing}")
    titles = {
        "conflict": "the same request, two routes",
        "suspect": "possibly mislabelled",
        "private": "private data",
        "duplicate": "duplicates",
    }
    for kind, title in titles.items():
        issues = made.of(kind)  # type: ignore[arg-type]
        print(f"{title}: {len(issues):,}")
        for one in issues[:limit]:
            text = " ".join(cleaned(found[one.index].text).split())[:70]
            print(f"  {found[one.index].origin or 'seed':>10}  {text}: {one.message}")
