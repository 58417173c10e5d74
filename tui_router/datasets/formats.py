"""Converts examples to rows of each export format, and rows back to examples.

Every row is plain data that `datasets.load_dataset` and trl read unchanged. What a format has no field for (such as the
source of the label) is in extra columns of text and flags, so that a row can be read back without loss. Only CSV has none.

A conversation before the request is part of the one user message. As messages of their own, the earlier answers would be
assistant messages like the label, and trainers would teach the model to answer, under instructions not to.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from string import ascii_uppercase
from typing import Any, Literal

from msgspec.structs import replace

from tui_router.core.example import SOURCES, Example
from tui_router.core.fleet import Fleet
from tui_router.core.types import Message, Role
from tui_router.routing.llm.llm_router import LetterPrompt, question, trained_prompt

Format = Literal["messages", "sharegpt", "alpaca", "prompt-completion", "csv", "hf"]
FORMATS: tuple[Format, ...] = ("messages", "sharegpt", "alpaca", "prompt-completion", "csv", "hf")
Target = Literal["route", "model", "detailed", "letter"]
"""What the model learns to answer: the route's name, its model's name, both in three lines, or the route's letter."""
TARGETS: tuple[Target, ...] = ("route", "model", "detailed", "letter")
_SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
_SHAREGPT_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}
_IMAGE_NOTE = "[an image is attached]"
_FORMULA_STARTS = ("=", "+", "-", "@")


class RowError(ValueError):
    """A row does not have its format's fields; the message says why."""


# -- examples to rows ----------------------------------------------------------------------------------------------
def system_prompt(fleet: Fleet, target: Target) -> str:
    """Return the instructions before each request, made from the fleet."""
    if target == "letter":
        return _letter_prompt(fleet).instructions
    lines = [f"- {r.name if target != 'model' else r.model}: {r.description}" for r in fleet.routes]
    answer = {
        "route": "Answer with ROUTE_TO= and the name of the route, nothing else.",
        "model": "Answer with ROUTE_TO= and the name of the model, nothing else.",
        "detailed": "Answer with three lines: ROUTE_TO= the route, MODEL= its model, TOOLS= yes or no.",
    }[target]
    return "\n".join(["You route requests to specialists. Do not answer the request.", "", *lines, "", answer])


def _letter_prompt(fleet: Fleet) -> LetterPrompt:
    """Return the prompt of the `tuned` router: the same in training as when it decides."""
    return trained_prompt([r.name for r in fleet.routes])


def completion(example: Example, fleet: Fleet, target: Target) -> str:
    """Return what the model should answer."""
    route = fleet.route(example.route)
    match target:
        case "model":
            return f"ROUTE_TO={route.model}"
        case "detailed":
            return f"ROUTE_TO={route.name}\nMODEL={route.model}\nTOOLS={'yes' if route.needs.tools else 'no'}"
        case "letter":
            return ascii_uppercase[fleet.digit(route.name) - 1]
    return f"ROUTE_TO={route.name}"


