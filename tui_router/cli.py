"""The command line. Imports nothing heavy until a command needs it; the only module that prints."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tui_router import __version__

if TYPE_CHECKING:
    from tui_router.backends.health import Health
    from tui_router.config import Config
    from tui_router.core.types import Decision, Request, Turn
    from tui_router.engine import Engine, Event

DONE, FAILED, USAGE = 0, 1, 2
COMMANDS = ("route", "ask", "rate", "turns")

_HELP = """\
tui-router [OPTIONS]              open the dashboard
tui-router COMMAND [OPTIONS]      one job, without a screen

commands
  route [TEXT] [--jsonl FILE|-]   decide, call no model
  ask TEXT [--image PATH ...]     decide, answer, record
  rate TURN y|n|c                 feedback: right, wrong, comment
  turns [--limit N] [--logs]      what was asked, newest first

options (before or after the command)
  --demo                          six pretend models, no server needed
  --health                        which servers and models answer
  --confidence-threshold F        ask below this confidence (0.70)
  --no-feedback                   no rating anywhere
  --no-health-check               do not look at the servers first
  --data-dir DIR, --config FILE   other places for the store and for fleet.toml
  --json                          machine-readable output
  --version, --help

examples
  tui-router --demo
  tui-router route "goto amazon.com" --json
  tui-router ask "write a python function that parses ISO dates"
  tui-router rate 42 n --route reasoning
  tui-router route --jsonl requests.jsonl > decisions.jsonl"""


class UsageError(Exception):
    """Wrong arguments, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _options() -> argparse.ArgumentParser:
    """The global options; none has a default here, so that both places of them can be merged."""
    options = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for flag in ("--demo", "--health", "--no-feedback", "--no-health-check", "--json", "--version", "--help"):
        options.add_argument(flag, action="store_true")
    options.add_argument("-h", action="store_true", dest="help")
    options.add_argument("--confidence-threshold", type=_fraction, metavar="F")
    options.add_argument("--data-dir", type=Path, metavar="DIR")
    options.add_argument("--config", type=Path, metavar="FILE")
    return options


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def _commands() -> dict[str, argparse.ArgumentParser]:
    made = {name: _Parser(prog=f"tui-router {name}", add_help=False, allow_abbrev=False) for name in COMMANDS}
    made["route"].add_argument("text", nargs="*")
    made["route"].add_argument("--jsonl", metavar="FILE")
    made["route"].add_argument("--router", default="rules")
    made["ask"].add_argument("text", nargs="+")
    made["ask"].add_argument("--image", action="append", default=[], metavar="PATH")
    made["ask"].add_argument("--session", default="")
    made["ask"].add_argument("--route", default="")
    made["ask"].add_argument("--no-answer", action="store_true")
    made["rate"].add_argument("turn")
    made["rate"].add_argument("verdict", choices=("y", "n", "c", "u"))
    made["rate"].add_argument("--route", default="")
    made["rate"].add_argument("--comment", default="")
    made["rate"].add_argument("--bad-answer", action="store_true")
    made["turns"].add_argument("--limit", type=int, default=20)
    made["turns"].add_argument("--logs", action="store_true")
    return made


