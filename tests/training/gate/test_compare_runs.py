"""Two runs on the same sealed rows: scores, and the paired test."""

import shutil
from pathlib import Path

import pytest

from tui_router.training.gate.compare_runs import compare_runs
from tui_router.training.plan import Plan
from tui_router.training.recipe import Recipe
from tui_router.training.router_manifest import ROUTER, SEALED, HeldOutCase, RouterManifest, write_json
from tui_router.training.runs import Run, RunError, create


def run_with(folder: Path, right: list[bool]) -> Run:
    """Create a run whose artifact holds nothing but predictions: of rows 0, 1, 2 ..."""
    (folder / "rows").mkdir(parents=True)
    run = create(folder, Recipe(), folder / "rows", "", Plan(champion="learned", champion_version=""))
    run.artifact.mkdir()
    manifest = RouterManifest(
        routes=("code", "chat"),
        answers=("A", "B"),
        instructions="",
        method="lora",
        label="letter",
        base="x",
        temperature=1.0,
    )
    write_json(run.artifact / ROUTER, manifest)
    cases = [HeldOutCase(str(i), "code", (0.9, 0.1) if hit else (0.2, 0.8), 1.0) for i, hit in enumerate(right)]
    write_json(run.artifact / SEALED, cases)
    return run


def test_scores_and_a_paired_test(tmp_path):
    found = compare_runs(
        run_with(tmp_path / "a", [True] * 90 + [False] * 10), run_with(tmp_path / "b", [True] * 75 + [False] * 25)
    )
    assert (found.n, found.first_right, found.second_right, found.only_first, found.only_second) == (100, 90, 75, 15, 0)
    assert found.p == pytest.approx(2 * 0.5**15)
    assert "90.0% against 75.0% of the same 100 sealed rows" in found.sentence
    assert "a significant difference" in found.sentence


def test_equal_runs_and_runs_with_nothing_in_common(tmp_path):
    one, other = run_with(tmp_path / "a", [True, False]), run_with(tmp_path / "b", [True, False])
    assert compare_runs(one, other).p == 1 and "no significant difference" in compare_runs(one, other).sentence
    none = compare_runs(one, run_with(tmp_path / "c", []))
    assert none.n == 0 and "no sealed rows in common" in none.sentence


def test_a_run_that_is_not_finished_cannot_be_compared(tmp_path):
    one, other = run_with(tmp_path / "a", [True]), run_with(tmp_path / "b", [True])
    shutil.rmtree(other.artifact)
    with pytest.raises(RunError, match="must end first"):
        compare_runs(one, other)
