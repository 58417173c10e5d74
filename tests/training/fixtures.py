"""One dataset, one base and one trained run of each kind for all tests: they take seconds each."""

import pytest

from tests.training import world


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return world.dataset(tmp_path_factory.mktemp("data") / "letters")


@pytest.fixture(scope="session")
def base(tmp_path_factory, data):
    return world.base(tmp_path_factory.mktemp("base") / "tiny", data)


@pytest.fixture(scope="session")
def full(tmp_path_factory, data, base):
    """A finished run of all weights."""
    return world.train(world.run_of(tmp_path_factory.mktemp("full"), world.written(base), data))


@pytest.fixture(scope="session")
def lora(tmp_path_factory, data, base, full):
    """A finished run of LoRA matrices, on a base that has learned the form of the answer."""
    chosen = world.written(full.artifact, method="lora", steps=20, rate=2e-3)
    return world.train(world.run_of(tmp_path_factory.mktemp("lora"), chosen, data))