def run(argv: list[str]) -> int:
    """Run one command line; returns the exit code: 0 done, 1 failed or the answer is no, 2 wrong usage."""
    try:
        options, rest = _options().parse_known_args(argv)
        given = vars(options)
        if given.get("help"):
            print(_HELP)
            return DONE
        if given.get("version"):
            print(f"tui-router {__version__}")
            return DONE
        return _run(given, rest)
    except UsageError as error:
        return _complain(str(error), USAGE)
    except KeyboardInterrupt:
        return _complain("stopped", FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(given: dict[str, Any], rest: list[str]) -> int:
    name = rest[0] if rest else ""
    if given.get("health"):
        if rest:
            raise UsageError(f"--health takes no command, found {name!r}")
        return _health(given)
    if not rest:
        return _dashboard(given)
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        what = "option" if name.startswith("-") else "command"
        hint = f"; did you mean {near[0]!r}?" if near else "; tui-router --help lists them"
        raise UsageError(f"there is no {what} {name!r}{hint}")
    args = _commands()[name].parse_args(rest[1:])
    if name == "route":
        return _route(given, args)
    import asyncio

    work = {"ask": _ask, "rate": _rate, "turns": _turns}[name]
    from tui_router.store.errors import StoreError

    try:
        return asyncio.run(work(given, args))
    except StoreError as error:
        return _complain(str(error), FAILED)


def _complain(message: str, code: int) -> int:
    for line in message.splitlines() or [message]:
        print(f"tui-router: {_clean(line)}", file=sys.stderr)
    return code


def _clean(text: str) -> str:
    from tui_router.core.text import clean

    return clean(text)


def _emit(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=not _utf8()), flush=True)


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _config(given: dict[str, Any]) -> Config:
    """The configuration for a sub-command: a bad file is wrong usage."""
    from msgspec.structs import replace

    from tui_router.config import ConfigError, load

    try:
        config = load(given.get("config"))
    except ConfigError as error:
        raise UsageError(str(error)) from error
    if "confidence_threshold" in given:
        settings = replace(config.settings, confidence_threshold=given["confidence_threshold"])
        config = replace(config, settings=settings)
    return config


def _folder(given: dict[str, Any]) -> Path:
    from tui_router.config import data_dir
    from tui_router.demo.place import demo_folder

    if given.get("demo"):
        return demo_folder(given.get("data_dir"))
    folder: Path = given.get("data_dir") or data_dir()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--data-dir: {folder} is a file, expected a folder")
    return folder


# -- route -------------------------------------------------------------------------------------------------------
def _route(given: dict[str, Any], args: argparse.Namespace) -> int:
    from tui_router.core.types import Request
    from tui_router.routers.rules import RulesRouter

    if args.router != "rules":
        raise UsageError(f"there is no router {args.router!r}; known: rules")
    text = " ".join(args.text)
    if bool(args.text) == bool(args.jsonl):
        raise UsageError("route takes a TEXT or --jsonl FILE, one of the two")
    router = RulesRouter(_config(given).fleet)
    if args.jsonl:
        for identity, request in _requests(args.jsonl):
            _emit(_decision(identity, router.decide(request)))
        return DONE
    request, notes = _request(text, [])
    decision = router.decide(request)
    for note in notes:
        print(f"tui-router: {_clean(note)}", file=sys.stderr)
    if given.get("json"):
        _emit(_decision("", decision))
        return DONE
    print(f"{decision.route} {decision.confidence:.0%} → {decision.model}")
    for reason in decision.reasons:
        print(f"  {reason.weight:+.1f}  {reason.route}: {_clean(reason.text)}")
    return DONE


def _decision(identity: Any, decision: Decision) -> dict[str, Any]:
    return {
        "id": identity,
        "route": decision.route,
        "model": decision.model,
        "confidence": decision.confidence,
        "ranking": [[route, p] for route, p in decision.ranking],
        "reasons": [reason.text for reason in decision.reasons],
        "router": decision.router,
        "elapsed_ms": decision.elapsed_ms,
    }


def _requests(name: str) -> Iterator[tuple[Any, Request]]:
    """The lines of a JSONL file as requests; UsageError names the line that is wrong."""
    from tui_router.core.types import Message, Request

    try:
        lines = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"--jsonl: {name} cannot be read: {error.strerror}") from error
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{name}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{where}: is not JSON: {error}") from error
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise UsageError(f'{where}: expected an object with a "text", found {str(row)[:60]}')
            history = row.get("history") or []
            if not isinstance(history, list) or not all(
                isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") in ("user", "assistant", "system")
                for m in history
            ):
                raise UsageError(f'{where}: "history" is a list of {{"role": "user"|"assistant", "content": text}}')
            yield row.get("id"), Request(
                text=row["text"],
                has_image=bool(row.get("has_image")),
                has_code=bool(row.get("has_code")),
                history=tuple(Message(m["role"], m["content"]) for m in history),
            )


