"""The event stream decoder: any way of cutting the bytes gives the same events."""

import random

import pytest

from tui_router.backends import sse
from tui_router.backends.sse import SSEDecoder

STREAM = (
    '\ufeffdata: {"a":"日🦊\u2028\x85z"}\r\n\r\n: ping\n\n\n\nevent: error\rdata:{"b":\rdata: 1}\r\rid: 7\n'
    "data: 2\n\n: c\n\ndata: [DONE]"
).encode()
EVENTS = [
    ("message", '{"a":"日🦊\u2028\x85z"}'),
    ("error", '{"b":\n1}'),
    ("message", "2"),
    ("message", "[DONE]"),
]


def run(parts):
    decoder, found = SSEDecoder(), []
    for part in parts:
        found += decoder.feed(part)
    last = decoder.close()
    return [tuple(e) for e in found + ([last] if last else [])]


def test_whole_and_byte_by_byte():
    assert run([STREAM]) == EVENTS
    assert run([STREAM[i : i + 1] for i in range(len(STREAM))]) == EVENTS


def test_random_cuts():
    dice = random.Random(1)
    for _ in range(1500):
        cuts = sorted(dice.sample(range(len(STREAM) + 1), dice.randrange(0, 12)))
        assert run([STREAM[a:b] for a, b in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]) == EVENTS


def test_an_endless_event_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "LONGEST_EVENT", 1000)
    with pytest.raises(ValueError, match="more than"):
        run([b"data: " + b"x" * 2000])
