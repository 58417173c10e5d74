"""The fine-tune program: a process of its own, and the only place that imports torch."""
