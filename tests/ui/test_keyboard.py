"""The contract of the keys: design table and the half second, without a screen."""

import pytest

from tui_router.ui.screens.chat.keyboard import (
    AnswerAsk,
    Close,
    Command,
    Commit,
    Insert,
    KeyboardState,
    Open,
    OverlayKey,
    PreviewMark,
)


@pytest.fixture
def desk():
    made = KeyboardState()
    made.routed("7", asking=False)
    return made


def type_in(desk, text, start=0.0, gap=0.05, empty=True):
    """Type characters; returns what reaches the prompt and the actions that are not insertions."""
    shown, actions, now = "", [], start
    for character in text:
        done = desk.press(character, character, now, empty and not shown)
        if done is None:
            shown += character
        for action in done or []:
            if isinstance(action, Insert):
                shown += action.text
            else:
                actions.append(action)
        actions += desk.tick(now)
        now += gap
    return shown, actions


def test_y_is_written_only_after_half_a_second(desk):
    assert desk.press("y", "y", 10.0, True) == [PreviewMark("7", "y"), Command("wait")]
    assert desk.tick(10.4) == []
    assert desk.tick(10.5) == [Commit("7", "right")]
    assert desk.tick(11.0) == []


@pytest.mark.parametrize(
    "text",
    [
        "yes, but make it shorter",
        "no, the other one",
        "can you also add tests",
        "useless",
        "yy",
        "nn",
        "cc",
        "y ",
    ],
)
def test_typing_never_becomes_a_label_and_loses_no_character(desk, text):
    desk.rated = True
    shown, actions = type_in(desk, text)
    assert shown == text
    assert not any(isinstance(a, Commit) for a in actions)
    assert desk.mode == "writing" and not desk.overlay and desk.tick(99) == []


def test_a_slow_second_key_comes_after_the_verdict(desk):
    desk.press("y", "y", 1.0, True)
    assert desk.press("x", "x", 1.6, True) == [Commit("7", "right"), Command("refresh"), Insert("x")]


def test_n_opens_the_picker_at_once_and_digits_choose_at_once(desk):
    assert desk.press("n", "n", 1.0, True) == [Open("picker", "7")]
    assert desk.press("3", "3", 1.1, True) == [OverlayKey("3")]


def test_in_the_picker_letters_filter_after_half_a_second(desk):
    desk.press("n", "n", 1.0, True)
    assert desk.press("r", "r", 1.7, True) == [OverlayKey("r")]
    assert desk.press("escape", None, 1.8, True) == [Close()]
    assert desk.mode == "rating"


def test_a_digit_after_c_is_typing_but_after_half_a_second_a_choice(desk):
    assert desk.press("c", "c", 1.0, True) == [Open("chooser", "7")]
    assert desk.press("3", "3", 1.1, True) == [Close(), Insert("c3")]
    desk.routed("8", asking=False)
    desk.press("c", "c", 5.0, True)
    assert desk.press("3", "3", 5.6, True) == [OverlayKey("3")]


def test_enter_goes_on_without_a_verdict(desk):
    assert desk.press("enter", "\r", 1.0, True) == [Command("next")]
    assert desk.press("y", "y", 2.0, True) is None


def test_enter_confirms_a_mark_and_escape_takes_it_back(desk):
    desk.press("y", "y", 1.0, True)
    assert desk.press("enter", "\r", 1.1, True) == [Commit("7", "right"), Command("next")]
    desk.routed("8", asking=False)
    desk.press("y", "y", 2.0, True)
    assert desk.press("escape", None, 2.1, True) == [PreviewMark("8", "")]
    assert desk.tick(9.0) == []


def test_u_needs_a_verdict_to_take_back(desk):
    assert desk.press("u", "u", 1.0, True) == [Command("refresh"), Insert("u")]
    desk.routed("8", asking=False)
    desk.rated = True
    assert desk.press("u", "u", 2.0, True) == [PreviewMark("8", "u"), Command("wait")]
    assert desk.tick(2.6) == [Commit("8", "undo")]


def test_an_ask_takes_enter_a_digit_or_escape(desk):
    desk.routed("9", asking=True)
    assert desk.press("3", "3", 1.0, True) == [AnswerAsk("9", 3)]
    assert desk.press("enter", "\r", 1.0, True) == [AnswerAsk("9", 0)]
    assert desk.press("escape", None, 1.0, True) == [AnswerAsk("9", -1)]
    shown, actions = type_in(desk, "yes and no")
    assert shown == "yes and no" and not any(isinstance(a, Commit) for a in actions)


def test_escape_browses_and_a_second_one_stops(desk):
    assert desk.press("escape", None, 1.0, True) == [Command("browse")]
    assert desk.press("escape", None, 1.1, True) == [Command("stop")]
    assert desk.press("j", "j", 1.2, True) == [Command("select", "next")]
    desk.selected("3", rated=True)
    assert desk.press("y", "y", 1.3, True) == [Commit("3", "right")]
    assert desk.press("u", "u", 1.3, True) == [Commit("3", "undo")]
    assert desk.press("n", "n", 1.4, True) == [Open("picker", "3")]
    assert desk.press("r", "r", 1.45, True) == [OverlayKey("r")], "in browse a letter after n filters at once"


def test_nothing_is_rated_while_the_prompt_has_text(desk):
    assert desk.press("y", "y", 1.0, False) is None
    assert desk.mode == "writing"


def test_alt_rates_the_newest_from_anywhere(desk):
    desk.mode = "writing"
    assert desk.rate_newest("y", "7") == [Commit("7", "right")]
    assert desk.rate_newest("n", "7") == [Open("picker", "7")]


def test_without_feedback_no_key_rates():
    desk = KeyboardState(feedback=False)
    desk.routed("7", asking=False)
    assert desk.press("y", "y", 1.0, True) is None
    assert desk.rate_newest("y", "7") == []
    desk.press("escape", None, 1.0, True)
    desk.selected("7", rated=False)
    assert desk.press("y", "y", 1.0, True) == [] and desk.press("n", "n", 1.0, True) == []
    desk.mode = "writing"
    desk.routed("8", asking=True)
    assert desk.press("2", "2", 1.0, True) == [AnswerAsk("8", 2)], "an ask is still answered"


def test_a_stray_letter_does_not_end_the_question_or_the_rating():
    state = KeyboardState()
    state.routed("1-abc", asking=True)
    assert state.press("x", "x", 0.0, True)[-1].text == "x" and state.mode == "writing"
    assert state.press("backspace", None, 0.1, False) is None
    assert state.press("enter", None, 0.2, True)[0] == AnswerAsk("1-abc", 0)
    state.answered_ask()
    state.routed("2-abc", asking=False)
    state.press("x", "x", 1.0, True)
    state.press("backspace", None, 1.1, False)
    state.press("y", "y", 2.0, True)
    assert state.tick(3.0) == [Commit("2-abc", "right")]
