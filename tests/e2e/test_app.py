"""The installed program in a real terminal, against the real engine: type, stream, rate, kill, start again."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Process
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e
PROGRAM = str(Path(sys.executable).parent / "tui-router")


@pytest.fixture
def start(tmp_path, own_home):
    """Start the installed `tui-router` in a terminal."""
    running = []

    def begin(*args, size=(120, 40)) -> Terminal:
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": str(own_home)}
        made = Terminal([PROGRAM, "--data-dir", str(tmp_path / "store"), *args], env, *size)
        running.append(made)
        return made

    yield begin
    for terminal in running:
        terminal.kill()


@pytest.fixture
def turns(tmp_path):
    def read():
        done = subprocess.run(
            [PROGRAM, "turns", "--json", "--data-dir", str(tmp_path / "store")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["turns"]

    return read


@pytest.mark.engine
def test_a_verdict_survives_kill_9_the_moment_the_card_says_saved(start, turns, engine_url, config_file):
    config = ["--config", str(config_file(engine_url))]
    terminal = start(*config)
    terminal.see("1/6 models")
    terminal.press("hello", "enter")
    terminal.see("simple_chat 96% → gemma-3-1b", "Hello from tiny! A real engine.", "Right route?")
    terminal.press("y")
    terminal.see("✓ right, saved")
    terminal.kill()
    (turn,) = turns()
    assert turn["verdict"] == {"rating": "right", "kind": "route", "route": "simple_chat", "comment": ""}
    assert turn["served"] == "gemma-3-1b" and turn["text"] == "hello"
    again = start(*config)
    again.see("100% [21-100] n=1")
    again.press("ctrl+q")
    assert again.ended() == 0


@pytest.mark.engine
def test_typing_at_once_after_an_answer_writes_no_verdict_and_loses_no_character(start, turns, engine_url, config_file):
    terminal = start("--config", str(config_file(engine_url)))
    terminal.see("1/6 models")
    terminal.press("hello", "enter")
    terminal.see("Hello from tiny!")
    terminal.press("yes, but make it shorter")
    terminal.see("› yes, but make it shorter")
    terminal.settle(0.8)
    assert turns()[0]["verdict"] is None
    assert "› yes, but make it shorter" in terminal.text()


def test_escape_stops_an_answer_and_the_text_is_kept(start, turns, config_file):
    double = Process("-m", "tests.doubles.lmstudio", "--speed", "0.2")
    try:
        terminal = start("--config", str(config_file(double.url, all_routes=False)))
        terminal.see("6/6 models")
        terminal.press("write a python function", "enter")
        terminal.see("A sketch", "● answering")
        terminal.press("esc")
        terminal.see("esc stop answer")
        terminal.press("esc")
        terminal.see("stopped by you; what came is kept")
    finally:
        double.close()
    assert turns()[0]["state"] == "stopped"


def test_bytes_that_are_not_utf8_are_shown_as_replacement_characters_and_typing_goes_on(start):
    terminal = start("--demo")
    terminal.see("6/6 models")
    os.write(terminal.fd, b"\x1b[200~caf\xe9 \xff\xfe bad\x1b[201~")
    terminal.see("caf\ufffd \ufffd\ufffd bad")
    terminal.press(" after")
    terminal.see("bad after")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_while_it_answers_keeps_what_came_and_restores_the_terminal(start, turns, config_file, name):
    double = Process("-m", "tests.doubles.lmstudio", "--speed", "0.2")
    try:
        terminal = start("--config", str(config_file(double.url, all_routes=False)))
        terminal.see("6/6 models")
        terminal.press("write a python function", "enter")
        terminal.see("A sketch", "● answering")
        os.kill(terminal.pid, getattr(signal, name))
        assert terminal.ended() == 128 + getattr(signal, name)
    finally:
        double.close()
    assert b"\x1b[?1049l" in terminal.sent[-400:] and b"\x1b[?25h" in terminal.sent[-400:]
    (turn,) = turns()
    assert turn["state"] == "stopped" and turn["served"] == "qwen3-coder-30b"


def test_keys_typed_while_it_starts_are_not_lost(start):
    terminal = start("--demo")
    terminal.until(lambda: len(terminal.sent) > 0, "the first byte")
    terminal.press("hello there")
    terminal.see("› hello there")
    terminal.press("enter")
    terminal.see("simple_chat", "gemma-3-1b")


def test_no_server_offers_the_demo_and_a_request_is_routed_answered_and_rated_in_it(start):
    terminal = start()
    terminal.see("No model server answered.", "try the demo", "lms server start")
    terminal.press("\x14")
    terminal.see("DEMO", "6/6 models")
    terminal.press("goto amazon.com", "enter")
    terminal.see("tool_use 97% → gpt-oss-20b", "Right route?", "tok/s")
    terminal.press("n")
    terminal.see("Which route was right?")
    terminal.press("2")
    terminal.see("↻ code, saved")


def test_eighty_columns(start):
    terminal = start("--demo", size=(80, 24))
    terminal.see("1 Chat", "6/6")
    terminal.press("write a python function", "enter")
    terminal.see("code >99%", "qwen3-coder-30b", "Right route?")
    terminal.resize(52, 12)
    terminal.see("make me larger (now 52x12, need 60x15)")
    terminal.resize(80, 24)
    terminal.see("Right route?")
    terminal.press("ctrl+q")
    assert terminal.ended() == 0


def test_what_a_model_sends_never_reaches_the_terminal_as_control(start, config_file):
    double = Process("-m", "tests.doubles.lmstudio", "--fault", "hostile", "--speed", "20")
    try:
        terminal = start("--config", str(config_file(double.url, all_routes=False)), "--confidence-threshold", "0")
        terminal.see("6/6 models")
        terminal.press("hello", "enter")
        terminal.see("[@click=app.quit]here[/] and [/INST]", "list[0] =", "done.", "Right route?")
        terminal.press("y")
        terminal.see("✓ right, saved")
        sent = bytes(terminal.sent)
    finally:
        double.close()
    assert b"\x1b]52" not in sent and b"\x1b]8;;http://evil" not in sent and b"\x1b[3J" not in sent
    assert not re.search(rb"\x1b\[2J", sent[200:]) and "\u202e".encode() not in sent
    assert terminal.read(0.1), "the app is still there"


def test_a_wrong_fleet_file_is_told_and_the_app_starts(start, tmp_path, monkeypatch):
    (tmp_path / "bad.toml").write_text("[settings]\nconfidence_threshold = 9\n")
    monkeypatch.chdir(tmp_path)  # a short path: the message is wrapped at the same place on every machine
    terminal = start("--demo", "--config", "bad.toml")
    terminal.see("bad.toml:2", "found 9", "6/6 models")


def test_help_and_every_action_open_by_key(start):
    terminal = start("--demo")
    terminal.see("6/6 models")
    terminal.press("f1")
    terminal.see("Rating, while the prompt is empty")
    terminal.press("esc")
    terminal.settle()
    terminal.press("ctrl+p")
    terminal.see("Search for commands")
    terminal.press("new conv")
    terminal.see("Start a new conversation", "Clears the context")


def test_from_keys_to_the_metric_the_pattern_the_report_and_the_example(start, turns, config_file, tmp_path):
    """All of them follow from exactly the verdicts that were given."""
    things = ("ledger", "contract", "minutes", "memo", "survey", "budget")
    double = Process("-m", "tests.doubles.lmstudio", "--speed", "60")
    config = str(config_file(double.url, all_routes=False, extra='[settings]\nrouter = "rules"\nasks_a_day = 0\n'))
    try:
        terminal = start("--config", config, "--confidence-threshold", "0")
        terminal.see("6/6 models")
        for number, thing in enumerate(things, 1):
            terminal.press(f"summarise the quarterly {thing}", "enter")
            terminal.see(f"quarterly {thing}", "y right")
            terminal.press("n")
            terminal.see("Which route was right?")
            terminal.press("3")
            terminal.see("↻ reasoning, saved", f"0% [0-{[79, 66, 56, 49, 43, 39][number - 1]}] n={number}")
            terminal.press("enter")
        for number in range(1, 6):
            terminal.press(f"write a python function that adds {number}", "enter")
            terminal.see(f"adds {number}", "y right")
            terminal.press("y")
            terminal.see("✓ right, saved", f"n={len(things) + number}")
            terminal.press("enter")
        terminal.press("/analyze", "enter")
        terminal.see(
            "11 turns, 11 rated.",
            "45% [21-72]",
            "6 of 6 wrong decisions for general_chat",
            "→ reasoning",
        )
        terminal.press("esc")
        terminal.press("f3")
        terminal.see("11 turns, 11 rated", "45% [21-72] n=11")
        terminal.press("ctrl+q")
        assert terminal.ended() == 0
    finally:
        double.close()

    def run(*more):
        done = subprocess.run(
            [PROGRAM, *more, "--data-dir", str(tmp_path / "store"), "--config", config], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    report = json.loads(run("--analyze", "--json"))
    assert report["turns"] == 11 and report["accuracy"]["n"] == 11 and report["accuracy"]["value"] == 5 / 11
    assert report["per_route"]["reasoning"]["recall"]["n"] == 6
    assert report["confusion"] == {"code": {"code": 5}, "reasoning": {"general_chat": 6}}
    wrong = {turn["id"] for turn in turns() if turn["verdict"]["rating"] == "wrong"}
    (pattern,) = [one for one in report["findings"] if one["kind"] == "confused_routes"]
    assert len(wrong) == 6 and set(pattern["turns"]) == wrong and pattern["effect"]["fixes"] == 6
    run("dataset", "export", "--source", "verdict", "--duplicates", "--format", "csv", "--out", str(tmp_path / "out"))
    rows = [line for part in (tmp_path / "out").glob("*.csv") for line in part.read_text().splitlines()[1:]]
    expected = [f"summarise the quarterly {thing},reasoning" for thing in things]
    assert sorted(rows) == sorted(expected + [f"write a python function that adds {n},code" for n in range(1, 6)])


def test_the_key_of_a_room_pressed_while_it_starts_is_not_lost(start):
    terminal = start("--demo")
    terminal.until(lambda: len(terminal.sent) > 0, "the first byte")
    terminal.press("f3")
    terminal.see("1 today", "0 turns, 0 rated")