def row_of(example: Example, fleet: Fleet, form: Format, target: Target) -> dict[str, Any]:
    """Return one example as a row of a format. All texts of the row are valid UTF-8."""
    system, answer = system_prompt(fleet, target), completion(example, fleet, target)
    exact = _exact_texts(example)
    if exact:
        example = _with_valid_texts(example)
    if form == "csv":
        return {"request": _defused(example.text), "route": example.route}
    extra = {"text": example.text, **_extra_columns(example, exact)}
    shown = _letter_prompt(fleet).messages(example.request)[0].content if target == "letter" else _user_content(example)
    if form == "alpaca":
        if target == "letter":
            shown = question(example.request, _letter_prompt(fleet).max_characters)
        return {"instruction": system, "input": shown, "output": answer, **extra}
    if form == "prompt-completion":
        lines = [*(f"{m.role}: {m.content}\n" for m in example.history), f"user: {example.text}\n"]
        prompt = f"{shown} " if target == "letter" else f"{system}\n\n{''.join(lines)}assistant: "
        return {"prompt": prompt, "completion": answer, **extra}
    messages: list[dict[str, str]] = [] if target == "letter" else [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": shown}, {"role": "assistant", "content": answer}]
    if form == "sharegpt":
        turns = [{"from": _SHAREGPT_NAMES[m["role"]], "value": m["content"]} for m in messages]
        return {"conversations": turns, **extra}
    return {"messages": messages, **extra}


def dropped_by(form: Format, example: Example) -> list[str]:
    """Return what of an example a format has no place for."""
    if form != "csv":
        return []
    found = {
        "the conversation before": bool(example.history),
        "has_image": example.has_image,
        "weight": example.weight != 1,
    }
    return [name for name, is_dropped in found.items() if is_dropped]


def _defused(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula (OWASP, "CSV Injection"): with an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def without_apostrophe(text: str) -> str:
    """Return the text of a cell that was kept from being a formula by an apostrophe."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA_STARTS) else text


def _user_content(example: Example) -> str:
    """Return the request with the conversation before it as one text."""
    text = _with_image_note(example.text, example.has_image)
    if not example.history:
        return text
    turns = "\n".join(f"{m.role}: {_with_image_note(m.content, m.has_image)}" for m in example.history)
    return f"Earlier conversation:\n{turns}\n\nRequest:\n{text}"


def _with_image_note(text: str, has_image: bool) -> str:
    return f"{text}\n{_IMAGE_NOTE}" if has_image else text


def _extra_columns(example: Example, exact: str) -> dict[str, Any]:
    """Return the columns that the format has no field for. Always the same ones, so that any reader finds one schema."""
    history = [{"role": m.role, "content": m.content, "has_image": m.has_image} for m in example.history]
    return {
        "route": example.route,
        "source": example.source,
        "origin": example.origin,
        "session": example.session,
        "has_image": example.has_image,
        "has_code": example.has_code,
        "weight": example.weight,
        "exact": exact,
        "history": json.dumps(history),
    }


def _exact_texts(example: Example) -> str:
    """Return the texts of an example as ASCII JSON if UTF-8 cannot hold them (lone surrogates); else an empty string."""
    texts = [example.text, *(m.content for m in example.history)]
    return "" if all(_is_valid(text) for text in texts) else json.dumps(texts)


def _with_valid_texts(example: Example) -> Example:
    history = tuple(replace(m, content=_valid(m.content)) for m in example.history)
    return replace(example, text=_valid(example.text), history=history)


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _valid(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def line_of(row: dict[str, Any], form: Format) -> str:
    """Return a row as one line of its file; CSV may contain line breaks inside quotes. Always encodes as UTF-8."""
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerow([row["request"], row["route"]])
        return out.getvalue()
    return json.dumps(row, ensure_ascii=True) + "\n"


# -- rows to examples ----------------------------------------------------------------------------------------------
def format_of(row: Mapping[str, Any]) -> Format | None:
    """Return the format of a row, judged by its columns; None if it has the columns of no format."""
    if "messages" in row:
        return "messages"
    if "conversations" in row:
        return "sharegpt"
    if "completion" in row:
        return "prompt-completion"
    if {"instruction", "output"} <= set(row):
        return "alpaca"
    return "csv" if {"request", "route"} <= set(row) else None


def example_of(row: Mapping[str, Any], form: Format) -> Example:
    """Return the example in a row that `row_of` made. Raises RowError."""
    try:
        return _READERS[form](row)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RowError(f"is not a row of the format {form}: {error}") from error


def _from_messages(row: Mapping[str, Any]) -> Example:
    return _from_conversation([(m["role"], m["content"]) for m in row["messages"]], row)


def _from_sharegpt(row: Mapping[str, Any]) -> Example:
    return _from_conversation([(_SHAREGPT_ROLES[m["from"]], m["value"]) for m in row["conversations"]], row)


def _from_conversation(messages: list[tuple[Role, str]], row: Mapping[str, Any]) -> Example:
    if "text" in row:
        return _with_extra_columns(row, row["text"], _history_column(row))
    turns = [m for m in messages if m[0] != "system"]
    if len(turns) < 2 or turns[-1][0] != "assistant" or turns[-2][0] != "user":
        raise ValueError("its last two messages are not a request and its answer")
    has_image = bool(row.get("has_image"))
    history = []
    for role, content in turns[:-2]:
        noted = role == "user" and content.endswith(f"\n{_IMAGE_NOTE}")
        history.append(Message(role, content.removesuffix(f"\n{_IMAGE_NOTE}") if noted else content, has_image=noted))
    text = turns[-2][1]
    return _with_extra_columns(row, text.removesuffix(f"\n{_IMAGE_NOTE}") if has_image else text, tuple(history))


def _from_alpaca(row: Mapping[str, Any]) -> Example:
    return _with_extra_columns(row, row["text"] if "text" in row else row["input"], _history_column(row))


def _from_prompt_completion(row: Mapping[str, Any]) -> Example:
    return _with_extra_columns(row, row["text"], _history_column(row))


def _from_csv(row: Mapping[str, Any]) -> Example:
    return Example(text=without_apostrophe(str(row["request"])), route=str(row["route"]), source="imported")


def _history_column(row: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = json.loads(row.get("history") or "[]")
    return tuple(Message(m["role"], m["content"], has_image=m.get("has_image", False)) for m in messages)


def _with_extra_columns(row: Mapping[str, Any], text: str, history: tuple[Message, ...]) -> Example:
    source = row.get("source", "imported")
    if source not in SOURCES:
        raise ValueError(f"its source is {source!r}")
    if row.get("exact"):
        text, *contents = json.loads(row["exact"])
        history = tuple(replace(m, content=content) for m, content in zip(history, contents, strict=True))
    return Example(
        text=text,
        route=str(row["route"]),
        source=source,
        origin=row.get("origin", ""),
        session=row.get("session", ""),
        history=history,
        has_image=bool(row.get("has_image")),
        has_code=bool(row.get("has_code")),
        weight=float(row.get("weight", 1.0)),
    )


_READERS: dict[Format, Callable[[Mapping[str, Any]], Example]] = {
    "messages": _from_messages,
    "hf": _from_messages,
    "sharegpt": _from_sharegpt,
    "alpaca": _from_alpaca,
    "prompt-completion": _from_prompt_completion,
    "csv": _from_csv,
}
