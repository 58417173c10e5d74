"""Declares the command line: each command with its arguments, a sentence about each, and an example.

`parser.py` makes the parsers from it, and `scripts/reference.py` makes docs/reference/command-line.md. The work of a command is
a function of its module, named as `module.function`; the module is imported when the command runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tui_router.cli import argument_types as types

ROUTERS = ("learned", "rules")
"""The routers that need no server."""


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


def _option(*names: str, help: str, **settings: Any) -> ArgumentSpec:
    return ArgumentSpec(names, help, settings)


def _flag(*names: str, help: str) -> ArgumentSpec:
    return ArgumentSpec(names, help, {"action": "store_true"})


GLOBAL = (
    _option("--data-dir", help="folder of the store, the runs and the reports", metavar="DIR", type=types.path),
    _option("--config", help="the fleet.toml to read", metavar="FILE", type=types.path),
    _flag("--demo", help="six pretend models; no server is needed"),
    _flag("--json", help="print JSON for programs"),
)
"""Options that stand before or after every command. `--version` and `--help` are added by the parser."""

TURN_OPTIONS = (
    _option("--confidence-threshold", help="below this, a decision is unsure (0.70)", metavar="F", type=types.fraction),
    _flag("--no-feedback", help="no rating"),
    _flag("--no-health-check", help="send at once, without looking for servers first"),
    _flag("--observer-active", help="a small model comments on each turn"),
    _flag("--observer-passive", help="a small model comments on each fifth turn"),
)
"""Options of the dashboard and of `ask`."""

_DAYS = _option("--days", help="how many days, ending today", metavar="N", type=types.days)
REPORTS = (
    _flag("--health", help="show which servers and models answer, and end"),
    _flag("--analyze", help="print a report of the last days, and end"),
    _DAYS,
)
"""Options of `tui-router` alone, which open no screen."""

_router = _option("--router", help=f"the router: {' or '.join(ROUTERS)}", metavar="NAME", default="", type=types.text)
_routers = _option(
    "--router", help=f"a router, more than once to compare: {' or '.join(ROUTERS)}", metavar="NAME", action="append"
)
_run = ArgumentSpec(
    ("run",), "the run: its name, the beginning or end of it, or last", {"metavar": "RUN", "type": types.text}
)


def _limit(default: int, what: str) -> ArgumentSpec:
    return _option("--limit", help=f"most {what} shown ({default})", metavar="N", default=default, type=types.count)


def _source(help: str) -> ArgumentSpec:
    known = ("verdict", "seed", "generated", "imported")
    return _option(
        "--source", help=f"{help}: {', '.join(known)}", metavar="S", action="append", type=types.one_of(*known)
    )


def _on_run(name: str, help: str) -> CommandSpec:
    return CommandSpec(name, help, f"train.{name}", f"tui-router runs {name} last", (_run,))


DATASET = (
    CommandSpec(
        "export",
        "write training data into a new folder, split into train, validation and test",
        "dataset.export",
        "tui-router dataset export --format sharegpt --out ./routing-data",
        (
            _option("--out", help="a folder that does not exist yet", metavar="DIR", type=types.path, required=True),
            _option(
                "--kind",
                help="routing or tool-use",
                metavar="K",
                default="routing",
                type=types.one_of("routing", "tool-use"),
            ),
            _option(
                "--format",
                help="messages, sharegpt, alpaca, prompt-completion, csv or hf (messages)",
                metavar="F",
                default="messages",
            ),
            _option(
                "--target",
                help="what the model is to answer: route, model, detailed or letter",
                metavar="T",
                default="route",
            ),
            _source("only examples of this source, more than once for several"),
            _option("--route", help="only this route, more than once for several", metavar="R", action="append"),
            _option(
                "--private",
                help="mask, drop or keep private data (mask; keep with --kind tool-use)",
                metavar="P",
                type=types.one_of("mask", "drop", "keep"),
            ),
            _flag("--duplicates", help="keep near-duplicates"),
        ),
    ),
    CommandSpec(
        "check",
        "look for wrong labels, duplicates and private data in the examples",
        "dataset.check",
        "tui-router dataset check --limit 5",
        (_flag("--seeds", help="check the seeds too"), _limit(10, "findings of a kind")),
    ),
    CommandSpec(
        "import",
        "read requests from files of other programs into the store",
        "dataset_import.import_files",
        "tui-router dataset import old.csv --map coding=code --dry-run",
        (
            ArgumentSpec(
                ("files",), "a file or a folder of files", {"nargs": "+", "metavar": "FILE", "type": types.path}
            ),
            _option(
                "--map",
                help="a name in the files and its route; NAME= leaves its rows out",
                metavar="NAME=ROUTE",
                action="append",
            ),
            _option("--columns", help="the columns of the request and of its route", metavar="TEXT,ROUTE", default=""),
            _flag("--dry-run", help="show what would be kept, and keep nothing"),
            _flag("--skip-faults", help="leave out rows that cannot be read"),
            _limit(10, "faults"),
        ),
    ),
    CommandSpec(
        "generate",
        "have a served model write training data; stopped, it goes on where it was",
        "dataset_generate.generate",
        "tui-router dataset generate --n 200 --model gpt-oss-20b",
        (
            _option(
                "--kind",
                help="routing or tool-use",
                metavar="K",
                default="routing",
                type=types.one_of("routing", "tool-use"),
            ),
            _option(
                "--n",
                help="how many to keep; without it, an order that was stopped goes on",
                metavar="N",
                default=0,
                type=types.count,
            ),
            _option(
                "--model", help="the model that writes (a loaded one, else the largest)", metavar="NAME", default=""
            ),
            _option("--tools", help="JSON with the tools that conversations use", metavar="FILE", type=types.path),
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
        (_run, ArgumentSpec(("text",), "the note", {"nargs": "*", "metavar": "TEXT", "type": types.text})),
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
            ArgumentSpec(("text",), "the request", {"nargs": "*", "metavar": "TEXT", "type": types.text}),
            _option(
                "--jsonl", help="one request a line; - is standard input", metavar="FILE", type=types.file_or_stdin
            ),
            _router,
        ),
    ),
    CommandSpec(
        "ask",
        "decide, answer, record: one turn without a screen",
        "turns.ask",
        'tui-router ask "what is in this picture?" --image cat.png',
        (
            ArgumentSpec(("text",), "the request", {"nargs": "+", "metavar": "TEXT", "type": types.text}),
            _option(
                "--image", help="an image, more than once for several", metavar="PATH", action="append", type=types.path
            ),
            _option("--session", help="go on in this session", metavar="ID", default="", type=types.text),
            _option("--route", help="choose the route yourself", metavar="R", default="", type=types.text),
            _flag("--no-answer", help="stop after the decision; the turn is recorded"),
        ),
        dashboard_options=True,
    ),
    CommandSpec(
        "rate",
        "rate a turn: y right, n wrong, c comment, u undo",
        "turns.rate",
        "tui-router rate 42 n --route reasoning",
        (
            ArgumentSpec(("turn",), "the turn, as `turns` lists it", {"metavar": "TURN", "type": types.text}),
            ArgumentSpec(
                ("verdict",), "y, n, c or u", {"metavar": "y|n|c|u", "type": types.one_of("y", "n", "c", "u")}
            ),
            _option("--route", help="the right route", metavar="R", default="", type=types.text),
            _option("--comment", help="a comment", metavar="T", default="", type=types.text),
            _flag("--bad-answer", help="the route was right, the answer was bad"),
        ),
    ),
    CommandSpec(
        "turns",
        "list what was asked, newest first",
        "turns.turns",
        "tui-router turns --limit 5 --json",
        (_limit(20, "turns"), _flag("--logs", help="write the routing logs first and print their paths")),
    ),
    CommandSpec(
        "eval",
        "measure routers on labelled requests",
        "evaluate.evaluate",
        "tui-router eval labelled.jsonl --router rules --router learned",
        (
            ArgumentSpec(
                ("file",),
                "JSONL with text and route; - is standard input",
                {"metavar": "FILE", "type": types.file_or_stdin},
            ),
            _routers,
            _option(
                "--fit",
                help="train the learned router on this file first, in memory",
                metavar="FILE",
                type=types.file_or_stdin,
            ),
            _option(
                "--folds",
                help="train on the other folds of the file, N of them",
                metavar="N",
                default=0,
                type=types.count,
            ),
            _option(
                "--leave-out",
                help="train on all rows but those of one value of this field",
                metavar="FIELD",
                default="",
            ),
            _flag("--noise", help="also count decisions that change with typing errors"),
            _option("--wrong", help="show N wrong decisions (0)", metavar="N", default=0, type=types.count),
        ),
    ),
    CommandSpec(
        "replay",
        "decide stored turns again with other rules",
        "replay.replay",
        "tui-router replay --rules new-fleet.toml --days 7",
        (
            _router,
            _option("--rules", help="a fleet.toml with other rules", metavar="FILE", type=types.path),
            _DAYS,
            _option("--since", help="first day, as 2026-11-24", metavar="DAY", type=types.day),
            _option("--until", help="last day", metavar="DAY", type=types.day),
            _limit(20, "turns"),
        ),
    ),
    CommandSpec(
        "dataset",
        "make, check and import training data",
        "",
        "tui-router dataset check",
        commands=DATASET,
    ),
    CommandSpec(
        "train",
        "fine-tune a router of your own",
        "train.train",
        "tui-router train --recipe gemma-3-270m --detach",
        (
            _option(
                "--recipe",
                help="a shipped recipe or a TOML file (gemma-3-1b)",
                metavar="R",
                default="gemma-3-1b",
                type=types.recipe,
            ),
            _option(
                "--data",
                help="a dataset in the messages format (default: your own examples)",
                metavar="DIR",
                type=types.path,
            ),
            _source("train on this source, more than once for several"),
            _flag("--detach", help="return at once; the training goes on in the background"),
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
            _option(
                "--format",
                help="adapter, merged, gguf, gguf-lora, ollama, lmstudio or vllm",
                metavar="F",
                required=True,
            ),
            _option("--quant", help="f16, q8_0, q4_0, bf16 or f32 (f16)", metavar="Q", default="f16"),
            _option("--out", help="the folder to write (default: in the run)", metavar="DIR", type=types.path),
            _option("--base-gguf", help="the base model as GGUF, for a GGUF adapter", metavar="FILE", type=types.path),
        ),
    ),
    CommandSpec(
        "promote",
        "make a run the champion if it passes its gate",
        "train.promote",
        "tui-router promote last",
        (_run,),
    ),
    CommandSpec("rollback", "undo the last promotion", "train.rollback", "tui-router rollback"),
)

EXAMPLES = (
    "tui-router --demo",
    COMMANDS[0].example,
    COMMANDS[2].example,
)
