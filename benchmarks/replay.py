"""How long it takes to decide all stored turns again, by the rules and by the learned router."""

from __future__ import annotations

import gc
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.worlds import SHIPPED, a_turn
from tui_router.insight.replay import replay
from tui_router.learning import as_taught
from tui_router.routers import seeds
from tui_router.routers.bulk import MakeRouter, by_rules
from tui_router.store.store import Store


def run(turns: int) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = Store(Path(folder) / "store")
        dice, texts = random.Random(0), [s.request.text for s in seeds.load() if not s.request.history]
        words = [word for text in texts for word in text.split() if word.isalpha()]
        with store.db.transaction():
            session = ""
            for i in range(turns):  # conversations of five, hardly a request twice
                text = f"{dice.choice(texts)} {dice.choice(words)} {dice.choice(words)}"
                session = store.record(a_turn(text, session if i % 5 else "")).session
        ways: dict[str, MakeRouter] = {
            "rules": by_rules(SHIPPED.fleet), "learned": partial(as_taught, SHIPPED, Path(folder) / "none", "learned"),
        }  # fmt: skip
        gc.disable()  # as the command does
        for name, make in ways.items():
            start = time.perf_counter()
            found = replay(store.turns(), make, SHIPPED.fleet)
            took = time.perf_counter() - start
            print(
                f"  {found.turns:,} turns by {name} on {os.cpu_count()} cores: {took:.1f} s, {turns / took:,.0f} a second"
            )
        gc.enable()
        store.close()
