"""Listings and streams from a grammar of each protocol, sound ones and spoilt ones: `python -m tests.backends.campaign --n 20000`.

A sound one must be read exactly: the ids that were listed, the text, the reasoning and the tool calls that were sent. A spoilt
one (values of other types, missing, doubled, nested, cut) must be read as something or be one sentence about the server.
Prints what was counted; exit code 1 when one was read wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import sys
from collections import Counter
from typing import Any

import httpx

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Reply
from tui_router.backends.listing import LISTERS, detect
from tui_router.backends.stream import ChatStream, Delta

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    1e308,
    float("nan"),
    "",
    "x",
    "\ud83e",
    "\x1b[2J",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    {"id": {"id": 1}},
    "x" * 5000,
    [1] * 50,
)
WORDS = (
    "Hello",
    " there",
    "\n",
    "`x`",
    " a < b",
    " 日🦊",
    "\u2028",
    "</",
    " [1]",
    "```\n",
    " data: 1",
    "\r\n",
    "{}",
    "<b>",
)


class Pretend:
    """A server that answers each path with one JSON, as the listers see it."""

    def __init__(self, replies: dict[str, Any]) -> None:
        self.url, self._replies = "http://pretend", replies

    async def get(self, path: str, timeout: float = 3.0) -> Reply:
        """Answer with the JSON of a path, or with 404."""
        body = self._replies.get(path.partition("?")[0], ...)
        return Reply(404, httpx.Headers(), "") if body is ... else Reply(200, httpx.Headers(), json.dumps(body))


def listing(dice: random.Random) -> tuple[str, dict[str, Any], list[str]]:
    """A sound server: its kind, what it answers to each path, and the ids that it lists."""
    ids = [
        f"{dice.choice(('google/', '', 'org_'))}model-{i}-{dice.choice((1, 7, 30))}b"
        for i in range(dice.randrange(1, 6))
    ]
    kind = dice.choice(("v1", "v0", "ollama", "llama-server", "router", "vllm", "openai"))
    plain = {"object": "list", "data": [{"id": i, "object": "model", "owned_by": "me"} for i in ids]}
    match kind:
        case "v1":
            config = {"config": {"context_length": 4096, "parallel": 4}}
            models = [
                {"type": "llm", "key": i, "loaded_instances": [config] if dice.random() < 0.5 else []} for i in ids
            ]
            return "lmstudio", {"/v1/models": plain, "/api/v1/models": {"models": models}}, ids
        case "v0":
            data = [{"id": i, "type": "vlm", "state": "loaded", "max_context_length": 9} for i in ids]
            return "lmstudio", {"/v1/models": plain, "/api/v0/models": {"data": data}}, ids
        case "ollama":
            tags = {"models": [{"name": i, "model": i, "size": 5} for i in ids]}
            replies = {"/v1/models": plain, "/api/version": {"version": "0.12"}, "/api/tags": tags}
            return "ollama", {**replies, "/api/ps": {"models": tags["models"][:1]}}, ids
        case "llama-server" | "router":
            status = {"status": {"value": "loaded"}} if kind == "router" else {}
            data = [{"id": i, "meta": {"n_ctx": 9, "n_ctx_train": 99}, **status} for i in ids]
            props = {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "modalities": {"vision": True}}
            replies = {
                "/v1/models": {"data": data},
                "/props": props,
                "/health": {"status": "ok"},
                "/slots": [{"id": 0}],
            }
            return "llama-server", replies, ids
        case "vllm":
            data = [{"id": i, "owned_by": "vllm", "max_model_len": 4096} for i in ids]
            return "vllm", {"/v1/models": {"data": data}, "/version": {"version": "0.11"}}, ids
    return "openai", {"/v1/models": plain}, ids


def spoilt(value: Any, dice: random.Random) -> Any:
    """A copy in which some places hold something else."""
    value = copy.deepcopy(value)
    for _ in range(dice.randrange(1, 4)):
        here, parent, key = value, None, None
        while isinstance(here, dict | list) and here and dice.random() < 0.8:
            parent, key = here, dice.choice(list(here) if isinstance(here, dict) else range(len(here)))
            here = parent[key]
        if parent is None:
            return copy.deepcopy(dice.choice(ODD))
        if dice.random() < 0.2:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(dice.choice((*ODD, [here], {"a": here})))
    return value


def answer(dice: random.Random) -> tuple[bytes, str, str, list[str]]:
    """A sound stream: its bytes, and the text, the reasoning and the names of the calls in it."""
    text, thoughts, calls, deltas = "", "", [], []
    field = dice.choice(("reasoning_content", "reasoning", "parts", "<think>", "[THINK]", ""))
    if field:
        thoughts = "I" + "".join(dice.choice(WORDS[:6]) for _ in range(dice.randrange(9))).replace("`", "")
        pieces = [thoughts[i : i + 3] for i in range(0, len(thoughts), 3)]
        if field[0] in "<[":
            pieces = [field, *pieces, f"{field[0]}/{field[1:]}"]
            deltas += [{"content": piece} for piece in pieces]
        elif field == "parts":
            deltas += [{"content": [{"type": "thinking", "thinking": piece}]} for piece in pieces]
        else:
            deltas += [{field: piece, "content": None} for piece in pieces]
    text = "It" + "".join(dice.choice(WORDS) for _ in range(dice.randrange(1, 20)))
    deltas += [{"role": "assistant", "content": text[i : i + 4]} for i in range(0, len(text), 4)]
    for place in range(dice.randrange(3)):
        calls.append(f"tool{place}")
        deltas += [
            {"tool_calls": [{"index": place, "function": {"name": calls[-1], "arguments": "{"}}]},
            {"tool_calls": [{"index": place, "function": {"arguments": "}"}}]},
        ]
    frames: list[Any] = [{"model": "m", "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    frames += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    frames += [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}] * dice.randrange(2)
    return _framed(frames, dice), text, thoughts, calls


def _framed(frames: list[Any], dice: random.Random) -> bytes:
    """Frames as server-sent events, with signs of life between them."""
    end = dice.choice(("\n", "\r\n", "\r"))
    alive = (
        "",
        "",
        "",
        f": ping{end}{end}",
        f"data:{end}{end}",
        f"event: ping{end}data: x{end}{end}",
        f"data: null{end}{end}",
    )
    ascii_only, space = dice.random() < 0.5, dice.choice(("", " "))
    said = "".join(
        f"data:{space}{json.dumps(f, ensure_ascii=ascii_only)}{end}{end}{dice.choice(alive)}" for f in frames
    )
    done = f"data: [DONE]{end}{end}" if dice.random() < 0.7 else ""
    return (dice.choice(("", "\ufeff", end)) + said + done).encode("utf-8", "replace")


def read(data: bytes, dice: random.Random) -> tuple[str, str, list[str]]:
    """What the program reads in a stream: text, reasoning, names of calls. Raises BackendError."""
    stream, text, thoughts, start = ChatStream(), "", "", 0
    events = []
    while start < len(data):
        size = dice.choice((1, 2, 7, 100, 5000))
        events += list(stream.feed(data[start : start + size]))
        start += size
    events += list(stream.close())
    for event in events:
        if isinstance(event, Delta):
            text, thoughts = text + event.text, thoughts + event.reasoning
    return text, thoughts, [json.loads(call)["name"] for call in stream.tool_calls]


async def campaign(n: int, seed: int = 1) -> tuple[Counter[str], list[str]]:
    """Generate `n` listings and `n` streams, half of them spoilt; what was counted, and what was read wrongly."""
    dice, counts, wrong = random.Random(seed), Counter[str](), []
    for number in range(n):
        kind, replies, ids = listing(dice)
        sound = number % 2 == 0
        for path in [] if sound else list(replies):
            replies[path] = spoilt(replies[path], dice)
        try:
            found = await detect(Pretend(replies))
            if sound and (found.kind, [m.id for m in found.models]) != (kind, ids):
                wrong.append(f"listing {number}: {found} for {replies}")
            for lister in [] if sound else LISTERS.values():
                await _quietly(lister(Pretend(replies)))
            counts["listings read"] += 1
        except BackendError:
            counts["listings that are one sentence"] += 1
            if sound:
                wrong.append(f"listing {number}: refused {replies}")
        except Exception as error:
            wrong.append(f"listing {number}: {error!r} for {replies}")
        data, *sent = answer(dice)
        if not sound:
            data = _spoilt_bytes(data, dice)
        try:
            got = read(data, dice)
            counts["streams read"] += 1
            if sound and list(got) != sent:
                wrong.append(f"stream {number}: {got} instead of {sent} from {data!r}")
        except BackendError as error:
            counts["streams that are one sentence"] += 1
            if sound or not str(error):
                wrong.append(f"stream {number}: {error} from {data!r}")
        except Exception as error:
            wrong.append(f"stream {number}: {error!r} from {data!r}")
    return counts, wrong


async def _quietly(looking: Any) -> None:
    try:
        await looking
    except BackendError:
        return


def _spoilt_bytes(data: bytes, dice: random.Random) -> bytes:
    """A stream in which a frame holds something else, or some bytes are missing, doubled or cut off."""
    lines = data.split(b"data:")
    for place in range(len(lines)):
        if dice.random() < 0.2:
            try:
                lines[place] = json.dumps(spoilt(json.loads(lines[place]), dice)).encode() + b"\n\n"
            except ValueError:
                lines[place] = lines[place][: dice.randrange(len(lines[place]) + 1)]
    data = b"data:".join(lines)
    at, length = dice.randrange(len(data) + 1), dice.randrange(20)
    match dice.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + data[at : at + length] + data[at:]
        case 3:
            return data[:at] + bytes(dice.randrange(256) for _ in range(length)) + data[at:]
    return data


def main() -> int:
    """Run the campaign and print its counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.backends.campaign", description=__doc__)
    parser.add_argument("--n", type=int, default=20_000, help="listings, and as many streams (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    counts, wrong = asyncio.run(campaign(args.n, args.seed))
    for name, count in sorted(counts.items()):
        sys.stdout.write(f"{count:>9,} {name}\n")
    sys.stdout.write(f"{len(wrong):>9,} read wrongly\n" + "".join(f"  {one[:2000]}\n" for one in wrong[:5]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
