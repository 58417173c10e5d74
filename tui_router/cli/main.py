"""The command line. Imports nothing heavy until a command needs it; only it and its parts (`cli_*`) print."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tui_router import __version__
from tui_router.cli.shared import (
    DONE,
    FAILED,
    ROUTERS,
    USAGE,
    UsageError,
    cleaned,
    complain,
    configuration,
    emit,
    folder,
    request_rows,
    typed_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_router.core.types import Decision, Request

    class _Decides(Protocol):
        def decide(self, request: Request) -> Decision: ...


COMMANDS = (
    "route", "eval", "replay", "dataset", "ask", "rate", "turns", "train", "runs", "export", "promote", "rollback",
)  # fmt: skip

_HELP = """\
tui-router [OPTIONS]              open the dashboard
tui-router COMMAND [OPTIONS]      one job, without a screen

commands
  route [TEXT] [--jsonl FILE|-]   decide, call no model
  ask TEXT [--image PATH ...]     decide, answer, record
  rate TURN y|n|c                 feedback: right, wrong, comment
  turns [--limit N] [--logs]      what was asked, newest first
  eval FILE [--router NAME ...]   routers on labelled rows; --fit, --folds
  replay [--router NAME]          stored turns under other rules or routers
  dataset export|check|import|generate   training data
  train [--recipe R] [--data DIR] fine-tune a router of your own; --detach
  runs [show|gate|resume|pause|keep|drop|note|delete RUN]
  export RUN --format F           adapter, merged, gguf, ollama, lmstudio, vllm
  promote RUN, rollback           give it the lead if it passes; take it back

options (before or after the command)
  --demo                          six pretend models, no server needed
  --health                        which servers and models answer
  --analyze [--days N]            report: accuracy, findings, proposals (1 day)
  --confidence-threshold F        ask below this confidence (0.70)
  --observer-active, --observer-passive   remarks on each turn, on each fifth
  --no-feedback, --no-health-check        no rating; no look at servers first
  --data-dir DIR, --config FILE   other places for the store and for fleet.toml
  --json, --version, --help

examples
  tui-router --demo
  tui-router route "goto amazon.com" --json
  tui-router rate 42 n --route reasoning"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _options() -> argparse.ArgumentParser:
    """The global options; none has a default here, so that both places of them can be merged."""
    options = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for flag in (
        "--demo",
        "--health",
        "--analyze",
        "--no-feedback",
        "--no-health-check",
        "--observer-active",
        "--observer-passive",
        "--json",
        "--version",
        "--help",
    ):
        options.add_argument(flag, action="store_true")
    options.add_argument("-h", action="store_true", dest="help")
    options.add_argument("--confidence-threshold", type=_fraction, metavar="F")
    options.add_argument("--days", type=int, metavar="N")
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
    made: dict[str, argparse.ArgumentParser] = {
        name: _Parser(prog=f"tui-router {name}", add_help=False, allow_abbrev=False) for name in COMMANDS
    }
    made["route"].add_argument("text", nargs="*")
    made["route"].add_argument("--jsonl", metavar="FILE")
    made["route"].add_argument("--router", default="")
    made["eval"].add_argument("file")
    made["eval"].add_argument("--router", action="append", default=[])
    made["eval"].add_argument("--wrong", type=int, default=0)
    made["eval"].add_argument("--fit", default="", metavar="FILE")
    made["eval"].add_argument("--folds", type=int, default=0)
    made["eval"].add_argument("--leave-out", default="", metavar="FIELD")
    made["eval"].add_argument("--noise", action="store_true")
    made["replay"].add_argument("--router", default="")
    made["replay"].add_argument("--rules", default="", metavar="FILE")
    made["replay"].add_argument("--since", default="", metavar="DAY")
    made["replay"].add_argument("--until", default="", metavar="DAY")
    made["replay"].add_argument("--limit", type=int, default=20)
    made["dataset"].add_argument("action")
    made["dataset"].add_argument("files", nargs="*")
    made["dataset"].add_argument("--format", default="messages")
    made["dataset"].add_argument("--target", default="route")
    made["dataset"].add_argument("--out", default="", metavar="DIR")
    made["dataset"].add_argument("--source", action="append", default=[])
    made["dataset"].add_argument("--route", action="append", default=[])
    made["dataset"].add_argument("--private", default="")
    made["dataset"].add_argument("--duplicates", action="store_true")
    made["dataset"].add_argument("--seeds", action="store_true")
    made["dataset"].add_argument("--dry-run", action="store_true")
    made["dataset"].add_argument("--skip-faults", action="store_true")
    made["dataset"].add_argument("--limit", type=int, default=10)
    _training_arguments(made)
    made["dataset"].add_argument("--kind", default="routing")
    made["dataset"].add_argument("--n", type=int, default=0)
    made["dataset"].add_argument("--model", default="")
    made["dataset"].add_argument("--tools", default="", metavar="FILE")
    made["dataset"].add_argument("--map", action="append", default=[], metavar="NAME=ROUTE")
    made["dataset"].add_argument("--columns", default="", metavar="TEXT,ROUTE")
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


