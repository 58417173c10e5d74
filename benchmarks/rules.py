"""How long a rules decision takes, and that it does not grow with the text."""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from pathlib import Path

from tui_router.config.settings import parse_config
from tui_router.core.types import Request
from tui_router.routing.rules.pattern_set import of_phrase
from tui_router.routing.rules.regex_analysis import FLAGS
from tui_router.routing.rules.rules_router import RulesRouter


def run(file: Path | None) -> None:
    fleet = parse_config("", None, {}).fleet
    router = RulesRouter(fleet)
    requests = _read(file) if file else _made(fleet)
    for request in requests[:200]:
        router.decide(request)
    times = sorted(router.decide(request).elapsed_ms for request in requests)
    _show(f"rules, {len(requests):,} requests", times)
    triggers = [t for route in fleet.routes for t in route.triggers if not t.shape]
    plain = [re.compile(t.pattern or "|".join(map(of_phrase, t.words)), FLAGS) for t in triggers]
    peer = []
    for request in requests:
        start = time.perf_counter()
        for pattern in plain:
            pattern.search(request.text)
        peer.append((time.perf_counter() - start) * 1000)
    _show("peer: the same evidence, one search after another", sorted(peer))
    for name, piece in ADVERSARIAL.items():
        row = []
        for size in (2_000, 20_000, 200_000):
            text = (piece * (size // len(piece) + 1))[:size]
            row.append(statistics.median(router.decide(Request(text=text)).elapsed_ms for _ in range(20)))
        print(f"  {name:<22} 2 kB {row[0]:.2f} ms   20 kB {row[1]:.2f} ms   200 kB {row[2]:.2f} ms")


ADVERSARIAL = {
    "words": "lorem ipsum dolor sit amet ",
    "one letter": "a",
    "spaces": " ",
    "digits and signs": "1+1=2, ",
    "open brackets": "f(",
    "if without then": "if a ",
    "beginnings of triggers": "write a write me create a give the ",
    "other letters": "äöü日本",
}


def _read(file: Path) -> list[Request]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Request(text=r["text"], has_image=bool(r.get("has_image")), has_code=bool(r.get("has_code"))) for r in rows]


def _made(fleet: object) -> list[Request]:
    """Requests of all lengths out of the words of the shipped triggers."""
    dice = random.Random(4)
    words = [w.rstrip("*") for r in fleet.routes for t in r.triggers for w in t.words]  # type: ignore[attr-defined]
    words += [
        "the",
        "a",
        "of",
        "and",
        "to",
        "in",
        "is",
        "it",
        "you",
        "that",
        "for",
        "on",
        "this",
        "my",
        "we",
        "can",
    ] * 20
    lengths = [3, 5, 8, 8, 12, 12, 20, 20, 30, 60, 120, 300]
    return [Request(text=" ".join(dice.choices(words, k=dice.choice(lengths)))) for _ in range(2400)]


def _show(name: str, times: list[float]) -> None:
    n = len(times)
    print(f"  {name:<52} p50 {times[n // 2]:.3f} ms   p99 {times[n * 99 // 100]:.3f} ms   max {times[-1]:.2f} ms")
