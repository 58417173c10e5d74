"""What can go wrong with a trained router."""

from __future__ import annotations


class TrainingError(Exception):
    """Something about a run, its recipe, its data or an export; the message is a sentence that says what to do."""