def _request(text: str, images: list[str]) -> tuple[Request, tuple[str, ...]]:
    """A typed text with its `@image` references, and images named beside it."""
    from tui_router.backends.images import attach, find
    from tui_router.core.types import Request

    found = find(text)
    attachments = list(found.attachments)
    for name in images:
        made = attach(name)
        if isinstance(made, str):
            raise UsageError(made.replace("@image", "--image").replace(", nothing attached", ""))
        attachments.append(made)
    request = Request(
        text=found.text,
        typed=text if found.text != text else "",
        attachments=tuple(attachments),
        has_image=bool(attachments),
    )
    return request, found.notes


# -- ask, rate, turns ----------------------------------------------------------------------------------------------
async def _engine(given: dict[str, Any]) -> Engine:
    from tui_router.engine import Engine

    config = _config(given)
    if given.get("demo"):
        config = await _demo(config)
    engine = Engine(config, _folder(given), health_checks=not given.get("no_health_check"))
    await engine.open()
    if engine.store is not None and engine.store.repaired:
        print(f"tui-router: {engine.store.repaired}", file=sys.stderr)
    return engine


async def _demo(config: Config) -> Config:
    from tui_router.demo.place import with_demo
    from tui_router.demo.server import DemoServer

    return with_demo(config, await DemoServer().start())


async def _ask(given: dict[str, Any], args: argparse.Namespace) -> int:
    request, notes = _request(" ".join(args.text), args.image)
    for note in notes:
        print(f"tui-router: {_clean(note)}", file=sys.stderr)
    engine = await _engine(given)
    try:
        if args.route and args.route not in engine.config.fleet.by_route:
            known = ", ".join(engine.config.fleet.by_route)
            raise UsageError(f"--route: there is no route {args.route!r}; known: {known}")
        store = engine.store
        session = ""
        if args.session and store is not None:
            found = await engine.in_store(lambda: store.session(args.session))
            if found is None:
                raise UsageError(f"--session: there is no session {args.session!r}")
            session = found.id
        turn = await engine.begin(request, session=session, source="command line", route=args.route, ask=False)
        if turn.decision.confidence < engine.threshold and not args.route:
            unsure = f"not sure: {turn.decision.route} {turn.decision.confidence:.0%}, below {engine.threshold:.0%}"
            print(f"tui-router: {unsure}; going on", file=sys.stderr)
        if args.no_answer:
            turn = await engine.leave_unanswered(turn.id)
        else:
            turn = await _answered(engine, turn, quiet=bool(given.get("json")))
        if given.get("json"):
            _emit(_asked(turn))
        elif args.no_answer:
            print(f"{turn.id}: {turn.route} {turn.decision.confidence:.0%} → {turn.decision.model}")
        if engine.unsaved:
            return _complain(engine.unsaved, FAILED)
        return FAILED if turn.state in ("failed", "interrupted") else DONE
    finally:
        await engine.close()


