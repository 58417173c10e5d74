"""The reports that were kept: one Markdown and one JSON file each, in `reports/` of the data folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tui_router.core.fleet import Fleet
from tui_router.insight.metrics import since
from tui_router.insight.metrics_cache import MetricsCache
from tui_router.insight.report import Report, markdown, period, read, report
from tui_router.store.store import Store

FOLDER = "reports"
_OBSERVATIONS = 400
"""Events that are looked through for the observer's remarks."""


class Reports:
    """The kept reports of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def names(self) -> list[str]:
        """Their names, oldest first: a day, or `first_last` of a longer period."""
        return sorted(
            (path.stem for path in self.folder.glob("*.md")), key=lambda name: (name.rpartition("_")[2], name)
        )

    def has(self, name: str) -> bool:
        """Whether there is one of this name."""
        return (self.folder / f"{name}.md").is_file()

    def text(self, name: str) -> str:
        """One of them, as Markdown. Raises OSError."""
        return (self.folder / f"{name}.md").read_text(encoding="utf-8", errors="replace")

    def keep(self, made: Report) -> str:
        """Write a report; returns its name. Raises OSError."""
        name = made.last if made.first == made.last else f"{made.first}_{made.last}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("json", json.dumps(made.to_dict(), indent=1)), ("md", markdown(made))):
            part = self.folder / f".{name}.{ending}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(self.folder / f"{name}.{ending}")
        return name


def gathered(
    store: Store, fleet: Fleet, threshold: float, days: int, today: str = "", counts: MetricsCache | None = None
) -> Callable[[], Report]:
    """Read what the report of the last so many days needs; the result makes it, in any thread.

    Args:
        store: Read here.
        fleet: Routes of today.
        threshold: Confidence below which the person is asked.
        days: Of the period, `today` included.
        today: A day; by default this one.
        counts: Of the whole store, up to date. Without them all turns of the period and the one before it are read.

    Raises:
        StoreError: the store cannot be read.
    """
    turns = read(store, days, today) if counts is not None else since(store, period(days, today)[0])
    told = store.observations(_OBSERVATIONS)
    return lambda: report(turns, fleet, threshold, days, today, counts=counts, observations=told)
