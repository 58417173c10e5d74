"""Runs in a data folder that is named by a relative path, and runs that another process creates."""

import shutil
import time
from pathlib import Path

import pytest

from tests.training import world
from tui_router.training.export.forms import export
from tui_router.training.run_events import Done
from tui_router.training.runs import find_run, run_ids

pytestmark = pytest.mark.timeout(300)


@pytest.mark.trains
def test_a_relative_data_folder_trains_and_exports(tmp_path, monkeypatch, data, base):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, "rows")
    run = world.new_run(Path("mine"), world.recipe_for(base, steps=2), Path("rows"))
    run.start()
    while not run.is_running() and not run.curve().end:
        time.sleep(0.05)
    while run.is_running():
        time.sleep(0.05)
    assert isinstance(run.curve().end, Done), (run.folder / "log.txt").read_text()
    found = find_run(Path("mine"), "last")
    made = export(found, "merged", "f16", Path("out"))
    assert made.parity.same_route == made.parity.n and (tmp_path / "out" / "model.safetensors").is_file()
    assert Path(found.record.data) == tmp_path / "rows"


def test_a_run_that_another_process_creates_is_listed(tmp_path):
    assert run_ids(tmp_path) == []
    for name in ("20260101-120000-aaaa", "20260102-120000-bbbb"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "20260102-120000-bbbb" / "run.json").write_text("{}")
    assert run_ids(tmp_path) == ["20260102-120000-bbbb"]
