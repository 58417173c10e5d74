"""`eval`: routers side by side, and what was taught is never what is tested."""

import json
import re

import pytest

from tests.sets import SETS
from tui_router.cli import evaluate, main

PLANTS = re.findall(
    r"\w+",
    """
roses tulips orchids ferns cactus ivy palms daisies lilies moss basil mint thyme sage dill parsley chives
leeks beans peas corn kale fennel radish turnips carrots beets squash pumpkins melons
""",
)


def evaluated(capsys, *arguments):
    assert main.run(["eval", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def small(tmp_path):
    """60 rows that contradict the shipped model alike, from two sources."""
    path = tmp_path / "small.jsonl"
    rows = [
        {"text": f"water the {plant} in the {place}", "route": "reasoning", "source": f"{place}:x"}
        for place in ("kitchen", "garden")
        for plant in PLANTS
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_routers_side_by_side_with_their_difference(capsys):
    report = evaluated(capsys, SETS / "misleading.jsonl", "--router", "rules", "--router", "learned", "--noise")
    learned, rules = report["routers"]["learned"], report["routers"]["rules"]
    assert learned["n"] == rules["n"] >= 300
    assert learned["accuracy"] > rules["accuracy"]
    pair = report["compared"]["learned against rules"]
    assert pair["difference"] == pytest.approx(learned["accuracy"] - rules["accuracy"])
    assert pair["ci95"][0] > 0 and pair["p"] < 0.001
    assert set(report["flips"]) == {"learned", "rules"}


def test_fit_teaches_the_learned_router_and_nothing_is_written(capsys, small, tmp_path):
    before = evaluated(capsys, small)["routers"]["learned"]["accuracy"]
    after = evaluated(capsys, small, "--fit", small)["routers"]["learned"]["accuracy"]
    assert before < 0.5 and after > 0.9
    assert not list(tmp_path.rglob("learned"))


def test_a_source_is_tested_by_a_router_that_was_taught_the_others(capsys, small):
    report = evaluated(capsys, small, "--leave-out", "source")
    assert {name: row["n"] for name, row in report["left_out"].items()} == {"kitchen": 30, "garden": 30}
    assert report["routers"]["learned"]["accuracy"] > 0.9


def test_folds_hold_every_row_out_once():
    folds = evaluate._folds(11, 3)
    assert sorted(i for held in folds for i in held) == list(range(11)) and folds == evaluate._folds(11, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--router", "magic"], "there is no router 'magic'; known: learned, rules"),
        (["--folds", "1"], "--folds: expected 2 to 60"),
        (["--leave-out", "author"], "row 1 has no text in its field 'author'"),
        (["--folds", "2", "--leave-out", "source"], "mutually exclusive"),
        (["--fit", "/nowhere.jsonl"], "/nowhere.jsonl cannot be read"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(capsys, small, arguments, said):
    assert main.run(["eval", str(small), *arguments]) == 2
    assert said in capsys.readouterr().err
