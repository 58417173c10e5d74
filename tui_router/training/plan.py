"""The gate's plan: what a new router must show before it may lead, written down before its training starts."""

from __future__ import annotations

from msgspec import Struct


class Plan(Struct, frozen=True, kw_only=True, rename={"champion": "leader", "champion_version": "leader_version"}):
    """What must be shown, on requests that neither router was fitted to."""

    champion: str
    """Who leads when the run starts: it is compared with this router."""
    champion_version: str
    fewest: int = 100
    """Rows of the sealed test that the comparison needs."""
    level: float = 0.05
    """Chance that the gate lets a router pass that is not better."""
    margin: float = 0.01
    """By how much it may be worse, and pass because it is faster: shown at the same level."""
    most_ece: float = 0.10
    """Expected calibration error."""
    floor: float = 0.15
    """By how much it may fall behind on any route with at least `floor_rows` rows."""
    floor_rows: int = 10
    latency_ms: float = 500.0
    """95th percentile of one decision."""
