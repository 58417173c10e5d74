"""Faults of background work: reported on the screen, never lost."""

from __future__ import annotations

from textual.dom import DOMNode
from textual.worker import Worker, WorkerState

from tui_router.core.text import one_line


def report_fault(node: DOMNode, event: Worker.StateChanged) -> None:
    """Notify the person when a worker ended with an exception that it did not handle.

    Workers run with `exit_on_error=False`, so that a fault in one does not end the dashboard; without this nobody would
    learn of it.
    """
    error = event.worker.error
    if event.state is WorkerState.ERROR and error is not None:
        what = event.worker.description or event.worker.group
        message = f"{what}: {type(error).__name__}: {one_line(str(error), 200)}"
        node.app.notify(message, title="a fault of tui-router", severity="error", markup=False, timeout=20)
