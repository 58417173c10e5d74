"""The rules router: what it decides, why, and that its short cuts change nothing."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router.config.settings import parse_config
from tui_router.core.types import Message, Request
from tui_router.routing.rules import text_features
from tui_router.routing.rules.pattern_set import PatternSet
from tui_router.routing.rules.regex_analysis import FLAGS, has_lookalikes
from tui_router.routing.rules.rules_router import RulesRouter

ROUTER = RulesRouter(parse_config("", None, {}).fleet)
SOURCES = [t.pattern or t.words for route in ROUTER.fleet.routes for t in route.triggers if not t.shape]


def searched(source: str, text: str) -> str | None:
    """What `re` finds of a pattern."""
    found = re.compile(source, FLAGS).search(text)
    return found and found[0]


def tokens(text: str) -> list[str]:
    """Words and single signs, in small letters."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def stands_in(phrase: str, text: str) -> bool:
    """Whether a text has a phrase of the fleet, compared word by word."""
    said, wanted = tokens(text), tokens(phrase.removesuffix("*"))
    for at in range(len(said) - len(wanted) + 1):
        *before, last = said[at : at + len(wanted)]
        if [*before, last if not phrase.endswith("*") else last[: len(wanted[-1])]] == wanted:
            return True
    return False


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
    assert decision.reasons[0].text.startswith("follows on from your last message: ‘write a rust function")


def test_a_new_subject_is_not_held():
    history = (Message("user", "write a rust function that parses csv"), Message("assistant", "fn main() {}"))
    assert ROUTER.decide(Request(text="set an alarm for 7 am tomorrow", history=history)).route == "tool_use"


def test_priority_moves_the_decision():
    tilted = parse_config("[routes.reasoning]\npriority = 50.0", None, {}).fleet
    text = Request(text="tell me something about numbers")
    assert RulesRouter(tilted).decide(text).probability("reasoning") > ROUTER.decide(text).probability("reasoning")


def test_the_version_changes_with_any_weight():
    changed = parse_config('[routes.code.triggers."operators"]\nweight = 1.6', None, {}).fleet
    assert RulesRouter(changed).version != ROUTER.version
    assert RulesRouter(parse_config("", None, {}).fleet).version == ROUTER.version


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
    quick = ROUTER.patterns.search(text)
    assert [one for one in quick if isinstance(SOURCES[one.place], str)] == [
        (place, match)
        for place, one in enumerate(SOURCES)
        if isinstance(one, str) and (match := searched(one, text)) is not None
    ]
    assert [one.place for one in quick if not isinstance(SOURCES[one.place], str)] == [
        place
        for place, one in enumerate(SOURCES)
        if not isinstance(one, str) and any(stands_in(phrase, text) for phrase in one)
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(?:my|the)\s+cat",
        r"\W*foo",
        r"a|\bb",
        r"\b\d+x",
        r"(?:ab)*c",
        r"\bu\b",
        r"\A\s*(?:x )*go",
        r"\d\s*x|\bmy cat",
        r"(?:fo|gx)+t|\ba:b",
        r"\b(?:toy|1-1)",
        r"k|s1",
        r"ς",
        r"[ab]{2}\.(?:f|g)o",
        "",
        r"x*",
        r"\bmy(?!o)|(?<=a)-\d",
        r"MY",
        r"(?-i:\b[A-C]u)",
        r"[A-C]\b",
        r"[^a-f]o",
        r"(?i:Go)",
        r"\b(?>to|t)y",
        r"x++y",
        r"(?a)\bé\w",
        r"(?s:a.b)",
        r"(?m:^c)",
        r"(a)(?(1)b|c)",
        r"(t)o\1",
        r"É",
        r"[à-ö]",
        r"я\b",
        r"^\s*(?:my |at \w|#go|#!)",
        r"(?:to|at)(?:my|go)?\b:",
    ],
)
@given(st.text(alphabet="aAbBcCfotgGxu myMY\n1\u017f\u212a\u0130\u0663\u03c3\u03a3.:-#!kstéÉяЯ", max_size=20))
@settings(max_examples=100, deadline=None)
def test_short_cuts_of_odd_patterns(pattern, text):
    assert [one.matched for one in PatternSet([pattern]).search(text)] == [
        m for m in [searched(pattern, text)] if m is not None
    ]


@pytest.mark.parametrize(
    "phrases",
    [
        ("go",),
        ("go*",),
        ("go to",),
        ("go t*",),
        ("to", "to go"),
        ("to go", "to"),
        (".net", "#!"),
        ("c++", "c"),
        ("don't",),
        ("é*", "я"),
        ("GO TO",),
        ("a-b", "b:*"),
        ("k",),
        ("",),
        ("1*",),
    ],
)
@given(
    st.lists(
        st.sampled_from([*"goGOtoTac+.#!-:bkKя Éé\n'", "net", "go", "to", "\u212a", "\u0130", "don", "13"]), max_size=14
    )
)
@settings(max_examples=100, deadline=None)
def test_words_and_phrases_are_found_word_by_word(phrases, parts):
    text = "".join(parts)
    assert bool(PatternSet([phrases]).search(text)) == any(phrase and stands_in(phrase, text) for phrase in phrases)


def test_what_the_short_cuts_believe_of_letters_holds_of_all_of_them():
    every = [chr(code) for code in range(0x110000) if chr(code) != "\u0130"]
    kinds = [re.compile(kind) for kind in (r"\w", r"\s", r"\d")]
    changed = [(char, char.lower()) for char in every if char != char.lower()]
    assert len(changed) > 1000
    for char, lower in changed:
        assert len(lower) == 1
        assert all(bool(kind.match(char)) == bool(kind.match(lower)) for kind in kinds)
    cased = "".join({char for pair in changed for char in pair} | {char for char in every if char != char.upper()})
    for char in filter(str.islower, cased):
        if not has_lookalikes(char):
            alike = {
                one for one in re.findall(re.escape(char), cased, re.IGNORECASE) if one not in "\u0131\u017f\u212a"
            }
            assert alike == {one for one in cased if one.lower() == char and one not in "\u0131\u017f\u212a"}


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
    plain = text_features._STACK.search(text)
    assert text_features.SHAPES["stack_trace"](text_features.TextView(Request(text=text))) == (
        plain and plain[0].strip()
    )


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
