"""How a command line is read: help of every command, options where they belong, paths, texts, numbers."""

from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router.cli import main
from tui_router.cli.commands import COMMANDS, GLOBAL, REPORTS, TURN_OPTIONS
from tui_router.cli.parser import all_commands, arguments_of, parse
from tui_router.cli.shared import UsageError
from tui_router.datasets.formats import FORMATS, TARGETS
from tui_router.training.export.forms import FORMS, QUANTS

NAMES = {name.removeprefix("tui-router "): command for name, command in all_commands()}
LEAVES = [name for name, command in NAMES.items() if command.work]
NEEDED = {"ask": ["hi"], "rate": ["1", "y"], "eval": ["f"], "dataset import": ["f"], "dataset export": ["--out", "d"]}
"""Arguments that a command cannot do without."""


def sound(name):
    """A command line of this command that is right."""
    runs = name.startswith("runs ") or name in ("export", "promote")
    return [
        *name.split(),
        *NEEDED.get(name, ["last"] if runs else []),
        *(["--format", "f"] if name == "export" else []),
    ]


def refused(*argv):
    with pytest.raises(UsageError) as caught:
        parse(list(map(str, argv)))
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_help_of_its_own_with_an_example(name, capsys):
    assert main.run([*name.split(), "--help"]) == 0
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"usage: tui-router {name} ") and max(map(len, help_text.splitlines())) <= 80
    assert f"example:\n  {NAMES[name].example}" in help_text
    for argument in (*arguments_of(NAMES[name]), *GLOBAL):
        assert argument.settings.get("metavar", argument.names[0]) in help_text


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_command_can_be_typed(name):
    import shlex

    command, args = parse(shlex.split(NAMES[name].example)[1:])
    assert command is not None and command.work and args.json in (True, False)


