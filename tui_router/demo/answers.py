"""What the pretend models say. They never claim to have done, looked up or seen anything."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_ANSWERS: dict[str, Sequence[str]] = {
    "openai/gpt-oss-20b": (
        "This is the demo, so nothing was opened, sent or booked. For **{topic}** a real model with tools would plan:\n\n"
        "1. find out what is missing (which account, which time)\n2. call the tool with those values\n"
        "3. read its reply and tell you what changed\n\nStart a real server to have it done.",
        "No tool is connected in the demo. The call that a real model would propose looks like this:\n\n"
        '```json\n{{"name": "browser.goto", "arguments": {{"url": "https://example.com"}}}}\n```\n\n'
        "It would wait for the page before saying anything about it.",
        "I can only pretend here: *{topic}* stays undone. What matters in this picture is the route: requests that ask "
        "for an action go to the model that can use tools.",
    ),
    "qwen/qwen3-coder-30b": (
        "A sketch, from the demo and not from a model:\n\n```python\ndef parse(line: str) -> dict[str, str]:\n"
        '    """Split `key=value` pairs into a dictionary."""\n'
        '    pairs = (part.partition("=") for part in line.split())\n    return {{key: value for key, _, value in pairs}}\n'
        "```\n\nA real coder model would first ask for the input format.",
        "The usual order for **{topic}**:\n\n- write the smallest failing test\n- make it pass\n- then look at the names\n\n"
        "```sql\nSELECT route, count(*) AS turns\nFROM decisions\nGROUP BY route\nORDER BY turns DESC;\n```\n\nThis text is canned; "
        "the routing above it is real.",
        "Demo answer. Three things to check first in code like this: what happens on *empty input*, who closes the file, "
        "and whether the loop can run for ever. `{topic}` would get a real answer from a real server.",
    ),
    "mistralai/ministral-3-14b-reasoning": (
        "Step by step, as a reasoning model would lay it out (the demo has no model behind it):\n\n1. say what is given\n"
        "2. say what is asked: {topic}\n3. find the relation between the two\n4. check the result against a simple case\n\n"
        "For a triangle with sides 3, 4 and 5 the check is $3^2 + 4^2 = 5^2$.",
        "Two readings of *{topic}* are possible. The first takes the words literally, the second asks for the mechanism "
        "behind them. A real model would pick one and say why.\n\n> The demo shows the route, not the reasoning.",
    ),
    "qwen/qwen3-vl-8b": (
        "The demo cannot look at pictures. A vision model would describe what is in the image, read the text in it, and "
        "answer: {topic}",
        "No image was looked at: this is a canned text. With a real vision model the picture would be sent along as it is, "
        "and the answer would be about what it shows.",
    ),
    "google/gemma-3n-e4b": (
        "Some thoughts on *{topic}*, written in advance for the demo:\n\n- keep the first version short\n"
        "- say the important thing first\n- read it aloud once\n\nA real chat model would write the text itself.",
        "Demo text. If this were a real model, you would now read a few paragraphs about **{topic}**. What you can try "
        "here: press `y` if the route was right, `n` if it was not, and watch the accuracy.",
        "Lentils with lemon and spinach: 25 minutes, one pan. Every answer here is canned, this one too, whatever you "
        "asked about ({topic}).",
    ),
    "google/gemma-3-1b": (
        "Hello! I am a canned answer, and glad to be read.",
        "Nice of you to say that. There is no model behind the demo, but the routing is real.",
        "All good here. Ask for code, a calculation or a picture to see another route.",
    ),
}

_REASONING = (
    "The person asks about {topic}. ",
    "This is the demo: there is nothing to look up. ",
    "So say plainly what a real model would do, and keep it short.",
)


def answer(model: str, text: str) -> str:
    """Return a text for a request, the same one for the same request."""
    texts = _ANSWERS.get(model) or _ANSWERS["google/gemma-3n-e4b"]
    return texts[zlib.crc32(text.encode("utf-8", "replace")) % len(texts)].format(topic=_topic(text))


def formed(body: Mapping[str, Any]) -> str:
    """Return the reply to a schema that asks for the observer's remark or for data; empty when there is no such schema."""
    form = body.get("response_format")
    schema = form.get("json_schema", {}).get("schema", {}) if isinstance(form, dict) else {}
    wanted = schema.get("properties", {})
    if "remark" in wanted:
        return json.dumps({"tag": "all_good", "remark": "Canned: no model is behind the demo.", "turns": []})
    lists = bool(wanted) and all(one.get("type") == "array" for one in wanted.values())
    return json.dumps({name: [] for name in wanted}) if lists else ""


def reasoning(text: str) -> list[str]:
    """Return the pieces of a pretend reasoning."""
    return [piece.format(topic=_topic(text)) for piece in _REASONING]


def _topic(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 60 else line[:59] + "…") or "nothing"
