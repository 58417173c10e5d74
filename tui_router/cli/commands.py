"""Declares the command line: each command with its arguments, a sentence about each, and an example.

`parser.py` makes the parsers from it, and `scripts/reference.py` makes docs/reference/command-line.md. The work of a command is
a function of its module, named as `module.function`; the module is imported when the command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tui_router.cli import argument_types as types

ROUTERS = ("learned", "rules")
"""The routers that need no server."""


Reader = Callable[[str], Any]
"""Reads what was typed, or raises ArgumentTypeError."""


class ArgumentSpec(NamedTuple):
    """An option (its names begin with dashes) or a positional argument."""

    names: tuple[str, ...]
    help: str
    settings: Mapping[str, Any]
    """What argparse's `add_argument` takes: action, default, metavar, nargs, type, required."""

    @property
    def field(self) -> str:
        """The attribute of the parsed arguments that holds it."""
        return self.names[-1].lstrip("-").replace("-", "_")


class CommandSpec(NamedTuple):
    """A command, with the commands below it."""

    name: str
    help: str
    """What it does, as the end of the sentence `this command ...`."""
    work: str
    """`module.function` in tui_router.cli; empty for one that only has commands below it."""
    example: str
    arguments: tuple[ArgumentSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    dashboard_options: bool = False
    """It also takes the options of the dashboard that concern a turn."""


def _words(name: str, metavar: str, help: str, read: Reader = types.text, **settings: Any) -> ArgumentSpec:
    """Declare a positional argument."""
    return ArgumentSpec((name,), help, {"metavar": metavar, "type": read, **settings})


def _option(name: str, metavar: str, help: str, read: Reader = types.text, **settings: Any) -> ArgumentSpec:
    """Declare an option with a value; it is empty or None when it is not given."""
    settings.setdefault("default", "" if read is types.text and "action" not in settings else None)
    return _words(name, metavar, help, read, **settings)


def _flag(name: str, help: str) -> ArgumentSpec:
    return ArgumentSpec((name,), help, {"action": "store_true"})


GLOBAL = (
    _option("--data-dir", "DIR", "folder of the store, the runs and the reports", types.path),
    _option("--config", "FILE", "the fleet.toml to read", types.path),
    _flag("--demo", "six pretend models; no server is needed"),
    _flag("--json", "print JSON for programs"),
)
"""Options that stand before or after every command. `--version` and `--help` are added by the parser."""

TURN_OPTIONS = (
    _option("--confidence-threshold", "F", "below this, a decision is unsure (0.70)", types.fraction),
    _flag("--no-feedback", "no rating"),
    _flag("--no-health-check", "send at once, without looking for servers first"),
    _flag("--observer-active", "a small model comments on each turn"),
    _flag("--observer-passive", "a small model comments on each fifth turn"),
)
"""Options of the dashboard and of `ask`."""

_DAYS = _option("--days", "N", "how many days, ending today", types.days)
REPORTS = (
    _flag("--health", "show which servers and models answer, and end"),
    _flag("--analyze", "print a report of the last days, and end"),
    _DAYS,
)
"""Options of `tui-router` alone, which open no screen."""

_router = _option("--router", "NAME", f"the router: {' or '.join(ROUTERS)}")
_routers = _option("--router", "NAME", f"a router, more than once to compare: {' or '.join(ROUTERS)}", action="append")
_run = _words("run", "RUN", "the run: its name, the beginning or end of it, or last")


def _limit(default: int, what: str) -> ArgumentSpec:
    return _option("--limit", "N", f"most {what} shown ({default})", types.count, default=default)


def _source(help: str) -> ArgumentSpec:
    known = ("verdict", "seed", "generated", "imported")
    return _option("--source", "S", f"{help}: {', '.join(known)}", types.one_of(*known), action="append")


def _on_run(name: str, help: str) -> CommandSpec:
    return CommandSpec(name, help, f"train.{name}", f"tui-router runs {name} last", (_run,))


DATASET = (
    CommandSpec(
        "export",
        "write training data into a new folder, split into train, validation and test",
        "dataset.export",
        "tui-router dataset export --format sharegpt --out ./routing-data",
        (
            _option("--out", "DIR", "a folder that does not exist yet", types.path, required=True),
            _option("--kind", "K", "routing or tool-use", types.one_of("routing", "tool-use"), default="routing"),
            _option(
                "--format",
                "F",
                "messages, sharegpt, alpaca, prompt-completion, csv or hf (messages)",
                default="messages",
            ),
            _option("--target", "T", "what the model is to answer: route, model, detailed or letter", default="route"),
            _source("only examples of this source, more than once for several"),
            _option("--route", "R", "only this route, more than once for several", action="append"),
            _option(
                "--private",
                "P",
                "mask, drop or keep private data (mask; keep with --kind tool-use)",
                types.one_of("mask", "drop", "keep"),
            ),
            _flag("--duplicates", "keep near-duplicates"),
        ),
    ),
    CommandSpec(
        "check",
        "look for wrong labels, duplicates and private data in the examples",
        "dataset.check",
        "tui-router dataset check --limit 5",
        (_flag("--seeds", "check the seeds too"), _limit(10, "findings of a kind")),
    ),
    CommandSpec(
        "import",
        "read requests from files of other programs into the store",
        "dataset_import.import_files",
        "tui-router dataset import old.csv --map coding=code --dry-run",
        (
            _words("files", "FILE", "a file or a folder of files", types.path, nargs="+"),
            _option(
                "--map", "NAME=ROUTE", "a name in the files and its route; NAME= leaves its rows out", action="append"
            ),
            _option("--columns", "TEXT,ROUTE", "the columns of the request and of its route"),
            _flag("--dry-run", "show what would be kept, and keep nothing"),
            _flag("--skip-faults", "leave out rows that cannot be read"),
            _limit(10, "faults"),
        ),
    ),
    CommandSpec(
        "generate",
        "have a served model write training data; stopped, it goes on where it was",
        "dataset_generate.generate",
        "tui-router dataset generate --n 200 --model gpt-oss-20b",
        (
            _option("--kind", "K", "routing or tool-use", types.one_of("routing", "tool-use"), default="routing"),
            _option(
                "--n", "N", "how many to keep; without it, an order that was stopped goes on", types.count, default=0
            ),
            _option("--model", "NAME", "the model that writes (a loaded one, else the largest)"),
            _option("--tools", "FILE", "JSON with the tools that conversations use", types.path),
        ),
    ),
)

RUNS = (
    _on_run("show", "show a run: its state, its figures and its gate"),
    _on_run("gate", "evaluate a run again and show whether it may be promoted"),
    _on_run("resume", "go on with a run that was paused or that ended early"),
    _on_run("pause", "pause a run after its current step"),
    _on_run("keep", "stop a run after its current step and keep what it has learned"),
    _on_run("drop", "stop a run after its current step and discard it"),
    CommandSpec(
        "note",
        "set the note of a run",
        "train.note",
        'tui-router runs note last "with the new labels"',
        (_run, _words("text", "TEXT", "the note", nargs="*")),
    ),
    _on_run("delete", "delete a run and its files"),
)

COMMANDS = (
    CommandSpec(
        "route",
        "decide the route of a request, call no model",
        "route.route",
        'tui-router route "goto amazon.com" --json',
        (
            _words("text", "TEXT", "the request", nargs="*"),
            _option("--jsonl", "FILE", "one request a line; - is standard input", types.file_or_stdin),
            _router,
        ),
    ),
    CommandSpec(
        "ask",
        "decide, answer, record: one turn without a screen",
        "turns.ask",
        'tui-router ask "what is in this picture?" --image cat.png',
        (
            _words("text", "TEXT", "the request", nargs="+"),
            _option("--image", "PATH", "an image, more than once for several", types.path, action="append"),
            _option("--session", "ID", "go on in this session"),
            _option("--route", "R", "choose the route yourself"),
            _flag("--no-answer", "stop after the decision; the turn is recorded"),
        ),
        dashboard_options=True,
    ),
    CommandSpec(
        "rate",
        "rate a turn: y right, n wrong, c comment, u undo",
        "turns.rate",
        "tui-router rate 42 n --route reasoning",
        (
            _words("turn", "TURN", "the turn, as `turns` lists it"),
            _words("verdict", "y|n|c|u", "y, n, c or u", types.one_of("y", "n", "c", "u")),
            _option("--route", "R", "the right route"),
            _option("--comment", "T", "a comment"),
            _flag("--bad-answer", "the route was right, the answer was bad"),
        ),
    ),
    CommandSpec(
        "turns",
        "list what was asked, newest first",
        "turns.turns",
        "tui-router turns --limit 5 --json",
        (_limit(20, "turns"), _flag("--logs", "write the routing logs first and print their paths")),
    ),
    CommandSpec(
        "eval",
        "measure routers on labelled requests",
        "evaluate.evaluate",
        "tui-router eval labelled.jsonl --router rules --router learned",
        (
            _words("file", "FILE", "JSONL with text and route; - is standard input", types.file_or_stdin),
            _routers,
            _option("--fit", "FILE", "train the learned router on this file first, in memory", types.file_or_stdin),
            _option("--folds", "N", "train on the other folds of the file, N of them", types.count, default=0),
            _option("--leave-out", "FIELD", "train on all rows but those of one value of this field"),
            _flag("--noise", "also count decisions that change with typing errors"),
            _option("--wrong", "N", "show N wrong decisions (0)", types.count, default=0),
        ),
    ),
    CommandSpec(
        "replay",
        "decide stored turns again with other rules",
        "replay.replay",
        "tui-router replay --rules new-fleet.toml --days 7",
        (
            _router,
            _option("--rules", "FILE", "a fleet.toml with other rules", types.path),
            _DAYS,
            _option("--since", "DAY", "first day, as 2026-11-24", types.day),
            _option("--until", "DAY", "last day", types.day),
            _limit(20, "turns"),
        ),
    ),
    CommandSpec("dataset", "make, check and import training data", "", "tui-router dataset check", commands=DATASET),
    CommandSpec(
        "train",
        "fine-tune a router of your own",
        "train.train",
        "tui-router train --recipe gemma-3-270m --detach",
        (
            _option(
                "--recipe", "R", "a shipped recipe or a TOML file (gemma-3-1b)", types.recipe, default="gemma-3-1b"
            ),
            _option("--data", "DIR", "a dataset in the messages format (default: your own examples)", types.path),
            _source("train on this source, more than once for several"),
            _flag("--detach", "return at once; the training goes on in the background"),
        ),
    ),
    CommandSpec(
        "runs",
        "list the trainings, or show, pause, resume one",
        "train.runs",
        "tui-router runs show last",
        commands=RUNS,
    ),
    CommandSpec(
        "export",
        "write a trained router for a model server",
        "train.export",
        "tui-router export last --format ollama",
        (
            _run,
            _option("--format", "F", "adapter, merged, gguf, gguf-lora, ollama, lmstudio or vllm", required=True),
            _option("--quant", "Q", "f16, q8_0, q4_0, bf16 or f32 (f16)", default="f16"),
            _option("--out", "DIR", "the folder to write (default: in the run)", types.path),
            _option("--base-gguf", "FILE", "the base model as GGUF, for a GGUF adapter", types.path),
        ),
    ),
    CommandSpec(
        "promote", "make a run the champion if it passes its gate", "train.promote", "tui-router promote last", (_run,)
    ),
    CommandSpec("rollback", "undo the last promotion", "train.rollback", "tui-router rollback"),
)

EXAMPLES = ("tui-router --demo", COMMANDS[0].example, COMMANDS[2].example)
