"""The rules router: what it decides, why, and that its short cuts change nothing."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router import config
from tui_router.core.types import Message, Request
from tui_router.routers import patterns, shape
from tui_router.routers.patterns import PatternSet
from tui_router.routers.rules import RulesRouter

ROUTER = RulesRouter(config.parse("", None, {}).fleet)
COMPILED = [re.compile(t.pattern, patterns.FLAGS) for route in ROUTER.fleet.routes for t in route.triggers if t.pattern]


@pytest.mark.parametrize(
    ("text", "route", "model"),
    [
        ("goto amazon.com", "tool_use", "gpt-oss-20b"),
        ("write a python function", "code", "qwen3-coder-30b"),
        ("explain transformers", "reasoning", "ministral-14b-reasoning"),
        ("hello", "simple_chat", "gemma-3-1b"),
        ("@image what's this?", "vision", "qwen3-vl-8b"),
    ],
)
def test_the_five_requests_that_define_the_routes(text, route, model):
    decision = ROUTER.decide(Request(text=text))
    assert (decision.route, decision.model) == (route, model)
    assert decision.confidence >= 0.70


@pytest.mark.parametrize(
    ("text", "misleading"),
    [
        ("which class at school did you like best", "code"),
        ("python the snake: how long do they live", "code"),
        ("write a letter to my landlord about the broken heating", "code"),
        ("paint me a picture of the economy", "vision"),
        ("what is the function of the liver", "code"),
        ("debug my marriage", "code"),
    ],
)
def test_a_misleading_word_does_not_decide_alone(text, misleading):
    assert ROUTER.decide(Request(text=text)).route != misleading


def test_reasons_quote_the_words_and_say_what_they_mean():
    reasons = ROUTER.decide(Request(text="goto amazon.com")).reasons
    assert reasons[0].text == "‘goto amazon.com’: browser action"
    assert reasons[0].route == "tool_use" and reasons[0].weight > 0


def test_an_attached_image_goes_to_vision_whatever_the_words_say():
    assert ROUTER.decide(Request(text="write a python function", has_image=True)).route == "vision"


def test_a_follow_up_is_held_by_the_turn_before():
    history = (Message("user", "write a rust function that parses csv"), Message("assistant", "fn main() {}"))
    decision = ROUTER.decide(Request(text="now make it shorter", history=history))
    assert decision.route == "code"
    assert decision.reasons[0].text.startswith("held from the turn before: ‘write a rust function")


def test_a_new_subject_is_not_held():
    history = (Message("user", "write a rust function that parses csv"), Message("assistant", "fn main() {}"))
    assert ROUTER.decide(Request(text="set an alarm for 7 am tomorrow", history=history)).route == "tool_use"


def test_priority_moves_the_decision():
    tilted = config.parse("[routes.reasoning]\npriority = 50.0", None, {}).fleet
    text = Request(text="tell me something about numbers")
    assert RulesRouter(tilted).decide(text).probability("reasoning") > ROUTER.decide(text).probability("reasoning")


def test_the_version_changes_with_any_weight():
    changed = config.parse('[routes.code.triggers."operators"]\nweight = 1.6', None, {}).fleet
    assert RulesRouter(changed).version != ROUTER.version
    assert RulesRouter(config.parse("", None, {}).fleet).version == ROUTER.version


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_probabilities_always_sum_to_one(text):
    decision = ROUTER.decide(Request(text=text))
    assert sum(p for _, p in decision.ranking) == pytest.approx(1)
    assert len(decision.ranking) == 6 and decision.reasons
    json.dumps(decision.ranking)


_ALPHABET = st.sampled_from(
    [
        "a",
        "A",
        "the",
        "my",
        "go",
        "to",
        "goto",
        "set",
        "cancel",
        "class",
        "at",
        "school",
        "python",
        ".",
        ",",
        "(",
        ")",
        "{",
        "}",
        ";",
        "\n",
        "-",
        "7",
        "42",
        "%",
        "$5",
        "am",
        "pm",
        "play",
        "book",
        "a_b",
        "x=1",
        "f(x)",
        "==",
    ]
)


@given(st.lists(_ALPHABET, max_size=25), st.sampled_from([" ", "", "\n"]))
@settings(max_examples=300, deadline=None)
def test_the_short_cuts_find_what_a_plain_search_finds(parts, glue):
    text = glue.join(parts)
    quick = [(place, match.span()) for place, match in ROUTER.patterns.search(text)]
    plain = [(place, match.span()) for place, one in enumerate(COMPILED) if (match := one.search(text))]
    assert quick == plain


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(?:my|the)\s+cat", r"\W*foo", r"a|\bb", r"\b\d+x", r"(?:ab)*c", r"\bu\b", r"\A\s*(?:x )*go", r"\d\s*x|\bmy cat",
        r"(?:fo|gx)+t|\ba:b", r"\b(?:toy|1-1)", r"k|s1", r"ς", r"[ab]{2}\.(?:f|g)o", "", r"x*", r"\bmy(?!o)|(?<=a)-\d",
    ],
)  # fmt: skip
@given(st.text(alphabet="abcfotgxu my\n1\u017f\u212a\u0130\u0663\u03c3.:-kst", max_size=20))
@settings(max_examples=100, deadline=None)
def test_short_cuts_of_odd_patterns(pattern, text):
    assert bool(PatternSet([pattern]).search(text)) == bool(re.compile(pattern, patterns.FLAGS).search(text))


@given(
    st.lists(
        st.sampled_from(
            ["Error", "E", "at", " ", "\xa0", "\n", "\t", "(x)", "a.b(", "Value", ":", "panic: ", "error[E", "0"]
        ),
        max_size=8,
    )
)
@settings(max_examples=300, deadline=None)
def test_the_short_cut_to_a_stack_trace_finds_what_a_plain_search_finds(parts):
    text = "".join(parts)
    plain = shape._STACK.search(text)
    assert shape.SHAPES["stack_trace"](shape.Look(Request(text=text))) == (plain and plain[0].strip())


def test_a_long_text_is_looked_at_from_both_ends():
    long = "lorem ipsum dolor " * 5000
    decision = ROUTER.decide(
        Request(text=long + "\nTraceback (most recent call last):\nValueError: x\n```\ndef f(): pass\n```")
    )
    assert decision.route == "code"
    assert len(decision.classified) < 2000


def test_rankings_are_what_the_decisions_choose():
    past = (Message("user", "write a quicksort in python"), Message("assistant", "def ..."))
    requests = [Request(text=t, history=h) for t in ("hello", "now in Rust", "goto amazon.com") for h in ((), past)]
    assert list(ROUTER.rankings(requests)) == [made.ranking for made in ROUTER.decide_many(requests)]
