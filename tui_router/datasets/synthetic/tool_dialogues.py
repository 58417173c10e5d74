"""Conversations with tool calls, written by a served model and checked against the tools' own JSON schemas.

The writer gives a request, the calls with their results, and the final answer, as one small JSON object. The messages with
their call ids are built here, so that their structure is always valid. Three things are checked: every tool is one of the
offered ones, every call's arguments are valid (JSON Schema 2020-12, by the `jsonschema` library), and the calls follow the
requested scenario: one call, a failure that is recovered from, or several steps.
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

TOOLS_OFFERED = 5
"""Tools of a conversation, of which the writer uses some. Chosen by hand, not measured."""
BATCH_SIZE = 2
"""Conversations in one prompt. Chosen by hand, not measured."""
MAX_CALLS = 8
_MAX_RESULT_CHARS, _MAX_ANSWER_CHARS = 4000, 4000
_CALL_SCHEMA = {
    "type": "object",
    "required": ["tool", "arguments", "result", "ok"],
    "additionalProperties": False,
    "properties": {
        "tool": {"type": "string"},
        "arguments": {"type": "object"},
        "result": {"type": "string"},
        "ok": {"type": "boolean"},
    },
}
_CONVERSATION_SCHEMA = {
    "type": "object",
    "required": ["request", "calls", "answer"],
    "additionalProperties": False,
    "properties": {
        "request": {"type": "string"},
        "calls": {"type": "array", "items": _CALL_SCHEMA},
        "answer": {"type": "string"},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["conversations"],
    "additionalProperties": False,
    "properties": {"conversations": {"type": "array", "items": _CONVERSATION_SCHEMA}},
}
_SCENARIOS: dict[Scenario, str] = {
    "immediate": "The request says all that is needed: exactly one call, at once, and it succeeds (`ok` true).",
    "recovery": (
        "A call fails (`ok` false, its result says why); the next call does it another way (other arguments or another tool) "
        "and succeeds."
    ),
    "steps": "Two to four calls are needed, each uses what the one before returned, and all succeed (`ok` true).",
}


class ToolsError(ValueError):
    """A list of tools is invalid; the message says where and why."""


class DialogueBatch(NamedTuple):
    """What one prompt requests."""

    scenario: Scenario
    tools: tuple[dict[str, Any], ...]
    """Offered in the conversations; the first must be used."""
    persona: str
    language: str
    route: str
    """The route of such requests."""


def read_tools(path: Path | None = None) -> tuple[dict[str, Any], ...]:
    """Read tools in OpenAI's format (a list, or an object with `tools`) from a file, by default from `data/tools.json`.

    Raises:
        ToolsError: the file cannot be read, or a tool is not a function with a valid schema.
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
    for number, tool in enumerate(found, 1):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ToolsError(
                f'{source}: tool {number} is not {{"type": "function", "function": {{"name", "parameters"}}}}'
            )
        if function["name"] in names:
            raise ToolsError(f"{source}: tool {number} is the second one named {function['name']!r}")
        names.add(function["name"])
        try:
            _validator(function)
        except SchemaError as error:
            raise ToolsError(
                f"{source}: the parameters of {function['name']!r} are not a JSON schema: {error.message}"
            ) from error
    return tuple(found)


def _validator(function: Mapping[str, Any]) -> Validator:
    """Raises jsonschema.SchemaError."""
    from jsonschema import Draft202012Validator

    schema = function.get("parameters") or {"type": "object", "properties": {}}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def acting_route(fleet: Fleet) -> str:
    """Return the route of requests that call tools: the first that requires tools, else the first of all."""
    return next((r.name for r in fleet.routes if r.needs.tools), fleet.routes[0].name)


