"""fleet.toml: the shipped fleet, overlaid by the person's own file, checked into a `Fleet`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tui_router.config.validation import Checker, Key
from tui_router.core.fleet import Fleet, Model, Needs, Route, Trigger
from tui_router.routing.rules.regex_analysis import dangerous
from tui_router.routing.rules.text_features import SHAPES

_MODEL_KEYS = ("aliases", "backend", "size_bytes", "context", "vision", "tools", "max_tokens", "system")
_ROUTE_KEYS = (
    "description",
    "model",
    "fallbacks",
    "needs",
    "priority",
    "bias",
    "order",
    "triggers",
    "negatives",
    "on_partial",
    "was",
)
_TRIGGER_KEYS = ("weight", "words", "pattern", "shape", "says")
_TRIGGER_GROUPS = ("triggers", "negatives")

TomlTable = dict[str, Any]


def overlay(base: TomlTable, own: Mapping[str, Any], check: Checker) -> TomlTable:
    """The base fleet with a person's changes: tables merge, `remove = true` removes, `was` renames a route."""
    merged = deepcopy(base)
    for kind in ("models", "routes"):
        tables = merged.setdefault(kind, {})
        for name, changes in check.table(own, (kind,)).items():
            if not isinstance(changes, dict):
                check.wrong((kind, name), "a table", changes)
                continue
            if changes.get("remove") is True:
                if tables.pop(name, None) is None:
                    check.fault((kind, name, "remove"), f"there is no {kind[:-1]} {name!r} to remove")
                continue
            former = _former(changes) if kind == "routes" else []
            shipped = next((old for old in former if old in tables), None)
            if shipped is not None:
                tables = merged[kind] = {name if k == shipped else k: v for k, v in tables.items()}
            elif former and "model" not in changes:
                check.fault((kind, name, "was"), f"there is no route {former[0]!r} to rename")
            merged_table = _merge(tables.get(name, {}), changes)
            if former:
                merged_table["was"] = former
            tables[name] = merged_table
    merged["rules"] = _merge(merged.get("rules", {}), check.table(own, ("rules",)))
    return merged


def _former(changes: Mapping[str, Any]) -> list[Any]:
    """The names that a route had before, newest first: one text or a list."""
    former = changes.get("was", [])
    return former if isinstance(former, list) else [former]


def _merge(old: TomlTable, changes: Mapping[str, Any]) -> TomlTable:
    new = {
        **old,
        **{k: v for k, v in changes.items() if k not in (*_TRIGGER_GROUPS, "remove", "was", "needs")},
    }
    if isinstance(changes.get("needs"), dict):
        new["needs"] = {**old.get("needs", {}), **changes["needs"]}
    elif "needs" in changes:
        new["needs"] = changes["needs"]
    for group in _TRIGGER_GROUPS:
        own = changes.get(group)
        if not isinstance(own, dict):
            if own is not None:
                new[group] = own
            continue
        triggers = dict(old.get(group, {}))
        for name, fields in own.items():
            if isinstance(fields, dict) and fields.get("remove") is True:
                triggers.pop(name, None)
            elif isinstance(fields, dict):
                kept = triggers.get(name, {})
                if any(k in fields for k in ("words", "pattern", "shape")):
                    kept = {k: v for k, v in kept.items() if k not in ("words", "pattern", "shape")}
                triggers[name] = {**kept, **fields}
            else:
                triggers[name] = fields
        new[group] = triggers
    return new


def build(data: TomlTable, check: Checker) -> Fleet:
    """The fleet that a merged table describes; faults go to the checker and what is sound is kept."""
    models = {
        name: _model(name, table, check)
        for name, table in check.table(data, ("models",)).items()
        if isinstance(table, dict)
    }
    if not models:
        check.fault(("models",), "the fleet has no model; keep at least one")
    tables = [(n, t) for n, t in check.table(data, ("routes",)).items() if isinstance(t, dict)]
    routes = [_route(name, table, check) for name, table in tables]
    if len(routes) < 2:
        check.fault(("routes",), "the fleet has fewer than two routes; a router needs a choice")
    for route in routes:
        for key, names in (("model", (route.model,)), ("fallbacks", route.fallbacks)):
            for name in names:
                if name not in models:
                    known = ", ".join(models) or "none"
                    check.fault(
                        ("routes", route.name, key),
                        f"expected a model of the fleet ({known}), found {name!r}",
                    )
        if route.needs.vision and route.model in models and not models[route.model].vision:
            check.fault(("routes", route.name, "model"), f"needs vision, but {route.model!r} has vision = false")
    rules = check.table(data, ("rules",))
    check.known(rules, ("rules",), ("temperature",))
    ordered = sorted(enumerate(routes), key=lambda item: (item[1].order or 1000, item[0]))
    return Fleet(
        models=models,
        routes=tuple(route for _, route in ordered),
        temperature=check.number(rules, ("rules",), "temperature", 2.0, 0.05, 50.0),
    )


