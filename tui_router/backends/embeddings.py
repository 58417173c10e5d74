"""Vectors of texts from a served embedding model (`POST /v1/embeddings`), kept on the disk by text and model.

A decision never waits for them longer than its budget: what comes late is kept for the next time. Where no server has an
embedding model nothing is asked and no notice is shown.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.health import Backend, Health
from tui_router.backends.listing import ServedModel
from tui_router.core.json_value import JsonValue

Floats = NDArray[np.float32]

BATCH = 32
"""Texts of one request. Chosen by hand, not measured."""
_KEY = 16
"""Bytes of the hash under which the vector of a text is kept."""
_LONGEST = 2000
"""Characters of a text that are embedded."""
_LARGEST = 1e30
"""A number of a vector beyond this overflows float32 in a product: the vector is broken."""
_PLAIN_S, _BATCH_S = 5.0, 60.0
"""Seconds that one text and a batch of texts may take."""


class VectorFile:
    """Vectors of one model on the disk: records of a key and half-precision numbers, appended one after the other.

    A record that was cut off by a crash is left out; one that is damaged is a wrong vector of one text.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        self.path, self.dimensions = path, dimensions
        self._size = _KEY + 2 * dimensions
        self._places: dict[bytes, int] = {}
        with suppress(OSError), path.open("rb") as file:
            for place in range(path.stat().st_size // self._size):
                file.seek(place * self._size)
                self._places[file.read(_KEY)] = place

    def __len__(self) -> int:
        return len(self._places)

    def get(self, text: str) -> Floats | None:
        """Return the kept vector of a text, of shape (dimensions,); None when there is none."""
        place = self._places.get(_name(text))
        if place is None:
            return None
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(place * self._size + _KEY)
            raw = file.read(2 * self.dimensions)
            if len(raw) == 2 * self.dimensions:
                return np.frombuffer(raw, np.float16).astype(np.float32)
        return None

    def put(self, texts: Sequence[str], vectors: Floats) -> None:
        """Keep vectors of shape (texts, dimensions). Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.open("ab") as file:
            whole = file.tell() // self._size * self._size
            if whole != file.tell():  # a crash left a piece of a record
                file.truncate(whole)
                file.seek(whole)
            for text, vector in zip(texts, vectors, strict=True):
                name = _name(text)
                if name not in self._places:
                    self._places[name] = file.tell() // self._size
                    file.write(name + vector.astype(np.float16).tobytes())


def _name(text: str) -> bytes:
    return hashlib.blake2b(text[:_LONGEST].encode("utf-8", "surrogatepass"), digest_size=_KEY).digest()


class Embedder:
    """The first embedding model that a server has.

    Args:
        health: Knows the servers.
        folder: Where vectors are kept.
    """

    def __init__(self, health: Health, folder: Path) -> None:
        self._health, self._folder = health, folder
        self._files: dict[str, VectorFile] = {}
        self._late: set[asyncio.Task[Floats | None]] = set()
        self._refused: set[str] = set()
        """Models that did not embed when they were asked."""

    def served(self) -> tuple[Backend, ServedModel] | None:
        """Find a server with an embedding model, and the model; None when there is none."""
        for backend in self._health.backends:
            for model in backend.listing.models if backend.listing is not None and backend.status.reachable else ():
                if not model.chat and model.id not in self._refused:
                    return backend, model
        return None

    async def vector(self, text: str, budget_s: float) -> Floats | None:
        """Return the vector of a text, of shape (dimensions,); None when none comes within the budget. What comes later is kept."""
        found = self.served()
        if found is None:
            return None
        known = self._kept(found[1].id, text)
        if known is not None:
            return known
        task = asyncio.create_task(self._one(text))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        done, _ = await asyncio.wait({task}, timeout=budget_s)
        return task.result() if done else None

    async def _one(self, text: str) -> Floats | None:
        vectors = await self.vectors([text], _PLAIN_S)
        return None if vectors is None else vectors[0]

    async def vectors(self, texts: Sequence[str], timeout_s: float = _BATCH_S) -> Floats | None:
        """Return the vectors of texts, of shape (texts, dimensions); None when the model does not answer.

        Vectors that are kept are not asked for again.
        """
        found = self.served()
        if found is None:
            return None
        backend, model = found
        missing = [text for text in dict.fromkeys(texts) if self._kept(model.id, text) is None]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            made = await self._ask(backend, model.id, batch, timeout_s)
            if made is None:
                return None
            file = self._files.get(model.id)
            if file is None or file.dimensions != made.shape[1]:  # the server has another model of that name now
                file = self._files[model.id] = VectorFile(self._path(model.id, made.shape[1]), made.shape[1])
            with suppress(OSError):
                await asyncio.to_thread(file.put, batch, made)
        kept = [self._kept(model.id, text) for text in texts]
        return None if any(one is None for one in kept) else np.array(kept)

    async def _ask(self, backend: Backend, model: str, texts: Sequence[str], timeout_s: float) -> Floats | None:
        body = {"model": model, "input": [text[:_LONGEST] or " " for text in texts]}
        try:
            reply = await backend.client.ask("/v1/embeddings", body, timeout_s)
        except BackendError as error:
            if error.failure in ("bad_request", "capability", "not_found", "server"):
                self._refused.add(model)
            return None
        made = read(reply, len(texts))
        if made is None:
            self._refused.add(model)
        return made

    def _kept(self, model: str, text: str) -> Floats | None:
        file = self._files.get(model)
        if file is None:
            known = sorted(self._folder.glob(self._path(model, 0).name.replace("-0.", "-*.")))
            if not known:
                return None
            file = self._files[model] = VectorFile(known[0], int(known[0].stem.rpartition("-")[2]))
        return file.get(text)

    def _path(self, model: str, dimensions: int) -> Path:
        name = hashlib.blake2b(model.encode(), digest_size=6).hexdigest()
        return self._folder / f"vectors-{name}-{dimensions}.bin"

    async def close(self) -> None:
        """Cancel the requests that have not been answered."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


def read(reply: JsonValue, count: int) -> Floats | None:
    """Read the vectors of an OpenAI-style reply, in the order of the texts; None when it does not hold them.

    Args:
        reply: Rows under `data`, each a list of numbers or float32 in base64.
        count: How many texts were sent.

    Returns:
        Shape (count, dimensions).
    """
    rows = reply["data"].objects()
    if len(rows) != count:
        return None
    rows.sort(key=lambda row: row["index"].count() or 0)
    found = [_vector(row["embedding"]) for row in rows]
    lengths = {len(vector) for vector in found}
    if len(lengths) != 1 or lengths == {0}:
        return None
    table = np.array(found, np.float32)
    return table if bool(np.isfinite(table).all()) else None


def _vector(embedding: JsonValue) -> Floats:
    """Read one vector, of shape (dimensions,); empty when it is none."""
    if coded := embedding.text():
        try:
            return np.frombuffer(base64.b64decode(coded), np.float32)
        except ValueError:
            return np.empty(0, np.float32)
    numbers = [one.number() for one in embedding.items()]
    kept = [number for number in numbers if number is not None and abs(number) < _LARGEST]
    return np.array(kept if len(kept) == len(numbers) else (), np.float32)
