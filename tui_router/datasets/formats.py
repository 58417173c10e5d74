"""The formats in which examples leave, and come back.

Every row is plain data that `datasets.load_dataset` and trl read unchanged. What a format has no place for (the request's
own route, its source) stands beside it in columns of texts and flags, so a row can be read back without loss.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
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
TARGETS: tuple[Target, ...] = ("route", "model", "detailed", "letter")
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}
_IMAGE = "[an image is attached]"
_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}


def system_prompt(fleet: Fleet, target: Target) -> str:
    """What the model is told before each request, built from the fleet."""
    if target == "letter":
        return _sheet(fleet).instructions
    lines = [f"- {r.name if target != 'model' else r.model}: {r.description}" for r in fleet.routes]
    answer = {
        "route": "Answer with ROUTE_TO= and the name of the route, nothing else.",
        "model": "Answer with ROUTE_TO= and the name of the model, nothing else.",
        "detailed": "Answer with three lines: ROUTE_TO= the route, MODEL= its model, TOOLS= yes or no.",
    }[target]
    return "\n".join(["You route requests to specialists. Do not answer the request.", "", *lines, "", answer])


def _sheet(fleet: Fleet) -> LetterPrompt:
    """What a model is shown that answers with letters: the same when it is trained and when it is asked."""
    return trained_prompt([r.name for r in fleet.routes])


def answer(example: Example, fleet: Fleet, target: Target) -> str:
    """What the model is to say."""
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
    """One example in one format, as a row of JSON whose texts are all valid UTF-8."""
    system, said = system_prompt(fleet, target), answer(example, fleet, target)
    exact = _exact(example)
    if exact:
        example = _readable(example)
    match form:
        case "csv":
            return {"request": example.text, "route": example.route}
        case "alpaca":
            shown = question(example.request, _sheet(fleet).max_characters) if target == "letter" else example.text
            return {
                "instruction": system, "input": shown, "output": said, "text": example.text,
                **_beside(example, exact, history=True),
            }  # fmt: skip
        case "prompt-completion":
            turns = [*(f"{m.role}: {m.content}\n" for m in example.history), f"user: {example.text}\n"]
            prompt = f"{system}\n\n{''.join(turns)}assistant: "
            if target == "letter":
                prompt = f"{_sheet(fleet).messages(example.request)[0].content} "
            return {"prompt": prompt, "completion": said, "text": example.text, **_beside(example, exact, history=True)}
    messages = _lettered(example, fleet, said) if target == "letter" else _messages(example, system, said)
    beside = _beside(example, exact, history=target == "letter") | (
        {"text": example.text} if target == "letter" else {}
    )
    if form == "sharegpt":
        return {"conversations": [{"from": _SHAREGPT[m["role"]], "value": m["content"]} for m in messages], **beside}
    return {"messages": messages, **beside}


def _lettered(example: Example, fleet: Fleet, said: str) -> list[dict[str, str]]:
    """The messages of the `tuned` router's own question; the request and its conversation stand beside them."""
    asked = [{"role": m.role, "content": m.content} for m in _sheet(fleet).messages(example.request)]
    return [*asked, {"role": "assistant", "content": said}]


def _messages(example: Example, system: str, said: str) -> list[dict[str, str]]:
    found = [{"role": "system", "content": system}]
    found += [
        {"role": m.role, "content": f"{m.content}\n{_IMAGE}" if m.has_image else m.content} for m in example.history
    ]
    text = f"{example.text}\n{_IMAGE}" if example.has_image else example.text
    return [*found, {"role": "user", "content": text}, {"role": "assistant", "content": said}]


def _exact(example: Example) -> str:
    """The texts of an example in ASCII, when UTF-8 cannot hold them as they are; else empty."""
    texts = [example.text, *(m.content for m in example.history)]
    return json.dumps(texts) if any(map(_has_half, texts)) else ""


def _readable(example: Example) -> Example:
    history = tuple(replace(m, content=_valid(m.content)) for m in example.history)
    return replace(example, text=_valid(example.text), history=history)


def _beside(example: Example, exact: str, *, history: bool = False) -> dict[str, Any]:
    """The columns beside a row. Texts and flags only, the same in every row, so that any reader finds one schema."""
    earlier = json.dumps([{"role": m.role, "content": m.content, "has_image": m.has_image} for m in example.history])
    return {
        "route": example.route, "source": example.source, "origin": example.origin, "session": example.session,
        "has_image": example.has_image, "has_code": example.has_code, "weight": example.weight, "exact": exact,
        **({"history": earlier} if history else {}),
    }  # fmt: skip


