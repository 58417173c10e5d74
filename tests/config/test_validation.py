"""A table read into a struct: every fault at once, with its line, what is expected, what was found."""

import math
import tomllib
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from tui_router.config.settings import Settings
from tui_router.config.toml_locations import locate
from tui_router.config.validation import SECRET, Checker, dotted, field_docs, read_fields, read_struct

Texts = tuple[Annotated[str, Meta(pattern=r"\S")], ...]


class Oven(Struct, frozen=True, kw_only=True):
    """A table with a field of each kind."""

    name: str
    heat: Annotated[int, Meta(ge=50, le=250)] = 180
    """Degrees,
    in Celsius."""
    fan: bool = True
    mode: Literal["bake", "grill"] = "bake"
    pause: Annotated[float, Meta(ge=0, le=1)] = 0.5
    dishes: Texts = ()
    pin: Annotated[str, SECRET] = ""


def read(text, **options):
    check = Checker("oven.toml", locate(text))
    return read_struct(tomllib.loads(text), (), Oven, check, name="mine", **options), list(map(str, check.problems))


def test_a_sound_table_is_read_and_the_rest_has_its_default():
    oven, faults = read('heat = 200\npause = 1\ndishes = ["pie"]\nmode = "grill"')
    assert oven == Oven(name="mine", heat=200, pause=1.0, dishes=("pie",), mode="grill") and not faults


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("heat = 251", "heat: expected a whole number from 50 to 250, found 251"),
        ("heat = 99.5", "heat: expected a whole number from 50 to 250, found 99.5"),
        ("heat = true", "heat: expected a whole number from 50 to 250, found true"),
        ('fan = "yes"', "fan: expected true or false, found 'yes'"),
        ("fan = 1", "fan: expected true or false, found 1"),
        ('mode = "fry"', "mode: expected one of 'bake', 'grill', found 'fry'"),
        ("mode = 7", "mode: expected one of 'bake', 'grill', found 7"),
        ("pause = nan", "pause: expected a number from 0 to 1, found nan"),
        ("pause = inf", "pause: expected a number from 0 to 1, found inf"),
        ("pause = true", "pause: expected a number from 0 to 1, found true"),
        ('dishes = "pie"', 'dishes: expected a list of texts such as ["a", "b"], found \'pie\''),
        ('dishes = ["pie", " "]', "dishes: expected a list of texts such as [\"a\", \"b\"], found ['pie', ' ']"),
        ("dishes = [1]", 'dishes: expected a list of texts such as ["a", "b"], found [1]'),
        ("pin = 48151623", "pin: expected a text in quotes, found a number"),
        ("fam = true", "fam: is not a setting; did you mean 'fan'?"),
        ('name = "x"', "name: is not a setting; known here: heat, fan, mode, pause, dishes, pin"),
    ],
)
def test_a_faulty_field_is_told_with_its_line_and_keeps_its_default(line, message):
    oven, faults = read(f"# mine\n\n{line}\n")
    assert faults == [f"oven.toml:3: {message}"]
    assert oven == Oven(name="mine")


def test_every_fault_is_reported_at_once():
    _, faults = read('heat = 1\nfan = "on"\nsoup = 1\npause = 2')
    assert sorted(fault.split(":")[1] for fault in faults) == ["1", "2", "3", "4"]


def test_a_huge_number_is_a_fault_and_is_cut_in_the_message():
    (fault,) = read(f"pause = {10**400}")[1]
    assert "expected a number from 0 to 1" in fault and len(fault) < 200


def test_defaults_may_be_given_and_keys_that_are_read_elsewhere_are_left_alone():
    oven, faults = read("remove = true\nheat = 1", also=("remove",), defaults={"heat": 99})
    assert oven.heat == 99 and len(faults) == 1


def test_fields_can_lie_in_several_tables():
    text = "[top]\nheat = 60\n[more]\npause = 0.25\nheat = 70"
    check, data = Checker("f", locate(text)), tomllib.loads(text)
    found = {
        **read_fields(data["top"], ("top",), Oven, check, ("heat",)),
        **read_fields(data["more"], ("more",), Oven, check, ("pause",)),
    }
    assert found == {"heat": 60, "pause": 0.25} and not check.problems


def test_the_manual_of_a_field_is_its_docstring():
    assert field_docs(Oven) == {"heat": "Degrees, in Celsius."}


def test_every_setting_has_a_manual():
    assert field_docs(Settings).keys() == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("key", "written"), [(("a", "b-c", "d_1"), "a.b-c.d_1"), (("models", "qwen2.5"), 'models."qwen2.5"')]
)
def test_a_key_is_written_as_toml_writes_it(key, written):
    assert dotted(key) == written


def test_not_a_number_never_passes_a_bound():
    assert not math.isnan(read("pause = nan")[0].pause)
