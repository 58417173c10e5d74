"""One dataset, one base and one trained run of each kind for all tests: they take seconds each."""

import pytest

from tests.training import world
from tui_router.training import launcher


def pytest_collection_modifyitems(items):
    """Skip what trains a model when the packages for it are not installed."""
    missing = launcher.missing_packages()
    if not missing:
        return
    reason = f"trains a model and needs {', '.join(missing)}: pip install -e '.[test-train]'"
    for item in items:
        if item.get_closest_marker("trains") or {"base", "full", "lora"} & set(item.fixturenames):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return world.dataset(tmp_path_factory.mktemp("data") / "letters")


@pytest.fixture(scope="session")
def base(tmp_path_factory, data):
    return world.base(tmp_path_factory.mktemp("base") / "tiny", data)


@pytest.fixture(scope="session")
def full(tmp_path_factory, data, base):
    """A finished run of all weights."""
    return world.train(world.new_run(tmp_path_factory.mktemp("full"), world.recipe_for(base), data))


@pytest.fixture(scope="session")
def lora(tmp_path_factory, data, base, full):
    """A finished run of LoRA matrices, on a base that has learned the form of the answer."""
    chosen = world.recipe_for(full.artifact, method="lora", steps=20, rate=2e-3)
    return world.train(world.new_run(tmp_path_factory.mktemp("lora"), chosen, data))
