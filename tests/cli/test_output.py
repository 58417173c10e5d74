"""What is printed: for any terminal, pipe or file, in any encoding, and never something that a terminal obeys."""

import json
import os
import subprocess
import sys

import pytest

from tui_router.cli import health
from tui_router.cli.shared import complain, emit

PROGRAM = [sys.executable, "-m", "tui_router"]
HOSTILE = "a\x1b[31mb\x07c\x9b2Jd\u202ee\u2066f\u200bg\u00adh\ufeffi\U000e0041j\x7fk\ud800l\u2028m"


def run(*args, env=(), **options):
    done = subprocess.run(
        [*PROGRAM, *args], env={**os.environ, **dict(env)}, stderr=subprocess.PIPE, timeout=60, **options
    )
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr.decode()
    return done


# encodings
POSIX = {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": name} for name in ("latin-1", "ascii", "cp437", "utf-16")] + [POSIX]
)
def test_an_output_that_is_not_utf8_has_the_same_facts(env):
    encoding = env.get("PYTHONIOENCODING", "ascii")
    done = run("route", "write a python function", env=env, stdout=subprocess.PIPE)
    out = done.stdout.decode(encoding)
    assert done.returncode == 0 and out.startswith("code ") and "qwen3-coder-30b" in out
    decision = json.loads(run("route", "grüß dich", "--json", env=env, stdout=subprocess.PIPE).stdout.decode(encoding))
    assert decision["route"] == "simple_chat"


def test_marks_have_an_ascii_form():
    out = run("route", "hello", env={"PYTHONIOENCODING": "ascii"}, stdout=subprocess.PIPE).stdout.decode()
    assert " -> gemma-3-1b" in out and "?" not in out.splitlines()[0]


def test_a_text_that_the_locale_cannot_hold_is_read_as_utf8(tmp_path):
    home = ["--data-dir", str(tmp_path)]
    run("ask", "grüß dich", "--no-answer", *home, env=POSIX, stdout=subprocess.PIPE)
    (turn,) = json.loads(run("turns", "--json", *home, env=POSIX, stdout=subprocess.PIPE).stdout)["turns"]
    assert turn["text"] == "grüß dich"


# where it goes
@pytest.mark.parametrize("args", [["route", "--jsonl", "-"], ["--help"]])
def test_a_reader_that_ends_early_is_no_fault(args):
    lines = b'{"text": "hello"}\n' * 3000
    process = subprocess.Popen([*PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(lines, timeout=60)
    assert process.returncode == 1 and errors == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only where there is a /dev/full")
@pytest.mark.parametrize("args", [["route", "hello"], ["route", "hello", "--json"], ["--help"], ["--version"]])
def test_an_output_that_is_full_is_one_sentence(args):
    with open("/dev/full", "w") as full:
        done = run(*args, stdout=full)
    assert done.returncode == 1 and done.stderr.decode() == "tui-router: output: No space left on device\n"


@pytest.mark.parametrize(("streams", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("<&-", 0)])
def test_closed_streams_are_no_fault(streams, code):
    done = run_in_shell(f"route hello {streams}")
    assert done.returncode == code and b"Traceback" not in done.stderr


def test_a_fault_without_a_reader_is_its_exit_code():
    assert run_in_shell("route --jsonl /nowhere 2>&-").returncode == 2


@pytest.mark.parametrize("streams", ["</dev/null", ">/dev/null", "<&-", ">&-"])
def test_the_dashboard_needs_a_terminal(streams):
    done = run_in_shell(streams)
    assert done.returncode == 2 and b"the dashboard needs a terminal" in done.stderr


def run_in_shell(line):
    command = f'"{sys.executable}" -m tui_router {line}'
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)


# what a terminal obeys or hides
def test_json_holds_the_text_and_nothing_that_a_terminal_obeys_or_hides(capsys):
    emit({"text": HOSTILE, "more": ["grüß 👩\u200d💻", "ok"]})
    line = capsys.readouterr().out
    assert json.loads(line) == {"text": HOSTILE, "more": ["grüß 👩\u200d💻", "ok"]}
    assert line.rstrip("\n").isprintable() and "grüß 👩" in line


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x2069, 0x200B, 0xFEFF, 0xE0041])
def test_every_such_character_is_escaped(number, capsys):
    emit(chr(number))
    line = capsys.readouterr().out.rstrip("\n")
    assert line.isprintable() and json.loads(line) == chr(number)


def test_json_has_null_for_what_is_no_number_of_json(capsys):
    emit({"a": [float("nan"), 1.5, (float("-inf"),)], "b": {"c": float("inf"), "d": True, "e": "x"}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5, [None]], "b": {"c": None, "d": True, "e": "x"}}


def test_a_message_is_clean(capsys):
    assert complain(f"{HOSTILE}\nsecond", 2) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\u202e" not in err and "\x9b" not in err
    assert err.endswith("\ntui-router: second\n")


def test_ids_of_servers_are_shown_with_marks_for_hidden_characters(capsys):
    health._show_health(
        {
            "backends": [{"name": "mine", "url": "http://h:1", "kind": HOSTILE, "reachable": True, "error": ""}],
            "models": [
                {"id": "m", "state": "loaded", "served_as": HOSTILE, "match": "name", "context": 1, "error": ""},
                {"id": "n", "state": "missing", "served_as": "", "match": "", "context": 0, "error": HOSTILE},
            ],
            "tools": [{"name": "t", "url": "http://h:2", "reachable": False}],
            "unmatched": [{"backend": "http://h:1", "id": HOSTILE, "toml": ""}],
        }
    )
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 5 and out.replace("\n", "").isprintable()
    assert out.count("<U+200B>") == 4 and out.count("<U+E0041>") == 4 and out.count("<U+FEFF>") == 4
