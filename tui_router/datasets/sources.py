"""Where examples come from: verdicts, the shipped seeds, and what was generated or imported before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.label_edit import LabelEdit, effective_edits, name_of
from tui_router.core.types import Message, Turn
from tui_router.routing.labels import ACCEPTED_WEIGHT, labelled_route
from tui_router.routing.learned import seeds

VALUED = 2.0
"""Weight of an example that was marked as worth more than others."""
_LONGEST_ANSWER = 2000
"""Characters of an earlier answer that go into an example."""


def of_turn(turn: Turn, fleet: Fleet) -> Example | None:
    """The example that a turn's verdict makes, by the rules of `routers.lessons`; None when it labels no route of today.

    The turn's request carries its conversation.
    """
    if turn.verdict is None or (label := labelled_route(turn, turn.verdict)) is None:
        return None
    route = fleet.names.get(label)
    if route is None or not turn.request.text.strip():
        return None
    request = turn.request
    return Example(
        text=request.text, route=route, source="verdict", origin=turn.id, session=turn.session, has_code=request.has_code,
        history=tuple(Message(m.role, m.content[:_LONGEST_ANSWER], has_image=m.shows_image) for m in request.history),
        has_image=request.shows_image,
        weight=ACCEPTED_WEIGHT if turn.verdict.kind == "accepted" else 1.0,
    )  # fmt: skip


def of_turns(turns: Iterable[Turn], fleet: Fleet) -> Iterator[Example]:
    """The examples of all turns, in their order."""
    return (made for turn in turns if (made := of_turn(turn, fleet)) is not None)


def of_seeds(fleet: Fleet) -> Iterator[Example]:
    """The shipped seeds of the routes that the fleet has."""
    for seed in seeds.load():
        route = fleet.names.get(seed.route)
        if route is not None:
            request = seed.request
            yield Example(
                text=request.text, route=route, source="seed", history=request.history, has_image=request.has_image,
                has_code=request.has_code,
            )  # fmt: skip


def streamed(
    turns: Iterable[Turn], kept: Iterable[Example], fleet: Fleet, rulings: Iterable[LabelEdit] = ()
) -> Iterator[Example]:
    """All examples, one by one: the verdicts' first, then what was imported and generated, then the seeds.

    Args:
        turns: Oldest first.
        kept: What the store holds besides.
        fleet: Routes of today.
        rulings: What a person decided about some of them, in its order.
    """
    found = chain(of_turns(with_histories(turns), fleet), of_kept(kept, fleet), of_seeds(fleet))
    return ruled(found, effective_edits(list(rulings)), fleet)


def collected(
    turns: Iterable[Turn], kept: Iterable[Example], fleet: Fleet, rulings: Iterable[LabelEdit] = ()
) -> list[Example]:
    """What `streamed` gives, held."""
    return list(streamed(turns, kept, fleet, rulings))


def ruled(examples: Iterable[Example], rulings: Mapping[str, LabelEdit], fleet: Fleet) -> Iterator[Example]:
    """The examples as a person wants them: without the dropped ones, with the labels that were corrected."""
    for example in examples:
        ruling = rulings.get(name_of(example)) if rulings else None
        if ruling is None or ruling.kind == "keep":
            yield example
        elif ruling.kind == "value":
            yield replace(example, weight=VALUED)
        elif ruling.kind == "relabel" and (route := fleet.names.get(ruling.route)) is not None:
            yield replace(example, route=route)


def of_kept(examples: Iterable[Example], fleet: Fleet) -> Iterator[Example]:
    """Examples that were generated or imported, in the names that the routes have now; those without a route are left out."""
    for example in examples:
        route = fleet.names.get(example.route)
        if route is not None:
            yield example if route == example.route else replace(example, route=route)
