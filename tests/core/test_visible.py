"""Names are shown so that none can look like another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_router.core.visible import visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("qwen/qwen3-coder-30b", "qwen/qwen3-coder-30b"),
        ("gem\u200bma", "gem<U+200B>ma"),
        ("gemma\U000e0062", "gemma<U+E0062>"),
        ("a\u00adb\ufeff", "a<U+00AD>b<U+FEFF>"),
        ("a\x1b[31mb\u202ec", "ab�c"),
        ("two\nlines", "two lines"),
        ("Мodel-大", "Мodel-大"),
        ("model ❤️", "model ❤️"),
    ],
)
def test_hidden_characters_become_marks(name, shown):
    assert visible(name) == shown


@given(st.text(max_size=60))
def test_the_shown_name_is_clean_and_stays_as_it_is(name):
    shown = visible(name)
    assert visible(shown) == shown and "\n" not in shown and "\x1b" not in shown
