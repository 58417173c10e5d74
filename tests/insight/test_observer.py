"""The observer's replies: a remark is shown only when everything that it claims is confirmed by what the model was shown."""

import json

import pytest

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.core.types import Dispatch, Hop, Verdict
from tui_router.insight.findings import Finding
from tui_router.insight.metrics import metrics_of
from tui_router.insight.observer import SCHEMA, TAGS, build_prompt, parse_reply

AT = "2026-03-05T12:00:00.000Z"
TURNS = [
    a_turn("write a python function", id="7-abc", verdict=right("code")),
    a_turn("hello \x1b[31mthere", id="8-abd", verdict=wrong("general_chat")),
    a_turn("goto amazon.com", id="9-abe", dispatch=Dispatch(intended="gpt-oss-20b", served="gpt-oss-20b")),
    a_turn("translate this ledger into SQL", id="10-abf"),
    a_turn("fix the ledger query with 3 joins", id="11-abf"),
    a_turn(
        "why is the sky blue",
        id="12-abf",
        verdict=Verdict(kind="answer", at=AT, rating="wrong"),
        dispatch=Dispatch(
            intended="ministral-14b-reasoning",
            served="gpt-oss-20b",
            hops=(Hop("ministral-14b-reasoning", "not loaded", 3.0),),
        ),
    ),
    a_turn("tell me a joke", id="13-abf", verdict=right("simple_chat")),
]
PROMPT = build_prompt(TURNS, metrics_of(TURNS, SHIPPED.fleet), [])
QUIET = build_prompt([TURNS[0]], metrics_of([TURNS[0]], SHIPPED.fleet), [])

FALSE = {
    "wrong verdict": [
        ("Turn 7 was rated wrong.", (7,)),
        ("Turn 8 was rated right.", (8,)),
        ("The person marked turn 7 as incorrect.", (7,)),
        ("Turns 7 and 8 were both rated wrong.", (7, 8)),
        ("Turn 9 was rated right.", (9,)),
        ("Turn 7 was misrouted and corrected by the person.", (7,)),
        ("Turn 8 is still unrated.", (8,)),
        ("All decisions were correct.", ()),
        ("No turn was rated wrong.", ()),
        ("Turn 8 went well.", (8,)),
        ("Turn 13 should have been reasoning.", (13,)),
    ],
    "wrong count": [
        ("7 turns were rated wrong.", ()),
        ("2 of 3 rated turns were wrong.", ()),
        ("Twelve turns were rated today.", ()),
        ("Three turns were corrected: 8 among them.", (8,)),
        ("8 of 13 decisions were right.", ()),
        ("Only 10% of the rated turns were right.", ()),
        ("There were 9 turns today.", ()),
        ("A fallback served 7 of 12 turns.", ()),
        ("Turns 10 and 11 are five requests about a ledger.", (10, 11)),
    ],
    "invented turn": [
        ("Turn 42 was odd.", (8,)),
        ("Turns 8 and 14 ask for the same.", (8,)),
        ("Turn 6 repeats turn 8.", (8,)),
        ("Turns 9-16 open a browser.", (9,)),
        ("Turn twenty-one is about a ledger: see #21.", (10,)),
        ("Request 99 is about SQL.", (10,)),
        ("Turns 1 through 7 ask for code.", (7,)),
        ("Turn 5 is an unusual request.", (7,)),
    ],
    "invented model": [
        ("Claude served turn 9.", (9,)),
        ("Turn 9 was answered by gpt-4.", (9,)),
        ("The Falcon model answered turn 9.", (9,)),
        ("llama-3-70b would suit turn 10.", (10,)),
        ("Turn 7 needs a model called Orca.", (7,)),
        ("mistral-7b did the SQL of turn 10.", (10,)),
        ("Send turn 11 to deepseek-coder.", (11,)),
        ("DALL-E 3 should take turn 9; so would dolphin-8b.", (9,)),
    ],
    "wrong direction": [
        ("Accuracy is falling.", ()),
        ("The router is getting worse at code.", ()),
        ("Requests about ledgers are increasing.", (10, 11)),
        ("Confidence dropped with turn 9.", (9,)),
        ("Fallbacks are rising.", ()),
        ("Routing has improved.", ()),
        ("More and more requests ask for SQL.", (10, 11)),
        ("gpt-oss-20b became slower.", (9,)),
    ],
    "wrong period": [
        ("Turn 8 was the worst of this week.", (8,)),
        ("Since Monday requests ask for SQL.", (10, 11)),
        ("Yesterday turn 8 was misrouted.", (8,)),
        ("Ledgers came up all month.", (10, 11)),
        ("In the last hour people asked for SQL.", (10, 11)),
        ("Turn 9 came late at night.", (9,)),
        ("Three days ago this was a usual request.", (10,)),
        ("Turn 10 is like those of last year.", (10,)),
    ],
    "a link": [
        ("Turn 8: see https://example.com/fix.", (8,)),
        ("Read [this](http://evil.example) about turn 8.", (8,)),
        ("More at www.router-help.org.", ()),
        ("Turn 10 is explained on sql-tutor.com.", (10,)),
        ("Write to help@router.dev about turn 8.", (8,)),
        ("Turn 9 opens file:///etc/passwd.", (9,)),
        ("See bit.ly/3xyz for turn 9.", (9,)),
        ("Turn 8 [click](javascript:alert(1)).", (8,)),
    ],
    "written after the check": [
        ("The user disagreed with turn 7.", (7,)),
        ("Turn 8 made the person happy.", (8,)),
        ("Most requests ask for SQL.", (10,)),
        ("Half of the turns are small talk.", (8,)),
        ("Turn 9 ran on o3-mini.", (9,)),
        ("Turn 10 is answered at evil.example.", (10,)),
        ("Accuracy is way up.", ()),
        ("The share of fallbacks went from 10% to 40%.", ()),
        ("Nowadays ledgers come up.", (10,)),
        ("The router never errs; no answer was wrong.", ()),
        ("There is an error in turn 7.", (7,)),
        ("Sonnet served turn 9.", (9,)),
    ],
    "a failure": [
        ("Nothing failed.", ()),
        ("There were no failures.", ()),
        ("Turn 7 failed.", (7,)),
        ("gpt-oss-20b crashed.", ()),
        ("Turn 10 timed out.", (10,)),
    ],
    "a quotation": [("Turn 8 says ‘buy a car’.", (8,)), ('Turn 7 asks to "delete everything".', (7,))],
    "a route": [
        ("Turn 7 went to vision.", (7,)),
        ("Turn 9 was routed to legal_advice.", (9,)),
        ("Turn 8 belongs to code.", (8,)),
    ],
}

