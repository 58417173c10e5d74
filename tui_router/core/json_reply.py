"""Reads the JSON object in a model's reply, which often has prose or a code fence around it."""

from __future__ import annotations

import json
from typing import Any


def find_json_object(text: str) -> dict[str, Any] | None:
    """Return the object between the first `{` and the last `}` of a text; None if that is not a JSON object."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
