"""Try-it: what is predicted for a change of fleet.toml is what the champion decides after the change was applied."""

import json
import random

import pytest
from msgspec.structs import replace

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.config.settings import parse_config
from tui_router.core.conversation import with_histories
from tui_router.insight.findings import simulate_change
from tui_router.learning.changed_fleet import champion_for
from tui_router.learning.online_learner import taught_by
from tui_router.routing.ensemble.ensemble import EnsembleMember
from tui_router.routing.learned import seeds
from tui_router.store.store import Store

FLEET = SHIPPED.fleet
ROUTES = [route.name for route in FLEET.routes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of 150 turns in conversations of three, every third one corrected or confirmed."""
    made, dice = tmp_path_factory.mktemp("data"), random.Random(2)
    plain = [seed for seed in seeds.load() if not seed.request.history and not seed.request.has_image]
    store, session = Store(made), ""
    for i in range(150):
        seed = dice.choice(plain)
        text = f"{seed.request.text} zorble" if i % 5 == 0 else seed.request.text
        turn = store.record(a_turn(text, session=session if i % 3 else ""))
        session = turn.session
        if i % 3 == 0:
            others = [route for route in ROUTES if route != turn.decision.route]
            store.rate(turn.id, wrong(dice.choice(others)) if i % 2 else right(turn.decision.route))
    store.close()
    return made


def proposal(dice):
    """A new trigger, or another weight of a shipped one."""
    if dice.random() < 0.5:
        word, route = dice.choice(["zorble", "write", "the", "python", "book"]), dice.choice(ROUTES)
        return (
            f'[routes.{route}.triggers."{word} again"]\nwords = ["{word}"]\nweight = {dice.choice([6.0, 14.0, 30.0])}\n'
        )
    route = dice.choice([route for route in FLEET.routes if route.triggers])
    trigger = dice.choice([t for t in route.triggers if t.weight > 0])
    name = json.dumps(trigger.name, ensure_ascii=False)
    return f"[routes.{route.name}.triggers.{name}]\nweight = {trigger.weight * dice.choice([0, 0.5])}\n"


@pytest.mark.parametrize("champion", ["rules", "learned"])
def test_the_predicted_moves_are_those_after_the_change_was_applied(folder, champion):
    config = replace(SHIPPED, settings=replace(SHIPPED.settings, router=champion))
    before = taught_by(config, folder)
    before.save()  # as the program does before it loads the changed fleet
    assert before.ensemble.champion == champion
    store, dice, moved = Store(folder), random.Random(11), 0
    turns = list(store.turns())
    store.close()
    decided = [routed(before, turn) for turn in with_histories(turns)]
    for _ in range(5):
        toml = proposal(dice)
        predicted = simulate_change(toml, turns, FLEET, champion_for(before))
        after = taught_by(replace(config, fleet=parse_config(toml, None, {}).fleet), folder)
        now = [routed(after, turn) for turn in with_histories(turns)]
        real = {(turn.id, old, new) for turn, old, new in zip(turns, decided, now, strict=True) if old != new}
        got = {(move.turn, move.before, move.after) for move in predicted.moves}
        assert got == real, (toml, got - real, real - got)
        moved += len(real)
    assert moved


def routed(learner, turn):
    return EnsembleMember(learner.ensemble, learner.ensemble.champion).decide(turn.request).route
