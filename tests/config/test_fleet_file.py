"""What people write into fleet.toml: any of it is a fleet, or a list of sentences that name the line."""

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui_router.config.fleet_file import RuleSettings
from tui_router.config.settings import (
    BackendSetting,
    Config,
    ConfigError,
    Settings,
    load_config,
    load_or_last_good,
    parse_config,
)
from tui_router.config.text_files import LONGEST
from tui_router.config.validation import Problem
from tui_router.core.fleet import Model, Route, Trigger


def parse(text):
    return parse_config(text, Path("my.toml"), {"KEY": " \tkey-7\r\n"})


def faults(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return list(map(str, caught.value.problems))


# bytes
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_any_editor_is_read(tmp_path, encoding, end):
    file = tmp_path / "mine.toml"
    file.write_bytes(f'# café{end}[settings]{end}system = "Grüße"{end}'.encode(encoding))
    assert load_config(file).settings.system == "Grüße"


def test_the_last_good_copy_of_such_a_file_is_read_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes('[settings]\nsystem = "Grüße"'.encode("utf-16"))
    assert load_or_last_good(file, tmp_path).settings.system == "Grüße"
    file.write_bytes(b"[settings")
    assert load_or_last_good(file, tmp_path).settings.system == "Grüße"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'a = 1\nb = "caf\xe9"\n', "line 2 is not UTF-8 (0xe9); save the file as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a", "is not UTF-16"),
        (b"\xff\xfe\x00\xd8", "is not UTF-16"),
        (b"a = 1\n\x00", "is not TOML"),
        (b"#" * (LONGEST + 1), "is larger than 8 MiB"),
    ],
)
def test_a_file_that_is_no_text_is_one_sentence(tmp_path, raw, message):
    file = tmp_path / "mine.toml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_a_path_that_is_no_file_is_one_sentence(path):
    with pytest.raises(ConfigError, match=r"is larger than|cannot be read: Is a directory"):
        load_config(Path(path))


# TOML
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "9" * 5000, "my.toml: cannot be read: "),
        ("x = " + "[" * 100_000, "my.toml: cannot be read: "),
        ("x = 2026-13-45", "my.toml:1: is not TOML: "),
        ("[models.phi4:14b]\ncontext = 1", 'my.toml:1: is not TOML: .*needs quotes: [models."phi4:14b"]'),
        ("\n[backends.my/box]", 'my.toml:2: is not TOML: .*needs quotes: [backends."my/box"]'),
        (
            "[models.phi-3.5-mini]\ncontext = 1",
            'models.phi-3.5-mini: .*a name with a dot needs quotes: [models."phi-3.5-mini"]',
        ),
        ("[models.v1.2.3]\ncontext = 1", 'my.toml:1: models.v1.2: .*needs quotes: [models."v1.2.3"]'),
        ('[routes.a.b]\nmodel = "gemma-3-1b"', 'needs quotes: [routes."a.b"]'),
        ("[routes.code.trigers.x]\nweight = 1", "did you mean 'triggers'?"),
    ],
)
def test_what_is_no_toml_or_lacks_quotes_is_told(text, message):
    import re

    pattern = ".*".join(map(re.escape, message.split(".*")))
    assert any(re.search(pattern, fault) for fault in faults(text)), faults(text)


# characters
@pytest.mark.parametrize("escape", [r"\b", r"\f", r"\u0000", r"\u001b", r"\u007f", r"\u009b"])
def test_a_control_character_in_a_pattern_is_a_fault_that_names_the_remedy(escape):
    (fault,) = faults(f'[routes.code.triggers.mine]\nweight = 1\npattern = "x{escape}y"')
    assert fault.startswith("my.toml:3: routes.code.triggers.mine.pattern: holds the control character U+00")
    assert fault.endswith("write the pattern in single quotes")


def test_a_pattern_in_single_quotes_and_one_with_a_tab_are_read():
    parse("[routes.code.triggers.mine]\nweight = 1\npattern = '\\bcode\\b'")
    parse('[routes.code.triggers.mine]\nweight = 1\npattern = "a\\tb\\nc"')


@pytest.mark.parametrize("kind", ["models", "routes", "backends", "tools"])
@pytest.mark.parametrize(
    ("name", "why"), [("a\\u0007b", "U+0007"), ("a\\u202eb", "U+202E"), ("a\\u200bb", "U+200B"), ("", "empty")]
)
def test_a_name_that_cannot_be_shown_is_a_fault(kind, name, why):
    text = f'[{kind}."{name}"]\n' + {"routes": 'model = "gemma-3-1b"', "models": "context = 1"}.get(
        kind, 'url = "http://h:1"'
    )
    assert any(fault.startswith(f"my.toml:1: {kind}.") and why in fault for fault in faults(text))
    assert all(character.isprintable() for fault in faults(text) for character in fault)


# keys of servers
def test_white_space_around_a_key_is_dropped():
    (*_, first, second) = parse(
        '[backends.a]\nurl = "http://a:1"\napi_key_env = "KEY"\n[backends.b]\nurl = "http://b:1"\napi_key = " key-8\\n"'
    ).backends
    assert (first.api_key, second.api_key) == ("key-7", "key-8")


def test_a_key_of_the_wrong_kind_is_not_shown():
    (fault,) = faults('[backends.a]\nurl = "http://a:1"\napi_key = 48151623')
    assert fault == "my.toml:3: backends.a.api_key: expected a text in quotes, found a number"


def test_a_variable_that_is_not_set_names_the_server_and_the_variable():
    (fault,) = faults('[backends.a]\nurl = "http://a:1"\napi_key_env = "NO_SUCH_KEY"')
    assert fault.startswith("my.toml:3: backends.a.api_key_env: ") and "'NO_SUCH_KEY', which is not set" in fault


def test_the_server_of_a_model_is_written_as_the_server_is():
    config = parse(
        '[backends.a]\nurl = "http://u:p@localhost:1/v1"\n[models.gemma-3-1b]\nbackend = "http://localhost:1/v1"'
    )
    assert config.fleet.models["gemma-3-1b"].backend == "http://127.0.0.1:1"


# anything
SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["code", "gemma-3-1b", "http://h:1"]),
)
KEYS = {
    name
    for kind in (Settings, BackendSetting, Model, Route, Trigger, RuleSettings)
    for name in (
        *kind.__struct_fields__,
        "settings",
        "rules",
        "models",
        "routes",
        "backends",
        "tools",
        "code",
        "remove",
        "negatives",
    )
}
NAMES = st.one_of(st.text(max_size=6), st.sampled_from(sorted(KEYS)))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_tables_are_a_configuration_or_a_list_of_faults(data):
    import tomlkit

    try:
        text = tomlkit.dumps(data)
    except Exception:  # surrogates and the like, which TOML cannot hold
        return
    _read(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("[]{}=.,\"'#\\ \n\tabcmodelsroutesurl019\u0000\u202e"), max_size=80))
def test_any_text_is_a_configuration_or_a_list_of_faults(text):
    _read(text)


def _read(text):
    try:
        assert isinstance(parse_config(text, None, {}), Config)
    except ConfigError as error:
        assert error.problems and all(isinstance(problem, Problem) for problem in error.problems)
        assert all(problem.message and "\n" not in problem.message for problem in error.problems)
