"""How long it takes to decide all stored turns again: by the rules, by the learned router, and by one that verdicts have taught."""

from __future__ import annotations

import gc
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.core.types import Answer
from tui_router.insight.replay import replay
from tui_router.learning.online_learner import as_taught, save_personal_model, taught_by
from tui_router.routing.evaluation.parallel import MakeRouter, by_rules
from tui_router.routing.learned import seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import fit_personal_model
from tui_router.store.store import Store


def run(turns: int) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder) / "store"
        _fill(place, turns)
        _teach(place)
        store = Store(place)
        ways: dict[str, MakeRouter] = {
            "rules": by_rules(SHIPPED.fleet),
            "learned, as shipped": partial(as_taught, SHIPPED, Path(folder) / "none", "learned"),
            "learned, with 2,000 lessons and a model of one's own": partial(as_taught, SHIPPED, place, "learned"),
        }
        gc.disable()  # as the command does
        for name, make in ways.items():
            start = time.perf_counter()
            found = replay(store.turns(), make, SHIPPED.fleet)
            took = time.perf_counter() - start
            print(
                f"  {found.turns:,} turns by {name}, {os.cpu_count()} cores: {took:.1f} s, {turns / took:,.0f} a second"
            )
        gc.enable()
        store.close()


def _fill(place: Path, turns: int) -> None:
    """Conversations of five, hardly a request twice, answers of all lengths; every fourth is rated."""
    dice, known = random.Random(0), [s for s in seeds.load() if not s.request.history]
    words = [word for seed in known for word in seed.request.text.split() if word.isalpha()]
    store = Store(place)
    with store.db.transaction():
        session = ""
        for i in range(turns):
            seed = dice.choice(known)
            text = f"{seed.request.text} {dice.choice(words)} {dice.choice(words)}"
            answer = Answer(text="It is an answer. " * dice.randint(1, 100))
            turn = store.record(a_turn(text, session if i % 5 else "", answer=answer))
            session = turn.session
            if i % 4 == 0:
                store.rate(turn.id, right(seed.route) if turn.decision.route == seed.route else wrong(seed.route))
    store.close()


def _teach(place: Path) -> None:
    """Learn from the verdicts and keep it, as the program does beside the turns."""
    learner, store = taught_by(SHIPPED, place), Store(place)
    own = fit_personal_model(LearnedRouter(SHIPPED.fleet, learner.rules), learner.labels(store))
    store.close()
    assert own is not None
    save_personal_model(own, learner.folder)
    learner.save()
