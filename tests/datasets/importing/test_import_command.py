"""`dataset import`: older logs, our own exports and plain files; nothing is half imported."""

import json
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.worlds import RULES, SHIPPED, a_turn, right, wrong
from tui_router.cli import main
from tui_router.core.example import Example
from tui_router.datasets.export import ExportOptions, export
from tui_router.datasets.importing.reader import ImportReader
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.store.store import Store

FLEET = SHIPPED.fleet


def log(at, text, model, task, rating=None, correct=None):
    return {
        "timestamp": at,
        "session_id": "s1",
        "request": {"text": text, "has_image": False, "has_code": False},
        "routing": {"model_chosen": model, "task_type": task, "confidence": 0.9},
        "feedback": {"user_rating": rating, "correct_model": correct},
    }


LOG = [
    log("2025-01-01T10:00:00", "goto amazon.com", "gpt-oss-20b", "tool_use", 1),
    log("2025-01-01T10:01:00", "fix my loop", "gemma-3-1b", "simple_chat", -1, "qwen3-coder-30b"),
    log("2025-01-01T10:02:00", "hello", "gemma-3-1b", "simple_chat"),
    log("2025-01-01T10:03:00", "prove it", "gemma-3-1b", "simple_chat"),
    {
        "timestamp": "2025-01-01T10:03:00",
        "feedback_update": True,
        "feedback": {"user_rating": -1, "correct_model": "ministral-14b-reasoning"},
    },
]


def read(paths, fleet=FLEET, **more):
    reader = ImportReader(fleet, **more)
    found = list(reader.requests(paths))
    return [one for one in found if isinstance(one, Example)], reader.summary()