def _model(name: str, table: TomlTable, check: Checker) -> Model:
    at: Key = ("models", name)
    check.known(table, at, _MODEL_KEYS)
    return Model(
        name=name,
        aliases=check.texts(table, at, "aliases"),
        backend=check.text(table, at, "backend"),
        size_bytes=check.whole(table, at, "size_bytes", 0, 0, 10**15),
        context=check.whole(table, at, "context", 0, 0, 10**9),
        vision=check.flag(table, at, "vision"),
        tools=check.flag(table, at, "tools"),
        max_tokens=check.whole(table, at, "max_tokens", 4096, 1, 10**7),
        system=check.text(table, at, "system"),
    )


def _route(name: str, table: TomlTable, check: Checker) -> Route:
    at: Key = ("routes", name)
    check.known(table, at, _ROUTE_KEYS)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name):
        check.fault(at, "a route's name is a letter, then letters, digits, _ or -, 32 characters at most")
    if "model" not in table:
        check.fault((*at, "model"), "is missing: which model serves this route?")
    needs = check.table({"needs": table.get("needs", {})}, ("needs",))
    check.known(needs, (*at, "needs"), ("vision", "tools", "context"))
    triggers = [
        _trigger(trigger, fields, (*at, group, trigger), 1 if group == "triggers" else -1, check)
        for group in _TRIGGER_GROUPS
        for trigger, fields in check.table({group: table.get(group, {})}, (group,)).items()
    ]
    return Route(
        name=name,
        description=check.text(table, at, "description", name),
        model=check.text(table, at, "model"),
        fallbacks=check.texts(table, at, "fallbacks"),
        priority=check.number(table, at, "priority", 1.0, 0.001, 1000.0),
        bias=check.number(table, at, "bias", 0.0, -100.0, 100.0),
        order=check.whole(table, at, "order", 0, 0, 999),
        needs=Needs(
            vision=check.flag(needs, (*at, "needs"), "vision"),
            tools=check.flag(needs, (*at, "needs"), "tools"),
            context=check.whole(needs, (*at, "needs"), "context", 0, 0, 10**9),
        ),
        triggers=tuple(trigger for trigger in triggers if trigger is not None),
        was=check.texts(table, at, "was"),
        on_partial=check.choice(table, at, "on_partial", ("keep", "restart"), "keep"),
    )


def _trigger(name: str, fields: object, at: Key, sign: int, check: Checker) -> Trigger | None:
    if not isinstance(fields, dict):
        check.wrong(at, "a table with a weight and words, pattern or shape", fields)
        return None
    check.known(fields, at, _TRIGGER_KEYS)
    given = [k for k in ("words", "pattern", "shape") if fields.get(k)]
    if len(given) != 1:
        check.fault(at, f"expected exactly one of words, pattern and shape, found {' and '.join(given) or 'none'}")
        return None
    if "weight" not in fields:
        check.fault((*at, "weight"), "is missing: how much does this evidence weigh? (the shipped ones weigh 1 to 6)")
    pattern = check.text(fields, at, "pattern")
    if pattern:
        try:
            re.compile(pattern, re.IGNORECASE | re.MULTILINE)
        except re.error as error:
            check.fault((*at, "pattern"), f"expected a regular expression; {error}")
            return None
        if why := dangerous(pattern):
            check.fault((*at, "pattern"), why)
            return None
    shape = check.text(fields, at, "shape")
    if shape and shape not in SHAPES:
        check.wrong((*at, "shape"), f"one of {', '.join(SHAPES)}", shape)
        return None
    return Trigger(
        name=name,
        weight=sign * check.number(fields, at, "weight", 1.0, -100.0, 100.0),
        words=tuple(word.lower() for word in check.texts(fields, at, "words")),
        pattern=pattern,
        shape=shape,
        says=check.text(fields, at, "says"),
    )
