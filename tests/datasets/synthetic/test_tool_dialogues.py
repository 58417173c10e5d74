"""Conversations with tools: what is let through, the forms in which they leave, and an order that is broken off anywhere."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from itertools import pairwise

import pytest
from jsonschema import Draft202012Validator

from tests.datasets.tool_dialogues import FLEET, LEARNED, MAIL, SEND, TOOLS, batch, call, said, some, task
from tests.doubles.lmstudio import LMStudio
from tui_router.cli import main
from tui_router.core.tool_dialogue import SCENARIOS
from tui_router.datasets.exported_dataset import DatasetExportError
from tui_router.datasets.synthetic.tool_dialogues import ToolsError, read_tools
from tui_router.datasets.synthetic.tool_export import export
from tui_router.store.store import Store


def test_a_conversation_is_kept_with_the_tools_that_were_on_offer():
    made = task().accept(said("send mia a mail that I come at nine", SEND), MAIL)
    assert made.calls[0].arguments["to"] == ["mia"] and made.scenario == "immediate" and made.tools == MAIL.tools
    assert made.origin == "generated:m:1"


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        ("no object", "no request with calls"),
        ({"request": "send it"}, "no request with calls"),
        (said("send mia a mail", SEND, answer=" "), "no answer at the end"),
        (said("send mia a mail"), "no call, or more than 8"),
        (said("send mia a mail", call("home_set", device="lamp", state="on")), "calls a tool that was not offered"),
        (
            said("send mia a mail", call("mail_send", to="mia", subject="", body="x")),
            "arguments do not fit the tool's schema",
        ),
        (said("send mia a mail", call("mail_send", to=["mia"])), "arguments do not fit the tool's schema"),
        (said("weather", call("weather", place="Graz", day="friday")), "arguments do not fit the tool's schema"),
        (said("weather", call("weather", place="Graz", unit="K")), "arguments do not fit the tool's schema"),
        (said("send mia a mail", {**SEND, "result": ""}), "a call without a result"),
        (said("send mia a mail", SEND, SEND), "not exactly one successful call"),
        (said("send mia a mail", {**SEND, "ok": False}), "not exactly one successful call"),
        (said("hello, good morning to you!", SEND), "the routers contradict the writer"),
    ],
)
def test_everything_else_is_refused_and_says_why(piece, why):
    assert task().accept(piece, MAIL) == why


def test_a_failure_is_overcome_in_another_way_and_steps_are_several():
    asked = batch("recovery", "weather", "web_search")
    failed = call("weather", result="no such place", ok=False, place="Grz")
    accept = task().accept
    text = "look up what the weather in Graz will be tomorrow"
    assert accept(said(text, failed, failed), asked) == "no recovery from a failure"
    assert accept(said(text, failed, {**failed, "ok": True}), asked) == "no recovery from a failure"
    assert accept(said(text, call("weather", place="Graz")), asked) == "no recovery from a failure"
    assert accept(said(text, failed, call("weather", place="Graz")), asked).calls[0].ok is False
    steps = asked._replace(scenario="steps")
    assert accept(said(text, call("weather", place="Graz")), steps) == "not several different calls"
    assert accept(said(text, *[call("weather", place="Graz")] * 2), steps) == "not several different calls"
    assert accept(
        said(
            "compare the forecast for Linz today with that for the weekend and mail it",
            call("weather", place="Graz"),
            call("weather", place="Graz", day="weekend"),
        ),
        steps,
    ).calls


def test_the_prompt_has_the_tools_the_kind_and_what_is_known():
    one, rng = task(), random.Random(0)
    found = next(one.batches(rng))
    text = one.prompt(found, rng)[0].content
    assert all(tool["function"]["name"] in text for tool in found.tools) and "gpt-oss-20b" in text
    assert one.parse('Sure: ```{"conversations": [1, 2]}```') == [1, 2] and one.parse("no") is None
    scenarios, firsts = [], []
    for item, _ in zip(one.batches(rng), range(18), strict=False):
        scenarios.append(item.scenario)
        firsts.append(item.tools[0]["function"]["name"])
        one.finish(item, [])
    assert set(scenarios) == set(SCENARIOS) and set(firsts) == set(TOOLS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "is not JSON"),
        ("{}", "expected a list of tools"),
        ("[1]", "tool 1 is not {"),
        ('[{"function": {"name": "a"}}, {"function": {"name": "a"}}]', "is the second one named 'a'"),
        ('[{"function": {"name": "a", "parameters": {"type": 7}}}]', "the parameters of 'a' are not a JSON schema"),
    ],
)
def test_tools_that_cannot_be_used_are_one_sentence(tmp_path, text, why):
    (tmp_path / "tools.json").write_text(text)
    with pytest.raises(ToolsError, match=r"tools\.json") as caught:
        read_tools(tmp_path / "tools.json")
    assert why in str(caught.value)


@pytest.mark.parametrize("form", ["messages", "sharegpt"])
def test_a_dataset_of_conversations_is_whole_valid_and_has_a_card(tmp_path, form):
    made = export(some(), FLEET, form, tmp_path / "out", LEARNED.projection)
    rows = [json.loads(line) for part in (tmp_path / "out").glob("*.jsonl") for line in part.open()]
    assert sum(made.parts.values()) == len(rows) == 2
    for row in rows:
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in json.loads(row["tools"])}
        for name, arguments, answered in calls_of(row):
            assert Draft202012Validator(schemas[name]).is_valid(arguments) and answered
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| recovery |" in card and made.hash in card and "You carry out requests by calling tools" in card
    with pytest.raises(DatasetExportError, match="no conversation with tools"):
        export([], FLEET, form, tmp_path / "none", LEARNED.projection)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "out"]


def calls_of(row):
    """(tool, arguments, its result) of each call in a row."""
    if "conversations" in row:
        turns = row["conversations"]
        for turn, after in pairwise(turns):
            if turn["from"] == "function_call":
                made = json.loads(turn["value"])
                yield made["name"], made["arguments"], after["from"] == "observation" and after["value"]
        return
    for message, after in pairwise(row["messages"]):
        for made in message.get("tool_calls", ()):
            yield (
                made["function"]["name"],
                json.loads(made["function"]["arguments"]),
                after["tool_call_id"] == made["id"],
            )


def test_private_data_is_kept_masked_or_dropped(tmp_path):
    mail = {**SEND, "arguments": {"to": ["mia@example.org"], "subject": "x", "body": "y"}}
    made = [task().accept(said("send mia a mail that I come at nine", mail), MAIL)]
    for private, wanted in (("keep", True), ("mask", False)):
        export(made, FLEET, "messages", tmp_path / private, LEARNED.projection, private)
        text = "".join(p.read_text() for p in (tmp_path / private).glob("*.jsonl"))
        assert ("mia@example.org" in text) is wanted
    with pytest.raises(DatasetExportError):
        export(made, FLEET, "messages", tmp_path / "drop", LEARNED.projection, "drop")


# -- an order, broken off ----------------------------------------------------------------------------------------
def requests_of(number):
    words = [
        "kestrel",
        "marlow",
        "tansy",
        "orrin",
        "quill",
        "pell",
        "lorne",
        "brill",
        "wood",
        "stone",
        "gate",
        "field",
        "moor",
        "ford",
    ]
    rng = random.Random(number)
    return [" ".join(f"{rng.choice(words)}{rng.choice(words)}" for _ in range(6)) for _ in range(3)]


def writes(count):
    """A model that writes valid, invalid and repeated pieces in turn."""

    def write(body):
        count.append(1)
        text, number = body["messages"][0]["content"], len(count)
        if number % 5 == 0:
            return "I am sorry, I cannot do that."
        fresh = requests_of(number)
        if "conversations in which" not in text:
            return json.dumps({"requests": [*fresh, *requests_of(number - 1)]})
        tools = [json.loads(line) for line in text.splitlines() if line.startswith('{"name"')]
        good = [said(one, valid(tools[0])) for one in fresh]
        return json.dumps({"conversations": [*good, said("x y z", {**valid(tools[0]), "arguments": {"nonsense": 1}})]})

    return write


def valid(function):
    examples = {
        "url": "https://example.org",
        "start": "2026-01-02T10:00",
        "at": "2026-01-02T10:00",
        "day": "2026-01-02",
        "state": "on",
        "people": 2,
        "to": ["mia"],
        "items": ["milk"],
    }
    wanted = function["parameters"]["required"]
    arguments = {name: examples.get(name, "some") for name in wanted}
    if function["name"] in ("message_send", "route_find"):
        arguments["to"] = "mia"
    return call(function["name"], **arguments)


@pytest.mark.parametrize("kind", ["routing", "tool-use"])
@pytest.mark.timeout(240)
async def test_an_order_that_is_killed_anywhere_is_carried_out_without_loss_or_repeat(tmp_path, kind):
    double, count = LMStudio(speed=400), []
    double.writes = writes(count)
    url = await double.start()
    names = "".join(f'[backends."{name}"]\nremove = true\n' for name in ("Ollama", "llama-server"))
    (tmp_path / "fleet.toml").write_text(f'{names}[backends."LM Studio"]\nurl = "{url}"\n')
    where = ("--config", str(tmp_path / "fleet.toml"), "--data-dir", str(tmp_path / "d"))

    async def run(*more, kill_when=None):
        command = [sys.executable, "-m", "tui_router", "dataset", "generate", "--kind", kind, *more, *where]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        done = asyncio.ensure_future(process.communicate())
        while kill_when is not None and not done.done() and not kill_when():
            await asyncio.sleep(0.003)
        if kill_when is not None and not done.done():
            process.send_signal(signal.SIGKILL)
        out, err = await done
        return process.returncode, out.decode(), err.decode()

    wanted, rng = 40, random.Random(1)
    first = (
        ("--n", str(wanted), "--model", "gemma-3-1b") if kind == "routing" else ("--n", "40", "--model", "gpt-oss-20b")
    )
    more = first
    for fault in ("", "status_500", "die", "empty_stop", "error_frame", ""):
        double.faults = {"*": fault} if fault else {}
        seen, later = len(count), rng.randint(1, 3)
        kill = (lambda seen=seen, later=later: len(count) >= seen + later) if not fault else None
        code, _, err = await run(*more, kill_when=kill)
        assert "Traceback" not in err and code != 0, (fault, err)
        more = ()
    double.faults = {}
    code, _, err = await run()
    assert code == 0, err
    store = Store(tmp_path / "d")
    found = (
        [one.text for one in store.training.examples()]
        if kind == "routing"
        else [one.request for one in store.training.dialogues()]
    )
    store.close()
    assert len(found) == wanted == len(set(found)) and not (tmp_path / "d" / "generation.json").exists()
    out = ["dataset", "export", "--kind", kind, "--source", "generated", "--out", str(tmp_path / "out"), *where]
    assert main.run(out) == 0
    rows = [line for part in (tmp_path / "out").glob("*.jsonl") for line in part.open()]
    assert wanted * 0.9 <= len(rows) <= wanted
    await double.close()


def test_one_order_at_a_time(tmp_path, capsys):
    from filelock import FileLock

    with FileLock(tmp_path / "generation.lock"):
        assert main.run(["dataset", "generate", "--n", "1", "--model", "gemma-3-1b", "--data-dir", str(tmp_path)]) == 2
    assert "another tui-router has data written already" in capsys.readouterr().err
