"""Where the program keeps its files, and that a demo never touches a real store."""

import subprocess
import sys
from pathlib import Path

import pytest

from tui_router.cli import main
from tui_router.config.folders import DEMO_MARK, demo_folder, from_home, state_folder, store_folder
from tui_router.config.settings import NoHomeError, config_dir, data_dir, load_config


def test_a_path_below_home_is_written_with_a_tilde(own_home):
    assert from_home(own_home / "a" / "b") == "~/a/b"
    assert from_home("/etc/hosts") == "/etc/hosts"


def test_without_a_home_a_path_is_written_in_full(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert from_home("/etc/hosts") == "/etc/hosts"


def test_the_platform_names_the_folders(own_home):
    assert {config_dir().name, data_dir().name} == {"tui-router"}
    assert own_home in config_dir().parents and own_home in data_dir().parents


def test_a_wanted_folder_is_made_and_is_private(tmp_path):
    folder, message = store_folder(tmp_path / "a" / "b", demo=False)
    assert folder == tmp_path / "a" / "b" and not message
    assert folder.stat().st_mode & 0o777 == 0o700


def test_without_a_wanted_folder_it_is_the_platforms():
    assert store_folder(None, demo=False) == (data_dir(), "") and state_folder(None) == data_dir()


def test_a_file_in_place_of_the_folder_is_told_and_left_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    folder, message = store_folder(file, demo=False)
    assert folder == data_dir() and f"--data-dir {file} cannot be used" in message and str(data_dir()) in message
    assert state_folder(file) == data_dir() and file.read_text() == "mine"


@pytest.mark.parametrize("before", ["absent", "empty", "made by a demo"])
def test_a_demo_takes_a_folder_that_is_free(tmp_path, before):
    wanted = tmp_path / "demo"
    if before != "absent":
        wanted.mkdir()
    if before == "made by a demo":
        (wanted / DEMO_MARK).touch()
        (wanted / "store.db").write_text("of a demo")
    assert demo_folder(wanted) == wanted and (wanted / DEMO_MARK).exists()
    assert store_folder(wanted, demo=True) == (wanted, "")


def test_a_demo_leaves_a_real_store_alone(tmp_path):
    (tmp_path / "store.db").write_text("mine")
    folder, message = store_folder(tmp_path, demo=True)
    assert folder != tmp_path and folder.is_dir()
    assert message == f"{tmp_path} is not a demo's folder; the demo uses a temporary one"
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["store.db"]


def test_a_temporary_folder_goes_with_its_process():
    code = "from tui_router.config.folders import demo_folder; f = demo_folder(None); (f / 'x').touch(); print(f)"
    folder = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert "tui-router-demo-" in folder and not Path(folder).exists()


@pytest.fixture
def no_home(monkeypatch):
    """As in a container whose user is in no list of users."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: "~/.config/tui-router")
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda *_, **__: "~/.local/share/tui-router")


def test_without_a_home_nothing_is_written_into_a_folder_called_tilde(no_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoHomeError, match="set HOME, or name a folder with --data-dir"):
        data_dir()
    assert load_config().file is None
    folder, message = store_folder(None, demo=False)
    assert folder.is_dir() and "no home folder" in message and "nothing is kept" in message
    assert state_folder(None).is_dir()
    assert main.run(["turns"]) == 2 and main.run(["turns", "--data-dir", "store"]) == 0
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("demo", [False, True])
def test_a_folder_that_cannot_be_looked_at_is_told(demo):
    wanted = Path("/tmp") / ("x" * 300)
    folder, message = store_folder(wanted, demo=demo)
    assert folder != wanted and str(wanted) in message
    assert state_folder(wanted) != wanted and demo_folder(wanted) != wanted
    assert main.run(["turns", "--data-dir", str(wanted)]) == 2
