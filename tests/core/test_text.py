"""The cleaning boundary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_router.core.text import StreamCleaner, clean, one_line

HOSTILE = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[3J\x1b[H",
    "\x9b2J\x9d52;c;x\x9c",
    "\x1bP1$r\x1b\\",
    "\x1b(0\x1bc\x1b7",
    "\u202eevil\u202c\u2066x\u2069",
    "a\x00b\x07c\x08d\x7f",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text):
    safe = clean("before " + text + " after")
    assert safe.startswith("before ") and safe.endswith(" after")
    assert all(c.isprintable() or c in "\n\t\ufffd" for c in safe)
    assert ("52;c" not in safe and "evil" not in safe) or "\u202e" in text


def test_ordinary_text_stays():
    for text in (
        "plain",
        "日本語 🦊 ñ",
        "tab\there\nline",
        "[@click=app.quit] [/INST] a[0] = b[1]",
        "“quotes” … −",
    ):
        assert clean(text) == text
    assert clean("a\r\nb\rc") == "a\nb\nc"


@given(
    st.lists(
        st.sampled_from(["\x1b", "]", "[", "52;c;", "AAAA", "\x07", "2J", "\\", "x", "é", "\r", "\n", "\x9b", "m"]),
        max_size=30,
    )
)
def test_a_stream_in_pieces_is_as_clean_as_the_whole(pieces):
    cleaner = StreamCleaner()
    safe = "".join(cleaner.feed(p) for p in pieces) + cleaner.close()
    assert all(c.isprintable() or c in "\n\t\ufffd" for c in safe)


def test_a_sequence_cut_by_the_stream_leaves_no_litter():
    cleaner = StreamCleaner()
    assert (
        "".join(cleaner.feed(c) for c in "say \x1b]52;c;ZXZpbA==\x07 hi\x1b[3") + cleaner.close() == "say  hi\ufffd[3"
    )


def test_one_line():
    assert one_line("a\n  b\x1b[31m c") == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
