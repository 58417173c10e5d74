"""`dataset export|check|import|generate`: training data without a screen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from tui_router.cli.shared import DONE, FAILED, UsageError, cleaned, complain, configuration, emit, folder

if TYPE_CHECKING:
    from tui_router.core.example import Example
    from tui_router.core.fleet import Fleet
    from tui_router.datasets.exported_dataset import ExportedDataset
    from tui_router.datasets.label_audit import AuditReport
    from tui_router.store.store import Store

ACTIONS = ("export", "check", "import", "generate")


def dataset(given: dict[str, Any], args: argparse.Namespace) -> int:
    """One of the actions. Raises StoreError."""
    from tui_router.cli.dataset_import import import_files
    from tui_router.store.store import Store

    work: dict[str, Callable[..., int]] = {"export": _export, "check": _check, "import": import_files}
    if args.action not in ACTIONS:
        raise UsageError(f"there is no dataset action {args.action!r}; known: {', '.join(ACTIONS)}")
    if args.action != "import" and args.files:
        raise UsageError(f"dataset {args.action} takes no files, found {args.files[0]!r}")
    if args.action == "generate":
        from tui_router.cli.dataset_generate import generate

        return generate(given, args)
    store = Store(folder(given))
    try:
        return work[args.action](given, args, configuration(given).fleet, store)
    finally:
        store.close()


def _examples(store: Store, fleet: Fleet) -> list[Example]:
    from tui_router.datasets.sources import all_examples

    return all_examples(store.turns(), store.training.examples(), fleet, store.training.edits())


def _export(given: dict[str, Any], args: argparse.Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.core.example import SOURCES
    from tui_router.datasets.export import ExportOptions, export
    from tui_router.datasets.exported_dataset import DatasetExportError
    from tui_router.datasets.formats import FORMATS, TARGETS
    from tui_router.datasets.sources import iter_examples
    from tui_router.routing.learned.learned_router import LearnedRouter

    if not args.out:
        raise UsageError("dataset export needs --out DIR, a folder that does not exist yet")
    _one_of("--kind", [args.kind], ("routing", "tool-use"))
    args.private = args.private or ("mask" if args.kind == "routing" else "keep")
    _one_of("--private", [args.private], ("mask", "drop", "keep"))
    if args.kind == "tool-use":
        return _export_tools(given, args, fleet, store)
    _one_of("--format", [args.format], FORMATS)
    _one_of("--target", [args.target], TARGETS)
    sources = args.source or list(SOURCES)
    _one_of("--source", sources, SOURCES)
    _one_of("--route", args.route, list(fleet.by_route))
    choice = ExportOptions(
        form=args.format, target=args.target, sources=tuple(sources), routes=tuple(args.route), private=args.private,
        duplicates=args.duplicates,
    )  # fmt: skip
    try:
        with store.db.transaction(write=False):  # read twice, and the same both times
            rulings = store.training.edits()
            made = export(
                lambda: iter_examples(store.turns(), store.training.examples(), fleet, rulings), fleet, choice, Path(args.out),
                LearnedRouter.as_shipped(fleet).projection,
            )  # fmt: skip
    except DatasetExportError as error:
        return complain(str(error), FAILED)
    return _told(given, made, "examples")


def _export_tools(given: dict[str, Any], args: argparse.Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.datasets.exported_dataset import DatasetExportError
    from tui_router.datasets.synthetic.tool_export import FORMS, export
    from tui_router.routing.learned.learned_router import LearnedRouter

    _one_of("--format", [args.format], FORMS)
    try:
        made = export(
            list(store.training.dialogues()),
            fleet,
            args.format,
            Path(args.out),
            LearnedRouter.as_shipped(fleet).projection,
            args.private,
        )
    except DatasetExportError as error:
        return complain(str(error), FAILED)
    return _told(given, made, "conversations with tools")


def _told(given: dict[str, Any], made: ExportedDataset, noun: str) -> int:
    if given.get("json"):
        emit(to_builtins(made))
        return DONE
    parts = ", ".join(f"{p} {n:,}" for p, n in made.parts.items())
    print(f"{sum(made.parts.values()):,} {noun} in {made.folder}: {parts}")
    for why, count in made.left_out.items():
        print(f"  left out, {why}: {count:,}")
    if made.masked:
        print(f"  private data masked in {made.masked:,}")
    return DONE


def _one_of(option: str, found: list[str], known: Any) -> None:
    for name in found:
        if name not in known:
            raise UsageError(f"{option}: there is no {name!r}; known: {', '.join(known)}")


def _check(given: dict[str, Any], args: argparse.Namespace, fleet: Fleet, store: Store) -> int:
    from tui_router.core.example import GOAL
    from tui_router.datasets.label_audit import audit
    from tui_router.routing.learned.learned_router import LearnedRouter

    found = _examples(store, fleet)
    if not args.seeds:
        found = [example for example in found if example.source != "seed"]
    made = audit(found, fleet, LearnedRouter.as_shipped(fleet).projection)
    verdicts = sum(example.source == "verdict" for example in found)
    if given.get("json"):
        emit(
            {
                "examples": len(found), "validated": verdicts, "goal": GOAL, "per_route": made.per_route,
                "starving": made.starving,
                "findings": [{**to_builtins(f), "text": found[f.index].text, "origin": found[f.index].origin,
                              "label": found[f.index].route} for f in made.issues],
            }
        )  # fmt: skip
        return DONE
    _show(made, found, verdicts, GOAL, args.limit)
    return DONE


def _show(made: AuditReport, found: list[Example], verdicts: int, goal: int, limit: int) -> None:
    print(f"{len(found):,} examples, {verdicts:,} of {goal} validated by verdicts")
    for route, count in made.per_route.items():
        missing = f"   {made.starving[route]} more would help" if route in made.starving else ""
        print(f"  {route:<14} {count:>6,}{missing}")
    titles = {
        "conflict": "the same request, two routes", "suspect": "perhaps the wrong route",
        "private": "private data", "duplicate": "repetitions",
    }  # fmt: skip
    for kind, title in titles.items():
        issues = made.of(kind)  # type: ignore[arg-type]
        print(f"{title}: {len(issues):,}")
        for one in issues[:limit]:
            text = " ".join(cleaned(found[one.index].text).split())[:70]
            print(f"  {found[one.index].origin or 'seed':>10}  {text}: {one.message}")
