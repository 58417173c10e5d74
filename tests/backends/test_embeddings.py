"""Served vectors: kept on the disk, never waited for too long, and silently absent."""

import asyncio
import time

import numpy as np
import pytest

from tests.doubles.lmstudio import LMStudio
from tests.worlds import SHIPPED
from tui_router.backends.embeddings import Embedder, VectorFile, read
from tui_router.backends.health import Health
from tui_router.config.settings import BackendSetting
from tui_router.core.json_value import JsonValue

KEY = "text-embedding-nomic-embed-text-v1.5"


@pytest.fixture
async def served(tmp_path):
    server = LMStudio()
    server.embedding = KEY
    health = Health(SHIPPED.fleet, [BackendSetting(name="LM Studio", url=await server.start())])
    await health.look()
    embedder = Embedder(health, tmp_path)
    embedder.server, embedder.health = server, health
    yield embedder
    await embedder.close()
    await health.close()
    await server.close()


def asked(embedder):
    return sum(r.path == "/v1/embeddings" for r in embedder.server.requests)


async def test_a_vector_is_asked_for_once_and_kept_over_a_restart(served, tmp_path):
    first = await served.vector("write a python function", 5.0)
    assert first is not None and served.served()[1].id == KEY
    assert (await served.vector("write a python function", 5.0)) == pytest.approx(first, abs=0.01)
    again = Embedder(served.health, tmp_path)
    assert (await again.vector("write a python function", 5.0)) == pytest.approx(first, abs=0.01)
    assert asked(served) == 1


async def test_many_come_in_batches_and_in_order(served):
    texts = [f"text number {chr(97 + i % 26)} {i}" for i in range(70)]
    vectors = await served.vectors([*texts, texts[0]])
    assert vectors.shape[0] == 71 and asked(served) == 3
    assert vectors[70] == pytest.approx(vectors[0]) and (await served.vector(texts[5], 1.0)) == pytest.approx(
        vectors[5]
    )


async def test_a_slow_server_is_not_waited_for_but_what_comes_late_is_kept(served):
    served.server.embedding_delay_s = 0.3
    start = time.monotonic()
    assert await served.vector("hello", 0.03) is None
    assert time.monotonic() - start < 0.2
    await asyncio.sleep(0.6)
    assert await served.vector("hello", 0.03) is not None and asked(served) == 1


async def test_without_an_embedding_model_nothing_is_asked(served):
    served.server.embedding = ""
    await served.health.look()
    assert await served.vector("hello", 1.0) is None and asked(served) == 0


async def test_a_model_that_does_not_embed_is_not_asked_again(served):
    served.server.embedding, shown = "", served.served()
    assert shown is not None  # still in the listing of a moment ago
    assert await served.vector("hello", 1.0) is None and await served.vector("hello", 1.0) is None
    assert asked(served) == 1


def test_a_record_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "v.bin"
    VectorFile(path, 4).put(["a", "b"], np.ones((2, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-3])
    file = VectorFile(path, 4)
    assert len(file) == 1 and file.get("b") is None
    file.put(["c"], np.full((1, 4), 2.0, np.float32))
    assert VectorFile(path, 4).get("c") == pytest.approx([2, 2, 2, 2]) and VectorFile(path, 4).get("a") is not None


@pytest.mark.parametrize(
    "reply",
    [
        None,
        {},
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"error": "501"},
        {"data": [{"index": 0, "embedding": [float("nan")]}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [{"index": 0, "embedding": [1e300]}]},
        {"data": [{"index": 0, "embedding": "AAA"}]},
        {"data": [{"index": 0, "embedding": [[1.0]]}]},
    ],
)
def test_what_is_no_vector(reply):
    assert read(JsonValue(reply), 1) is None


def test_base64_and_disorder():
    import base64

    raw = base64.b64encode(np.array([1.5, 2.5], np.float32).tobytes()).decode()
    made = read(JsonValue({"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": raw}]}), 2)
    assert made.tolist() == [[1.5, 2.5], [3, 4]]
