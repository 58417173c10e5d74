"""The gate's plan: what a trained router must show before it may become champion. Written before its training starts."""

from __future__ import annotations

from msgspec import Struct


class Plan(Struct, frozen=True, kw_only=True, rename={"champion": "leader", "champion_version": "leader_version"}):
    """The gate's limits, on requests that neither router was fitted to. All of them were chosen by hand."""

    champion: str
    """The champion when the run is created; the candidate is compared with it."""
    champion_version: str
    fewest: int = 100
    """Fewest sealed rows."""
    level: float = 0.05
    """Greatest probability that any run passes which is not better, over all runs judged on the same sealed rows: each look
    tests at a share of it (`sealed_looks`; `scripts/sim_gate.py`)."""
    margin: float = 0.01
    """Accuracy that a candidate may lose that is twice as fast: it must be shown to lose less."""
    most_ece: float = 0.10
    """Greatest expected calibration error."""
    floor: float = 0.15
    """Accuracy that a candidate may lose on a single route with at least `floor_rows` rows; it is refused when it is shown to
    be worse there and loses more than this."""
    floor_rows: int = 10
    latency_ms: float = 500.0
    """Greatest 95th percentile of the time of one decision."""
