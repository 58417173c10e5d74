"""What an earlier version left opens and works: a data folder, a fleet.toml, a trained run and an exported dataset.

`tests/kept/made_by_0.1.0.tar.gz` was written by version 0.1.0 itself; it is never written anew.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tui_router.config.settings import load_config
from tui_router.core.types import Request
from tui_router.learning.online_learner import taught_by
from tui_router.store.store import Store
from tui_router.training.runs import all_runs

KEPT = Path(__file__).parent / "kept" / "made_by_0.1.0.tar.gz"


def run_cli(*args):
    """Run the command line as a person does."""
    return subprocess.run([sys.executable, "-m", "tui_router", *map(str, args)], capture_output=True, text=True)


@pytest.fixture
def kept(tmp_path):
    """The files as version 0.1.0 left them, in a folder of this test."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path / "kept", filter="data")
    return tmp_path / "kept"


def test_the_fleet_is_read_as_before(kept):
    config = load_config(kept / "fleet.toml")
    assert (config.settings.confidence_threshold, config.settings.theme) == (0.6, "router-light")
    assert (config.settings.asks_a_day, config.settings.observer) == (2, "off")
    ledger = config.fleet.route("ledger")
    assert (ledger.model, ledger.fallbacks) == ("my-coder", ("gpt-oss-20b",))
    assert "vision" not in config.fleet.by_route
    desk = next(b for b in config.backends if b.name == "desk")
    assert (desk.url, desk.kind, desk.parallel) == ("http://192.168.1.20:8000", "vllm", 4)


def test_the_store_opens_and_its_verdicts_mean_what_was_meant(kept):
    store = Store(kept / "data")
    turns = list(store.turns())
    assert [turn.state for turn in turns] == ["done"] * 7 and all(turn.answer.text for turn in turns)
    verdicts = [turn.verdict and (turn.verdict.kind, turn.verdict.route) for turn in turns]
    assert verdicts[0] == ("route", "code") and verdicts[2] == ("route", "ledger")
    assert verdicts[3] == ("route", "code")  # pinned to code and confirmed; 0.1.0 had stored the router's route
    assert verdicts[4] is None and verdicts[5] == ("accepted", "general_chat") and verdicts[6][0] == "accepted"
    assert store.conversation(turns[0].session)[-1].id == turns[1].id
    assert [e.route for e in store.training.examples()] == ["ledger"]
    assert store.counters() == store.recount() and "1 confirmation" in store.migrated
    store.close()


def test_what_was_learned_is_still_known(kept):
    config = load_config(kept / "fleet.toml")
    learner = taught_by(config, kept / "data")
    assert not learner.trouble
    assert learner.learned.decide(Request(text="what is the VAT on this invoice")).route == "ledger"


def test_the_run_is_listed_and_compared(kept):
    (run,) = all_runs(kept / "data")
    assert run.finished and run.record.plan.champion and run.curve().steps
    listed = run_cli("runs", "--data-dir", kept / "data", "--json")
    assert [(r["state"], r["step"]) for r in json.loads(listed.stdout)["runs"]] == [("done", 30)]


def test_the_export_is_read_back(kept):
    counted = run_cli(
        "dataset",
        "import",
        *sorted((kept / "export-messages").glob("*.jsonl")),
        "--data-dir",
        kept / "new",
        "--config",
        kept / "fleet.toml",
    )
    assert counted.returncode == 0, counted.stderr
    store = Store(kept / "new")
    assert {e.route for e in store.training.examples()} >= {"ledger", "code"}
    store.close()
