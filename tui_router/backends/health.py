"""The state of every model of the fleet, kept up to date by asking each server now and then.

Each server is asked on its own: one that is slow, silent or broken neither delays nor hides another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client
from tui_router.backends.listing import LISTERS, Listing, ServedModel, State, detect
from tui_router.backends.matching import match
from tui_router.config.settings import BackendSetting, ToolSetting
from tui_router.core.fleet import Fleet, Model
from tui_router.core.types import NoticeLevel

ModelState = Literal["loaded", "loadable", "loading", "busy", "down", "unknown"]
_STATES: dict[State, ModelState] = {
    "loaded": "loaded",
    "loadable": "loadable",
    "loading": "loading",
    "failed": "down",
    "unknown": "loaded",  # servers that do not say list what they have loaded
}
DOWN_FOR_S = 10.0
"""Seconds for which a server that refused a connection is sent no request. Chosen by hand, not measured."""
_FIRST_LOOK_S = 10.0
"""The longest that a request waits for the first look at the servers: a look is at most three rounds of 3 s."""


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
    """None: not asked yet."""
    error: str = ""
    latency_ms: float | None = None
    seen: float = 0.0
    """Monotonic time of the last good reply."""


class Backend:
    """A server, what it listed last, and our requests to it.

    Attributes:
        url: Its address without user name and password: what is shown and stored.
    """

    def __init__(self, setting: BackendSetting) -> None:
        self.setting = setting
        self.client = Client(setting.url, setting.api_key)
        self.url = self.client.url
        self.listing: Listing | None = None
        self.status = BackendStatus(name=setting.name, url=self.url, kind=setting.kind)
        self.down_until = 0.0
        self._corrections: dict[str, set[str]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._first: dict[str, asyncio.Lock] = {}
        self._looking = asyncio.Lock()

    @property
    def kind(self) -> str:
        """The kind that was pinned or detected."""
        return self.listing.kind if self.listing else self.setting.kind

    async def look(self) -> None:
        """Ask what it serves; the answer is in `listing` and `status`. Never raises for what the server does."""
        async with self._looking:
            began = time.monotonic()
            try:
                known = self.setting.kind if self.setting.kind != "auto" else self.listing.kind if self.listing else ""
                listing = await (LISTERS[known](self.client) if known else detect(self.client))
            except BackendError as error:
                self._not_listed(error)
            except Exception as error:  # a reply that breaks the reading of it must not end the looking at all servers
                self._not_listed(BackendError("server", f"its reply cannot be read ({type(error).__name__})"))
            else:
                self.listing, self.down_until = listing, 0.0
                now = time.monotonic()
                self.status = BackendStatus(
                    name=self.setting.name,
                    url=self.url,
                    kind=self.kind,
                    reachable=True,
                    error="",
                    latency_ms=(now - began) * 1000,
                    seen=now,
                )

    def _not_listed(self, error: BackendError) -> None:
        if error.failure == "slow" and self.listing and any(slot.locked() for slot in self._slots.values()):
            return  # it is busy with a request of ours; some servers answer nothing else meanwhile
        if error.failure in ("down", "auth", "server", "settings"):
            self.listing = None  # another program may listen there next time
        said = self.client.hidden(str(error))
        self.status = replace(self.status, reachable=error.failure == "auth", error=said, latency_ms=None)

    def slots(self, served: ServedModel | None, model_id: str) -> asyncio.Semaphore:
        """Return the semaphore of one model: one request at a time unless the person or the server allows more."""
        if model_id not in self._slots:
            allowed = self.setting.parallel
            if not allowed and self.kind in ("llama-server", "vllm") and served:
                allowed = served.slots
            self._slots[model_id] = asyncio.Semaphore(max(1, allowed))
        return self._slots[model_id]

    def corrections(self, model_id: str) -> set[str]:
        """Return the corrections that requests to a model need, because it has refused them otherwise. May be added to."""
        return self._corrections.setdefault(model_id, set())

    def first_request(self, model_id: str) -> asyncio.Lock:
        """Return the lock of the request that makes a server load a model: two at once would load it twice."""
        return self._first.setdefault(model_id, asyncio.Lock())


class Health:
    """All servers and models. Everything here runs in one event loop."""

    def __init__(self, fleet: Fleet, backends: Iterable[BackendSetting], *, checked: bool = True) -> None:
        self.fleet, self.checked = fleet, checked
        self.backends = [Backend(setting) for setting in backends]
        self.models = {name: ModelStatus(name=name) for name in fleet.models}
        self._watched: dict[str, Model] = {}
        self._watched_states: dict[str, ModelStatus] = {}
        self.on_change: Callable[[], None] = lambda: None
        self.on_event: Callable[[NoticeLevel, str, str], None] = lambda level, tag, text: None
        self._tasks: list[asyncio.Task[None]] = []
        self._polling = False
        self._looked = asyncio.Condition()

    def start(self, every_s: float) -> None:
        """Ask all servers now, and each one again `every_s` seconds after its last reply."""
        if self.checked and not self._polling:
            self._polling = True
            self._tasks += [
                asyncio.create_task(self._poll(backend, every_s), name=f"health of {backend.setting.name}")
                for backend in self.backends
            ]

    async def _poll(self, backend: Backend, every_s: float) -> None:
        while True:
            await self._look(backend)
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Ask all servers once, at the same time."""
        await asyncio.gather(*(self._look(backend) for backend in self.backends))
        self.refresh()

    async def _look(self, backend: Backend) -> None:
        was = backend.status.reachable
        await backend.look()
        now = backend.status.reachable
        if now and not was:
            self.on_event("good", "server_up", f"{backend.setting.name} answers at {backend.url}")
        elif was and not now:
            self.on_event("wrong", "server_down", f"{backend.setting.name}: {backend.status.error}")
        self.refresh()
        async with self._looked:
            self._looked.notify_all()

    async def first_look(self, names: Sequence[str]) -> None:
        """Wait until a request that may go to these models can be sent well, and have the servers asked if nobody does.

        That is when the first of the models has been found, or when each server has been asked once.
        """
        if not self.checked:
            return
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._look(backend)) for backend in self.backends]
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_S), self._looked:
                await self._looked.wait_for(
                    lambda: self.all_asked or self.find(self.fleet.models[names[0]]) is not None
                )

    @property
    def all_asked(self) -> bool:
        """Whether each server has been asked once."""
        return all(backend.status.reachable is not None for backend in self.backends)

    def refresh(self) -> None:
        """Work out every model's state from what the servers listed last."""
        for name, model in self.fleet.models.items():
            self._set(name, self._status(model, self.models[name]))
        for name, model in self._watched.items():
            self._watched_states[name] = self._status(model, self._watched_states[name])
        self.on_change()

    def watch(self, model: Model) -> None:
        """Keep the state of one model that is not in the fleet, in place of the one before; `status` returns it."""
        self._watched = {model.name: model}
        self._watched_states = {model.name: ModelStatus(name=model.name)}

    def status(self, name: str) -> ModelStatus | None:
        """Return the state of a model of the fleet, or of the one that is watched."""
        return self.models.get(name) or self._watched_states.get(name)

    def _set(self, name: str, status: ModelStatus) -> None:
        old = self.models[name]
        since = old.since if old.state == status.state and old.since else time.monotonic()
        self.models[name] = replace(status, since=since)

    def _status(self, model: Model, old: ModelStatus) -> ModelStatus:
        found = self.find(model)
        if found is None:
            servers = " or ".join(b.setting.name for b in self.backends if b.status.reachable)
            missing = f"not on {servers}" if servers else "no server"
            return ModelStatus(
                name=model.name,
                state="down" if self.all_asked and self.backends else "unknown",
                error=missing if self.all_asked and self.backends else "",
                latency_ms=old.latency_ms,
                tokens_per_second=old.tokens_per_second,
                answering=old.answering,
            )
        backend, served, how = found
        state = _STATES[served.state]
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
            backend=backend.url,
            context=served.context or min(filter(None, (limit, served.max_context)), default=0),
            vision=model.vision if served.vision is None else served.vision,
            answering=old.answering,
            progress=old.progress,
            latency_ms=old.latency_ms,
            tokens_per_second=old.tokens_per_second,
            error="failed to load" if served.state == "failed" else "",
        )

    def find(self, model: Model) -> tuple[Backend, ServedModel, str] | None:
        """Find the server and the served model for a model of the fleet; a loaded one before others.

        Returns:
            The server, the model as the server lists it, and how its id was matched; None when no server has it.
        """
        found: list[tuple[Backend, ServedModel, str]] = []
        for backend in self.backends:
            if backend.listing is None or (model.backend and model.backend not in (backend.setting.url, backend.url)):
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
        """Count a request to a model that began (1), went on (0) or ended (-1)."""
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
        """Stop asking and close all connections. Never fails."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._polling = False
        await asyncio.gather(*(b.client.close() for b in self.backends), return_exceptions=True)


async def look_for_tool(tool: ToolSetting) -> dict[str, object]:
    """Find out whether an optional tool (a Playwright container, an MCP endpoint) answers at its address."""
    client = Client(tool.url)
    said: dict[str, object] = {"name": tool.name, "url": client.url}
    try:
        await client.get("/", timeout=2.0)
        return {**said, "reachable": True, "error": ""}
    except BackendError as error:
        reachable = error.failure in ("broken", "no_bytes") or "redirects" in str(error)
        return {**said, "reachable": reachable, "error": "" if reachable else client.hidden(str(error))}
    finally:
        await client.close()
