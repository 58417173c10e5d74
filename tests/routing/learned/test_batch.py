"""Many decisions at once: the same as one by one, whatever the router was taught and whatever its fleet is."""

import random
from itertools import pairwise

import pytest

from tests.sets import rows
from tests.worlds import RULES, SHIPPED
from tui_router.config.settings import parse_config
from tui_router.core.types import Attachment, Message, Request
from tui_router.routing.ensemble.ensemble import EnsembleMember, RouterEnsemble
from tui_router.routing.labels import Label
from tui_router.routing.learned import knn_memory, seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import with_labels
from tui_router.routing.linear import text_model
from tui_router.routing.rules.rules_router import RulesRouter

PICTURE = Message(
    "user", "look at this", (Attachment(path="/a.png", media_type="image/png", size_bytes=1, sha256="0"),)
)
ODD = [
    Request(text=""),
    Request(text="  \n"),
    Request(text="?!"),
    Request(text="asdf qwer"),
    Request(text="ſet the Κelvin ١٢ İstanbul ß"),
    Request(text="what's this?", has_image=True),
    Request(text="what's this?", typed="what's this? @image /a.png", has_image=True),
    Request(text="fix it", has_code=True),
    Request(text="hello", history=(Message("assistant", "Hello?"),)),
    Request(text="and the second one?", history=(PICTURE, Message("assistant", "A cat and a dog. Which one?"))),
    Request(text="x" * 30_000),
    Request(text="hello"),
    Request(text="hello"),
]


def requests() -> list[Request]:
    """Seeds, conversations of many lengths, and odd texts, in random order."""
    dice = random.Random(3)
    found = [s.request for s in dice.sample(list(seeds.load()), 300)] + ODD
    found += [request for _, request in rows("conversations")] + [request for _, request in rows("misleading")][:100]
    talk: tuple[Message, ...] = ()
    for asked, later in pairwise([s.request.text for s in dice.sample(list(seeds.load()), 60)]):
        talk = talk if len(talk) < 14 else ()
        talk += (Message("user", asked), Message("assistant", dice.choice(("Done.", "Shall I go on?"))))
        found.append(Request(text=later, history=talk))
    dice.shuffle(found)
    return found


def check_batch(router):
    asked = requests()
    together, alone = list(router.rankings(iter(asked))), [made.ranking for made in router.decide_many(asked)]
    assert len(together) == len(asked)
    for many, one in zip(together, alone, strict=True):
        assert dict(many) == pytest.approx(dict(one), abs=2e-5)
        assert many[0][1] == pytest.approx(one[0][1], abs=2e-5)
    assert sum(many[0][0] != one[0][0] for many, one in zip(together, alone, strict=True)) <= 1  # a tie


FLEETS = {
    "as shipped": "",
    "with a new route": '[routes.legal]\ndescription = "contracts and law"\nmodel = "gemma-3n-e4b"\n'
    '[routes.legal.triggers.law]\nwords = ["contract", "clause"]\nweight = 3.0\n',
    "with priorities": "[routes.code]\npriority = 2.0\n",
    "without a route": "[routes.simple_chat]\nremove = true\n",
    "without one that sees": "[routes.vision]\nremove = true\n",
}


@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS)
def test_a_batch_decides_as_one_by_one(fleet):
    made = parse_config(fleet, None, {}).fleet
    check_batch(LearnedRouter(made, RulesRouter(made)))


def test_a_batch_decides_as_one_by_one_with_labels_and_a_personal_model():
    dice = random.Random(4)
    labels = [
        Label(key=i, request=seed.request, route=dice.choice(SHIPPED.fleet.routes).name, negative=i % 7 == 0)
        for i, seed in enumerate(dice.sample([s for s in seeds.load() if not s.request.history], 60))
    ]
    router = with_labels(SHIPPED.fleet, RULES, labels)
    assert router.personal is not None and len(router.memory)
    check_batch(router)


def test_a_batch_is_decided_at_the_temperature_of_the_ensemble():
    ensemble = RouterEnsemble([LearnedRouter(SHIPPED.fleet, RULES), RULES], {"learned": (9, 10), "rules": (8, 10)})
    ensemble.temperatures["learned"] = 1.7
    check_batch(EnsembleMember(ensemble, "learned"))
    check_batch(EnsembleMember(ensemble, "rules"))


def test_what_the_caches_drop_is_worked_out_again(monkeypatch):
    wanted = [dict(ranking) for ranking in LearnedRouter(SHIPPED.fleet, RULES).rankings(requests())]
    monkeypatch.setattr(text_model, "MAX_KNOWN", 5000)
    monkeypatch.setattr(text_model, "MAX_UNKNOWN", 20)
    monkeypatch.setattr(knn_memory, "MAX_CACHED_WORDS", 100)
    forgetful = LearnedRouter(SHIPPED.fleet, RULES)
    for one, made in zip(wanted, forgetful.rankings(requests()), strict=True):
        assert dict(made) == pytest.approx(one, abs=2e-5)
    for one, made in zip(wanted, forgetful.decide_many(requests()), strict=True):
        assert dict(made.ranking) == pytest.approx(one, abs=2e-5)
    assert forgetful.text_stage.text_model.cached < 6000


def test_a_batch_of_no_requests_has_no_rankings():
    assert list(LearnedRouter(SHIPPED.fleet, RULES).rankings([])) == []
