"""Fine-tuning a router: recipes, runs, the gate, exports. Imports no torch: `train/` does, in a process of its own."""

RUNS = "runs"
"""Name of the folder in the data folder that holds the runs."""
