"""The person's own file: what it changes, and what it says when it is wrong."""

from pathlib import Path

import pytest

from tui_router.config.settings import Config, ConfigError, load_config, load_or_last_good, parse_config
from tui_router.config.toml_locations import find, locate


def parse(text: str) -> Config:
    return parse_config(text, Path("my.toml"), {"KEY": "secret"})


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(p) for p in caught.value.problems]


def test_the_shipped_fleet_has_six_models_and_six_routes_in_order():
    fleet = parse("").fleet
    assert [r.name for r in fleet.routes] == [
        "tool_use",
        "code",
        "reasoning",
        "vision",
        "general_chat",
        "simple_chat",
    ]
    assert len(fleet.models) == 6
    assert fleet.chain("tool_use") == ("gpt-oss-20b", "qwen3-coder-30b", "ministral-14b-reasoning")
    assert fleet.chain("vision") == ("qwen3-vl-8b",)


def test_an_overlay_changes_adds_and_removes():
    fleet = parse(
        """
        [models.devstral-24b]
        context = 65536
        [models.gemma-3-1b]
        aliases = ["mine"]
        [routes.code]
        model = "devstral-24b"
        [routes.code.triggers."language or tool"]
        weight = 1.0
        [routes.code.triggers."operators"]
        remove = true
        [routes.legal]
        description = "contracts"
        model = "gemma-3n-e4b"
        [routes.legal.triggers.words]
        words = ["contract", "clause"]
        weight = 9.0
        [routes.vision]
        remove = true
        """
    ).fleet
    code = fleet.route("code")
    assert code.model == "devstral-24b"
    weights = {t.name: t.weight for t in code.triggers}
    assert weights["language or tool"] == 1.0
    assert "operators" not in weights
    assert fleet.routes[-1].name == "legal" and "vision" not in fleet.by_route
    assert fleet.models["gemma-3-1b"].aliases == ("mine",)
    assert fleet.models["gemma-3-1b"].context == 8192


def test_a_route_can_be_renamed_and_keeps_its_evidence():
    shipped, fleet = parse("").fleet, parse("[routes.programming]\nwas = 'code'").fleet
    assert "code" not in fleet.by_route
    assert fleet.route("programming").triggers == shipped.route("code").triggers


def test_every_fault_is_reported_with_its_line():
    said = faults(
        '[settings]\nconfidence_threshold = 7\nthemes = "x"\n\n[routes.code]\nmodel = "nope"\npriority = "high"\n'
        '[routes.code.triggers.mine]\npattern = "("\nweight = 1\n'
    )
    assert [s.split(": ")[0] for s in said] == [
        "my.toml:7",
        "my.toml:9",
        "my.toml:6",
        "my.toml:2",
        "my.toml:3",
    ] or len(said) == 5
    text = "\n".join(said)
    assert "my.toml:2: settings.confidence_threshold: expected a number from 0 to 1, found 7" in text
    assert "did you mean 'theme'?" in text
    assert "my.toml:6: routes.code.model: expected a model of the fleet" in text
    assert "my.toml:7: routes.code.priority: expected a number from 0.001 to 1000, found 'high'" in text
    assert "my.toml:9: routes.code.triggers.mine.pattern: expected a regular expression" in text


def test_bad_toml_names_the_line():
    assert faults("a = 1\nb = = 2")[0].startswith("my.toml:2: is not TOML: ")


def test_a_pattern_that_can_run_for_ever_is_refused():
    (fault,) = faults('[routes.code.triggers.mine]\npattern = "(a+)+$"\nweight = 1')
    assert "unbounded repeat inside another" in fault


def test_a_vision_route_needs_a_model_that_sees():
    (fault,) = faults('[routes.vision]\nmodel = "gemma-3-1b"')
    assert "vision = false" in fault


def test_backends_keys_come_from_the_environment_and_are_never_shown():
    found = parse('[backends."LM Studio"]\nurl = "http://localhost:1234/v1"\napi_key_env = "KEY"').backends
    assert found[0].url == "http://127.0.0.1:1234"
    assert found[0].api_key == "secret" and "secret" not in repr(found)
    (fault,) = faults('[backends.x]\nurl = "http://h"\napi_key_env = "OTHER"')
    assert "'OTHER', which is not set" in fault


def test_a_wrong_file_falls_back_to_the_last_good_one(tmp_path):
    mine, state = tmp_path / "fleet.toml", tmp_path / "state"
    mine.write_text("[settings]\nconfidence_threshold = 0.5")
    assert load_or_last_good(mine, state).settings.confidence_threshold == 0.5
    mine.write_text("[settings]\nconfidence_threshold = 5")
    again = load_or_last_good(mine, state)
    assert again.stale and again.settings.confidence_threshold == 0.5
    assert (state / "last-good-fleet.toml").stat().st_mode & 0o777 == 0o600
    (state / "last-good-fleet.toml").unlink()
    assert load_or_last_good(mine, state).settings.confidence_threshold == 0.70


def test_a_named_file_that_is_not_there_is_a_fault():
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(Path("/nowhere/fleet.toml"))


def test_lines_are_found_through_multi_line_values():
    lines = locate('[a]\nx = """\n[not.a.header]\n"""\ny = [\n 1,\n]\n[[b]]\nz = 1\n[[b]]\n"q.r" = 2\n')
    assert lines[("a", "x")] == 2 and lines[("a", "y")] == 5
    assert lines[("b", "0", "z")] == 9 and lines[("b", "1", "q.r")] == 11
    assert find(lines, ("a", "missing")) == 1 and find(lines, ("c",)) is None


@pytest.mark.parametrize(
    "text",
    [
        '[backends]\napi_key = "SEKRIT"',
        '[[backends]]\napi_key = "SEKRIT"',
        '[[backends.x]]\napi_key = "SEKRIT"',
        '[backends.x]\nurl = "http://h"\napi_key_env = "sk-SEKRIT"',
        '[backends.x]\nurl = "http://h?key=SEKRIT"',
        '[backends.x]\nurl = "http://h"\napi_key = ["SEKRIT"]',
    ],
)
def test_a_key_in_a_wrong_place_is_a_fault_that_does_not_show_it(text):
    with pytest.raises(ConfigError) as raised:
        parse_config(text, None, {})
    assert "SEKRIT" not in str(raised.value)
