"""Compares two finished runs on the sealed rows that both were tested on."""

from __future__ import annotations

from msgspec import Struct

from tui_router.core.statistics import tail
from tui_router.training.gate.run_gate import top_route
from tui_router.training.router_manifest import ROUTER, SEALED, HeldOutCase, RouterManifest, read_json
from tui_router.training.runs import Run, RunError


class RunComparison(Struct, frozen=True, kw_only=True):
    """How two trained routers do on the same sealed rows."""

    first: str
    second: str
    """The runs' names."""
    n: int
    """Rows that both were tested on."""
    first_right: int
    second_right: int
    only_first: int
    """Rows that only the first decides correctly."""
    only_second: int
    p: float
    """p-value that they are equally good (McNemar 1947, exact, two-sided). Choosing the better of many runs makes it too small."""

    @property
    def sentence(self) -> str:
        """The result in one line."""
        if not self.n:
            return "no sealed rows in common: the runs were trained on different datasets"
        difference = "no significant difference" if self.p > 0.05 else "a significant difference"
        return (
            f"{self.first_right / self.n:.1%} against {self.second_right / self.n:.1%} of the same {self.n} sealed rows; "
            f"alone right on {self.only_first} and {self.only_second}: {difference} (p = {self.p:.2g})"
        )


def compare_runs(first: Run, second: Run) -> RunComparison:
    """Compare two runs by the predictions in their artifacts. Reads two files. Raises RunError, ArtifactError."""
    right = [_right_by_key(run) for run in (first, second)]
    pairs = [(right[0][key], right[1][key]) for key in right[0] if key in right[1]]
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    differ = only_first + only_second
    return RunComparison(
        first=first.id,
        second=second.id,
        n=len(pairs),
        first_right=sum(a for a, _ in pairs),
        second_right=sum(b for _, b in pairs),
        only_first=only_first,
        only_second=only_second,
        p=min(1.0, 2 * tail(max(only_first, only_second), differ, 0.5)),
    )


def _right_by_key(run: Run) -> dict[str, bool]:
    """Return the key of each sealed row -> whether the trained router decides it correctly."""
    if not run.finished:
        raise RunError(f"run {run.id} has no artifact yet; its training must end first")
    manifest = read_json(run.artifact / ROUTER, RouterManifest)
    cases = read_json(run.artifact / SEALED, list[HeldOutCase])
    return {case.key: top_route(manifest, case.probabilities)[0] == case.route for case in cases}
