"""Words by which a request refers to the conversation before it: "and in Rust?", "make it shorter", "your answer".

The one list of them: the rules router and the conversation gate of the learned router both read it.
"""

from __future__ import annotations

from typing import NamedTuple

from tui_router.routing.rules.pattern_set import PatternSet

_FOLLOW_UP = (
    r"\A\W*(?:and|now|also|but|so|then|again|or|ok(?:ay)?,? (?:now|so|and|but|another|a)|actually|wait|no,|yes,?|next|"
    r"make (?:it|that|them|this)|do (?:it|that|the same)|can you also|commit (?:it|that)|(?:shorter|longer|simpler|louder|cheaper|"
    r"funnier|another|one more|more|less|continue|go on|keep going|instead|same|without|with|only|just|under|over)\b|"
    r"what about|how about|why\W*\Z|why not|how so|are you sure|in \w+\W*\Z|use \w+ instead|try again|rewrite|rephrase|fix (?:it|that)|"
    r"take (?:the|your)|redo|explain (?:it|that|the)|show me|give (?:it|me) (?:one|another|more)|back to|check it|add (?:a|an|one|another)\b)"
)
_POINTS_BACK = (
    r"\b(?:it|its|them|they|those|he|she|his|her|that(?= one\b|\W*\Z|[,.;!?]| (?:again|instead|please|too|to|into|with|as|in)\b)|"
    r"these(?!\s+\w+s\b)|this one|the (?:first|second|third|last|other|others|previous|above|cheapest|same|rest)(?: one| part| line|"
    r" step| paragraph)?|your (?:answer|response|previous|last|own)|previous|above|earlier|same|there|one)\b"
)
_YOUR_ANSWER = r"\b(?:your|you) (?:\w+ )?(?:answer|response|reply|solution|code|draft|poem|story|assumptions?|made|wrote|said|gave|just)\b"
_REWORK = (
    r"\A\W*(?:please |can you |could you |now |then |ok(?:ay)?,? )*(?:re\w+|make|change|turn|convert|translate|update|add|remove|replace|"
    r"use|include|exclude|expand|shorten|explain|elaborate|continue|finish|fix|improve|swap|skip|cancel|move|test|check|show)\b"
)
_RETURN = r"\b(?:back to|return to|about the \w+ again|as before|the earlier)\b"
_SOCIAL = (
    r"\b(?:thanks?|thank you|thx|ty|cheers|bye|goodbye|see you|good ?night|good (?:morning|evening)|hello|hi|hey|lol|haha+|cool|nice|great|wow|"
    r"awesome|perfect|yum|love it|you rock|the best|how are you|are you (?:a |human|real|happy|ok)|do you (?:ever|like|sleep|have a))\b"
)
_DEFINITE = r"\b(?:the|this|these|those|that|both|which|all of|each of)\b"
_INDEFINITE = r"\b(?:an?|some|any|my|me)\b"
_ROLE = (
    r"\b(?:act as|act like|pretend|role-?play|play the role|in character|imagine (?:you|yourself)|you(?:'re| are) (?:an?|the|my)|"
    r"let's play|text adventure|embrace the role|be my)\b"
)

_PATTERNS = PatternSet(
    (_FOLLOW_UP, _POINTS_BACK, _YOUR_ANSWER, _REWORK, _RETURN, _SOCIAL, _DEFINITE, _INDEFINITE, _ROLE)
)
"""In the order of the fields of `FollowUpCues`."""


class FollowUpCues(NamedTuple):
    """Which of these words a request has: each 1.0 or 0.0, but for the number of words."""

    follow_up: float
    """It begins like a follow-up: "and", "make it", "shorter"."""
    points_back: float
    """It points at something earlier: "it", "the second one"."""
    your_answer: float
    """It mentions the answer before it."""
    rework: float
    """It begins by asking to change something: "translate", "add"."""
    returns: float
    """It returns to an earlier subject: "back to"."""
    social: float
    """Thanks, a greeting, a comment."""
    definite: float
    """It has a definite word: "the", "this"."""
    indefinite: float
    """It has an indefinite word: "a", "some"."""
    role: float
    """It asks the model to play somebody."""
    words: float
    """How many there are."""


def follow_up_cues(text: str) -> FollowUpCues:
    """Return which words of a text refer to the conversation before it."""
    cues = [0.0] * len(FollowUpCues._fields)
    for pattern, _ in _PATTERNS.search(text):
        cues[pattern] = 1.0
    cues[-1] = float(len(text.split()))
    return FollowUpCues._make(cues)
