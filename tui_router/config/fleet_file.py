"""fleet.toml: the shipped fleet, overlaid by the person's own file, checked into a `Fleet`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from tui_router.config.server_urls import normal_url, url_fault, without_login
from tui_router.config.validation import Checker, Key, hidden_in, read_struct
from tui_router.core.fleet import Fleet, Model, Needs, Route, Trigger
from tui_router.routing.rules.regex_analysis import dangerous
from tui_router.routing.rules.text_features import SHAPES

_TRIGGER_GROUPS = ("triggers", "negatives")
_EVIDENCE = ("words", "pattern", "shape")

TomlTable = dict[str, Any]


def overlay(base: TomlTable, own: Mapping[str, Any], check: Checker) -> TomlTable:
    """Lay a person's changes over the base fleet: tables merge, `remove = true` removes, `was` renames a route."""
    merged = deepcopy(base)
    for kind in ("models", "routes"):
        tables = merged.setdefault(kind, {})
        for name, changes in check.named_tables(own, (kind,)).items():
            if not isinstance(changes, dict):
                check.wrong((kind, name), "a table", changes)
                continue
            if is_removed(changes, (kind, name), check):
                if tables.pop(name, None) is None:
                    check.fault((kind, name, "remove"), f"there is no {kind[:-1]} {name!r} to remove")
                continue
            former = _former_names(changes) if kind == "routes" else []
            shipped = next((old for old in former if old in tables), None)
            if shipped is not None:
                tables = merged[kind] = {name if k == shipped else k: v for k, v in tables.items()}
            elif former and "model" not in changes:
                check.fault((kind, name, "was"), f"there is no route {former[0]!r} to rename")
            tables[name] = _merge(tables.get(name, {}), changes, (kind, name), check)
            if former:
                tables[name]["was"] = former
    merged["rules"] = {**merged.get("rules", {}), **check.table(own, ("rules",))}
    return merged


def is_removed(table: Mapping[str, Any], at: Key, check: Checker) -> bool:
    """Whether a table says `remove = true`; anything but true and false is reported."""
    remove = table.get("remove", False)
    if not isinstance(remove, bool):
        check.wrong((*at, "remove"), "true or false", remove)
    return remove is True


def _former_names(changes: Mapping[str, Any]) -> list[Any]:
    """Return the former names of a route, newest first; the file may hold one text or a list."""
    former = changes.get("was", [])
    return [name for name in (former if isinstance(former, list) else [former]) if isinstance(name, str)]


def _merge(old: TomlTable, changes: Mapping[str, Any], at: Key, check: Checker) -> TomlTable:
    """Lay changes over a model or a route: `needs` and the triggers are merged one by one."""
    new = {**old, **changes}
    new.pop("remove", None)
    for name in ("needs", *_TRIGGER_GROUPS):
        if isinstance(new.get(name), dict):
            new[name] = {**old.get(name, {}), **new[name]}
    for group in _TRIGGER_GROUPS:
        own = changes.get(group, {})
        for name, fields in own.items() if isinstance(own, dict) else ():
            if not isinstance(fields, dict):
                continue
            if is_removed(fields, (*at, group, name), check):
                del new[group][name]
                continue
            kept = dict(old.get(group, {}).get(name, {}))
            if any(key in fields for key in _EVIDENCE):  # a trigger has one kind of evidence: the new one replaces it
                kept = {key: value for key, value in kept.items() if key not in _EVIDENCE}
            new[group][name] = {**kept, **{key: value for key, value in fields.items() if key != "remove"}}
    return new


def build(data: TomlTable, check: Checker) -> Fleet:
    """Make the fleet that a merged table describes; faults go to the checker and what is sound is kept."""
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
        _check_models(route, models, check)
    rules = check.table(data, ("rules",))
    ordered = sorted(enumerate(routes), key=lambda item: (item[1].order or 1000, item[0]))
    return Fleet(
        models=models,
        routes=tuple(route for _, route in ordered),
        temperature=read_struct(rules, ("rules",), RuleSettings, check).temperature,
    )


