"""The saved reports: one Markdown and one JSON file each, in `reports/` of the data folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tui_router.core.fleet import Fleet
from tui_router.insight.findings import RouterFor
from tui_router.insight.metrics import turns_since
from tui_router.insight.metrics_cache import MetricsCache
from tui_router.insight.report import Report, make_report, period, read_history, read_turns, to_markdown
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import Store

FOLDER = "reports"
_OBSERVATIONS = 400
"""Newest events that are searched for the observer's remarks. Chosen by hand, not measured."""


class Reports:
    """The saved reports of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def names(self) -> list[str]:
        """Return the names of the saved reports, oldest first: a day, or `first_last` of a longer period."""
        names = (path.stem for path in self.folder.glob("*.md"))
        return sorted(names, key=lambda name: (name.rpartition("_")[2], name))

    def has(self, name: str) -> bool:
        """Whether a report of this name is saved."""
        return (self.folder / f"{name}.md").is_file()

    def read(self, name: str) -> str:
        """Read a report as Markdown. Raises OSError."""
        return (self.folder / f"{name}.md").read_text(encoding="utf-8", errors="replace")

    def save(self, report: Report) -> str:
        """Write a report, over an older one of the same period; returns its name. Raises OSError."""
        name = report.last if report.first == report.last else f"{report.first}_{report.last}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("json", json.dumps(report.to_dict(), indent=1)), ("md", to_markdown(report))):
            part = self.folder / f".{name}.{ending}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(self.folder / f"{name}.{ending}")
        return name


def prepare_report(
    store: Store,
    fleet: Fleet,
    threshold: float,
    days: int,
    today: str = "",
    counts: MetricsCache | None = None,
    router_for: RouterFor = RulesRouter,
) -> Callable[[], Report]:
    """Read what the report of the last days needs; returns a function that makes the report in any thread.

    Args:
        store: Read before this function returns, in the calling thread.
        fleet: Routes of today.
        threshold: Confidence, 0 to 1, below which the person is asked.
        days: Length of the period, `today` included.
        today: Local day, `YYYY-MM-DD`; by default the present one.
        counts: Metrics of the whole store, up to date. Without them all turns of the period and the one before it are read.
        router_for: Makes the router that is acted on under a fleet, to replay the proposals; called by the returned function.

    Raises:
        StoreError: the store cannot be read.
    """
    turns = read_turns(store, days, today) if counts is not None else turns_since(store, period(days, today)[0])
    history, observations = read_history(store, days, today), store.observations(_OBSERVATIONS)
    return lambda: make_report(
        turns,
        fleet,
        threshold,
        days,
        today,
        counts=counts,
        history=history,
        observations=observations,
        router_for=router_for,
    )
