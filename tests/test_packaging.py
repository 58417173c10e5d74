"""Wheel, sdist and editable install: all that is needed is inside, and no generic name lands in site-packages."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_the_wheel_carries_what_the_app_needs_and_nothing_generic(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names} == {"tui_router", f"tui_router-{_version(wheel)}.dist-info"}
    for asset in (
        "data/fleet.toml",
        "data/prior.npz",
        "data/word_vectors.npz",
        "data/recipes/gemma-3-1b.toml",
        "styles/app.tcss",
        "styles/chat.tcss",
        "train/__main__.py",
    ):
        assert f"tui_router/_assets/{asset}" in names
    assert "tui_router/py.typed" in names


def test_the_sdist_is_complete(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "data/fleet.toml", "styles/app.tcss", "tests/worlds.py"}


def test_the_wheel_runs_outside_the_checkout(built, tmp_path, monkeypatch):
    """In an environment of its own; the dependencies are taken from this one, the program is not."""
    (wheel,) = built.glob("*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    here = Path(next(p for p in sys.path if p.endswith("site-packages")))
    (site / "dependencies.pth").write_text(_without_ourselves(here, tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = "import tui_router.core.assets as a; from tui_router.ui.app import RouterApp; print(a.__file__, RouterApp.CSS_PATH)"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert str(site) in shown and str(ROOT) not in shown and "_assets" in shown
    done = subprocess.run([python, "-m", "tui_router", "route", "hello"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("simple_chat")
    started = "from tui_router.training import launcher; import pathlib; print(launcher.run_job(['tiny', '--help'], pathlib.Path('.')))"
    program = subprocess.run([python, "-c", started], capture_output=True, text=True, cwd=tmp_path)
    assert program.stdout.startswith("(0, 'usage: python -m train tiny"), program
    for name in ("train", "data", "styles", "tests"):
        missing = subprocess.run([python, "-c", f"import {name}"], capture_output=True, cwd=tmp_path)
        assert missing.returncode != 0, f"{name} is importable"


def _without_ourselves(here: Path, tmp_path: Path) -> str:
    """A folder of links to every installed distribution but this project's own."""
    links = tmp_path / "links"
    links.mkdir()
    for entry in here.iterdir():
        if "tui_router" not in entry.name and entry.suffix != ".pth":
            (links / entry.name).symlink_to(entry)
    return f"{links}\n"


def _version(wheel: Path) -> str:
    return wheel.name.split("-")[1]
