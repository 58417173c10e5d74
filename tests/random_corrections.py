"""Random corrections in random conversations and fleets, and what must hold after each: for a test, and at length for `make sim`."""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from tests.sets import rows
from tui_router.config.settings import parse_config
from tui_router.core.fleet import Fleet
from tui_router.core.types import Message, Request
from tui_router.routing.ensemble.ensemble import EnsembleMember, RouterEnsemble
from tui_router.routing.labels import Label
from tui_router.routing.learned import seeds
from tui_router.routing.learned.embedding_head import EmbeddingHead
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import PersonalModel
from tui_router.routing.learned.personal_training import fit_personal_model
from tui_router.routing.learned.place import place_of
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.rules.rules_router import RulesRouter

FLEETS = {
    "shipped": "",
    "an own route": '[routes.legal]\ndescription = "contracts, clauses and tenancy law"\nmodel = "gemma-3n-e4b"\n',
    "priorities": "[routes.code]\npriority = 8.0\n[routes.simple_chat]\npriority = 0.2\n",
    "removed": "[routes.simple_chat]\nremove = true\n[routes.vision]\nremove = true\n",
    "renamed": '[routes.code]\nremove = true\n[routes.dev]\nwas = "code"\ndescription = "code"\nmodel = "gemma-3n-e4b"\n',
    "all own": "".join(f"[routes.{route.name}]\nremove = true\n" for route in parse_config("", None, {}).fleet.routes)
    + '[routes.legal]\ndescription = "contracts and tenancy law"\nmodel = "gemma-3n-e4b"\n'
    + '[routes.cooking]\ndescription = "recipes and ingredients"\nmodel = "gemma-3n-e4b"\n'
    + '[routes.garden]\ndescription = "plants, soil and pests"\nmodel = "gemma-3n-e4b"\n',
}
ODD = (
    "",
    "?",
    "ok",
    "yes",
    "continue",
    "and now?",
    "asdf qwer",
    "x " * 3000,
    "それを短くして",
    "make it shorter",
    "no, the second one",
)
ANSWERS = ("Done.", "Which one do you mean?", "def f(): ...", "Here you are.", "")
UNRELATED = 0.20
"""Cosine to every corrected request below which a request is a control."""


class Outcome(NamedTuple):
    """What was counted in a case, or in many."""

    asked: int = 0
    """Times that a corrected request was decided again: in its place, as the next turn, one by one and in a batch."""
    taken: int = 0
    """Of these: it went to the corrected route."""
    controls: int = 0
    moved: int = 0
    """Controls that went elsewhere after the corrections."""

    def plus(self, other: Outcome) -> Outcome:
        return Outcome(*(a + b for a, b in zip(self, other, strict=True)))


class Setup(NamedTuple):
    """A fleet with its rules and models, which many cases share."""

    fleet: Fleet
    rules: RulesRouter
    text_model: TextModel
    personal: PersonalModel | None


@cache
def setup(kind: str, with_personal: bool) -> Setup:
    """A fleet of a kind; the personal model was fitted to labels that contradict the seeds."""
    fleet = parse_config(FLEETS[kind], None, {}).fleet
    rules = RulesRouter(fleet)
    router = LearnedRouter(fleet, rules)
    personal = None
    if with_personal:
        dice = random.Random(kind)
        labels = [
            Label(key=key, request=request, route=dice.choice(fleet.routes).name)
            for key, (_, request) in enumerate(rows("corrections")[:60], 1)
        ]
        personal = fit_personal_model(router, labels)
    return Setup(fleet, rules, router.text_stage.text_model, personal)


@cache
def texts() -> list[str]:
    return [seed.request.text for seed in seeds.load() if not seed.request.history][::7]


def random_request(dice: random.Random) -> Request:
    """A request behind a conversation of 0 to 7 turns."""
    history: list[Message] = []
    for _ in range(dice.choice((0, 0, 1, 1, 2, 3, 5, 7))):
        history.append(Message("user", random_text(dice), has_image=dice.random() < 0.1))
        history.append(Message("assistant", dice.choice(ANSWERS)))
    return Request(
        text=random_text(dice),
        history=tuple(history),
        has_image=dice.random() < 0.1,
        has_code=dice.random() < 0.1,
    )


