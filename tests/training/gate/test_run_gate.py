"""A real run put to its gate: the baseline was given the same rows, looks are counted, wrong rows stay hidden."""

import json
import shutil

import pytest
from msgspec.structs import replace

from tests.training import world
from tui_router.core.example import Example
from tui_router.training.gate import baseline
from tui_router.training.gate.baseline import evaluate_baseline
from tui_router.training.gate.run_gate import evaluate_run, last_result
from tui_router.training.router_manifest import SEALED, HeldOutCase, read_json, write_json
from tui_router.training.rows import read_examples
from tui_router.training.runs import Run
from tui_router.training.sealed_looks import next_look


def split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Return (sealed rows, training rows)."""
    return examples[1::6], [e for i, e in enumerate(examples) if i % 6 != 1]


def right(result, sealed):
    return sum(choice == e.route for choice, e in zip(result.choices, sealed, strict=True))


@pytest.mark.parametrize("champion", ["learned", "llm", "rules"])
def test_the_baseline_is_fitted_to_the_rows_that_the_candidate_was_trained_on(tmp_path, champion):
    """Names that nobody outside knows: without the rows a third is right by chance, with them nearly all."""
    sealed, training = split([e for e in world.examples() if not e.has_image])
    without = evaluate_baseline(world.COMPANY, tmp_path, champion, sealed, [], None)
    found = evaluate_baseline(world.COMPANY, tmp_path, champion, sealed, training, None)
    assert (found.name, found.fitted_rows, without.fitted_rows) == ("learned", len(training), 0)
    assert right(found, sealed) > 0.8 * len(sealed) > 0.6 * len(sealed) > right(without, sealed)


def test_seeds_are_not_fitted_again(tmp_path):
    """The learned router knows them; a sealed seed is decided by the model that was not fitted to it."""
    sealed, training = split([replace(e, source="seed") for e in world.examples()])
    assert evaluate_baseline(world.COMPANY, tmp_path, "learned", sealed, training, None).fitted_rows == 0


def test_any_text_can_be_sealed(tmp_path):
    rows = [Example(text=text, route="ledger", source="imported") for text in ("\ud800", "", "\u2028", "x" * 5000)]
    assert len(evaluate_baseline(world.COMPANY, tmp_path, "learned", rows, rows, None).choices) == 4


def test_verdicts_on_sealed_turns_are_left_out(tmp_path, monkeypatch):
    sealed = [replace(e, source="verdict", origin=f"{i}-abcd") for i, e in enumerate(world.examples()[:5], 1)]
    seen = []
    monkeypatch.setattr(baseline, "_stored_labels", lambda config, folder, turns: seen.append(turns) or [])
    evaluate_baseline(world.COMPANY, tmp_path, "learned", sealed, [], None)
    assert seen == [{1, 2, 3, 4, 5}]


@pytest.fixture
def run(full, tmp_path):
    shutil.copytree(full.folder, tmp_path / "runs" / full.folder.name)
    return Run(tmp_path / "runs" / full.folder.name)


def test_a_run_that_reads_what_the_learned_router_cannot_passes(run, tmp_path):
    found = evaluate_run(run, world.COMPANY, tmp_path, "learned", "")
    assert found.passed, found.checks
    assert found.baseline_rows == 300 and found.look == 1
    assert found.candidate_right > 0.9 * found.n > found.baseline_right > 0.4 * found.n
    assert not found.wrong and last_result(run) == found
    page = (run.folder / "gate.md").read_text()
    assert "learned" in page and "fitted to the same 300 training rows" in page and "Look 1" in page


def test_judging_again_is_the_same_look_and_another_run_is_the_next(run, tmp_path):
    for _ in range(2):
        assert evaluate_run(run, world.COMPANY, tmp_path, "learned", "").look == 1
    keys = [e.key for e in read_examples(run.folder / "data", "test")]
    assert next_look(tmp_path, keys) == 2
    other = tmp_path / "runs" / "20300101-000000-ffff"
    shutil.copytree(run.folder, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**record, "id": other.name}))
    assert evaluate_run(Run(other), world.COMPANY, tmp_path, "learned", "").look == 2


def test_wrong_rows_are_shown_once_the_run_is_promoted(run, tmp_path):
    cases = read_json(run.artifact / SEALED, list[HeldOutCase])
    turned = (*cases[0].probabilities[1:], cases[0].probabilities[0])
    spoiled = [HeldOutCase(cases[0].key, cases[0].route, turned, cases[0].mass), *cases[1:]]
    write_json(run.artifact / SEALED, spoiled)
    assert not evaluate_run(run, world.COMPANY, tmp_path, "learned", "").wrong
    assert "shown when the router is promoted" in (run.folder / "gate.md").read_text()
    assert evaluate_run(run, world.COMPANY, tmp_path, "learned", "", promoting=True).wrong
    assert "Wrong decisions, most confident first" in (run.folder / "gate.md").read_text()