def _training_arguments(made: dict[str, argparse.ArgumentParser]) -> None:
    made["train"].add_argument("--recipe", default="gemma-3-1b")
    made["train"].add_argument("--data", type=Path, metavar="DIR")
    made["train"].add_argument(
        "--source", action="append", default=[], choices=("verdict", "seed", "generated", "imported")
    )
    made["train"].add_argument("--detach", action="store_true")
    made["runs"].add_argument("action", nargs="?", default="")
    made["runs"].add_argument("run", nargs="?", default="")
    made["runs"].add_argument("text", nargs="*")
    made["export"].add_argument("run")
    made["export"].add_argument("--format", required=True)
    made["export"].add_argument("--quant", default="f16")
    made["export"].add_argument("--out", type=Path, metavar="DIR")
    made["export"].add_argument("--base-gguf", type=Path, metavar="FILE")
    made["promote"].add_argument("run")


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
        return complain(str(error), USAGE)
    except KeyboardInterrupt:
        return complain("stopped", FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(given: dict[str, Any], rest: list[str]) -> int:
    name = rest[0] if rest else ""
    if given.get("health"):
        if rest:
            raise UsageError(f"--health takes no command, found {name!r}")
        from tui_router.cli import health

        return health.health(given)
    if given.get("analyze"):
        if rest:
            raise UsageError(f"--analyze takes no command, found {name!r}")
        from tui_router.cli import analyze
        from tui_router.store.store_errors import StoreError

        try:
            return analyze.analyze(given)
        except StoreError as error:
            return complain(str(error), FAILED)
    if not rest:
        return _dashboard(given)
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        what = "option" if name.startswith("-") else "command"
        hint = f"; did you mean {near[0]!r}?" if near else "; tui-router --help lists them"
        raise UsageError(f"there is no {what} {name!r}{hint}")
    args = _commands()[name].parse_args(rest[1:])
    from tui_router.store.store_errors import StoreError

    try:
        return _work(name, given, args)
    except StoreError as error:
        return complain(str(error), FAILED)


def _work(name: str, given: dict[str, Any], args: argparse.Namespace) -> int:
    if name == "route":
        return _route(given, args)
    if name in ("train", "runs", "export", "promote", "rollback"):
        from tui_router.cli import train

        return train.work(name, given, args)
    if name == "replay":
        from tui_router.cli import replay

        return replay.replay(given, args)
    if name == "dataset":
        from tui_router.cli import dataset

        return dataset.dataset(given, args)
    if name == "eval":
        from tui_router.cli import evaluate

        return evaluate.evaluate(given, args)
    import asyncio

    from tui_router.cli import turns

    work = {"ask": turns.ask, "rate": turns.rate, "turns": turns.turns}[name]
    return asyncio.run(work(given, args))


# -- route -------------------------------------------------------------------------------------------------------
def _route(given: dict[str, Any], args: argparse.Namespace) -> int:
    text = " ".join(args.text)
    if bool(args.text) == bool(args.jsonl):
        raise UsageError("route takes a TEXT or --jsonl FILE, one of the two")
    router, end = _router(given, args.router)
    try:
        if args.jsonl:
            for _, row, request in request_rows(args.jsonl, "--jsonl"):
                emit(_decision(row.get("id"), router.decide(request)))
            return DONE
        request, notes = typed_request(text, [])
        decision = router.decide(request)
    finally:
        trouble = end()
    for note in (*notes, *([trouble] if trouble else [])):
        print(f"tui-router: {cleaned(note)}", file=sys.stderr)
    if given.get("json"):
        emit(_decision("", decision))
        return DONE
    print(f"{decision.route} {decision.confidence:.0%} → {decision.model}")
    for reason in decision.reasons:
        print(f"  {reason.weight:+.1f}  {reason.route}: {cleaned(reason.text)}")
    return DONE


def _router(given: dict[str, Any], name: str) -> tuple[_Decides, Callable[[], str]]:
    """The router of that name with all that it was taught, or the leader; and what ends it and tells what went wrong."""
    config = configuration(given)
    if name and name not in ROUTERS:
        raise UsageError(f"there is no router {name!r}; known: {', '.join(ROUTERS)}")
    if name == "rules":
        from tui_router.routing.rules.rules_router import RulesRouter

        return RulesRouter(config.fleet), str
    from tui_router.learning.online_learner import taught_by
    from tui_router.routing.ensemble.ensemble import EnsembleMember

    ensemble = taught_by(config, folder(given)).ensemble
    if name or not ensemble.champion_run:
        return EnsembleMember(ensemble, name or ensemble.best_immediate), str
    from tui_router.app.tuned_router import BlockingTunedRouter

    trained = BlockingTunedRouter(ensemble, config, folder(given))
    return trained, trained.close


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


# -- ask, rate, turns ----------------------------------------------------------------------------------------------


# -- health ----------------------------------------------------------------------------------------------------------


# -- the dashboard -----------------------------------------------------------------------------------------------------
def _dashboard(given: dict[str, Any]) -> int:
    if given.get("json"):
        raise UsageError("--json goes with --health, --analyze or a command")
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise UsageError("the dashboard needs a terminal; `tui-router ask` and `tui-router route` work without one")
    if given.get("observer_active") and given.get("observer_passive"):
        raise UsageError("--observer-active and --observer-passive are two things; name one")
    from tui_router.ui.app import run_dashboard
    from tui_router.ui.options import Options

    return run_dashboard(
        Options(
            demo=bool(given.get("demo")),
            feedback=not given.get("no_feedback"),
            health_checks=not given.get("no_health_check"),
            threshold=given.get("confidence_threshold"),
            data_dir=given.get("data_dir"),
            config=given.get("config"),
            observer="active" if given.get("observer_active") else "passive" if given.get("observer_passive") else "",
        )
    )
