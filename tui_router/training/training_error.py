"""The base class of what can go wrong with a trained router."""

from __future__ import annotations


class TrainingError(Exception):
    """A run, its recipe, its data or an export is at fault; the message is one sentence that says what to do."""
