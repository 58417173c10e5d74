"""Conversations with tool calls, written by a served model and checked against the tools' own JSON schemas.

The writer gives a request, the calls with what they return, and the last words, in a small form of our own; the messages
with their call ids are built here, so that their structure is never in doubt. What is checked: every tool is one of those
on offer, every call's arguments are what its schema takes (JSON Schema 2020-12, by the `jsonschema` library), and the calls
are of the kind that was asked for: at once, with a failure that is overcome, or in steps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from tui_router.core import assets
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.json_value import object_in_prose
from tui_router.core.tool_dialogue import SCENARIOS, Call, Scenario, ToolDialogue
from tui_router.core.types import Message
from tui_router.datasets.synthetic import requests

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

OFFERED = 5
"""Tools that a conversation has to choose from."""
A_BATCH = 2
MOST_CALLS = 8
_LONGEST_RESULT, _LONGEST_ANSWER = 4000, 4000
_CALL = {
    "type": "object", "required": ["tool", "arguments", "result", "ok"], "additionalProperties": False,
    "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}, "result": {"type": "string"}, "ok": {"type": "boolean"}},
}  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "object", "required": ["conversations"], "additionalProperties": False,
    "properties": {"conversations": {"type": "array", "items": {
        "type": "object", "required": ["request", "calls", "answer"], "additionalProperties": False,
        "properties": {"request": {"type": "string"}, "calls": {"type": "array", "items": _CALL}, "answer": {"type": "string"}},
    }}},
}  # fmt: skip
_SCENARIOS: dict[Scenario, str] = {
    "immediate": "The request says all that is needed: exactly one call, at once, and it succeeds (`ok` true).",
    "recovery": (
        "A call fails (`ok` false, its result says why); the next call does it another way (other arguments or another tool) "
        "and succeeds."
    ),
    "steps": "Two to four calls are needed, each uses what the one before returned, and all succeed (`ok` true).",
}


class ToolsError(ValueError):
    """A list of tools that cannot be used; the message says where and why."""


class DialogueBatch(NamedTuple):
    """What the writer is asked for."""

    scenario: Scenario
    tools: tuple[dict[str, Any], ...]
    """On offer; the first is to be used."""
    persona: str
    language: str
    route: str
    """The route of such requests."""


def read_tools(path: Path | None = None) -> tuple[dict[str, Any], ...]:
    """The tools of a file in OpenAI's format (a list, or an object with `tools`); by default those of `data/tools.json`.

    Raises:
        ToolsError: it cannot be read, or one is no function with a valid schema.
    """
    from jsonschema import SchemaError

    source = path or assets.data("tools.json")
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolsError(f"{source}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ToolsError(f"{source}: is not JSON: {error}") from error
    found = found.get("tools") if isinstance(found, dict) else found
    if not isinstance(found, list) or not found:
        raise ToolsError(f"{source}: expected a list of tools in OpenAI's format")
    names: set[str] = set()
    for place, tool in enumerate(found, 1):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ToolsError(
                f'{source}: tool {place} is no {{"type": "function", "function": {{"name", "parameters"}}}}'
            )
        if function["name"] in names:
            raise ToolsError(f"{source}: tool {place} is the second named {function['name']!r}")
        names.add(function["name"])
        try:
            _validator(function)
        except SchemaError as error:
            raise ToolsError(
                f"{source}: the parameters of {function['name']!r} are no JSON schema: {error.message}"
            ) from error
    return tuple(found)


def _validator(function: Mapping[str, Any]) -> Validator:
    """Raises jsonschema.SchemaError."""
    from jsonschema import Draft202012Validator

    schema = function.get("parameters") or {"type": "object", "properties": {}}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def acting_route(fleet: Fleet) -> str:
    """The route of requests that want something done: the first whose models must call tools."""
    return next((r.name for r in fleet.routes if r.needs.tools), fleet.routes[0].name)


class DialogueWork:
    """Conversations with tools as something to be written, `writing.Work`.

    Args:
        fleet: Whose acting route they are for.
        tools: In OpenAI's format.
        known: Those that there are.
        sieve: What requests are let through.
        origin: What is noted of them.
    """

    schema = SCHEMA

    def __init__(
        self,
        fleet: Fleet,
        tools: Sequence[dict[str, Any]],
        known: Sequence[ToolDialogue],
        sieve: requests.Sieve,
        origin: str,
    ) -> None:
        self._fleet, self._tools, self._sieve, self._origin = fleet, tuple(tools), sieve, origin
        self._route = acting_route(fleet)
        self._shown = [one.request for one in known]
        self._validators = {tool["function"]["name"]: _validator(tool["function"]) for tool in tools}
        self._place = len(known)

    def asks(self, dice: random.Random) -> Iterator[DialogueBatch]:
        """Every scenario in turn, every tool in turn."""
        while True:
            first = self._tools[self._place % len(self._tools)]
            others = [tool for tool in self._tools if tool is not first]
            offered = (first, *dice.sample(others, min(OFFERED - 1, len(others))))
            scenario = SCENARIOS[self._place % len(SCENARIOS)]
            yield DialogueBatch(
                scenario, offered, dice.choice(requests.PERSONAS), dice.choice(requests.LANGUAGES), self._route
            )

    def prompt(self, ask: DialogueBatch, dice: random.Random) -> tuple[Message, ...]:
        """The question, out of `data/prompts/generate_tool_use_sft.md`."""
        template = assets.data("prompts/generate_tool_use_sft.md").read_text(encoding="utf-8")
        route = self._fleet.route(ask.route)
        text = template.format(
            model=route.model, does=route.description, count=A_BATCH, first=ask.tools[0]["function"]["name"],
            tools="\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in ask.tools),
            scenario=_SCENARIOS[ask.scenario], persona=ask.persona, language=ask.language,
            known="\n".join(f"- {one[:100]}" for one in dice.sample(self._shown, min(5, len(self._shown)))) or "- none",
        )  # fmt: skip
        return (Message("user", text),)

    def parse(self, text: str) -> list[Any] | None:
        """The conversations in a reply."""
        found = object_in_prose(text)
        if found is None:
            return None
        if isinstance(found.get("conversations"), list):
            return list(found["conversations"])
        return [found] if "request" in found else None

    def take(self, piece: Any, ask: DialogueBatch) -> ToolDialogue | str:
        """The conversation, or why it is none."""
        made = self._read(piece, ask)
        if isinstance(made, str):
            return made
        wrong = _not_as_asked(made)
        if wrong:
            return wrong
        asked = requests.RequestBatch(ask.route, ask.persona, "", ask.language, "")
        taken = self._sieve.take(made.request, asked)
        return taken if isinstance(taken, str) else replace(made, request=taken.text)

    def _read(self, piece: Any, ask: DialogueBatch) -> ToolDialogue | str:
        if (
            not isinstance(piece, dict)
            or not isinstance(piece.get("request"), str)
            or not isinstance(piece.get("calls"), list)
        ):
            return "no request with calls"
        answer = piece.get("answer")
        if not isinstance(answer, str) or not 1 <= len(answer.strip()) <= _LONGEST_ANSWER:
            return "no answer at the end"
        if not 1 <= len(piece["calls"]) <= MOST_CALLS:
            return "no call, or too many"
        offered = {tool["function"]["name"] for tool in ask.tools}
        calls = []
        for call in piece["calls"]:
            if not isinstance(call, dict) or call.get("tool") not in offered:
                return "calls a tool that is not on offer"
            arguments, result = call.get("arguments"), call.get("result")
            if not isinstance(arguments, dict) or not self._validators[call["tool"]].is_valid(arguments):
                return "arguments that the tool does not take"
            result = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
            if not 1 <= len(result.strip()) <= _LONGEST_RESULT or result == "null":
                return "a call without a result"
            calls.append(
                Call(tool=call["tool"], arguments=arguments, result=result.strip(), ok=call.get("ok") is not False)
            )
        return ToolDialogue(
            request=piece["request"], calls=tuple(calls), answer=answer.strip(), scenario=ask.scenario, tools=ask.tools,
            origin=self._origin,
        )  # fmt: skip

    def done(self, ask: DialogueBatch, kept: Sequence[ToolDialogue]) -> None:
        """A batch is over."""
        self._place += 1
        self._shown += [one.request for one in kept]


def _not_as_asked(made: ToolDialogue) -> str:
    """Why the calls are not of the scenario; empty when they are."""
    worked = [call.ok for call in made.calls]
    if made.scenario == "immediate":
        return "" if worked == [True] else "not one call at once"
    if made.scenario == "steps":
        different = {(call.tool, json.dumps(call.arguments, sort_keys=True)) for call in made.calls}
        return "" if all(worked) and len(different) == len(worked) > 1 else "not several steps"
    failed = [place for place, ok in enumerate(worked) if not ok]
    if not failed or not worked[-1]:
        return "no failure that is overcome"
    first, last = made.calls[failed[0]], made.calls[-1]
    return "" if (first.tool, first.arguments) != (last.tool, last.arguments) else "no failure that is overcome"


def as_example(dialogue: ToolDialogue, route: str) -> Example:
    """The routing request in a conversation, for comparing it with others."""
    return Example(text=dialogue.request, route=route, source="generated", origin=dialogue.origin)


# -- as rows -----------------------------------------------------------------------------------------------------
def system_prompt(fleet: Fleet) -> str:
    """What the model is told before each request."""
    does = fleet.route(acting_route(fleet)).description
    return "\n".join(
        [
            f"You carry out requests by calling tools. {does}.",
            "Act at once when the request says what is needed. When a call fails, try another way. Say at the end what was done.",
        ]
    )


def row_of(dialogue: ToolDialogue, fleet: Fleet, form: str) -> dict[str, Any]:
    """One conversation as a row of JSON: OpenAI's messages with `tool_calls`, or ShareGPT with `function_call` and `observation`.

    The tools stand beside it as JSON text: their schemas differ from row to row, and a table's columns may not.
    """
    system, tools = system_prompt(fleet), json.dumps(dialogue.tools)
    beside = {"tools": tools, "scenario": dialogue.scenario, "origin": dialogue.origin}
    if form == "sharegpt":
        said = [{"from": "human", "value": dialogue.request}]
        for call in dialogue.calls:
            said.append(
                {"from": "function_call", "value": json.dumps({"name": call.tool, "arguments": call.arguments})}
            )
            said.append({"from": "observation", "value": call.result})
        return {"conversations": [*said, {"from": "gpt", "value": dialogue.answer}], "system": system, **beside}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": dialogue.request},
    ]
    for place, call in enumerate(dialogue.calls):
        name = f"call_{dialogue.key[:8]}{place}"
        function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
        messages.append(
            {"role": "assistant", "content": "", "tool_calls": [{"id": name, "type": "function", "function": function}]}
        )
        messages.append({"role": "tool", "tool_call_id": name, "name": call.tool, "content": call.result})
    return {"messages": [*messages, {"role": "assistant", "content": dialogue.answer}], **beside}