async def _answered(engine: Engine, turn: Turn, quiet: bool) -> Turn:
    """Have a turn answered, the text going to stdout as it comes and what happens on the way to stderr."""
    from tui_router.core.text import StreamCleaner
    from tui_router.engine import PhaseEvent, TextEvent

    cleaner = StreamCleaner()

    def show(event: Event) -> None:
        if isinstance(event, TextEvent) and event.turn_id == turn.id and event.text:
            print(cleaner.feed(event.text), end="", flush=True)
        elif isinstance(event, PhaseEvent) and ": " in event.phase:
            print(f"tui-router: {_clean(event.phase)}", file=sys.stderr)

    await engine.health.look() if engine.health.checked else None
    stop = engine.listen(show) if not quiet else (lambda: None)
    try:
        done = await engine.send(turn.id)
    finally:
        stop()
    if not quiet:
        print(cleaner.close())
        if done.answer is not None and done.answer.error:
            print(f"tui-router: {_clean(done.answer.error)}", file=sys.stderr)
        served = done.dispatch.served if done.dispatch else None
        print(f"tui-router: turn {done.id}: {done.route} → {_clean(served or 'nobody')}", file=sys.stderr)
    return done


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
        "fallbacks": [{"model": h.model, "reason": h.reason, "ms": h.elapsed_ms} for h in (dispatch.hops if dispatch else ())],
    }


async def _rate(given: dict[str, Any], args: argparse.Namespace) -> int:
    from tui_router.core.clock import now
    from tui_router.core.types import Verdict

    if given.get("no_feedback"):
        raise UsageError("--no-feedback turns rating off")
    engine = await _engine(given)
    try:
        store = engine.store
        turn = await engine.in_store(lambda: store.find(args.turn)) if store else None
        if turn is None:
            return _complain(f"there is no turn {args.turn!r}; `tui-router turns` lists them", FAILED)
        verdict = _verdict(turn, args, engine)
        made = None
        if verdict is not None:
            made = Verdict(at=now(), source="command line", **verdict)
        if not await engine.rate(turn.id, made):
            return _complain(engine.unsaved or "the verdict was not saved", FAILED)
        after = await engine.in_store(lambda: store.find(turn.id)) if store else None
        if given.get("json"):
            _emit(_listed(after or turn))
        else:
            said = _spoken(after.verdict) if after else ""
            print(f"turn {turn.id}: {said or 'unrated'}, saved")
        return DONE
    finally:
        await engine.close()


def _verdict(turn: Turn, args: argparse.Namespace, engine: Engine) -> dict[str, Any] | None:
    """The fields of the verdict that the arguments mean; None for an undo."""
    route, comment = args.route, args.comment
    if route and route not in engine.config.fleet.by_route:
        raise UsageError(f"--route: there is no route {route!r}; known: {', '.join(engine.config.fleet.by_route)}")
    decided = turn.decision.route
    if args.verdict == "u":
        return None
    if args.verdict == "y":
        if route and route != decided:
            raise UsageError(f"y says that {decided!r} was right; to say {route!r} instead: n --route {route}")
        return {"kind": "route", "rating": "right", "route": decided, "comment": comment}
    if args.bad_answer:
        return {"kind": "answer", "rating": "wrong", "route": None, "comment": comment}
    if route == decided and route:
        raise UsageError(f"n --route {route}: that is the route that was decided; say y, or name another route")
    if args.verdict == "n" or route:
        return {"kind": "route", "rating": "wrong", "route": route or None, "comment": comment}
    if not comment:
        raise UsageError("c needs --comment TEXT, --bad-answer or --route R")
    return {"kind": "note", "rating": None, "route": None, "comment": comment}


def _spoken(verdict: Any) -> str:
    if verdict is None:
        return ""
    words = {"answer": "bad answer", "note": "note", "accepted": "accepted"}
    word = words.get(verdict.kind) or str(verdict.rating)
    return f"{word}, should be {verdict.route}" if verdict.rating == "wrong" and verdict.route else word


