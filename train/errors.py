"""Errors that end a training, apart from those of its recipe and data."""

from __future__ import annotations


class BaseModelError(ValueError):
    """The base model cannot be used; the message says why and what to do."""


class NotFiniteError(ValueError):
    """The loss is infinite or not a number."""
