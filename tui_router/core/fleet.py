"""The fleet: the models that a person owns and the routes that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta, Struct

Texts = tuple[Annotated[str, Meta(pattern=r"\S")], ...]
"""Texts of which none is empty."""
Tokens = Annotated[int, Meta(ge=0, le=10**9)]


class Model(Struct, frozen=True, kw_only=True):
    """One served model, as the fleet names it."""

    name: str
    aliases: Texts = ()
    """What servers call it, where its name alone does not match; `--health` lists what is served."""
    backend: str = ""
    """Base URL of the only server that may serve it; empty: any."""
    size_bytes: Annotated[int, Meta(ge=0, le=10**15)] = 0
    """Size of the weights in bytes, for the Models pane; 0: not known."""
    context: Tokens = 0
    """Longest context in tokens that the model can take; 0: not known."""
    vision: bool = False
    """Whether it can look at images."""
    tools: bool = False
    """Whether it can call tools."""
    max_tokens: Annotated[int, Meta(ge=1, le=10**7)] = 4096
    """The most tokens of one answer."""
    system: str = ""
    """A system prompt for this model alone."""


class Trigger(Struct, frozen=True, kw_only=True):
    """One piece of evidence for (or, with a negative weight, against) a route.

    Exactly one of `words`, `pattern` and `shape` is given.
    """

    name: str
    weight: Annotated[float, Meta(ge=-100, le=100)]
    """How much it adds to the route's score; the shipped ones weigh 1 to 6."""
    words: Texts = ()
    """Whole words or phrases, any case; a word ending in `*` matches as a prefix."""
    pattern: str = ""
    """A Python regular expression, any case unless it says `(?-i:...)`; `^` and `$` match at line ends."""
    shape: str = ""
    """A form of the text, such as `stack_trace` or `code_fence`; the known ones are in `routing.rules.text_features`."""
    says: str = ""
    """What the evidence means, in a person's words; empty: the trigger's name."""


class Needs(Struct, frozen=True, kw_only=True):
    """What a model must be able to do to serve a route."""

    vision: bool = False
    """It must be able to look at images."""
    tools: bool = False
    """It must be able to call tools."""
    context: Tokens = 0
    """Least usable context in tokens."""


class Route(Struct, frozen=True, kw_only=True):
    """A kind of work, and the models that do it."""

    name: str
    description: str
    """What belongs here; routers that ask a model show it this sentence."""
    model: str
    """The model that serves it."""
    fallbacks: Texts = ()
    """Models that are tried when it cannot, in this order."""
    priority: Annotated[float, Meta(ge=0.001, le=1000)] = 1.0
    """Multiplies the route's probability before it is normalised; ties go to the higher one."""
    bias: Annotated[float, Meta(ge=-100, le=100)] = 0.0
    """Score that the route starts with."""
    order: Annotated[int, Meta(ge=0, le=999)] = 0
    """Its place in lists, which makes its digit in pickers; 0: after the others."""
    needs: Needs = Needs()
    triggers: tuple[Trigger, ...] = ()
    was: Texts = ()
    """Former names, newest first: what is known of them is known of this route."""
    on_partial: Literal["keep", "restart"] = "keep"
    """What to do when an answer breaks after text was shown: `keep` it, or `restart` with the next model."""


class Fleet(Struct, frozen=True, dict=True):
    """All models and routes; routes are in the order of their digits."""

    models: Mapping[str, Model]
    routes: tuple[Route, ...]
    temperature: float = 2.0
    """Divides rule scores before the softmax; larger is less sure."""

    @cached_property
    def by_route(self) -> dict[str, Route]:
        """Routes by name."""
        return {route.name: route for route in self.routes}

    @cached_property
    def names(self) -> dict[str, str]:
        """Every name that a route has or had -> the name it has now."""
        return {**{old: r.name for r in self.routes for old in r.was}, **{r.name: r.name for r in self.routes}}

    def route(self, name: str) -> Route:
        """Return the route of that name; KeyError if the fleet has none."""
        return self.by_route[name]

    def digit(self, name: str) -> int:
        """Return the digit that picks a route, from 1; 0 for an unknown one."""
        return next((i for i, route in enumerate(self.routes, 1) if route.name == name), 0)

    def chain(self, name: str) -> tuple[str, ...]:
        """Return the models of a route in the order in which they are tried."""
        route = self.route(name)
        return (route.model, *(model for model in route.fallbacks if model != route.model))
