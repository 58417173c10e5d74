"""`ask`, `rate` and `turns`: whole turns without a screen."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import (
    DONE,
    FAILED,
    UsageError,
    cleaned,
    complain,
    emit,
    known_route,
    notice,
    open_engine,
    run_async,
    typed_request,
)

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.events import EngineEvent
    from tui_router.config.settings import Config
    from tui_router.core.types import Turn, Verdict


def ask(args: Namespace) -> int:
    """Decide, dispatch, answer and record one request. It never prompts."""
    if args.observer_active and args.observer_passive:
        raise UsageError("--observer-active and --observer-passive are mutually exclusive")
    return run_async(_ask(args))


def rate(args: Namespace) -> int:
    """Rate a turn, or undo its latest rating."""
    return run_async(_rate(args))


def turns(args: Namespace) -> int:
    """List the newest turns."""
    return run_async(_turns(args))


async def _ask(args: Namespace) -> int:
    request, notes = typed_request(" ".join(args.text), args.image or ())
    for remark in notes:
        notice(remark)
    engine = await open_engine(args, learn=True)
    try:
        known_route(args.route, engine.config)
        store = engine.store
        session = ""
        if args.session and store is not None:
            found = await engine.in_store(lambda: store.session(args.session))
            if found is None:
                raise UsageError(f"--session: there is no session {args.session!r}")
            session = found.id
        turn = await engine.begin(request, session=session, source="command line", route=args.route, ask=False)
        if turn.decision.confidence < engine.threshold and not args.route:
            decided = f"{turn.decision.route} {turn.decision.confidence:.0%}"
            notice(f"not sure: {decided}, below {engine.threshold:.0%}; going on")
        if args.no_answer:
            turn = await engine.leave_unanswered(turn.id)
        else:
            turn = await _answered(engine, turn, quiet=args.json)
        if args.json:
            emit(_asked(turn))
        elif args.no_answer:
            print(f"{turn.id}: {turn.route} {turn.decision.confidence:.0%} → {turn.decision.model}")
        if engine.unsaved:
            return complain(engine.unsaved, FAILED)
        return FAILED if turn.state in ("failed", "interrupted") else DONE
    finally:
        await engine.close()


async def _answered(engine: Engine, turn: Turn, quiet: bool) -> Turn:
    """Send a turn: its answer goes to stdout as it comes, what happens on the way to stderr."""
    from tui_router.app.events import PhaseEvent, TextEvent
    from tui_router.core.text import StreamCleaner

    cleaner = StreamCleaner()

    def show(event: EngineEvent) -> None:
        if isinstance(event, TextEvent) and event.turn_id == turn.id and event.text:
            print(cleaner.feed(event.text), end="", flush=True)
        elif isinstance(event, PhaseEvent) and ": " in event.phase:
            notice(event.phase)

    stop = engine.listen(show) if not quiet else (lambda: None)
    try:
        done = await engine.send(turn.id)
    finally:
        stop()
    if not quiet:
        print(cleaner.close())
        for remark in _remarks(done):
            notice(remark)
        served = done.dispatch.served if done.dispatch else None
        notice(f"turn {done.id}: {done.route} → {served or 'no model'}")
    return done


def _remarks(turn: Turn) -> list[str]:
    """Return what a person should know of an answer beside its text: an error, or why there is little or none."""
    answer = turn.answer
    if answer is None:
        return []
    found = [answer.error] if answer.error else []
    if answer.tool_calls:
        found.append(f"the model proposed a tool call, which is not executed: {', '.join(answer.tool_calls)}")
    if not (answer.text.strip() or answer.tool_calls or answer.error or answer.finish == "length"):
        found.append("the model wrote its reasoning and no answer" if answer.reasoning else "the answer is empty")
    if answer.finish == "length":
        cut = "the answer was cut off" if answer.text.strip() else "there is no answer: all went into the reasoning"
        found.append(f"{cut}, because the model's context is full or max_tokens was reached")
    return found


def _asked(turn: Turn) -> dict[str, Any]:
    dispatch, answer = turn.dispatch, turn.answer
    return {
        "turn": turn.id,
        "session": turn.session,
        "route": turn.route,
        "model": turn.decision.model,
        "served": dispatch.served if dispatch else None,
        "confidence": turn.decision.confidence,
        "answer": answer.text if answer and turn.state != "unanswered" else None,
        "error": answer.error if answer else "",
        "finish": answer.finish if answer else "",
        "tool_calls": list(answer.tool_calls) if answer else [],
        "fallbacks": [
            {"model": h.model, "reason": h.reason, "ms": h.elapsed_ms} for h in (dispatch.hops if dispatch else ())
        ],
    }


async def _rate(args: Namespace) -> int:
    engine = await open_engine(args)
    try:
        store = engine.store
        turn = await engine.in_store(lambda: store.find(args.turn)) if store else None
        if turn is None:
            return complain(f"there is no turn {args.turn!r}; `tui-router turns` lists them", FAILED)
        verdict = _verdict(turn, args, engine.config)
        if not await engine.rate(turn.id, verdict):
            return complain(engine.unsaved or "the verdict was not saved", FAILED)
        after = await engine.in_store(lambda: store.find(turn.id)) if store else None
        if args.json:
            emit(_listed(after or turn))
        else:
            print(f"turn {turn.id}: {_in_words(after.verdict if after else None)}, saved")
        return DONE
    finally:
        await engine.close()


def _verdict(turn: Turn, args: Namespace, config: Config) -> Verdict | None:
    """Return the verdict that the arguments mean, on the route that was acted on; None for an undo."""
    from tui_router.core.clock import now
    from tui_router.core.types import Verdict
    from tui_router.core.verdicts import confirm, correct

    route, comment, source = known_route(args.route, config), args.comment, "command line"
    if args.verdict == "u":
        if route or comment or args.bad_answer:
            raise UsageError("u takes the latest verdict back and goes with no --route, --comment or --bad-answer")
        return None
    if args.bad_answer and (args.verdict == "y" or route):
        raise UsageError("--bad-answer says that the route was fine and the answer was not; it goes with n or c alone")
    if args.verdict == "y":
        if route and route != turn.route:
            raise UsageError(f"y says that {turn.route!r} was right; to say {route!r} instead: n --route {route}")
        return confirm(turn, comment=comment, source=source)
    if args.bad_answer:
        return Verdict(kind="answer", at=now(), rating="wrong", comment=comment, source=source)
    if route and route == turn.route:
        raise UsageError(f"n --route {route}: the turn went there; say y, or name another route")
    if args.verdict == "n" or route:
        return correct(turn, route or None, comment=comment, source=source)
    if not comment:
        raise UsageError("c needs --comment TEXT, --bad-answer or --route R")
    return Verdict(kind="note", at=now(), comment=comment, source=source)


def _in_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "unrated"
    words = {"answer": "bad answer", "note": "note", "accepted": "accepted"}
    word = words.get(verdict.kind) or str(verdict.rating)
    return f"{word}, should be {verdict.route}" if verdict.rating == "wrong" and verdict.route else word


async def _turns(args: Namespace) -> int:
    engine = await open_engine(args)
    try:
        store = engine.store
        turns = await engine.in_store(lambda: store.recent(args.limit)) if store and args.limit else []
        if args.logs and store is not None:
            from tui_router.store import routing_log

            fleet, folder = engine.config.fleet, engine.folder / "logs"
            for path in await engine.in_store(lambda: routing_log.write_all(store, fleet, folder)):
                print(path, file=sys.stderr if args.json else sys.stdout)
        if args.json:
            emit({"turns": [_listed(turn) for turn in turns]})
            return DONE
        for turn in turns:
            time, confidence = turn.at[:16].replace("T", " "), f"{turn.decision.confidence:.0%}"
            text = cleaned(" ".join(turn.request.text.split()))[:60]
            print(f"{turn.id:<14} {time}  {turn.route:<13} {confidence:>4}  {_in_words(turn.verdict):<22} {text}")
        if not turns and not args.logs:
            print("no turns yet")
        return DONE
    finally:
        await engine.close()


def _listed(turn: Turn) -> dict[str, Any]:
    verdict = turn.verdict
    return {
        "id": turn.id,
        "time": turn.at,
        "session": turn.session,
        "text": turn.request.text,
        "route": turn.route,
        "model": turn.decision.model,
        "served": turn.dispatch.served if turn.dispatch else None,
        "confidence": turn.decision.confidence,
        "router": turn.decision.router,
        "state": turn.state,
        "verdict": verdict
        and {
            "rating": verdict.rating,
            "kind": verdict.kind,
            "route": verdict.route,
            "comment": verdict.comment,
        },
    }
