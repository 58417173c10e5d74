"""The command line: a contract with other programs, run as they run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Process
from tests.e2e.terminal import Terminal

FIVE = {
    "goto amazon.com": ("tool_use", "gpt-oss-20b"),
    "write a python function": ("code", "qwen3-coder-30b"),
    "explain transformers": ("reasoning", "ministral-14b-reasoning"),
    "hello": ("simple_chat", "gemma-3-1b"),
    "@image what's this?": ("vision", "qwen3-vl-8b"),
}


def run(*args, given=None, expect=0):
    done = subprocess.run(
        [sys.executable, "-m", "tui_router", *args], input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("text", FIVE)
def test_the_five_requests(text):
    decision = json.loads(run("route", text, "--json").stdout)
    assert (decision["route"], decision["model"]) == FIVE[text]
    assert decision["confidence"] >= 0.70
    assert sum(p for _, p in decision["ranking"]) == pytest.approx(1)
    assert set(decision) == {
        "id",
        "route",
        "model",
        "confidence",
        "ranking",
        "reasons",
        "router",
        "elapsed_ms",
    }


def test_many_lines_in_order_in_one_process(tmp_path):
    rows = [{"id": f"r{i}", "text": "hello " * (i % 7), "has_image": i % 5 == 0} for i in range(2402)]
    rows[3]["history"] = [{"role": "user", "content": "write a rust function"}]
    done = run("route", "--jsonl", "-", given="\n".join(map(json.dumps, rows)))
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [d["id"] for d in out] == [r["id"] for r in rows]
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(rows[0]))
    assert json.loads(run("--json", "route", "--jsonl", str(file)).stdout)["id"] == "r0"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "stdin, line 1: is not JSON"),
        ("[1]", "stdin, line 1: is a JSON list, expected one object a line"),
        ('["\\n', "stdin, line 1: is a JSON list, expected one object a line"),
        ("3", 'stdin, line 1: expected an object with a "text", found 3'),
        ("\n\n{\n", "stdin, line 3: is not JSON"),
        ("[" * 100_000, "stdin, line 1: is a JSON list"),
        ('{"text": 3}', 'expected an object with a "text"'),
        ('{"text": "x", "history": [{"role": "robot", "content": "y"}]}', '"history" is a list'),
    ],
)
def test_a_wrong_line_is_one_sentence(line, said):
    assert said in run("route", "--jsonl", "-", given=line, expect=2).stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rout", "x"], "there is no command 'rout'; did you mean 'route'?"),
        (["--demos"], "there is no option '--demos'; did you mean '--demo'?"),
        (["route"], "a TEXT or --jsonl FILE"),
        (["route", "--jsonl", "/nowhere"], "cannot be read"),
        (["route", "x", "--router", "magic"], "there is no router 'magic'; known: learned, rules"),
        (["--confidence-threshold", "7", "route", "x"], "expected a number from 0 to 1"),
        (["--config", "/nowhere.toml", "route", "x"], "there is no such file"),
        (["ask", "x", "--image", "/nowhere.png"], "there is no file /nowhere.png"),
        (["ask", "x", "--route", "nope", "--no-answer"], "there is no route 'nope'; known: tool_use, code"),
        (["rate", "1", "maybe"], "there is no 'maybe'; known: y, n, c, u"),
        (["turns", "--limit", "-3"], "--limit"),
        ([], "the dashboard needs a terminal"),
    ],
)
def test_wrong_usage_is_exit_2_and_one_sentence(args, said):
    done = run(*args, expect=2)
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_every_fault_of_a_file_is_told(tmp_path):
    file = tmp_path / "fleet.toml"
    file.write_text("[settings]\nconfidence_threshold = 9\n[routes.code]\nmodel = 'x'\n")
    said = run("--config", str(file), "route", "hello", expect=2).stderr
    assert "fleet.toml:2: settings.confidence_threshold" in said and "fleet.toml:4: routes.code.model" in said


def test_nothing_listening_is_exit_1_and_says_what_to_start():
    done = run("--health", "--json", expect=1)
    report = json.loads(done.stdout)
    assert report["ready"] is False and {m["state"] for m in report["models"]} == {"down"}
    assert "lms server start" in done.stderr
    assert report["backends"][0].keys() >= {"url", "kind", "reachable", "error"}
    assert report["tools"][0]["name"] == "playwright"


def test_one_way_of_observing_at_a_time():
    terminal = Terminal(
        [str(Path(sys.executable).parent / "tui-router"), "--observer-active", "--observer-passive"], dict(os.environ)
    )
    terminal.see("--observer-active and --observer-passive are mutually exclusive")
    assert terminal.ended() == 2


@pytest.fixture
def home(tmp_path):
    return ["--data-dir", str(tmp_path / "store")]


def turns(home):
    return json.loads(run("turns", "--json", *home).stdout)["turns"]


def test_ask_rate_turns_without_an_answer(home):
    asked = json.loads(run("ask", "write a python function", "--no-answer", "--json", *home).stdout)
    assert (asked["route"], asked["model"], asked["served"], asked["answer"], asked["fallbacks"]) == (
        "code",
        "qwen3-coder-30b",
        None,
        None,
        [],
    )
    run("rate", asked["turn"], "y", *home)
    assert turns(home)[0]["verdict"] == {"rating": "right", "kind": "route", "route": "code", "comment": ""}
    run("rate", asked["turn"], "n", "--route", "reasoning", "--comment", "why not", *home)
    assert turns(home)[0]["verdict"] == {
        "rating": "wrong",
        "kind": "route",
        "route": "reasoning",
        "comment": "why not",
    }
    assert (
        "the turn went there; say y, or name another route"
        in run("rate", asked["turn"], "n", "--route", "code", *home, expect=2).stderr
    )
    assert "there is no route" in run("rate", asked["turn"], "n", "--route", "nope", *home, expect=2).stderr
    run("rate", asked["turn"], "c", "--bad-answer", *home)
    assert turns(home)[0]["verdict"]["kind"] == "answer" and turns(home)[0]["verdict"]["route"] is None
    run("rate", asked["turn"], "u", *home)
    assert turns(home)[0]["verdict"]["route"] == "reasoning"
    assert "there is no turn '99-x'" in run("rate", "99-x", "y", *home, expect=1).stderr
    assert "--no-feedback does not go with" in run("--no-feedback", "rate", "1", "y", *home, expect=2).stderr


def test_asking_with_no_server_fails_in_one_sentence_and_keeps_the_turn(home):
    done = run("ask", "hello", *home, expect=1)
    assert "no model server answers (checked http://127.0.0.1:1234" in done.stderr
    assert turns(home)[0]["state"] == "failed"


@pytest.mark.engine
def test_ask_the_real_engine(home, engine_url, config_file):
    config = ["--config", str(config_file(engine_url))]
    done = run("ask", "hello", *home, *config)
    assert done.stdout == "Hello from tiny! A real engine.\n"
    asked = json.loads(run("ask", "hello", "--json", *home, *config).stdout)
    assert (asked["served"], asked["answer"]) == ("gemma-3-1b", "Hello from tiny! A real engine.")
    report = json.loads(run("--health", "--json", *config).stdout)
    assert (
        report["ready"]
        and {"id": "gemma-3-1b", "state": "loaded", "served_as": "gemma-3-1b-it-qat"}.items()
        <= report["models"][-1].items()
    )
    session = json.loads(run("ask", "and again", "--session", asked["session"], "--json", *home, *config).stdout)
    assert session["session"] == asked["session"]


def test_below_the_threshold_it_goes_on_and_says_so(home):
    done = run("--confidence-threshold", "1", "ask", "hello", "--no-answer", *home)
    assert "not sure: simple_chat" in done.stderr and "going on" in done.stderr


def test_hostile_answers_are_cleaned_on_the_way_to_the_terminal(home, config_file):
    double = Process("-m", "tests.doubles.lmstudio", "--fault", "hostile", "--speed", "50")
    try:
        out = run("ask", "hello", *home, "--config", str(config_file(double.url, all_routes=False))).stdout
    finally:
        double.close()
    assert "\x1b" not in out and "\u202e" not in out and "[@click=app.quit]here[/]" in out and "52;c" not in out


def test_the_demo_never_touches_a_real_store(home, tmp_path):
    run("ask", "hello", "--no-answer", *home)
    run("--demo", "ask", "goto amazon.com", "--no-answer", *home)
    assert [t["text"] for t in turns(home)] == ["hello"]
    demo = ["--demo", "--data-dir", str(tmp_path / "demo")]
    run(*demo, "ask", "hello", "--no-answer")
    assert len(json.loads(run(*demo, "turns", "--json").stdout)["turns"]) == 1


def test_the_logs_on_demand(home, tmp_path):
    run("ask", "hello", "--no-answer", *home)
    (path,) = run("turns", "--logs", "--limit", "0", *home).stdout.split()
    assert json.loads(Path(path).read_text())["request"]["text"] == "hello"


def test_a_verdict_is_on_the_route_that_was_acted_on(home):
    pinned = json.loads(run("ask", "hello", "--route", "code", "--no-answer", "--json", *home).stdout)["turn"]
    listed = json.loads(run("rate", pinned, "y", "--json", *home).stdout)
    assert listed["verdict"]["route"] == "code" and listed["verdict"]["rating"] == "right"
    assert "the turn went there" in run("rate", pinned, "n", "--route", "code", *home, expect=2).stderr
    listed = json.loads(run("rate", pinned, "n", "--route", "simple_chat", "--json", *home).stdout)
    assert listed["verdict"]["route"] == "simple_chat" and listed["verdict"]["rating"] == "wrong"


@pytest.mark.parametrize(
    "words",
    [
        ("y", "--bad-answer"),
        ("n", "--bad-answer", "--route", "code"),
        ("u", "--route", "code"),
        ("u", "--comment", "x"),
    ],
)
def test_words_that_contradict_each_other_rate_nothing(home, words):
    asked = json.loads(run("ask", "hello", "--no-answer", "--json", *home).stdout)["turn"]
    run("rate", asked, *words, *home, expect=2)
    assert json.loads(run("turns", "--json", *home).stdout)["turns"][0]["verdict"] is None
