"""Has a request answered: the models of the route's chain are tried in order, by fixed rules of falling back.

Before the first visible token the next candidate takes over, and every hop is recorded with its reason. After it
nothing is switched in silence. Never after a refused key, a cancel, or with a model that the person pinned; a request
that does not fit goes only to a larger context, one with an image only to a model that sees, and one meant for this
machine does not leave it unless the route says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from io import StringIO
from typing import Any, NamedTuple

from msgspec import Struct

from tui_router.backends import images
from tui_router.backends.addresses import is_local
from tui_router.backends.backend_errors import SYSTEM_ROLE, WEBP, BackendError
from tui_router.backends.client import Client
from tui_router.backends.health import Backend, Health
from tui_router.backends.listing import ServedModel
from tui_router.backends.matching import match
from tui_router.backends.resending import second_try
from tui_router.backends.stream import ChatStream, Delta, Progress
from tui_router.backends.thinking import reasons
from tui_router.backends.warm_up import warm_up
from tui_router.config.settings import Settings
from tui_router.core.fleet import Fleet, Model, Route
from tui_router.core.types import Answer, Dispatch, Hop, Message

MOST_ATTEMPTS = 3
"""Models that are asked for one request; the rest of the chain is not tried. Chosen by hand, not measured."""
_AFTER_FINISH_S = 2.0
"""Seconds to wait for the token counts after the answer has ended: some servers then keep the connection open."""
_LONGEST_ANSWER_S = 3600.0
"""Seconds for one answer. Chosen by hand, not measured."""


class Trying(Struct, frozen=True):
    """A model is being asked."""

    model: str
    served_as: str


class Hopped(Struct, frozen=True):
    """A model did not serve, and the next one is tried."""

    hop: Hop
    discard: bool = False
    """What was shown so far is removed: it came from the model that failed."""


class Slow(Struct, frozen=True):
    """No first byte came in time; the person may switch to `next`."""

    model: str
    next: str


DispatchEvent = Delta | Progress | Trying | Hopped | Slow
Emit = Callable[[DispatchEvent], None]


class DispatchOrder(Struct, frozen=True, kw_only=True):
    """A request to be answered, and its route."""

    route: Route
    messages: tuple[Message, ...]
    """The conversation; the request is its last message."""
    pinned: str = ""
    """The only model of the fleet that may answer, if the person has chosen one."""
    max_tokens: int | None = None


class DispatchOutcome(Struct, frozen=True, kw_only=True):
    """The end of an order."""

    dispatch: Dispatch
    answer: Answer
    failed: bool = False
    interrupted: bool = False
    """It failed after text was shown."""


class _Candidate(NamedTuple):
    model: Model
    backend: Backend
    served: ServedModel | None
    served_as: str
    context: int
    vision: bool
    reasons: bool


class _Served(NamedTuple):
    stream: ChatStream
    sent_at: float
    first_at: float | None
    last_at: float
    load_ms: float | None


class Dispatcher:
    """Serves orders. Several may run at once in one event loop."""

    def __init__(self, fleet: Fleet, health: Health, settings: Settings) -> None:
        self.fleet, self.health, self.settings = fleet, health, settings

    # -- candidates ----------------------------------------------------------------------------------------------
    def chain(self, order: DispatchOrder) -> tuple[str, ...]:
        """Return the models in the order in which they are tried."""
        names = (order.pinned,) if order.pinned else self.fleet.chain(order.route.name)
        if self.settings.prefer_loaded and not order.pinned:
            names = tuple(sorted(names, key=lambda n: self.health.models[n].state not in ("loaded", "busy")))
        return names

    def _candidate(self, name: str, order: DispatchOrder, home: bool | None) -> _Candidate | str:
        """Return a model as it could serve, or the reason why it cannot."""
        model = self.fleet.models[name]
        found = self.health.find(model)
        if found is None and not self.health.checked:
            found = self._unseen(model)
        if found is None:
            return self.health.models[name].error or "is on no server"
        backend, served, _ = found
        if backend.down_until > time.monotonic():
            return f"{backend.setting.name} is down"
        status = self.health.models[name]
        vision = status.vision or model.vision
        has_image = any(message.attachments for message in order.messages[-1:])
        if not vision and (order.route.needs.vision or has_image):
            return "cannot see images"
        if order.route.needs.tools and not model.tools and not order.pinned:
            return "cannot use tools"
        context = status.context or model.context
        if 0 < context < order.route.needs.context:
            return f"has a context of {context:,} tokens, the route needs {order.route.needs.context:,}"
        if home and not is_local(backend.url) and not model.backend:
            return f"is on {backend.url}, and the request stays on this machine"
        served_as = served.id or model.name
        thinks = served.reasons or reasons(model.name, served_as)
        return _Candidate(model, backend, served if served.id else None, served_as, context, vision, thinks)

    def _unseen(self, model: Model) -> tuple[Backend, ServedModel, str] | None:
        """Take, where servers are not asked, the model's own server or the first one, and the first name that it may know."""
        for backend in self.health.backends:
            if not model.backend or model.backend in (backend.setting.url, backend.url):
                name = next(iter(model.aliases), model.name)
                return backend, ServedModel(id=name, state="unknown"), "unseen"
        return None

    # -- serving ---------------------------------------------------------------------------------------------------
    async def serve(self, order: DispatchOrder, emit: Emit, switch: asyncio.Event | None = None) -> DispatchOutcome:
        """Answer an order; events are emitted as they come. `switch` lets a person leave a slow model.

        Never raises for a server's fault; a cancelled task closes the connection and passes CancelledError on.
        """
        return await _Serving(self, order, emit, switch).run()