async def _turns(given: dict[str, Any], args: argparse.Namespace) -> int:
    if args.limit < 0:
        raise UsageError(f"--limit: expected a number from 0, found {args.limit}")
    engine = await _engine(given)
    try:
        store = engine.store
        turns = await engine.in_store(lambda: store.recent(args.limit)) if store and args.limit else []
        if args.logs and store is not None:
            from tui_router.store import routing_log

            fleet, folder = engine.config.fleet, engine.folder / "logs"
            for path in await engine.in_store(lambda: routing_log.write_all(store, fleet, folder)):
                print(path, file=sys.stderr if given.get("json") else sys.stdout)
        if given.get("json"):
            _emit({"turns": [_listed(turn) for turn in turns]})
            return DONE
        for turn in turns:
            said = _spoken(turn.verdict) or "unrated"
            text = _clean(" ".join(turn.request.text.split()))[:60]
            print(f"{turn.id:<14} {turn.at[:16].replace('T', ' ')}  {turn.route:<13} {turn.decision.confidence:>4.0%}  {said:<22} {text}")
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
        and {"rating": verdict.rating, "kind": verdict.kind, "route": verdict.route, "comment": verdict.comment},
    }


# -- health ----------------------------------------------------------------------------------------------------------
def _health(given: dict[str, Any]) -> int:
    import asyncio

    return asyncio.run(_look(given))


async def _look(given: dict[str, Any]) -> int:
    import asyncio

    from tui_router.backends.health import Health, look_for_tool

    config = _config(given)
    if given.get("demo"):
        config = await _demo(config)
    health = Health(config.fleet, config.backends)
    try:
        _, *tools = await asyncio.gather(health.look(), *(look_for_tool(tool) for tool in config.tools))
        report = _report(health, tools)
    finally:
        await health.close()
    if given.get("json"):
        _emit(report)
    else:
        _show_health(report)
    if not report["ready"]:
        _complain(_START, FAILED)
    return DONE if report["ready"] else FAILED


_START = (
    "no model of the fleet can be reached. Start one of these, then try again: LM Studio (lms server start), "
    "Ollama (ollama serve), llama.cpp (llama-server -m MODEL.gguf). Without any: tui-router --demo"
)


def _report(health: Health, tools: list[dict[str, object]]) -> dict[str, Any]:
    backends = [
        {"url": b.status.url, "name": b.status.name, "kind": b.status.kind, "reachable": bool(b.status.reachable), "error": b.status.error}
        for b in health.backends
    ]
    models = [
        {"id": m.name, "state": m.state, "served_as": m.served_as, "match": m.how, "backend": m.backend, "context": m.context, "error": m.error}
        for m in health.models.values()
    ]
    ready = any(m.ready for m in health.models.values())
    report: dict[str, Any] = {"backends": backends, "models": models, "tools": tools, "ready": ready}
    if not ready:
        report["hint"] = _START
    return report


def _show_health(report: dict[str, Any]) -> None:
    for backend in report["backends"]:
        sign = "✓" if backend["reachable"] else "○"
        print(f"{sign} {backend['name']:<14} {backend['url']:<26} {backend['kind'] if backend['reachable'] else _clean(backend['error'])}")
    for model in report["models"]:
        sign = "✓" if model["state"] in ("loaded", "busy") else "◐" if model["state"] in ("loadable", "loading") else "○"
        where = f"{_clean(model['served_as'])} ({model['match']}), {model['context']:,} tokens" if model["served_as"] else _clean(model["error"])
        print(f"{sign} {model['id']:<24} {model['state']:<9} {where}")
    for tool in report["tools"]:
        print(f"{'✓' if tool['reachable'] else '○'} {tool['name']:<24} {'up' if tool['reachable'] else 'not there'}  {tool['url']}")


# -- the dashboard -----------------------------------------------------------------------------------------------------
def _dashboard(given: dict[str, Any]) -> int:
    if given.get("json"):
        raise UsageError("--json goes with --health or with a command")
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise UsageError("the dashboard needs a terminal; `tui-router ask` and `tui-router route` work without one")
    from tui_router.ui.start import Options, start

    return start(
        Options(
            demo=bool(given.get("demo")),
            feedback=not given.get("no_feedback"),
            health_checks=not given.get("no_health_check"),
            threshold=given.get("confidence_threshold"),
            data_dir=given.get("data_dir"),
            config=given.get("config"),
        )
    )