TRUE = [
    ("Turn 8 was taken for small talk.", (8,)),
    ("Turn 8 was rated wrong.", (8,)),
    ("Turn 8 should have been general_chat.", (8,)),
    ("Turn 7 was rated right.", (7,)),
    ("Turns 7 and 13 were both rated right.", (7, 13)),
    ("Turns 10 and 11 are about a ledger.", (10, 11)),
    ("Turns 10 and 11 both ask for SQL and are unrated.", (10, 11)),
    ("Two requests ask about a ledger.", (10, 11)),
    ("Turn 9 opens a shop in a browser, amazon.com.", (9,)),
    ("Turn 11 asks about 3 joins.", (11,)),
    ("Turn 10 probably belongs to code.", (10,)),
    ("Turn 9 may be misrouted.", (9,)),
    ("1 of 3 rated turns was wrong.", (8,)),
    ("2 of 3 rated turns were right.", ()),
    ("67% of the rated turns were right.", ()),
    ("7 turns today, 4 of 7 rated.", ()),
    ("ministral-14b-reasoning failed at turn 12.", (12,)),
    ("Turn 12 was meant for another model and failed at first.", (12,)),
    ("A fallback served 1 of 2 turns.", (12,)),
    ("Turn 9 went to tool_use.", (9,)),
    ("‘translate this ledger’ in turn 10 mixes languages and SQL.", (10,)),
    ("A route for bookkeeping would cover turns 10 and 11.", (10, 11)),
    ("gpt-oss-20b answered turn 9.", (9,)),
]


def a_reply(remark="Turn 8 was taken for small talk.", tag="pattern_detected", turns=(8,), **more):
    return json.dumps({"tag": tag, "remark": remark, "turns": list(turns), **more})


def test_it_is_shown_the_turns_the_counts_and_the_findings():
    text = PROMPT.messages[0].content
    assert "8, simple_chat" in text and "wrong, right is general_chat: hello" in text and "\x1b" not in text
    assert "turns: 7, rated: 4" in text and "right route: 67% of 3 rated" in text and "no significant findings" in text
    assert "bad answer: why is the sky blue" in text


