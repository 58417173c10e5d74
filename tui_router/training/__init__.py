"""Fine-tuning a router: recipes, runs, the gate, exports, promotion. Imports no torch; `train/` does, in its own process."""

RUNS = "runs"
"""Folder of the runs in the data folder."""