def file(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("name", ["logs/routing_2025-01-01.jsonl", "routing/2025-01-01.jsonl"])
def test_older_logs_with_feedback_in_the_row_and_later(tmp_path, name):
    examples, found = read([file(tmp_path / name, LOG)])
    assert [(e.text, e.route) for e in examples] == [
        ("goto amazon.com", "tool_use"),
        ("fix my loop", "code"),
        ("prove it", "reasoning"),
    ]
    assert found.pending == 1 and not found.damaged
    assert found.mapped == {"qwen3-coder-30b": "code", "ministral-14b-reasoning": "reasoning"}


def test_older_seeds_and_names_that_lead_nowhere(tmp_path):
    rows = [
        {"request": "write a poem", "best_model": "command-r-35b", "task_type": "creative"},
        {"request": "what is on it", "best_model": "llava-7b", "task_type": "image"},
        {"request": "knit a scarf", "best_model": "knitter", "task_type": "knitting"},
    ]
    examples, found = read([file(tmp_path / "seeds.jsonl", rows)])
    assert [e.route for e in examples] == ["general_chat", "vision"] and found.unknown == {"knitting": 1}
    examples, found = read([tmp_path / "seeds.jsonl"], names={"knitting": "reasoning", "image": ""})
    assert [e.route for e in examples] == ["general_chat", "reasoning"] and found.unknown == {"image": 1}


def test_columns_of_any_name(tmp_path):
    rows = [{"frage": "sortiere die Liste", "ziel": "Programmieren"}, {"frage": "hallo"}, {"ziel": "code"}]
    examples, found = read([file(tmp_path / "own.jsonl", rows)])
    assert not examples and found.columns == ("frage", "ziel") and "frage, ziel" in found.left_out[0].why
    examples, found = read([tmp_path / "own.jsonl"], columns=("frage", "ziel"), names={"Programmieren": "code"})
    assert [(e.text, e.route) for e in examples] == [("sortiere die Liste", "code")] and found.pending == 1
    assert [one.where for one in found.left_out if one.damaged] == ["own.jsonl, line 3"]


def test_on_a_terminal_what_the_files_do_not_say_is_asked(tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("frage,ziel\nsortiere die Liste,Programmieren\nhallo,plaudern\nguten Tag,plaudern\n")
    command = [
        str(Path(sys.executable).parent / "tui-router"),
        "dataset",
        "import",
        str(own),
        "--data-dir",
        str(tmp_path / "d"),
    ]
    terminal = Terminal(command, {**os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path)})
    for question, answer in (
        ("holds the request", "1"),
        ("holds the route", "ziel"),
        ("plaudern (2 rows) is which", "simple_chat"),
        ("Programmieren (1 rows) is which", "2"),
        ("Keep 3 requests?", "y"),
    ):
        terminal.see(question, seconds=20)
        terminal.press(answer, "enter")
    terminal.see("3 kept as examples", seconds=20)
    terminal.kill()
    store = Store(tmp_path / "d")
    assert [(e.text, e.route) for e in store.training.examples()] == [
        ("sortiere die Liste", "code"),
        ("hallo", "simple_chat"),
        ("guten Tag", "simple_chat"),
    ]
    store.close()


@pytest.mark.parametrize("form", ["messages", "sharegpt", "alpaca", "prompt-completion", "csv"])
def test_our_own_exports_come_back(tmp_path, form):
    examples = [
        Example(text=f"water the {p}", route="general_chat", source="imported") for p in ("rose", "oak", "ivy vine")
    ]
    examples.append(Example(text="= 3 + 4, what is it", route="reasoning", source="imported"))
    export(
        lambda: examples,
        FLEET,
        ExportOptions(form=form, duplicates=True),
        tmp_path / "out",
        LearnedRouter(FLEET, RULES).projection,
    )
    files = [p for p in (tmp_path / "out").iterdir() if p.name != "README.md"]
    read_again, found = read(sorted(files))
    assert {(e.text, e.route) for e in read_again} == {(e.text, e.route) for e in examples} and not found.damaged


def test_a_dry_run_keeps_nothing_a_fault_keeps_nothing_and_twice_is_once(tmp_path, capsys):
    good = file(tmp_path / "good.jsonl", LOG)
    bad = file(tmp_path / "bad.jsonl", [*LOG, {"nothing": 1}])
    (tmp_path / "bad.jsonl").write_text(bad.read_text() + "\n{half")
    home = ["--data-dir", str(tmp_path / "data"), "--json"]

    def run(*arguments, code):
        assert main.run(["dataset", "import", *map(str, arguments), *home]) == code
        return json.loads(capsys.readouterr().out)

    said = run(good, "--dry-run", code=0)
    assert (said["read"], said["labelled"], said["pending"], said["source"]) == (4, 3, 1, "older router log")
    said = run(bad, code=1)
    assert said["kept"] == 0 and {f["where"] for f in said["faults"]} == {"bad.jsonl, line 6", "bad.jsonl, line 7"}
    store = Store(tmp_path / "data")
    assert not list(store.training.examples()) and not list(store.training.pending())
    assert run(good, code=0)["kept"] == 4 and run(good, code=0)["kept"] == 0
    assert run(bad, "--skip-faults", code=0)["kept"] == 0
    assert [e.route for e in store.training.examples()] == ["tool_use", "code", "reasoning"]
    assert [one.text for one in store.training.pending()] == ["hello"]
    store.close()


def test_a_pending_request_that_comes_with_a_label_later_is_an_example(tmp_path, capsys):
    home = ["--data-dir", str(tmp_path / "data"), "--json"]
    first = file(tmp_path / "asked.jsonl", [{"text": "Sort  my list"}, {"text": "good evening"}])
    labelled = file(tmp_path / "labelled.jsonl", [{"text": "sort my list", "route": "code"}, {"text": "good evening"}])
    counts = []
    for path in (first, labelled, first):
        assert main.run(["dataset", "import", str(path), *home]) == 0
        said = json.loads(capsys.readouterr().out)
        counts.append((said["labelled"], said["pending"], said["kept"]))
    assert counts == [(0, 2, 2), (1, 1, 1), (0, 2, 0)]
    store = Store(tmp_path / "data")
    assert [one.text for one in store.training.examples()] == ["sort my list"]
    assert [one.text for one in store.training.pending()] == ["good evening"]
    store.close()


def test_a_file_of_many_conversations_is_read_in_flat_memory(tmp_path):
    words, path = "bread flour water salt yeast oven " * 25, tmp_path / "conversations.json"
    with path.open("w") as out:
        for number in range(200):
            nodes = {
                str(place): {
                    "message": {
                        "author": {"role": "assistant" if place % 2 else "user"},
                        "content": {
                            "content_type": "text",
                            "parts": [f"{number} {place} {words if place % 2 else ''}"],
                        },
                    },
                    "parent": str(place - 1) if place else None,
                    "children": [str(place + 1)],
                }
                for place in range(80)
            }
            row = {"mapping": nodes, "current_node": "79", "conversation_id": str(number)}
            out.write(("," if number else "[") + json.dumps(row))
        out.write("]")
    reader = ImportReader(FLEET)
    tracemalloc.start()
    count = sum(1 for _ in reader.requests([path]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 * 40 and reader.summary().pending == count
    assert path.stat().st_size > 8e6 and peak < 3e6  # one conversation and the buffers of the parser, not the file


def test_the_commands_from_verdict_to_export(tmp_path, capsys):
    store = Store(tmp_path / "data")
    for text, verdict in (
        ("write a python function", right("code")),
        ("a haiku about the sea", wrong("general_chat")),
        ("hello", None),
    ):
        turn = store.record(a_turn(text))
        if verdict:
            store.rate(turn.id, verdict)
    store.close()
    home = ["--data-dir", str(tmp_path / "data"), "--json"]
    assert main.run(["dataset", "check", *home]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["examples"], made["validated"], made["per_route"]["code"]) == (2, 2, 1)
    out = tmp_path / "out"
    arguments = ["dataset", "export", "--out", str(out), "--source", "verdict", "--target", "model", "--format", "csv"]
    assert main.run([*arguments, *home]) == 0
    assert json.loads(capsys.readouterr().out)["per_source"] == {"verdict": 2}
    assert main.run([*arguments, *home]) == 1
    assert "not empty; choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export"], "needs --out DIR"),
        (["export", "--out", "x", "--format", "xml"], "--format: there is no 'xml'; known: messages"),
        (["export", "--out", "x", "--target", "y"], "--target: there is no 'y'; known: route"),
        (["bake"], "there is no command 'bake'; known: export, check, import"),
        (["import"], "dataset import needs FILE"),
        (["import", "f", "--map", "x=y"], "--map: there is no route 'y'"),
        (["import", "f", "--columns", "x"], "--columns is TEXT,ROUTE"),
        (["export", "--kind", "poems", "--out", "x"], "--kind: there is no 'poems'"),
        (["export", "--kind", "tool-use", "--format", "csv", "--out", "x"], "--format: there is no 'csv'"),
        (["import", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(tmp_path, capsys, arguments, said):
    assert main.run(["dataset", *arguments, "--data-dir", str(tmp_path / "data")]) == 2
    assert said in capsys.readouterr().err
