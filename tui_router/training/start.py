"""Creates a run: its dataset when the person names none, and the gate's plan."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tui_router.config.settings import Config
from tui_router.core.example import Source
from tui_router.datasets.export import ExportOptions, export
from tui_router.datasets.sources import iter_examples, seed_examples
from tui_router.routing.ensemble.ensemble import RouterEnsemble
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.store.store import STORE_FILE, Store
from tui_router.training import RUNS, runs
from tui_router.training.plan import Plan
from tui_router.training.recipe import Recipe
from tui_router.training.runs import Run


def own_dataset(config: Config, folder: Path, recipe: Recipe, sources: Sequence[Source]) -> Path:
    """Export the store and the seeds in the form that a recipe needs; returns the dataset's folder. Blocks for seconds.

    Raises:
        DatasetExportError, StoreError: the rows cannot be read or written.
    """
    target = "letter" if recipe.label == "letter" else "route"
    out = folder / RUNS / f".dataset-{target}"  # every run copies it
    shutil.rmtree(out, ignore_errors=True)
    options = ExportOptions(form="messages", target=target, sources=tuple(sources))  # type: ignore[arg-type]
    fleet = config.fleet
    projection = LearnedRouter.as_shipped(fleet).projection
    if not (folder / STORE_FILE).exists():
        export(lambda: seed_examples(fleet), fleet, options, out, projection)
        return out
    store = Store(folder)
    try:
        with store.db.transaction(write=False):  # the export reads the rows twice, and both times must give the same
            edits = store.training.edits()
            export(
                lambda: iter_examples(store.turns(), store.training.examples(), fleet, edits),
                fleet,
                options,
                out,
                projection,
            )
    finally:
        store.close()
    return out


def create(folder: Path, recipe: Recipe, data: Path, data_hash: str, ensemble: RouterEnsemble) -> Run:
    """Create a run whose plan names the present champion. Raises OSError."""
    router = ensemble.routers.get(ensemble.champion)
    version = router.version if router is not None else ensemble.champion_run
    return runs.create(folder, recipe, data, data_hash, Plan(champion=ensemble.champion, champion_version=version))
