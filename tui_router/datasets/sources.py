"""Collects examples from all sources: verdicts on turns, stored imports and generated requests, and the shipped seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.label_edit import LabelEdit, effective_edits, name_of
from tui_router.core.types import Message, Turn
from tui_router.core.verdicts import labelled_route
from tui_router.routing.labels import ACCEPTED_WEIGHT
from tui_router.routing.learned import seeds

VALUED_WEIGHT = 2.0
"""Training weight of an example that a person marked as worth more; others have 1. Chosen by hand, not measured."""
_MAX_ANSWER_CHARS = 2000
"""Characters of an earlier answer that an example keeps. Chosen by hand: it bounds the size of a stored example."""


def example_of_turn(turn: Turn, fleet: Fleet) -> Example | None:
    """Return the example that a turn's verdict makes (see `routing.labels`); None if it labels no route of the fleet.

    The turn's request must carry its history.
    """
    if turn.verdict is None or (label := labelled_route(turn)) is None:
        return None
    route = fleet.names.get(label)
    if route is None or not turn.request.text.strip():
        return None
    request = turn.request
    return Example(
        text=request.text,
        route=route,
        source="verdict",
        origin=turn.id,
        session=turn.session,
        has_code=request.has_code,
        history=tuple(Message(m.role, m.content[:_MAX_ANSWER_CHARS], has_image=m.shows_image) for m in request.history),
        has_image=request.shows_image,
        weight=ACCEPTED_WEIGHT if turn.verdict.kind == "accepted" else 1.0,
    )


def examples_of_turns(turns: Iterable[Turn], fleet: Fleet) -> Iterator[Example]:
    """Yield the examples of all turns that make one, in their order."""
    return (example for turn in turns if (example := example_of_turn(turn, fleet)) is not None)


def seed_examples(fleet: Fleet) -> Iterator[Example]:
    """Yield the shipped seeds whose routes the fleet has."""
    for seed in seeds.load():
        route = fleet.names.get(seed.route)
        if route is not None:
            request = seed.request
            yield Example(
                text=request.text,
                route=route,
                source="seed",
                history=request.history,
                has_image=request.has_image,
                has_code=request.has_code,
            )


def iter_examples(
    turns: Iterable[Turn], stored: Iterable[Example], fleet: Fleet, edits: Iterable[LabelEdit] = ()
) -> Iterator[Example]:
    """Yield all examples one by one: first those of verdicts, then imported and generated ones, then the seeds.

    Args:
        turns: Oldest first.
        stored: Imported and generated examples in the store.
        fleet: The fleet of today.
        edits: A person's decisions about single examples, oldest first.
    """
    found = chain(
        examples_of_turns(with_histories(turns), fleet), with_current_routes(stored, fleet), seed_examples(fleet)
    )
    return with_edits(found, effective_edits(list(edits)), fleet)


def all_examples(
    turns: Iterable[Turn], stored: Iterable[Example], fleet: Fleet, edits: Iterable[LabelEdit] = ()
) -> list[Example]:
    """Return what `iter_examples` yields as a list."""
    return list(iter_examples(turns, stored, fleet, edits))


def with_edits(examples: Iterable[Example], edits: Mapping[str, LabelEdit], fleet: Fleet) -> Iterator[Example]:
    """Yield the examples with a person's decisions applied: dropped ones left out, labels corrected, weights raised."""
    for example in examples:
        edit = edits.get(name_of(example)) if edits else None
        if edit is None or edit.kind == "keep":
            yield example
        elif edit.kind == "value":
            yield replace(example, weight=VALUED_WEIGHT)
        elif edit.kind == "relabel" and (route := fleet.names.get(edit.route)) is not None:
            yield replace(example, route=route)


def with_current_routes(examples: Iterable[Example], fleet: Fleet) -> Iterator[Example]:
    """Yield stored examples under the names that their routes have today; those whose route is gone are left out."""
    for example in examples:
        route = fleet.names.get(example.route)
        if route is not None:
            yield example if route == example.route else replace(example, route=route)
