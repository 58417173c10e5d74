"""The seeds: requests written for this project, each with its route. The shipped model is fitted to them."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from msgspec import Struct

from tui_router.core import assets
from tui_router.core.types import Message, Request
from tui_router.routing.rules.rules_router import RulesRouter


class Seed(Struct, frozen=True):
    """A request with its route."""

    request: Request
    route: str


@lru_cache
def load() -> tuple[Seed, ...]:
    """Return all seeds of `data/seed_routing_data.jsonl`."""
    with assets.data("seed_routing_data.jsonl").open(encoding="utf-8") as lines:
        return tuple(_seed(json.loads(line)) for line in lines)


def _seed(row: dict[str, Any]) -> Seed:
    history = tuple(
        Message(m["role"], m["content"], has_image=m.get("has_image", False)) for m in row.get("history", ())
    )
    request = Request(
        text=row["text"], has_image=row.get("has_image", False), has_code=row.get("has_code", False), history=history
    )
    return Seed(request, row["route"])


def fingerprint(rules: RulesRouter) -> str:
    """Return a hash of what a model of the seeds is made from: the seeds, the shipped rules, the word vectors."""
    made = hashlib.blake2b(rules.version.encode(), digest_size=6)
    for name in ("seed_routing_data.jsonl", "word_vectors.npz"):
        made.update(assets.data(name).read_bytes())
    return made.hexdigest()