class DialogueTask:
    """Conversations with tools as a `batches.GenerationTask`.

    Args:
        fleet: The fleet of today; the conversations are for its route that calls tools.
        tools: In OpenAI's format.
        known: Existing conversations.
        request_filter: Decides which requests are kept.
        origin: Noted in the conversations.
    """

    schema = SCHEMA

    def __init__(
        self,
        fleet: Fleet,
        tools: Sequence[dict[str, Any]],
        known: Sequence[ToolDialogue],
        request_filter: requests.RequestFilter,
        origin: str,
    ) -> None:
        self._fleet, self._tools, self._filter, self._origin = fleet, tuple(tools), request_filter, origin
        self._route = acting_route(fleet)
        self._known_requests = [one.request for one in known]
        self._validators = {tool["function"]["name"]: _validator(tool["function"]) for tool in tools}
        self._number = len(known)
        """Of the next batch; decides its scenario and its first tool."""

    def batches(self, rng: random.Random) -> Iterator[DialogueBatch]:
        """Yield batches without end, with every scenario and every tool in turn."""
        while True:
            first = self._tools[self._number % len(self._tools)]
            others = [tool for tool in self._tools if tool is not first]
            offered = (first, *rng.sample(others, min(TOOLS_OFFERED - 1, len(others))))
            scenario = SCENARIOS[self._number % len(SCENARIOS)]
            yield DialogueBatch(
                scenario, offered, rng.choice(requests.PERSONAS), rng.choice(requests.LANGUAGES), self._route
            )

    def prompt(self, batch: DialogueBatch, rng: random.Random) -> tuple[Message, ...]:
        """Fill in `data/prompts/generate_tool_use_sft.md`."""
        template = assets.data("prompts/generate_tool_use_sft.md").read_text(encoding="utf-8")
        route = self._fleet.route(batch.route)
        known = rng.sample(self._known_requests, min(5, len(self._known_requests)))
        text = template.format(
            model=route.model,
            does=route.description,
            count=BATCH_SIZE,
            first=batch.tools[0]["function"]["name"],
            tools="\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in batch.tools),
            scenario=_SCENARIOS[batch.scenario],
            persona=batch.persona,
            language=batch.language,
            known="\n".join(f"- {one[:100]}" for one in known) or "- none",
        )
        return (Message("user", text),)

    def parse(self, text: str) -> list[Any] | None:
        """Return the conversations in a reply; None if it contains none."""
        found = object_in_prose(text)
        if found is None:
            return None
        if isinstance(found.get("conversations"), list):
            return list(found["conversations"])
        return [found] if "request" in found else None

    def accept(self, piece: Any, batch: DialogueBatch) -> ToolDialogue | str:
        """Return the conversation, or the reason why it is refused."""
        dialogue = self._read(piece, batch)
        if isinstance(dialogue, str):
            return dialogue
        if reason := _not_the_scenario(dialogue):
            return reason
        as_batch = requests.RequestBatch(batch.route, batch.persona, "", batch.language, "")
        accepted = self._filter.accept(dialogue.request, as_batch)
        return accepted if isinstance(accepted, str) else replace(dialogue, request=accepted.text)

    def _read(self, piece: Any, batch: DialogueBatch) -> ToolDialogue | str:
        if (
            not isinstance(piece, dict)
            or not isinstance(piece.get("request"), str)
            or not isinstance(piece.get("calls"), list)
        ):
            return "no request with calls"
        answer = piece.get("answer")
        if not isinstance(answer, str) or not 1 <= len(answer.strip()) <= _MAX_ANSWER_CHARS:
            return "no answer at the end"
        if not 1 <= len(piece["calls"]) <= MAX_CALLS:
            return f"no call, or more than {MAX_CALLS}"
        offered = {tool["function"]["name"] for tool in batch.tools}
        calls = []
        for call in piece["calls"]:
            if not isinstance(call, dict) or call.get("tool") not in offered:
                return "calls a tool that was not offered"
            arguments, result = call.get("arguments"), call.get("result")
            if not isinstance(arguments, dict) or not self._validators[call["tool"]].is_valid(arguments):
                return "arguments do not fit the tool's schema"
            result = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
            if not 1 <= len(result.strip()) <= _MAX_RESULT_CHARS or result == "null":
                return "a call without a result"
            calls.append(
                Call(tool=call["tool"], arguments=arguments, result=result.strip(), ok=call.get("ok") is not False)
            )
        return ToolDialogue(
            request=piece["request"],
            calls=tuple(calls),
            answer=answer.strip(),
            scenario=batch.scenario,
            tools=batch.tools,
            origin=self._origin,
        )

    def finish(self, batch: DialogueBatch, kept: Sequence[ToolDialogue]) -> None:
        """Note what was kept."""
        self._number += 1
        self._known_requests += [one.request for one in kept]


def _not_the_scenario(dialogue: ToolDialogue) -> str:
    """Return how the calls differ from their scenario; empty if they follow it."""
    succeeded = [call.ok for call in dialogue.calls]
    if dialogue.scenario == "immediate":
        return "" if succeeded == [True] else "not exactly one successful call"
    if dialogue.scenario == "steps":
        different = {(call.tool, json.dumps(call.arguments, sort_keys=True)) for call in dialogue.calls}
        return "" if all(succeeded) and len(different) == len(succeeded) > 1 else "not several different calls"
    failed = [index for index, ok in enumerate(succeeded) if not ok]
    if not failed or not succeeded[-1]:
        return "no recovery from a failure"
    first, last = dialogue.calls[failed[0]], dialogue.calls[-1]
    return "" if (first.tool, first.arguments) != (last.tool, last.arguments) else "no recovery from a failure"


def as_example(dialogue: ToolDialogue, route: str) -> Example:
    """Return the request of a conversation as an example, to compare it with others."""
    return Example(text=dialogue.request, route=route, source="generated", origin=dialogue.origin)


# -- export rows ---------------------------------------------------------------------------------------------------
def system_prompt(fleet: Fleet) -> str:
    """Return the instructions before each request."""
    does = fleet.route(acting_route(fleet)).description
    return "\n".join(
        [
            f"You carry out requests by calling tools. {does}.",
            "Act at once when the request says what is needed. When a call fails, try another way. Say at the end what was done.",
        ]
    )


def row_of(dialogue: ToolDialogue, fleet: Fleet, form: str) -> dict[str, Any]:
    """Return one conversation as a row: OpenAI's messages with `tool_calls`, or ShareGPT with `function_call` and `observation`.

    The column `tools` is JSON text, because the schemas of tools differ from row to row and the types of a column may not.
    """
    system, tools = system_prompt(fleet), json.dumps(dialogue.tools)
    extra = {"tools": tools, "scenario": dialogue.scenario, "origin": dialogue.origin}
    if form == "sharegpt":
        turns = [{"from": "human", "value": dialogue.request}]
        for call in dialogue.calls:
            turns.append(
                {"from": "function_call", "value": json.dumps({"name": call.tool, "arguments": call.arguments})}
            )
            turns.append({"from": "observation", "value": call.result})
        return {"conversations": [*turns, {"from": "gpt", "value": dialogue.answer}], "system": system, **extra}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": dialogue.request},
    ]
    for index, call in enumerate(dialogue.calls):
        call_id = f"call_{dialogue.key[:8]}{index}"
        function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
        messages.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
        )
        messages.append({"role": "tool", "tool_call_id": call_id, "name": call.tool, "content": call.result})
    return {"messages": [*messages, {"role": "assistant", "content": dialogue.answer}], **extra}
