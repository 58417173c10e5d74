"""What `ask` says on standard error of an answer that has little or no text."""

import pytest

from tests.worlds import a_turn
from tui_router.cli.turns import _remarks
from tui_router.core.types import Answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(text="An answer."), ()),
        (Answer(reasoning="Let me see"), ("reasoning and no answer",)),
        (Answer(), ("the answer is empty",)),
        (Answer(text="cut", finish="length"), ("was cut off",)),
        (Answer(reasoning="Let me see", finish="length"), ("all went into the reasoning",)),
        (Answer(tool_calls=('{"name": "get_weather"}',)), ("get_weather",)),
        (Answer(error="no model server answers"), ("no model server answers",)),
    ],
)
def test_an_answer_without_text_says_why(answer, words):
    remarks = _remarks(a_turn("hello", answer=answer))
    assert len(remarks) == len(words) and all(word in remark for word, remark in zip(words, remarks, strict=True))