def random_text(dice: random.Random) -> str:
    return dice.choice(ODD) if dice.random() < 0.2 else dice.choice(texts())


def next_turn(request: Request, dice: random.Random) -> Request:
    """The same request, asked again as the next turn of its conversation."""
    asked = Message("user", request.text, has_image=request.shows_image)
    return replace(request, history=(*request.history, asked, Message("assistant", dice.choice(ANSWERS))))


def run(seed: int, *, with_personal: bool = False, kinds: tuple[str, ...] = tuple(FLEETS)) -> Outcome:
    """One case: some corrections one after the other, each checked at once, and all of them at the end."""
    dice = random.Random(seed)
    made = setup(dice.choice(kinds), with_personal)
    router = LearnedRouter(made.fleet, made.rules, personal=made.personal, text_model=made.text_model)
    ensemble = RouterEnsemble([router], {})
    ensemble.temperatures["learned"] = dice.choice((0.5, 1.0, 1.7, 3.0))
    member = EnsembleMember(ensemble, "learned")
    if dice.random() < 0.3:
        router.use_head(random_head(made.fleet, dice))
    asked = [random_request(dice)]
    controls = [Request(text=dice.choice(texts())) for _ in range(8)]
    before = [member.decide(one).route for one in controls]
    expected: dict[str, tuple[Request, str]] = {}
    """Place -> (request, route that its newest label gave it)."""
    outcome = Outcome()
    for key in range(1, dice.randint(2, 7)):
        request = correct(router, key, asked, dice)
        decided = member.decide(request).route
        others = [route.name for route in made.fleet.routes if route.name != decided]
        label = Label(key=key, request=request, route=dice.choice(others), weight=dice.choice((1.0, 1.0, 0.5)))
        router.learn(label)
        expected[place_of(request)] = (request, label.route)
        outcome = outcome.plus(check(member, request, label.route, dice))
        if dice.random() < 0.2:  # "wrong" without the right route, for another request
            router.learn(Label(key=100 + key, request=random_request(dice), route=dice.choice(others), negative=True))
    for request, route in expected.values():
        outcome = outcome.plus(check(member, request, route, dice))
    corrected = [router.text_stage.read(request).embedding for request, _ in expected.values()]
    for control, route in zip(controls, before, strict=True):
        if all(float(router.text_stage.read(control).embedding @ one) < UNRELATED for one in corrected):
            outcome = outcome.plus(Outcome(controls=1, moved=member.decide(control).route != route))
    return outcome


def correct(router: LearnedRouter, key: int, asked: list[Request], dice: random.Random) -> Request:
    """The next request to correct: a new one, or one of before in its place, as the next turn, or elsewhere."""
    request = dice.choice(asked)
    match dice.randrange(5):
        case 0:
            request = random_request(dice)
        case 1:
            request = next_turn(request, dice)
        case 2:
            request = replace(random_request(dice), text=request.text)
        case 3:
            request = replace(request, text=request.text.upper())
    if router.text_stage.head is not None and dice.random() < 0.5:
        vector = np.random.default_rng(key).normal(size=16).astype(np.float32)
        router.text_stage.add_embedding(replace(request, history=()), vector)
    asked.append(request)
    return request


def random_head(fleet: Fleet, dice: random.Random) -> EmbeddingHead:
    """A head that is very sure, and wrong."""
    rng = np.random.default_rng(dice.randrange(1000))
    names = tuple(route.name for route in fleet.routes)
    return EmbeddingHead("e", "", names, rng.normal(size=(16, len(names))).astype(np.float32) * 9, np.zeros(len(names)))


def check(member: EnsembleMember, request: Request, route: str, dice: random.Random) -> Outcome:
    """Decide a corrected request again, in its place and as the next turn, one by one and in a batch."""
    again = [request, next_turn(request, dice), next_turn(next_turn(request, dice), dice)]
    routes = [member.decide(one).route for one in again] + [ranking[0][0] for ranking in member.rankings(again)]
    return Outcome(asked=len(routes), taken=sum(one == route for one in routes))
