"""What is said of a base that cannot be loaded."""

import pytest

from train.base import explain_load_error


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (
            "google/gemma-3-1b-it",
            "401 Client Error. Access to this model is restricted",
            ("licence", "unsloth/gemma-3-1b-it"),
        ),
        ("some/gated", "You are trying to access a gated repo.", ("licence", "hf auth login")),
        ("some/model", "We couldn't connect to the hub", ("cannot be downloaded", "folder")),
        ("some/model", "something else entirely", ("cannot be loaded", "something else")),
    ],
)
def test_each_reason_has_its_sentence(name, error, said):
    text = explain_load_error(name, OSError(error))
    assert name in text and "\n" not in text and all(part in text for part in said)
