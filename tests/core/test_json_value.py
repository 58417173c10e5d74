"""JSON of others: any document is read without an exception, and a field has its type or is absent."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router.core.json_value import JsonValue, decode_json, object_in_prose

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING)
@settings(deadline=None)
def test_any_value_reads_as_its_type_or_as_nothing(raw):
    value = JsonValue(raw)
    assert isinstance(value.text(), str) and isinstance(value.items(), list)
    assert value.count() is None or value.count() >= 0
    assert value["a"]["b"][3]["c"].text("none") == "none" or value.is_object or value.is_list
    value.text().encode()
    value.dump().encode()
    assert all(one.is_object for one in value.objects())


@given(st.text() | st.binary())
@settings(deadline=None)
def test_any_bytes_are_json_or_nothing(raw):
    found = decode_json(raw)
    assert found is None or isinstance(found, JsonValue)
    if isinstance(raw, str):
        assert object_in_prose(raw) is None or isinstance(object_in_prose(raw), dict)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "", "nope", "\x00"])
def test_what_is_not_json_is_nothing(text):
    assert decode_json(text) is None and object_in_prose(text) is None


def test_numbers_that_are_none():
    read = decode_json('{"nan": NaN, "far": 1e999, "long": ' + "9" * 5000 + ', "minus": -1, "half": 0.5, "five": 5.0}')
    assert [read[name].count() for name in ("nan", "far", "long", "minus", "half", "five")] == [None] * 5 + [5]
    assert read["half"].number() == 0.5 and read["far"].number() is None and read["long"].number() is None


def test_a_boolean_is_no_number_and_a_number_no_flag():
    assert JsonValue(True).count() is None and JsonValue(1).flag() is None and JsonValue(False).flag() is False


def test_half_a_character_can_be_sent_on():
    assert decode_json('"a\\ud83eb"').text() == "a\ufffdb"
    assert decode_json('"\\ud83e\\udd8a"').text() == "🦊"


def test_a_mark_at_the_beginning_is_no_part_of_the_document():
    assert decode_json(b'\xef\xbb\xbf{"a": 1}')["a"].count() == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"tag": "all_good"}',
        'Here you are:\n```json\n{"tag": "all_good"}\n```\nThat is {all}.',
        'A set is written {1, 2}. The answer is {"tag": "all_good"}, I think.',
    ],
)
def test_an_object_is_found_in_what_a_model_wrote(text):
    assert object_in_prose(text) == {"tag": "all_good"}


def test_looking_for_an_object_takes_no_longer_than_some_passes_over_the_text():
    assert object_in_prose("{" * 200_000) is None
    assert object_in_prose('{"a": ' * 200_000) is None


def test_what_was_read_can_be_written_again():
    assert json.loads(decode_json('{"a": [1, "ä"]}').dump()) == {"a": [1, "ä"]}
