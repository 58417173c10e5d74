"""Requests written by a model: what is let through, what is not, and going on after a stop."""

import json
import subprocess
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.worlds import RULES, SHIPPED
from tui_router.backends.json_writer import Written
from tui_router.core import assets
from tui_router.core.example import Example
from tui_router.datasets.synthetic.batches import generate
from tui_router.datasets.synthetic.requests import (
    PHRASING_SHARE,
    RequestBatch,
    RequestFilter,
    RequestTask,
    parse,
    plan_batches,
    prompt,
)
from tui_router.routing.learned.learned_router import LearnedRouter

FLEET = SHIPPED.fleet
LEARNED = LearnedRouter.as_shipped(FLEET)
CODE = RequestBatch("code", "a terse engineer", "one sentence", "English", "")


def request_filter(known=(), judges=(LEARNED, RULES)):
    return RequestFilter(known, LEARNED.projection, judges, "generated:m:1")


def requests(fleet=FLEET):
    return RequestTask(fleet, [], request_filter(judges=()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"requests": ["a b", "c"]}', ["a b", "c"]),
        ('Sure!\n```json\n{"requests": ["a", 3, "b"]}\n```', ["a", "b"]),
        ("1. first\n2. second\n3. third", ["1. first", "2. second", "3. third"]),
        ("I cannot do that.", None),
        ('{"requests": [', None),
    ],
)
def test_every_form_of_a_reply(text, found):
    assert parse(text) == found


def test_a_refused_request_has_a_reason():
    known = [Example(text="write a python function that sorts a list", route="code", source="seed")]
    one = request_filter(known)
    assert one.accept("Write a Python function that  sorts a list", CODE) == "known already"
    assert one.accept("write a python function that sorts a list!", CODE) == "near-duplicate"
    assert one.accept("x" * 5000, CODE) == "empty or too long"
    assert one.accept("hello there, good morning!", CODE) == "the routers contradict the writer"
    kept = one.accept('2. "fix the borrow checker error in this rust loop"', CODE)
    assert kept == Example(
        text="fix the borrow checker error in this rust loop", route="code", source="generated", origin="generated:m:1"
    )
    assert one.accept("fix the borrow checker error in this rust loop", CODE) == "known already"


def test_no_phrasing_has_more_than_its_share():
    one = request_filter(judges=())
    first, last = "kestrel marlow tansy orrin quill pell lorne brill", "wood stone gate field moor ford"
    nouns = [f"{a}{b}" for a in first.split() for b in last.split()]
    taken = [
        one.accept(f"please explain {noun} {noun[::-1]} in {place} terms", CODE) for place, noun in enumerate(nouns)
    ]
    assert "phrasing used too often" in taken
    assert sum(isinstance(x, Example) for x in taken) <= 21


def test_the_routes_with_the_fewest_come_first_and_some_are_hard():
    import random

    counts = Counter({r.name: 5 for r in FLEET.routes} | {"vision": 0})
    found = plan_batches(FLEET, counts, random.Random(0))
    first = [next(iter([ask])) for ask, _ in zip(found, range(3), strict=False)]
    assert {ask.route for ask in first} == {"vision"} and first[2].other
    text = prompt(first[2], FLEET, ["what is in this picture"])[0].content
    assert "**vision**" in text and first[2].other in text and "what is in this picture" in text


class Scripted:
    """A writer whose replies are known; it breaks off when they are used up."""

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    async def __call__(self, messages):
        self.asked.append(messages[0].content)
        if not self.replies:
            raise ConnectionError("gone")
        return Written(self.replies.pop(0), 100)


def reply(*texts):
    return json.dumps({"requests": texts})


async def test_batches_are_kept_one_by_one_until_there_are_enough():
    kept, told = [], []

    async def keep(examples):
        kept.append(examples)

    write = Scripted(
        reply("book a table for two at eight", "send mia the address"),
        "no idea",
        reply("open the garage door", "one more thing to do"),
    )
    tally = await generate(write, requests(), 3, keep, lambda t: told.append(t.kept) or True)
    assert [len(batch) for batch in kept] == [2, 1] and tally.kept == 3 and tally.tokens == 300
    assert tally.refused == {"no JSON": 1, "more than wanted": 1} and told[-1] == 3


async def test_what_was_kept_before_the_writer_broke_off_stays():
    kept = []

    async def keep(examples):
        kept.extend(examples)

    with pytest.raises(ConnectionError):
        await generate(Scripted(reply("book a table for two")), requests(), 5, keep, lambda t: True)
    assert len(kept) == 1