def test_there_are_sixty_false_remarks_of_the_kinds_that_were_seen():
    kinds = (
        "wrong verdict",
        "wrong count",
        "invented turn",
        "invented model",
        "wrong direction",
        "wrong period",
        "a link",
    )
    assert sum(len(FALSE[kind]) for kind in kinds) >= 60


@pytest.mark.parametrize(("remark", "turns"), [one for remarks in FALSE.values() for one in remarks])
def test_no_false_remark_is_shown(remark, turns):
    assert isinstance(parse_reply(a_reply(remark, turns=turns), PROMPT), str)


@pytest.mark.parametrize(("remark", "turns"), TRUE)
def test_true_remarks_are_shown(remark, turns):
    made = parse_reply(a_reply(remark, turns=turns), PROMPT)
    assert not isinstance(made, str), made
    assert made.text == remark and [int(turn.partition("-")[0]) for turn in made.turns] == list(turns)


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag not in ("all_good", "model_drift")])
def test_a_remark_about_a_shown_turn_is_accepted_with_any_tag(tag):
    made = parse_reply(f"Sure!\n```json\n{a_reply(tag=tag)}\n```", PROMPT)
    assert (made.tag, made.level, made.turns) == (tag, TAGS[tag], ("8-abd",))
    assert tag in SCHEMA["properties"]["tag"]["enum"]


@pytest.mark.parametrize(
    ("prompt", "tag", "turns", "why"),
    [
        (PROMPT, "all_good", (), "all good beside trouble"),
        (QUIET, "red_flag", (7,), "an alarm without trouble"),
        (PROMPT, "correction_needed", (7,), "a correction of a turn that was rated right"),
    ],
)
def test_a_tag_that_the_counts_contradict_drops_the_remark(prompt, tag, turns, why):
    assert parse_reply(a_reply("This is about code.", tag=tag, turns=turns), prompt) == why


def test_all_good_is_accepted_when_nothing_is_wrong():
    assert parse_reply(a_reply("Requests about code.", tag="all_good", turns=()), QUIET).level == "good"
    assert parse_reply(a_reply("Nothing failed.", tag="all_good", turns=()), QUIET).text == "Nothing failed."


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("all is well", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{" * 5000 + "}" * 5000, "no JSON"),
        (a_reply(tag="praise"), "an unknown tag"),
        (json.dumps({"tag": ["x"], "remark": "y", "turns": []}), "an unknown tag"),
        (a_reply(remark="  "), "no remark"),
        (json.dumps({"tag": "all_good", "turns": []}), "no remark"),
        (a_reply(remark="x" * 10_000), "too long"),
        (a_reply(turns=("8",)), "turns that are no numbers"),
        (a_reply(turns=(True,)), "turns that are no numbers"),
        (a_reply(turns=(15,)), "a turn that it was not shown"),
        (a_reply("Turn 15 repeats turn 8."), "a turn that it was not shown"),
        (a_reply("Turn 8 has 31 words."), "a number that it was not shown"),
        (a_reply("Turn 8 was rated right."), "a verdict that is not so"),
        (a_reply("Nothing failed."), "a failure that it denies"),
        (a_reply("Accuracy is falling."), "a direction that no test found"),
    ],
)
def test_every_other_reply_is_dropped_with_its_reason(reply, why):
    assert parse_reply(reply, PROMPT) == why


def test_a_finding_may_be_repeated_word_by_word():
    found = Finding(
        kind="misleading_trigger", text="‘make’ led to code 12 times and was wrong 9 times", turns=(), n=12, p=0.001
    )
    prompt = build_prompt(TURNS, metrics_of(TURNS, SHIPPED.fleet), [found])
    assert parse_reply(a_reply("led to code 12 times and was wrong 9 times.", turns=()), prompt).turns == ()
    assert isinstance(parse_reply(a_reply("It was wrong 12 times.", turns=()), prompt), str)


def test_escape_sequences_and_markup_are_text():
    made = parse_reply(a_reply("\x1b]0;evil\x07\x1b[2JTurn 8 [@click=quit]here[/] was odd\nvery"), PROMPT)
    assert made.text == "Turn 8 [@click=quit]here[/] was odd very"