# -- back again --------------------------------------------------------------------------------------------------
class RowError(ValueError):
    """A row that is not what its format says; the message says why."""


def example_of(row: Mapping[str, Any], form: Format) -> Example:
    """The example in a row that `row_of` made. Raises RowError."""
    try:
        return _READERS[form](row)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RowError(f"is no row of the format {form}: {error}") from error


def form_of(row: Mapping[str, Any]) -> Format | None:
    """The format of a row, by its columns."""
    for column, form in (("messages", "messages"), ("conversations", "sharegpt"), ("completion", "prompt-completion")):
        if column in row:
            return form  # type: ignore[return-value]
    if {"instruction", "output"} <= set(row):
        return "alpaca"
    return "csv" if {"request", "route"} <= set(row) else None


def _from_messages(row: Mapping[str, Any]) -> Example:
    return _spoken([(m["role"], m["content"]) for m in row["messages"]], row)


def _from_sharegpt(row: Mapping[str, Any]) -> Example:
    return _spoken([(_ROLES[m["from"]], m["value"]) for m in row["conversations"]], row)


def _spoken(messages: list[tuple[Role, str]], row: Mapping[str, Any]) -> Example:
    if "text" in row:
        return _with_columns(row, row["text"], _earlier(row))
    inner = [m for m in messages if m[0] != "system"]
    if len(inner) < 2 or inner[-1][0] != "assistant" or inner[-2][0] != "user":
        raise ValueError("its last two messages are not a request and its answer")
    has_image = bool(row.get("has_image"))
    history = []
    for role, content in inner[:-2]:
        marked = role == "user" and content.endswith(f"\n{_IMAGE}")
        history.append(Message(role, content.removesuffix(f"\n{_IMAGE}") if marked else content, has_image=marked))
    text = inner[-2][1]
    return _with_columns(row, text.removesuffix(f"\n{_IMAGE}") if has_image else text, tuple(history))


def _from_alpaca(row: Mapping[str, Any]) -> Example:
    return _with_columns(row, row["text"] if "text" in row else row["input"], _earlier(row))


def _from_prompt(row: Mapping[str, Any]) -> Example:
    return _with_columns(row, row["text"], _earlier(row))


def _from_csv(row: Mapping[str, Any]) -> Example:
    return Example(text=str(row["request"]), route=str(row["route"]), source="imported")


def _earlier(row: Mapping[str, Any]) -> tuple[Message, ...]:
    found = json.loads(row.get("history") or "[]")
    return tuple(Message(m["role"], m["content"], has_image=m.get("has_image", False)) for m in found)


def _with_columns(row: Mapping[str, Any], text: str, history: tuple[Message, ...]) -> Example:
    source = row.get("source", "imported")
    if source not in SOURCES:
        raise ValueError(f"its source is {source!r}")
    if row.get("exact"):
        text, *contents = json.loads(row["exact"])
        history = tuple(replace(m, content=content) for m, content in zip(history, contents, strict=True))
    return Example(
        text=text, route=str(row["route"]), source=source, origin=row.get("origin", ""), session=row.get("session", ""),
        history=history, has_image=bool(row.get("has_image")), has_code=bool(row.get("has_code")),
        weight=float(row.get("weight", 1.0)),
    )  # fmt: skip


_READERS: dict[Format, Callable[[Mapping[str, Any]], Example]] = {
    "messages": _from_messages, "hf": _from_messages, "sharegpt": _from_sharegpt, "alpaca": _from_alpaca,
    "prompt-completion": _from_prompt, "csv": _from_csv,
}  # fmt: skip


# -- lines -------------------------------------------------------------------------------------------------------
def line_of(row: Mapping[str, Any], form: Format) -> str:
    """A row as one line of its file (CSV may hold line breaks inside of quotes). Always valid UTF-8 when encoded."""
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerow([row["request"], row["route"]])
        return out.getvalue()
    return json.dumps(row, ensure_ascii=True) + "\n"


def _valid(text: str) -> str:
    """A text that UTF-8 can hold: half of a surrogate pair becomes U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text) if _has_half(text) else text


def _has_half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def rows_of_csv(text: io.TextIOBase) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header."""
    csv.field_size_limit(1 << 27)
    return iter(csv.DictReader(text))