def _model(name: str, table: TomlTable, check: Checker) -> Model:
    at: Key = ("models", name)
    model = read_struct(table, at, Model, check, name=name)
    url = model.backend.strip()
    if not url:
        return model
    if fault := url_fault(url, "http://127.0.0.1:1234"):
        check.fault((*at, "backend"), fault)
        return model
    return replace(model, backend=without_login(normal_url(url)))


class RuleSettings(Struct, frozen=True, kw_only=True):
    """How the rules turn scores into probabilities."""

    temperature: Annotated[float, Meta(ge=0.05, le=50)] = 2.0
    """Divides the scores before the softmax; a larger one makes the rules less sure."""


def _check_models(route: Route, models: Mapping[str, Model], check: Checker) -> None:
    for key, names in (("model", (route.model,)), ("fallbacks", route.fallbacks)):
        for name in names:
            if name and name not in models:
                known = ", ".join(models) or "none"
                check.fault(("routes", route.name, key), f"expected a model of the fleet ({known}), found {name!r}")
    if route.needs.vision and route.model in models and not models[route.model].vision:
        check.fault(("routes", route.name, "model"), f"needs vision, but {route.model!r} has vision = false")


def _route(name: str, table: TomlTable, check: Checker) -> Route:
    at: Key = ("routes", name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name):
        check.fault(at, "a route's name is a letter, then letters, digits, _ or -, 32 characters at most")
    if not table.get("model"):
        check.fault((*at, "model"), "is missing: which model serves this route?")
    triggers = [
        _trigger(trigger, fields, (*at, group, trigger), check)
        for group in _TRIGGER_GROUPS
        for trigger, fields in _inner(table, at, group, check).items()
    ]
    return read_struct(
        table,
        at,
        Route,
        check,
        also=("needs", *_TRIGGER_GROUPS),
        defaults={"description": name, "model": ""},
        name=name,
        needs=read_struct(_inner(table, at, "needs", check), (*at, "needs"), Needs, check),
        triggers=tuple(trigger for trigger in triggers if trigger is not None),
    )


def _inner(table: TomlTable, at: Key, name: str, check: Checker) -> TomlTable:
    return check.table(table, (*at, name))


def _trigger(name: str, fields: object, at: Key, check: Checker) -> Trigger | None:
    if not isinstance(fields, dict):
        check.wrong(at, "a table with a weight and words, pattern or shape", fields)
        return None
    given = [k for k in _EVIDENCE if fields.get(k)]
    if len(given) != 1:
        check.fault(at, f"expected exactly one of words, pattern and shape, found {' and '.join(given) or 'none'}")
        return None
    if "weight" not in fields:
        check.fault((*at, "weight"), "is missing: how much does this evidence weigh? (the shipped ones weigh 1 to 6)")
    trigger = read_struct(fields, at, Trigger, check, defaults={"weight": 1.0}, name=name)
    if trigger.pattern and (fault := _pattern_fault(trigger.pattern)):
        check.fault((*at, "pattern"), fault)
        return None
    if trigger.shape and trigger.shape not in SHAPES:
        check.wrong((*at, "shape"), f"one of {', '.join(SHAPES)}", trigger.shape)
        return None
    sign = -1 if at[-2] == "negatives" else 1
    return replace(trigger, weight=sign * trigger.weight, words=tuple(word.lower() for word in trigger.words))


def _pattern_fault(pattern: str) -> str:
    """Say what is wrong with a pattern; empty: nothing."""
    if hidden := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", pattern):
        return (
            f"holds the control character {hidden_in(hidden[0])}: in double quotes, \\b is a backspace and \\f a form feed; "
            "write the pattern in single quotes"
        )
    try:
        re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        return f"expected a regular expression; {error}"
    return dangerous(pattern)