async def test_a_writer_that_repeats_itself_is_not_asked_for_ever():
    async def keep(examples):
        return None

    write = Scripted(*[reply("book a table for two")] * 50)
    tally = await generate(write, requests(), 40, keep, lambda t: True)
    assert tally.kept == 1 and len(write.asked) < 10


def test_the_prompt_is_shipped_and_the_share_is_stated():
    assert assets.data("prompts/generate_routing_data.md").is_file() and 0 < PHRASING_SHARE < 0.5


class Served:
    """A server of one model, which writes requests until it is told to break."""

    def __init__(self):
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                return

            def do_GET(self):
                self.say({"object": "list", "data": [{"id": "gpt-oss-20b", "object": "model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                served.bodies.append(body)
                if "response_format" in body:
                    self.say({"error": "no schema here"}, 400)
                    return
                served.count += 1
                if served.count > served.breaks_after:
                    self.say({"error": "out of words"}, 500)
                    return
                text = reply(*TEXTS[served.count * 2 - 2 : served.count * 2])
                self.say(
                    {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": {"total_tokens": 50}}
                )

            def say(self, value, status=200):
                raw = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.bodies, self.count, self.breaks_after = [], 0, 100
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()


TEXTS = (
    "book a table for two",
    "send mia my address",
    "merge two lists in rust",
    "why does my loop never end",
    "hi there",
    "good night",
)


def test_the_command_line_goes_on_where_the_writer_broke_off(tmp_path):
    served = Served()
    file = tmp_path / "fleet.toml"
    names = "".join(f'[backends."{name}"]\nremove = true\n' for name in ("LM Studio", "Ollama", "llama-server"))
    url = f"http://127.0.0.1:{served.server.server_port}"
    file.write_text(f'{names}[backends.here]\nurl = "{url}"\nkind = "openai"\n')
    where = ("--config", str(file), "--data-dir", str(tmp_path / "d"))

    def run(*more):
        command = [sys.executable, "-m", "tui_router", "dataset", *more, *where]
        return subprocess.run(command, capture_output=True, text=True)

    served.breaks_after = 1
    broken = run("generate", "--n", "3")
    assert broken.returncode == 1 and "Traceback" not in broken.stderr and "to go on" in broken.stderr, broken.stderr
    served.breaks_after, served.count = 100, 1
    done = run("generate")
    assert done.returncode == 0, done.stderr
    assert "response_format" in served.bodies[0] and "response_format" not in served.bodies[1]
    assert not (tmp_path / "d" / "generation.json").exists()
    assert json.loads(run("check", "--json").stdout)["examples"] == 3
    assert "there is no 'poems'" in run("generate", "--kind", "poems").stderr
    served.server.shutdown()


@pytest.mark.engine
async def test_a_real_engine_writes_valid_and_endless_replies(engine_url, tmp_path):
    """The tiny model writes the same two requests each time, or counts for ever when the prompt is not the writer's."""
    from tests.llama_cpp.tiny_model import WRITES
    from tui_router.backends.health import Health
    from tui_router.backends.json_writer import Writer
    from tui_router.config.settings import BackendSetting
    from tui_router.core.types import Message

    health = Health(FLEET, [BackendSetting(name="llama-server", url=engine_url, kind="openai")])
    kept = []

    async def keep(examples):
        kept.extend(examples)

    try:
        await health.look()
        writer = Writer(health, "gemma-3-1b")
        writer._without_schema.add(
            engine_url
        )  # a grammar would force this model into letters that it has no successor for

        async def write(messages):
            return await writer.write([messages[0]], {}, max_tokens=60, temperature=0.0, deadline_s=30.0)

        tally = await generate(write, requests(_small(FLEET)), 5, keep, lambda t: True)
        assert [e.text for e in kept] == list(WRITES) and tally.refused["known already"] >= 2
        endless = await writer.write([Message("user", "long")], {}, max_tokens=40, temperature=0.0, deadline_s=30.0)
        assert parse(endless.text) is None and endless.tokens > 40
    finally:
        await health.close()


def _small(fleet):
    """Routes with short descriptions: the tiny model sees a thousand tokens."""
    from msgspec.structs import replace

    return replace(fleet, routes=tuple(replace(r, description="x") for r in fleet.routes[:2]))
