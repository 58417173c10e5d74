"""`--analyze`: the report of the last days, on the terminal or as JSON."""

from __future__ import annotations

import gc
from argparse import Namespace
from contextlib import suppress

from tui_router.cli.shared import DONE, cleaned, configuration, emit, folder

_SHORT_DAYS = 7
"""Up to this many days are read from the store when it was never counted as a whole. Chosen by hand, not measured."""


def analyze(args: Namespace) -> int:
    """Print the report. Raises StoreError."""
    from tui_router.insight.metrics_cache import FILE, MetricsCache
    from tui_router.insight.report import to_markdown
    from tui_router.insight.report_files import prepare_report
    from tui_router.learning.changed_fleet import champion_from
    from tui_router.store.store import Store

    days = args.days or 1
    config = configuration(args)
    gc.disable()  # many records without reference cycles; the process ends after them
    home = folder(args)
    store = Store(home)
    try:
        whole = MetricsCache(config.fleet, home / FILE)
        counts = whole if days > _SHORT_DAYS or whole.has_counted(store) else None
        if counts is not None:  # else counting the whole store would take longer than reading the period
            counts.refresh(store)
            with suppress(OSError):
                counts.save()
        threshold, champion = config.settings.confidence_threshold, champion_from(config, home)
        made = prepare_report(store, config.fleet, threshold, days, counts=counts, router_for=champion)()
    finally:
        store.close()
    if args.json:
        emit(made.to_dict())
    else:
        print(cleaned(to_markdown(made)))
    return DONE