def test_the_help_of_the_program_names_every_command(capsys):
    assert main.run(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert len(help_text.splitlines()) <= 40 and max(map(len, help_text.splitlines())) <= 80
    for command in COMMANDS:
        assert f"\n    {command.name} " in help_text
    for argument in (*GLOBAL, *REPORTS, *TURN_OPTIONS):
        assert argument.names[0] in help_text


@pytest.mark.parametrize("argv", [["--version"], ["turns", "--version"]])
def test_the_version_can_be_asked_anywhere(argv, capsys):
    assert main.run(argv) == 0 and capsys.readouterr().out.startswith("tui-router 0.")


@pytest.mark.parametrize("name", LEAVES)
def test_the_work_of_every_command_exists(name):
    module, _, function = NAMES[name].work.partition(".")
    assert callable(getattr(import_module(f"tui_router.cli.{module}"), function))


@pytest.mark.parametrize("name", LEAVES)
def test_global_options_stand_before_or_after_a_command(name, tmp_path):
    given = ["--data-dir", str(tmp_path), "--demo", "--json"]
    for argv in ([*given, *sound(name)], [*sound(name), *given]):
        command, args = parse(argv)
        assert command is NAMES[name] and args.data_dir == tmp_path and args.demo and args.json and args.config is None


ALL = {
    argument.names[0]: argument
    for name in LEAVES
    for argument in arguments_of(NAMES[name])
    if argument.names[0][0] == "-"
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_refuses_options_that_are_not_its_own(name):
    own = {option for argument in arguments_of(NAMES[name]) for option in argument.names}
    foreign = [option for option in ALL if option not in own]
    assert foreign
    for option in foreign:
        value = [] if "action" in ALL[option].settings and "metavar" not in ALL[option].settings else ["1"]
        message = refused(*sound(name), option, *value)
        assert option in message and len(message.splitlines()) == 1


@pytest.mark.parametrize("option", [["--no-feedback"], ["--confidence-threshold", "0.5"], ["--observer-active"]])
def test_options_of_a_turn_stand_on_both_sides_of_ask_and_of_no_other_command(option):
    field = option[0].lstrip("-").replace("-", "_")
    for argv in ([*option, "ask", "hi"], ["ask", "hi", *option]):
        assert getattr(parse(argv)[1], field) in (True, 0.5)
    message = refused(*option, "route", "hi")
    assert message == f"{option[0]} does not go with tui-router route, but with the dashboard, tui-router ask"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rout"], "there is no command 'rout'; did you mean 'route'?"),
        (["zzz"], "there is no command 'zzz'; known: route, ask, rate"),
        (["z'z"], 'there is no command "z\'z"; known: route, ask, rate'),
        (["runs", "shw", "1"], "there is no command 'shw'; did you mean 'show'?"),
        (["dataset"], "tui-router dataset needs a command: export, check, import, generate"),
        (["dataset", "export"], "tui-router dataset export needs --out DIR"),
        (["rate", "1"], "tui-router rate needs y|n|c|u"),
        (["rate", "1", "maybe"], "y|n|c|u: there is no 'maybe'; known: y, n, c, u"),
        (["--demos"], "there is no option '--demos'; did you mean '--demo'?"),
        (["turns", "--limt", "3"], "there is no option '--limt'; did you mean '--limit'?"),
        (["turns", "--zzzzz"], "there is no option '--zzzzz'; tui-router turns --help lists them"),
        (["turns", "--quant", "f16"], "--quant does not go with tui-router turns, but with tui-router export"),
        (["ask", "hello", "--json", "world"], "unexpected 'world'; put a text of several words in quotes"),
        (["turns", "--limit", "-3"], "--limit: expected 0 to 1000000000, found -3"),
        (["turns", "--limit", "many"], "--limit: expected 0 to 1000000000, found many"),
        (["turns", "--limit"], "--limit: expected one argument"),
        (["rate", "--", "1", "y", "--json"], "--json stands after --, where every word is a text"),
        (["--confidence-threshold", "nan"], "--confidence-threshold: expected a number from 0 to 1, found 'nan'"),
        (["--analyze", "--days", "0"], "--days: expected 1 to 3660, found 0"),
        (["--analyze", "--days", "99999999"], "--days: expected 1 to 3660, found 99999999"),
        (["replay", "--days", "99999999"], "--days: expected 1 to 3660, found 99999999"),
        (["replay", "--since", "yesterday"], "--since: expected a day such as 2026-11-24, found 'yesterday'"),
        (["train", "--source", "gossip"], "--source: there is no 'gossip'; known: verdict, seed, generated, imported"),
    ],
)
def test_what_is_wrong_is_one_sentence(argv, message):
    assert message in refused(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--json"], "--json goes with --health, --analyze or a command"),
        (["--days", "3"], "--days goes with --analyze and replay"),
        (["--health", "--days", "3"], "--days goes with --analyze and replay, not with --health"),
        (["--health", "--analyze"], "--health and --analyze are mutually exclusive"),
        (["--health", "--no-health-check"], "--no-health-check does not go with --health"),
        (["--analyze", "--confidence-threshold", "0.5"], "--confidence-threshold does not go with --analyze"),
        (["--health", "turns"], "--health does not go with tui-router turns, but with the dashboard"),
        (
            ["--observer-active", "--observer-passive"],
            "--observer-active and --observer-passive are mutually exclusive",
        ),
        (["ask", "x", "--observer-active", "--observer-passive"], "are mutually exclusive"),
        (["replay", "--days", "1", "--since", "2026-01-01"], "--days is mutually exclusive with --since and --until"),
    ],
)
def test_options_that_contradict_each_other_are_refused(argv, message, capsys, tmp_path):
    from tui_router.store.store import Store

    Store(tmp_path).close()
    assert main.run([*argv, "--data-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


PATHS = {
    "--data-dir": ["turns"],
    "--config": ["turns"],
    "--rules": ["replay"],
    "--tools": ["dataset", "generate"],
    "--out": ["dataset", "export"],
    "--data": ["train"],
    "--base-gguf": ["export", "last", "--format", "gguf"],
}


@pytest.mark.parametrize("option", PATHS)
def test_a_path_is_absolute_whatever_was_typed(option, tmp_path, monkeypatch, own_home):
    monkeypatch.chdir(tmp_path)
    field = option.lstrip("-").replace("-", "_")
    for typed, meant in [("a/b", tmp_path / "a/b"), ("~/c", own_home / "c"), ("/d", Path("/d"))]:
        assert getattr(parse([*PATHS[option], option, typed])[1], field) == meant
    message = refused(*PATHS[option], option, "~nosuchuser/x")
    assert message == f"{option}: ~nosuchuser/x: there is no home folder for '~nosuchuser'"
    assert "expected a path, found an empty text" in refused(*PATHS[option], option, "")


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["route", "--jsonl"], "jsonl"),
        (["eval"], "file"),
        (["eval", "x", "--fit"], "fit"),
        (["train", "--recipe"], "recipe"),
        (["dataset", "import"], "files"),
        (["ask", "hi", "--image"], "image"),
    ],
)
def test_files_are_absolute_too(argv, field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = getattr(parse([*argv, "mine.toml"])[1], field)
    assert str(value[0] if isinstance(value, list) else value) == str(tmp_path / "mine.toml")
    assert "no home folder" in refused(*argv, "~nosuchuser/mine.toml")


def test_standard_input_and_shipped_recipes_are_no_paths():
    assert parse(["route", "--jsonl", "-"])[1].jsonl == "-"
    assert parse(["train", "--recipe", "gemma-3-270m"])[1].recipe == "gemma-3-270m"


def test_bytes_of_an_argument_that_are_not_utf8_become_replacement_characters():
    assert parse(["ask", "caf\udce9"])[1].text == ["caf�"]


def test_the_help_names_every_format():
    dataset = {argument.names[0]: argument.help for argument in NAMES["dataset export"].arguments}
    run = {argument.names[0]: argument.help for argument in NAMES["export"].arguments}
    for help_text, known in [
        (dataset["--format"], FORMATS),
        (dataset["--target"], TARGETS),
        (run["--format"], FORMS),
        (run["--quant"], QUANTS),
    ]:
        assert all(name in help_text for name in known)


OPTIONS = sorted({option for argument in (*GLOBAL, *REPORTS, *ALL.values()) for option in argument.names})
WORDS = st.one_of(
    st.sampled_from([*OPTIONS, *(command.name for command in NAMES.values()), "last", "3", "--", "-h"]),
    st.text(max_size=6),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=5))
def test_any_words_are_a_command_line_or_one_sentence(words):
    try:
        command, args = parse(words)
    except SystemExit as end:
        assert not end.code
    except UsageError as error:
        assert str(error)
    else:
        assert args.json in (True, False) and (command is None or command.work)
