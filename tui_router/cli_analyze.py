"""`--analyze`: the report of the last days, on the terminal or as JSON."""

from __future__ import annotations

import gc
from typing import Any

from tui_router.cli_shared import DONE, UsageError, cleaned, configuration, emit, folder


def analyze(given: dict[str, Any]) -> int:
    """Print the report. Raises StoreError."""
    from tui_router.insight.metrics import since
    from tui_router.insight.report import markdown, period, report
    from tui_router.store.store import Store

    days = given.get("days", 1)
    if not 1 <= days <= 3660:
        raise UsageError(f"--days: expected 1 to 3660, found {days}")
    config = configuration(given)
    gc.disable()  # many records and no circle among them; the process ends with them
    store = Store(folder(given))
    try:
        turns = since(store, period(days)[0])
    finally:
        store.close()
    made = report(turns, config.fleet, config.settings.confidence_threshold, days)
    if given.get("json"):
        emit(made.to_dict())
    else:
        print(cleaned(markdown(made)))
    return DONE
