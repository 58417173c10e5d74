"""Finds the route that a name in a file stands for: a route, a task or a model of today's fleet or of an older program."""

from __future__ import annotations

from collections.abc import Mapping

from tui_router.core.fleet import Fleet

OLD_TASKS = {
    "tool_use": "tool_use",
    "browser": "tool_use",
    "browser_automation": "tool_use",
    "coding": "code",
    "code": "code",
    "code_generation": "code",
    "reasoning": "reasoning",
    "math": "reasoning",
    "vision": "vision",
    "image": "vision",
    "chat": "general_chat",
    "general": "general_chat",
    "general_chat": "general_chat",
    "creative": "general_chat",
    "simple": "simple_chat",
    "simple_chat": "simple_chat",
    "quick": "simple_chat",
    "fast": "simple_chat",
}
"""Task types of older logs -> the routes that ship."""
OLD_MODELS = {
    "gpt-oss": "tool_use",
    "coder": "code",
    "codestral": "code",
    "ministral": "reasoning",
    "reasoning": "reasoning",
    "deepseek-r1": "reasoning",
    "vl": "vision",
    "llava": "vision",
    "gemma-3n": "general_chat",
    "gemma-3-1b": "simple_chat",
}
"""Parts of model names of older logs -> the routes that ship; the first that fits counts."""
_MAX_NAME_CHARS = 80
"""A longer text is no name, even if a part of it is that of a model."""


class RouteNames:
    """Names in files and the routes that they lead to.

    Args:
        fleet: The fleet of today.
        chosen: What the person says of names: name -> route; empty leaves its rows out.
    """

    def __init__(self, fleet: Fleet, chosen: Mapping[str, str] | None = None) -> None:
        self._fleet, self._chosen = fleet, dict(chosen or {})
        self._models: dict[str, str] = {}
        for route in fleet.routes:
            self._models.setdefault(route.model, route.name)
        self.mapped: dict[str, str] = {}
        """Names that were looked up -> their routes, where the two differ."""

    def is_chosen(self, name: str) -> bool:
        """Return whether the person said something of a name."""
        return name in self._chosen

    def route_of(self, name: str) -> str | None:
        """Return the route that a name leads to; None if it leads to none of the fleet."""
        route = self._find(name)
        if route is not None and route != name:
            self.mapped[name] = route
        return route

    def leads_to_route(self, name: str) -> bool:
        """Return whether a name leads to a route."""
        return self._find(name) is not None

    def _find(self, name: str) -> str | None:
        if name in self._chosen:
            return self._fleet.names.get(self._chosen[name])
        lower = name.strip().casefold()
        known = self._fleet.names.get(name) or self._fleet.names.get(lower) or self._models.get(name)
        if known is not None or len(lower) > _MAX_NAME_CHARS:
            return known
        old = OLD_TASKS.get(lower) or next((route for part, route in OLD_MODELS.items() if part in lower), None)
        return self._fleet.names.get(old) if old is not None else None
