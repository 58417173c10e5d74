"""The state of every model of the fleet, kept up to date by looking at the servers now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client
from tui_router.backends.listing import LISTERS, Listing, ServedModel, detect
from tui_router.backends.matching import match
from tui_router.config.settings import BackendSetting, ToolSetting
from tui_router.core.fleet import Fleet, Model
from tui_router.core.types import NoticeLevel

ModelState = Literal["loaded", "loadable", "loading", "busy", "down", "unknown"]
DOWN_FOR_S = 10.0
"""How long a server that refused a connection is not asked to answer."""


class ModelStatus(Struct, frozen=True, kw_only=True):
    """One model of the fleet now."""

    name: str
    state: ModelState = "unknown"
    served_as: str = ""
    how: str = ""
    """How the served id was matched: `exact`, `alias` or `name`."""
    backend: str = ""
    context: int = 0
    """Usable context in tokens: of the loaded instance, else the most that server and fleet allow."""
    vision: bool = False
    answering: int = 0
    """Requests of ours in flight."""
    progress: float | None = None
    """Of loading, 0 to 1."""
    since: float = 0.0
    """Monotonic time at which the state began."""
    latency_ms: float | None = None
    """Time to the first token of the newest answer."""
    tokens_per_second: float | None = None
    error: str = ""

    @property
    def ready(self) -> bool:
        """Whether a request can be sent to it."""
        return self.state in ("loaded", "loadable", "loading", "busy")


class BackendStatus(Struct, frozen=True, kw_only=True):
    """One server now."""

    name: str
    url: str
    kind: str
    reachable: bool | None = None
    """None: not looked at yet."""
    error: str = ""
    latency_ms: float | None = None
    seen: float = 0.0
    """Monotonic time of the last good reply."""


class Backend:
    """A server, what it said last, and our requests to it."""

    def __init__(self, setting: BackendSetting) -> None:
        self.setting = setting
        self.client = Client(setting.url, setting.api_key)
        self.listing: Listing | None = None
        self.status = BackendStatus(name=setting.name, url=setting.url, kind=setting.kind)
        self.down_until = 0.0
        self._corrections: dict[str, set[str]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._first: dict[str, asyncio.Lock] = {}

    @property
    def kind(self) -> str:
        """The kind that was pinned or detected."""
        return self.listing.kind if self.listing else self.setting.kind

    async def look(self) -> None:
        """Ask what it serves; the answer is in `listing` and `status`."""
        began = time.monotonic()
        try:
            known = self.setting.kind if self.setting.kind != "auto" else self.listing.kind if self.listing else ""
            self.listing = await (LISTERS[known](self.client) if known else detect(self.client))
        except BackendError as error:
            if error.failure in ("down", "auth", "server"):
                self.listing = None  # another program may listen there next time
            self.status = replace(self.status, reachable=error.failure == "auth", error=str(error), latency_ms=None)
            return
        now = time.monotonic()
        self.down_until = 0.0
        self.status = BackendStatus(
            name=self.setting.name, url=self.setting.url, kind=self.kind, reachable=True, error="",
            latency_ms=(now - began) * 1000, seen=now,
        )  # fmt: skip

    def slots(self, served: ServedModel | None, model_id: str) -> asyncio.Semaphore:
        """The turnstile of one model: one request at a time unless the person or the server allows more."""
        if model_id not in self._slots:
            allowed = self.setting.parallel
            if not allowed and self.kind in ("llama-server", "vllm") and served:
                allowed = served.slots
            self._slots[model_id] = asyncio.Semaphore(max(1, allowed))
        return self._slots[model_id]

    def corrections(self, model_id: str) -> set[str]:
        """What has to be changed in requests to a model, as it has refused them otherwise; to be added to."""
        return self._corrections.setdefault(model_id, set())

    def first_request(self, model_id: str) -> asyncio.Lock:
        """Held by the request that makes a server load a model: two at once would load it twice."""
        return self._first.setdefault(model_id, asyncio.Lock())


class Health:
    """All servers and models. Everything here runs in one event loop."""

    def __init__(self, fleet: Fleet, backends: Iterable[BackendSetting], *, checked: bool = True) -> None:
        self.fleet, self.checked = fleet, checked
        self.backends = [Backend(setting) for setting in backends]
        self.models = {name: ModelStatus(name=name) for name in fleet.models}
        self._watched: dict[str, Model] = {}
        self._beside: dict[str, ModelStatus] = {}
        self.on_change: Callable[[], None] = lambda: None
        self.on_event: Callable[[NoticeLevel, str, str], None] = lambda level, tag, text: None
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def start(self, every_s: float) -> None:
        """Look at all servers now and then."""
        if self.checked and self._task is None:
            self._task = asyncio.create_task(self._poll(every_s), name="health")

    async def _poll(self, every_s: float) -> None:
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Look at all servers once, side by side."""
        async with self._looking:
            before = {b.setting.name: b.status.reachable for b in self.backends}
            await asyncio.gather(*(b.look() for b in self.backends))
            for backend in self.backends:
                was, now = before[backend.setting.name], backend.status.reachable
                if now and not was:
                    self.on_event("good", "server_up", f"{backend.setting.name} answers at {backend.setting.url}")
                elif was and not now:
                    self.on_event("wrong", "server_down", f"{backend.setting.name}: {backend.status.error}")
            self.refresh()

    def refresh(self) -> None:
        """Work out every model's state from what the servers said last."""
        for name, model in self.fleet.models.items():
            self._set(name, self._status(model, self.models[name]))
        for name, model in self._watched.items():
            self._beside[name] = self._status(model, self._beside[name])
        self.on_change()

    def watch(self, model: Model) -> None:
        """Look for a model that is none of the fleet's, in place of the one before; `status` tells of it."""
        self._watched = {model.name: model}
        self._beside = {model.name: ModelStatus(name=model.name)}

    def status(self, name: str) -> ModelStatus | None:
        """A model of the fleet, or one that is watched beside it."""
        return self.models.get(name) or self._beside.get(name)

    def _set(self, name: str, status: ModelStatus) -> None:
        old = self.models[name]
        since = old.since if old.state == status.state and old.since else time.monotonic()
        self.models[name] = replace(status, since=since)

    def _status(self, model: Model, old: ModelStatus) -> ModelStatus:
        looked = [b for b in self.backends if b.status.reachable is not None]
        found = self.find(model)
        if found is None:
            state: ModelState = "down" if looked else "unknown"
            servers = [b for b in looked if b.status.reachable]
            error = "no server" if not servers else f"not on {' or '.join(b.setting.name for b in servers)}"
            if not looked:
                error = ""
            return ModelStatus(
                name=model.name, state=state, error=error, latency_ms=old.latency_ms,
                tokens_per_second=old.tokens_per_second, answering=old.answering,
            )  # fmt: skip
        backend, served, how = found
        state = {"loaded": "loaded", "loading": "loading", "failed": "down", "unknown": "loaded"}.get(
            served.state, "loadable"
        )  # type: ignore[assignment]
        if old.answering and old.progress is not None:
            state = "loading"
        elif old.answering or served.busy:
            state = "busy"
        limit = model.context or served.max_context
        return ModelStatus(
            name=model.name,
            state=state,
            served_as=served.id,
            how=how,
            backend=backend.setting.url,
            context=served.context or min(filter(None, (limit, served.max_context)), default=0),
            vision=model.vision if served.vision is None else served.vision,
            answering=old.answering,
            progress=old.progress,
            latency_ms=old.latency_ms,
            tokens_per_second=old.tokens_per_second,
            error="failed to load" if served.state == "failed" else "",
        )

    def find(self, model: Model) -> tuple[Backend, ServedModel, str] | None:
        """The server and the served model for a model of the fleet; a loaded one before others."""
        found: list[tuple[Backend, ServedModel, str]] = []
        for backend in self.backends:
            if backend.listing is None or (model.backend and model.backend != backend.setting.url):
                continue
            chats = {m.id: m for m in backend.listing.models if m.chat}
            loaded = match(model, [i for i, m in chats.items() if m.state == "loaded"])
            if best := loaded or match(model, chats):
                found.append((backend, chats[best.served], best.how))
        if not found:
            return None
        return min(found, key=lambda f: f[1].state not in ("loaded", "unknown"))

    # -- what dispatch reports -----------------------------------------------------------------------------------
    def answering(self, name: str, more: int, progress: float | None = None) -> None:
        """A request to a model began (1), went on (0) or ended (-1)."""
        old = self.models.get(name)
        if old is None:
            return
        count = max(0, old.answering + more)
        state = old.state
        if count:
            state = "loading" if progress is not None else "busy"
        elif state in ("busy", "loading"):
            state = "loaded"
        self._set(name, replace(old, answering=count, progress=progress if count else None, state=state))
        self.on_change()

    def measured(self, name: str, first_token_ms: float | None, tokens_per_second: float | None) -> None:
        """Keep how fast a model answered."""
        if old := self.models.get(name):
            self.models[name] = replace(
                old,
                latency_ms=first_token_ms if first_token_ms is not None else old.latency_ms,
                tokens_per_second=tokens_per_second if tokens_per_second is not None else old.tokens_per_second,
                error="",
            )
            self.on_change()

    def failed(self, name: str, backend: Backend, error: BackendError) -> None:
        """Keep that a model failed; a server that is down is left alone for a while."""
        if error.failure == "down":
            backend.down_until = time.monotonic() + DOWN_FOR_S
            if backend.status.reachable:
                self.on_event("wrong", "server_down", f"{backend.setting.name}: {error}")
            backend.status = replace(backend.status, reachable=False, error=str(error))
            backend.listing = None
        if old := self.models.get(name):
            self.models[name] = replace(old, error=str(error))
        self.refresh()

    async def close(self) -> None:
        """Stop looking and close all connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await asyncio.gather(*(b.client.close() for b in self.backends), return_exceptions=True)


async def look_for_tool(tool: ToolSetting) -> dict[str, object]:
    """Whether an optional tool (a Playwright container, an MCP endpoint) answers at its address."""
    client = Client(tool.url)
    try:
        await client.get("/", timeout=2.0)
        return {"name": tool.name, "url": tool.url, "reachable": True, "error": ""}
    except BackendError as error:
        reachable = error.failure in ("broken", "no_bytes")
        return {
            "name": tool.name,
            "url": tool.url,
            "reachable": reachable,
            "error": "" if reachable else str(error),
        }
    finally:
        await client.close()
