"""What is known before minutes are spent: each fault is one sentence with a next step."""

import json
import shutil

import pytest
from msgspec.structs import replace

from tests.training import world
from tui_router.training import launcher, recipe
from tui_router.training import preflight as module
from tui_router.training.preflight import preflight
from tui_router.training.rows import DataError, read_dataset

LISTED = "Route the request. A=code B=chat"
LETTERS = recipe.Recipe(base="/nowhere/at/all", steps=10)


def stops(found):
    return " ".join(note.message for note in found.notes if note.level == "stop")


def rows(folder, routes, n, answer=None):
    folder.mkdir()
    with (folder / "train.jsonl").open("w") as file:
        for i in range(n):
            route = routes[i % len(routes)]
            said = answer or "ABC"[i % len(routes)]
            messages = [{"role": "user", "content": f"{LISTED}\n\nrequest {i}"}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": messages, "route": route}) + "\n")
    return folder


@pytest.mark.parametrize(
    ("routes", "n", "said"),
    [(["code"], 40, "have the route 'code'"), (["code", "chat"], 5, "5 training rows and needs at least 10")],
)
def test_data_that_cannot_be_trained_on(tmp_path, routes, n, said):
    assert said in stops(preflight(LETTERS, rows(tmp_path / "d", routes, n), tmp_path))


def test_rows_of_two_lists_of_routes(tmp_path):
    folder = rows(tmp_path / "d", ["code", "chat"], 30)
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(text + text.replace("B=chat", "B=chat C=maths"))
    assert "2 different lists of routes" in stops(preflight(LETTERS, folder, tmp_path))


def test_answers_that_are_not_what_the_recipe_wants(tmp_path):
    folder = rows(tmp_path / "d", ["code", "chat"], 30, "ROUTE_TO=code")
    assert "export it with --target letter" in stops(preflight(LETTERS, folder, tmp_path))


def test_no_folder_and_no_rows(tmp_path):
    assert "dataset export" in stops(preflight(LETTERS, tmp_path / "none", tmp_path))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.jsonl").write_text("{not json\n")
    with pytest.raises(DataError, match=r"train\.jsonl:1"):
        read_dataset(tmp_path / "d", LETTERS)


def test_the_base(tmp_path, base, data, monkeypatch):
    ready = preflight(world.recipe_for(base), data, tmp_path)
    assert ready.ready and ready.parameters > 50_000 and ready.seconds > 0 and ready.memory_bytes > 1e8, ready.notes
    broken = tmp_path / "base"
    shutil.copytree(base, broken)
    (broken / "tokenizer.json").unlink()
    assert "has no tokenizer" in stops(preflight(world.recipe_for(broken), data, tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "is not on this machine" in stops(preflight(recipe.load("gemma-3-1b"), data, tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    found = preflight(recipe.load("gemma-3-1b"), data, tmp_path)
    assert found.ready and any("unsloth/gemma-3-1b-it" in note.message for note in found.notes)


def test_too_little_memory_or_disk(tmp_path, base, data, monkeypatch):
    monkeypatch.setattr(module, "_free_memory", lambda: 100_000_000)
    assert "halve batch" in stops(preflight(world.recipe_for(base), data, tmp_path))
    monkeypatch.setattr(module, "_free_memory", lambda: 1 << 40)
    monkeypatch.setattr(module, "_free_disk", lambda path: 1000)
    assert "of disk" in stops(preflight(world.recipe_for(base), data, tmp_path))


def test_missing_packages(tmp_path, data, base, monkeypatch):
    monkeypatch.setattr(launcher, "NEEDED", ("torch", "no_such_package"))
    assert "pip install 'tui-router[train]'" in stops(preflight(world.recipe_for(base), data, tmp_path))


def test_below_the_mark_is_a_warning_and_no_ban(tmp_path, data, base):
    found = preflight(world.recipe_for(base), data, tmp_path)
    assert any(note.level == "warning" and "200 make it yours" in note.message for note in found.notes) and found.ready


def test_without_a_validation_part_a_share_is_held_out(tmp_path):
    folder = rows(tmp_path / "d", ["code", "chat"], 200)
    found = read_dataset(folder, replace(LETTERS, eval_share=0.2))
    assert 15 < len(found.validation) < 70 and len(found.train) + len(found.validation) == 200


def test_any_first_rows_of_the_validation_part_are_a_sample(tmp_path):
    folder = rows(tmp_path / "d", ["code", "chat"], 40)
    lines = (folder / "train.jsonl").read_text().splitlines()
    (folder / "validation.jsonl").write_text("\n".join(sorted(lines * 3, key=lambda x: json.loads(x)["route"])) + "\n")
    first = [row.route for row in read_dataset(folder, LETTERS).validation[:40]]
    assert 8 <= first.count("code") <= 32