class _Serving:
    """One order on its way through the chain."""

    def __init__(self, parent: Dispatcher, order: DispatchOrder, emit: Emit, switch: asyncio.Event | None) -> None:
        self.parent, self.order, self.emit, self.switch = parent, order, emit, switch
        self.health, self.settings = parent.health, parent.settings
        self.names = parent.chain(order)
        self.hops: list[Hop] = []
        self.text, self.reasoning = StringIO(), StringIO()
        self.shown = False
        """Text of the answer has been shown."""
        self.began = time.perf_counter()
        self.need_context = 0
        self.home: bool | None = None
        self.last_error: BackendError | None = None
        self.left = False
        """The person left the candidate that was being asked."""

    async def run(self) -> DispatchOutcome:
        """Try the models one after the other."""
        if self.health.checked and not self.health.all_asked:
            self.emit(Progress("looking"))
            await self.health.first_look(self.names)
            self.names = self.parent.chain(self.order)
        attempts = 0
        for place, name in enumerate(self.names):
            candidate = self.parent._candidate(name, self.order, self.home)
            if isinstance(candidate, str):
                self._hop(name, candidate, 0.0)
                continue
            if self.home is None:
                self.home = is_local(candidate.backend.url)
            if self.need_context and candidate.context <= self.need_context:
                self._hop(name, f"has no larger context ({candidate.context:,} tokens)", 0.0)
                continue
            if attempts == MOST_ATTEMPTS:
                self._hop(name, f"not tried: {MOST_ATTEMPTS} models have failed", 0.0)
                continue
            attempts += 1
            self.left = False
            start = time.perf_counter()
            try:
                served = await self._attempt(candidate, self._next(place))
            except BackendError as raw:
                self.last_error = error = _without_secrets(raw, candidate.backend.client)
                if self.shown and self.order.route.on_partial != "restart":
                    self.health.failed(name, candidate.backend, error)
                    return self._broken(candidate, error)
                await self._report(candidate, error)
                if error.failure == "auth" or self.order.pinned or not self._may_fall_back(error, candidate):
                    self._hop(name, str(error), (time.perf_counter() - start) * 1000)
                    return self._failed(str(error))
                self._hop(name, str(error), (time.perf_counter() - start) * 1000)
                continue
            return self._answered(candidate, served)
        return self._failed(self._nobody())

    async def _report(self, candidate: _Candidate, error: BackendError) -> None:
        """Keep the failure; after a lost connection see first whether the server is still there for its other models."""
        if error.failure in ("no_bytes", "broken"):
            await candidate.backend.look()
            if not candidate.backend.status.reachable:
                error = BackendError("down", str(error))
        self.health.failed(candidate.model.name, candidate.backend, error)

    def _next(self, place: int) -> str:
        """Return the next model that could serve after this one."""
        for name in self.names[place + 1 :]:
            if not isinstance(self.parent._candidate(name, self.order, self.home), str):
                return name
        return ""

    def _may_fall_back(self, error: BackendError, candidate: _Candidate) -> bool:
        if error.failure == "overflow":
            self.need_context = max(self.need_context, candidate.context or 1)
        return error.failure not in ("bad_request", "image") and (
            error.failure != "slow" or self.settings.switch_when_slow or self.left
        )

    def _hop(self, name: str, reason: str, elapsed_ms: float) -> None:
        hop = Hop(name, reason, round(elapsed_ms, 1))
        self.hops.append(hop)
        discard = self.shown or bool(self.reasoning.tell())
        self.text, self.reasoning, self.shown = StringIO(), StringIO(), False
        self.emit(Hopped(hop, discard))

    # -- one candidate -----------------------------------------------------------------------------------------------
    async def _attempt(self, candidate: _Candidate, following: str) -> _Served:
        """Ask one candidate. Raises BackendError."""
        name = candidate.model.name
        self.emit(Trying(name, candidate.served_as))
        self.health.answering(name, 1)
        try:
            cold = candidate.served is not None and candidate.served.state == "loadable"
            async with candidate.backend.slots(candidate.served, candidate.served_as):
                if not cold:
                    return await self._send(candidate, following, None)
                async with candidate.backend.first_request(candidate.served_as):
                    load_ms = await self._load(candidate)
                    return await self._send(candidate, following, load_ms)
        finally:
            self.health.answering(name, -1)

    async def _load(self, candidate: _Candidate) -> float | None:
        """Have the server load the model, with its progress where the server reports it. Returns milliseconds."""
        began = time.perf_counter()
        self.emit(Progress("loading"))
        self.health.answering(candidate.model.name, 0, 0.0)
        async for fraction in warm_up(candidate.backend, candidate.served_as, self.settings.load_s):
            self.emit(Progress("loading", fraction))
            self.health.answering(candidate.model.name, 0, fraction)
        self.health.answering(candidate.model.name, 0)
        took = (time.perf_counter() - began) * 1000
        return took if took > 1 else None

    async def _send(self, candidate: _Candidate, following: str, load_ms: float | None) -> _Served:
        deadline = time.monotonic() + self.settings.load_s
        known = candidate.backend.corrections(candidate.served_as)
        tried, lasting = set(known), set(known)
        while True:
            try:
                served = await self._watched(candidate, following, tried)
                known |= lasting
                return served._replace(load_ms=load_ms)
            except BackendError as error:
                again = None if self.shown or self.reasoning.tell() else second_try(error, tried)
                if again is None or (error.failure == "busy" and following):
                    raise
                if again.correction:
                    if not self._needs(again.correction, candidate):
                        raise
                    tried.add(again.correction)
                    if error.failure != "overflow":  # that depends on the request, and not on the model alone
                        lasting.add(again.correction)
                else:
                    if time.monotonic() + again.wait_s > deadline:
                        raise
                    self.emit(Progress("loading" if error.failure == "loading" else "queued"))
                    await asyncio.sleep(again.wait_s)

    async def _watched(self, candidate: _Candidate, following: str, corrections: set[str]) -> _Served:
        """Send one request; when its first byte is late and a person watches, the person decides whether to go on waiting."""
        limit = self.settings.first_byte_s
        if candidate.served is None or candidate.served.state != "loaded":
            limit = max(limit, self.settings.load_s)
        if self.switch is None or self.order.pinned or not following or self.settings.switch_when_slow:
            return await self._request(candidate, limit, corrections)
        request = asyncio.create_task(self._request(candidate, limit * 20, corrections))
        leave = asyncio.create_task(self.switch.wait())
        try:
            await asyncio.wait({request, leave}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not request.done() and not leave.done() and not (self.shown or self.reasoning.tell()):
                self.emit(Slow(candidate.model.name, following))
            await asyncio.wait({request, leave}, return_when=asyncio.FIRST_COMPLETED)
            if request.done():
                return request.result()
            if self.shown:  # too late to switch without a word
                return await request
            self.switch.clear()
            self.left = True
            raise BackendError("slow", "you switched away before it answered")
        finally:
            leave.cancel()
            if not request.done():
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)

    async def _request(self, candidate: _Candidate, first_byte_s: float, corrections: set[str]) -> _Served:
        body = await self._body(candidate, corrections)
        stream = ChatStream(reasons=candidate.reasons)
        sent = time.perf_counter()
        first: float | None = None
        last = sent

        def take(events: Iterable[Delta | Progress]) -> None:
            nonlocal first, last
            for event in events:
                last = time.perf_counter()
                if isinstance(event, Delta):
                    first = first or last
                    self._take(event)
                self.emit(event)

        chunks = candidate.backend.client.stream(
            "/v1/chat/completions", body, first_byte_s=first_byte_s, idle_s=self.settings.idle_s
        )
        longest_wait = max(first_byte_s, self.settings.load_s)
        try:
            while not stream.done:
                async with asyncio.timeout(_AFTER_FINISH_S if stream.finish else None):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                take(stream.feed(chunk))
                if time.perf_counter() - last > longest_wait:
                    raise BackendError("idle", f"no piece of the answer for {longest_wait:g} s, only signs of life")
                if time.perf_counter() - sent > _LONGEST_ANSWER_S:
                    raise BackendError("broken", f"the answer was not over after {_LONGEST_ANSWER_S / 3600:g} h")
            take(stream.close())
        except TimeoutError:
            take(stream.close())
        except BackendError as error:
            if not (stream.complete and error.failure in ("broken", "idle")):
                raise
            take(stream.close())
        finally:
            await chunks.aclose()
        return _Served(stream, sent, first, last, None)

    def _take(self, delta: Delta) -> None:
        if delta.retracted:
            self.reasoning.write(self.text.getvalue())
            self.text, self.shown = StringIO(), False
        self.reasoning.write(delta.reasoning)
        if delta.text:
            self.text.write(delta.text)
            self.shown = True

    def _needs(self, correction: str, candidate: _Candidate) -> bool:
        """Return whether a correction changes anything in this request."""
        if correction == SYSTEM_ROLE:
            return bool(self._system(candidate)) or any(m.role == "system" for m in self.order.messages)
        if correction == WEBP:
            return any(a.media_type == "image/webp" for m in self.order.messages for a in m.attachments)
        return True

    def _system(self, candidate: _Candidate) -> str:
        return candidate.model.system or self.settings.system

    async def _body(self, candidate: _Candidate, corrections: set[str]) -> dict[str, Any]:
        """Write the request as this model takes it."""
        system = self._system(candidate)
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        refused = WEBP in corrections
        convert = refused or candidate.backend.kind not in images.READS_WEBP
        for message in self.order.messages:
            with_images = candidate.vision and message.attachments
            content = await images.parts(message, convert, refused=refused) if with_images else message.content
            messages.append({"role": message.role, "content": content})
        body: dict[str, Any] = {
            "model": candidate.served_as,
            "messages": _without_system_role(messages) if SYSTEM_ROLE in corrections else messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.order.max_tokens or candidate.model.max_tokens,
        }
        if candidate.backend.kind == "llama-server":
            body["return_progress"] = True
        return {k: v for k, v in body.items() if k not in corrections}

    # -- the end -----------------------------------------------------------------------------------------------------
    def _dispatch(self, candidate: _Candidate | None, note: str = "") -> Dispatch:
        intended = self.order.pinned or self.order.route.model
        if candidate is None:
            return Dispatch(intended=intended, hops=tuple(self.hops), note=note)
        return Dispatch(
            intended=intended,
            served=candidate.model.name,
            served_as=candidate.served_as,
            backend=candidate.backend.url,
            hops=tuple(self.hops),
            note=note,
        )

    def _answered(self, candidate: _Candidate, served: _Served) -> DispatchOutcome:
        stream, speed, first_ms = served.stream, None, None
        tokens = stream.completion_tokens or stream.pieces
        if served.first_at is not None:
            first_ms = (served.first_at - served.sent_at) * 1000
            if tokens > 1 and served.last_at > served.first_at:
                speed = (tokens - 1) / (served.last_at - served.first_at)
        self.health.measured(candidate.model.name, first_ms, speed)
        note = ""
        if stream.model and match(candidate.model, [stream.model]) is None and stream.model != candidate.served_as:
            note = f"{candidate.backend.setting.name} answered with {stream.model!r}, not with {candidate.served_as!r}"
        answer = Answer(
            text=self.text.getvalue(),
            reasoning=self.reasoning.getvalue(),
            finish=stream.finish,
            tool_calls=stream.tool_calls,
            prompt_tokens=stream.prompt_tokens,
            completion_tokens=stream.completion_tokens,
            first_token_ms=_round(first_ms),
            tokens_per_second=_round(speed),
            elapsed_ms=round((time.perf_counter() - self.began) * 1000, 1),
            load_ms=_round(served.load_ms),
        )
        return DispatchOutcome(dispatch=self._dispatch(candidate, note), answer=answer)

    def _broken(self, candidate: _Candidate, error: BackendError) -> DispatchOutcome:
        answer = Answer(
            text=self.text.getvalue(),
            reasoning=self.reasoning.getvalue(),
            error=str(error),
            elapsed_ms=round((time.perf_counter() - self.began) * 1000, 1),
        )
        return DispatchOutcome(dispatch=self._dispatch(candidate), answer=answer, failed=True, interrupted=True)

    def _failed(self, error: str) -> DispatchOutcome:
        answer = Answer(error=error, elapsed_ms=round((time.perf_counter() - self.began) * 1000, 1))
        return DispatchOutcome(dispatch=self._dispatch(None), answer=answer, failed=True)

    def _nobody(self) -> str:
        """Say in one sentence why no model could answer."""
        if self.need_context:
            return f"the request does not fit into any model of the route ({self.last_error}); /new starts a shorter conversation"
        if not any(b.status.reachable for b in self.health.backends) and self.health.checked:
            wrong = [
                b.status.error
                for b in self.health.backends
                if b.status.error and "nothing answers" not in b.status.error
            ]
            if wrong:
                return f"no model server can be used ({'; '.join(wrong)})"
            checked = ", ".join(b.url for b in self.health.backends)
            return f"no model server answers (checked {checked}); start one, then send this again"
        if self.last_error is not None:
            return f"no model of this route could answer: {self.last_error}"
        reasons = "; ".join(f"{hop.model} {hop.reason}" for hop in self.hops)
        return f"no model of this route can answer: {reasons}"


def _without_system_role(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the system text before the first message of the user, for templates that refuse the role."""
    system = "\n\n".join(str(m["content"]) for m in messages if m["role"] == "system")
    rest = [dict(m) for m in messages if m["role"] != "system"]
    first = next((m for m in rest if m["role"] == "user"), None)
    if first is None or not system:
        return rest
    if isinstance(first["content"], list):
        first["content"] = [{"type": "text", "text": system}, *first["content"]]
    else:
        first["content"] = f"{system}\n\n{first['content']}"
    return rest


def _without_secrets(error: BackendError, client: Client) -> BackendError:
    return BackendError(
        error.failure,
        client.hidden(str(error)),
        retry_after_s=error.retry_after_s,
        correction=error.correction,
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
