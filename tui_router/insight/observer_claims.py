"""Checks what a remark of the observer claims against the turns and counts that it was shown.

A small model writes what sounds likely. So a remark may describe what requests are about, but every word of it that claims a
fact must be confirmed by the store: a verdict, a route, a count, a failure. Claims that the program cannot confirm are
refused, even if they may be true: directions and periods (the model is shown neither), models and turns that it was not
shown, quotations that stand in no request, links. The check is by vocabulary, one clause after the other; a clause without a
turn of its own is about the turns of the clause before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from tui_router.core.types import Turn
from tui_router.insight.findings import Finding
from tui_router.insight.metrics import Metrics, Rate

_LOW_CONFIDENCE = 0.7
"""Confidence below which a decision may be called unsure; the shipped threshold of asking."""

_LINK = re.compile(r"\w+://|\bwww\.|\]\(|\b[\w.+-]+@[\w-]+\.\w+|\bhref\b", re.IGNORECASE)
_DOTTED = re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b(?:/\S*)?", re.IGNORECASE)
"""A domain or a file: allowed only as a request has it."""
_NUMBER_WORDS = {
    word: str(n)
    for n, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"twice": "2 times", "thrice": "3 times", "dozen": "12", "couple": "2"}
_ONE_IS_A_NUMBER = re.compile(
    r"\bone(?=\s+(?:of|turns?|requests?|failures?|errors?|mistakes?|models?|times?|wrong|right)\b)", re.I
)
_TURNS = re.compile(
    r"\b(?:turns?|requests?|questions?|no\.|number)\s*(?:numbers?\s*)?#?(\d+(?:(?:\s*(?:,|&|\band\b|\bor\b|-|\u2013|\bto\b|\bthrough\b)\s*)+#?\d+)*)"
    r"(?!\s*%|\s*(?:of|times|turns|requests)\b)|#(\d+)",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d+)\s*(?:-|\u2013|\bto\b|\bthrough\b)\s*#?(\d+)")
_QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|\u2018([^\u2019]+)\u2019|(?<!\w)'([^']+)'(?!\w)|`([^`]+)`")
_CLAUSE = re.compile(
    r"[.;:!?()](?!\d)|,(?!\d)|\bbut\b|\bwhile\b|\bwhereas\b|\band\b|\balthough\b|\u2014", re.IGNORECASE
)
_REFERENCE = re.compile(r"\u27e6(\d+)\u27e7")

_UNRATED = re.compile(
    r"\b(?:unrated|not (?:yet )?(?:been )?rated|never rated|no (?:verdict|rating)s?|without (?:a )?(?:verdict|rating)s?)\b",
    re.I,
)
_WRONG = re.compile(
    r"\b(?:wrong(?:ly)?|incorrect(?:ly)?|inaccurate|mis(?:routed?|routing|classified|directed|placed|labell?ed|judged|assigned)"
    r"|mistake[ns]?|mistaken(?:ly)?|corrected|rejected|disliked|disagree\w*|objected|overruled|complain\w*|unhappy|dissatisfied|denied|bad(?:ly)?|poor(?:ly)?|errors?|erroneous(?:ly)?|false(?:ly)?)\b",
    re.IGNORECASE,
)
_RIGHT = re.compile(
    r"\b(?:right(?:ly)?|correct(?:ly)?|accurate(?:ly)?|accepted|confirmed|approved|liked|agree\w*|praised?|happy|satisfied|thumbs|fine|good|well|proper(?:ly)?"
    r"|perfect(?:ly)?|success(?:es|ful|fully)?|flawless(?:ly)?|as (?:intended|expected))\b",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"\b(?:no|not|none|never|neither|nor|nobody|nothing|without|hardly|isn't|wasn't|weren't|aren't|didn't)\b", re.I
)
_HEDGED = re.compile(
    r"\b(?:may|might|maybe|perhaps|probably|possibly|likely|seems?|appears?|looks? like|could|should|would)\b",
    re.IGNORECASE,
)
_EACH = re.compile(
    r"\b(?:all|every|each|any|everything|always|most(?:ly)?|many|several|few|half|majority|almost|nearly)\b", re.I
)
_EACH_TURN = re.compile(
    r"\b(?:all|every|each|most|many|several|few|half|majority|almost|nearly|no)(?: of)?(?: the| these)? (?:\w+ )?"
    r"(?:turns?|requests?|questions?|answers?)\b(?! (?:was|were|is|are|has|have|had) (?:been )?(?:rated|right|wrong|correct))",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\b(?:fail(?:s|ed|ing|ures?)?|crash\w*|time[ds]?[ -]?outs?|broken?|broke|unavailable|unreachable|offline|refused|down"
    r"|interrupted|unanswered|no answers?|did not answer|outages?)\b",
    re.IGNORECASE,
)
_FALLBACK = re.compile(
    r"\b(?:fallbacks?|fell back|(?:an)?other model|served instead|stand-in|replacement)\b", re.IGNORECASE
)
_UNSURE = re.compile(
    r"\b(?:unsure|uncertain|low confidence|hesitant|not (?:very )?(?:sure|confident))\b", re.IGNORECASE
)
_SURE = re.compile(r"\b(?:confident(?:ly)?|high confidence|certain(?:ly)?|sure)\b", re.IGNORECASE)
_DIRECTION = re.compile(
    r"\b(?:ris(?:es?|en|ing)|rose|f[ae]lls?|fallen|falling|drop(?:s|ped|ping)?|declin\w+|increas\w+|decreas\w+|improv\w+"
    r"|wors(?:e|en\w*)|better|gr[eo]w\w*|trend\w*|higher|lower(?:ed|ing)?|recover\w*|degrad\w+|slow\w*|fast\w*|climb\w*"
    r"|sink\w*|sank|doubl\w+|tripl\w+|halved|shr[aiu]nk\w*|soar\w*|plummet\w*|surg\w+|spik\w+|dip(?:s|ped)?|drift\w*"
    r"|upwards?|downwards?|more and more|less and less"
    r"|(?:is|are|was|were|goes|gone?|going|went|heading|way|pick(?:s|ed|ing)) (?:\w+ )?(?:up|down)"
    r"|weak\w*|strong\w*"
    r"|slip\w*|slid\w*|tumbl\w+|jump\w*|leap\w*|expand\w*|accelerat\w+|diminish\w*|reduc\w+|escalat\w+|shift\w*"
    r"|ever (?:more|less)|more (?:often|frequent\w*|common)"
    r"|less (?:often|frequent\w*|common)|fewer|no longer|anymore|started to|stopped|gain\w*|chang\w+|deteriorat\w+)\b",
    re.IGNORECASE,
)
_PERIOD = re.compile(
    r"\b(?:yesterday|tomorrow|tonight|weeks?|weekly|weekends?|months?|monthly|years?|quarters?|hours?|hourly|minutes?"
    r"|(?:last|past|previous|next|this|these|few|\d+) (?:few )?days?|days? ago|daily|morning|afternoon|evening|nights?|overnight|noon"
    r"|midnight|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|june|july|august|september"
    r"|october|november|december|since|ago|earlier|formerly|previously|usual(?:ly)?|always|so far|ever"
    r"|nowadays|of late|over time|these days|the other day"
    r"|spring|summer|autumn|winter|seasons?)\b",
    re.IGNORECASE,
)
_DECIDED = re.compile(
    r"\b(?:went|goes|gone|sent|routed|decided|taken|assigned|classified|treated|handled|given|directed)\s+(?:to|as|for|by|in|into)?\s*"
    r"(?:the )?([a-z]\w*)",
    re.IGNORECASE,
)
_BELONGS = re.compile(
    r"\b(?:should (?:have )?(?:been|be|go|gone)|belongs?|right (?:route )?(?:is|was)|meant|rather|instead of going)\s+"
    r"(?:to|as|for|in|sent to|routed to)?\s*(?:the )?([a-z]\w*)",
    re.IGNORECASE,
)
_MODEL_FAMILY = re.compile(
    r"\b(?:gpt|chatgpt|openai|claude|anthropic|llama|mistral|mixtral|ministral|gemini|gemma|qwen|phi|deepseek|grok|falcon|vicuna"
    r"|command-r|cohere|yi|codestral|devstral|starcoder|bert|palm|bard|copilot|nemotron|granite|kimi|glm|smollm|olmo)[\w.:/-]*",
    re.IGNORECASE,
)
_MODEL_SHAPED = re.compile(r"\b[a-z][a-z.:-]*\d\w*(?:[-.:]\w+)*", re.IGNORECASE)
"""Letters followed by a digit, such as `o3-mini` or `qwen3:8b`."""
_NAMED_MODEL = re.compile(
    r"\b(?:model|by|from|of)\s+(?:called |named )?([A-Z]\w+)|\b([A-Z]\w+)\s+(?:model|served|answered|failed)\b"
)
_ROUTE_SHAPED = re.compile(r"\b[a-z]+_[a-z_]+\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_OF = re.compile(r"(\d+)\s*(?:of|out of|/|from)\s*(?:the |all |its )?(\d+)", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|per ?cent)")
_COUNT = re.compile(
    r"(\d+)\s+(?:\w+\s+){0,2}?(?:turns?|requests?|decisions?|questions?|times|mistakes?|errors?|failures?|fallbacks?"
    r"|rated|wrong|right|verdicts?)\b",
    re.IGNORECASE,
)
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "model turn turns the a request requests it both this that these those nothing everything something no none all some "
        "many another other they one sql",
    )
)
"""Capitalised words that stand where a model's name could, and are none."""


class Facts(Struct, frozen=True):
    """What the observer was shown, to check its claims against."""

    turns: Mapping[int, Turn]
    """Turn number -> turn."""
    counts: Metrics
    findings: Sequence[Finding]

    @property
    def routes(self) -> set[str]:
        """Names of the routes, those of today and those of the shown decisions."""
        return {
            *self.counts.route_turns,
            *(route for turn in self.turns.values() for route, _ in turn.decision.ranking),
        }

    @property
    def models(self) -> set[str]:
        """Names of the models in the shown turns and counts, lower case."""
        found = {*self.counts.models, *(turn.decision.model for turn in self.turns.values())}
        for turn in self.turns.values():
            if turn.dispatch is not None:
                found |= {
                    turn.dispatch.intended,
                    turn.dispatch.served or "",
                    *(hop.model for hop in turn.dispatch.hops),
                }
        return {name.lower() for name in found if name}


def rating_of(turn: Turn) -> str:
    """Return `right`, `wrong`, `bad answer` or an empty string: what the person said of a turn."""
    verdict = turn.verdict
    if verdict is None or verdict.rating is None or verdict.kind == "note":
        return ""
    if verdict.kind == "answer":
        return "bad answer" if verdict.rating == "wrong" else ""
    return verdict.rating


def unsupported_claim(text: str, turns: Sequence[int], facts: Facts) -> str:
    """Return what a remark claims without support, or an empty string when every claim is confirmed.

    Args:
        text: The remark, one line.
        turns: Numbers of the turns that the reply names; all of them were shown.
        facts: What the observer was shown.
    """
    shown = " ".join(turn.request.text.lower() for turn in facts.turns.values())
    if _LINK.search(text) or any(name.group().lower() not in shown for name in _DOTTED.finditer(text)):
        return "a link"
    for quotation in _QUOTED.finditer(text):
        if next(filter(None, quotation.groups())).strip(" .,").lower() not in shown:
            return "a quotation that stands in no request"
    text, references = _with_references(_with_digits(_QUOTED.sub(" ", text)))
    if any(number not in facts.turns for numbers in references for number in numbers):
        return "a turn that it was not shown"
    if (why := _unknown_name(text, shown, facts)) or (why := _about_time(text)):
        return why
    if _EACH_TURN.search(text):
        return "a quantity that was not counted"
    subject = list(turns)
    for clause in _CLAUSE.split(text):
        named = [n for reference in _REFERENCE.finditer(clause) for n in references[int(reference.group(1))]]
        subject = named or subject
        if why := _Clause(_REFERENCE.sub(" ", clause), [facts.turns[n] for n in subject], facts).unsupported():
            return why
    return ""


def _with_digits(text: str) -> str:
    """The text with number words as digits."""
    text = _ONE_IS_A_NUMBER.sub("1", text)
    words = [word for word in _NUMBER_WORDS if word != "one"]
    return re.sub(
        rf"\b(?:a )?({'|'.join(words)})\b", lambda m: _NUMBER_WORDS[m.group(1).lower()], text, flags=re.IGNORECASE
    )


def _with_references(text: str) -> tuple[str, list[list[int]]]:
    """The text with a mark for each reference to turns, and the numbers of each."""
    found: list[list[int]] = []

    def mark(match: re.Match[str]) -> str:
        listed = match.group(1) or match.group(2)
        numbers = [int(n) for n in re.findall(r"\d+", listed)]
        for first, last in _RANGE.findall(listed):
            numbers += range(int(first), min(int(last), int(first) + 1000) + 1)
        found.append(numbers)
        return f" \u27e6{len(found) - 1}\u27e7 "

    return _TURNS.sub(mark, text), found


def _unknown_name(text: str, shown: str, facts: Facts) -> str:
    text = _without_models(text, facts)
    if any(
        name.group().lower() not in shown for name in (*_MODEL_FAMILY.finditer(text), *_MODEL_SHAPED.finditer(text))
    ):
        return "a model that it was not shown"
    routes = {route.lower() for route in facts.routes}
    names = [(match.group(1) or match.group(2)).lower() for match in _NAMED_MODEL.finditer(text)]
    if any(name not in routes and name not in _NO_NAMES for name in names):
        return "a model that it was not shown"
    if any(name.group().lower() not in routes for name in _ROUTE_SHAPED.finditer(text)):
        return "a route that does not exist"
    return ""


def _without_models(text: str, facts: Facts) -> str:
    """The text without the names of models that were shown: their digits are no counts."""
    names = sorted(facts.models, key=len, reverse=True)  # the longest first: one name may be the beginning of another
    return re.sub("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-])" for name in names), " ", text, flags=re.IGNORECASE)


def _about_time(text: str) -> str:
    if _DIRECTION.search(text):
        return "a direction that no test found"
    if _PERIOD.search(text):
        return "a period that it was not shown"
    return ""


class _Clause(Struct):
    """One clause of a remark with the turns that it is about."""

    text: str
    turns: Sequence[Turn]
    facts: Facts

    def unsupported(self) -> str:
        """What the clause claims without support; empty when there is nothing."""
        if not self.text.strip() or self._is_quoted_finding():
            return ""
        return self._routes() or self._numbers() or self._failures() or self._confidences() or self._verdicts()

    def _is_quoted_finding(self) -> bool:
        words = " ".join(self.text.lower().split())
        return len(words.split()) > 3 and any(words in finding.text.lower() for finding in self.facts.findings)

    def _routes(self) -> str:
        routes = {route.lower(): route for route in self.facts.routes}
        for match in _BELONGS.finditer(self.text):
            if (route := routes.get(match.group(1).lower())) and not all(
                _may_belong(turn, route) for turn in self.turns
            ):
                return "a right route that no verdict names"
        for match in _DECIDED.finditer(self.text):
            route = routes.get(match.group(1).lower())
            if route and (not self.turns or any(turn.decision.route != route for turn in self.turns)):
                return "a route that was not decided"
        return ""

    def _numbers(self) -> str:
        text = re.sub(
            "|".join(map(re.escape, sorted(self.facts.models, key=len, reverse=True))), " ", self.text, flags=re.I
        )
        for match in _OF.finditer(text):
            if not any((rate.hits, rate.n) == (int(match.group(1)), int(match.group(2))) for rate in self._rates()):
                return "a count that is not so"
        text = _OF.sub(" ", text)
        for match in _PERCENT.finditer(text):
            if not any(f"{share:.0%}" == f"{float(match.group(1)):.0f}%" for share in self._shares()):
                return "a share that is not so"
        text = _PERCENT.sub(" ", text)
        for match in _COUNT.finditer(text):
            if int(match.group(1)) not in self._counts():
                return "a count that is not so"
        text = _COUNT.sub(" ", text)
        asked = _with_digits(" ".join(turn.request.text.lower() for turn in self.turns))
        for match in _NUMBER.finditer(text):
            with_next = re.match(r"\S+\s*\w*", text[match.start() :])
            if with_next is None or with_next.group().lower() not in asked:
                return "a number that it was not shown"
        return ""

    def _rates(self) -> Iterator[Rate]:
        """The rates that a clause of this vocabulary can be about."""
        counts = self.facts.counts
        route = next((r for r in self.facts.routes if re.search(rf"\b{re.escape(r)}\b", self.text, re.IGNORECASE)), "")
        right = counts.precision.get(route, Rate()) if route else counts.accuracy
        if _FAILED.search(self.text):
            yield counts.failed
        elif _FALLBACK.search(self.text):
            yield counts.fallbacks
        elif _WRONG.search(self.text):
            yield Rate(right.n - right.hits, right.n)
        elif _RIGHT.search(self.text):
            yield right
        elif re.search(r"\brated\b", self.text, re.IGNORECASE) and not route:
            yield counts.rated

    def _shares(self) -> Iterator[float]:
        if _UNSURE.search(self.text) or re.search(r"\bconfiden|\bsure\b", self.text, re.IGNORECASE):
            yield from (turn.decision.confidence for turn in self.turns if len(self.turns) == 1)
        else:
            yield from (rate.value for rate in self._rates() if rate.value is not None)

    def _counts(self) -> set[int]:
        """The counts that a clause of this vocabulary can name."""
        found = {rate.hits for rate in self._rates()}
        if self.turns:
            found.add(len(self.turns))  # the claim about these turns is checked by itself
        if not found or (
            not self.turns and not any(p.search(self.text) for p in (_WRONG, _RIGHT, _FAILED, _FALLBACK, _UNRATED))
        ):
            found.add(self.facts.counts.rated.hits if re.search(r"\brated\b", self.text) else self.facts.counts.turns)
        return found

    def _failures(self) -> str:
        if not _FAILED.search(self.text):
            return ""
        counts = self.facts.counts
        failed_models = {name.lower() for name, model in counts.models.items() if model.failed}
        if _NOT.search(self.text.replace("no answer", "")) and not re.search(r"\bdid not answer\b", self.text, re.I):
            quiet = (
                not counts.failed.hits and not failed_models and not any(map(_has_failed, self.facts.turns.values()))
            )
            return "" if quiet else "a failure that it denies"
        named = {name for name in self.facts.models if name in self.text.lower()}
        if named:
            return "" if named <= failed_models else "a failure that was none"
        if self._is_counted():
            return ""
        return "" if self.turns and all(map(_has_failed, self.turns)) else "a failure that was none"

    def _confidences(self) -> str:
        if _UNSURE.search(self.text):
            sure = not self.turns or any(turn.decision.confidence >= _LOW_CONFIDENCE for turn in self.turns)
            return "a confidence that is not so" if sure else ""
        if _SURE.search(self.text):
            unsure = not self.turns or any(turn.decision.confidence < _LOW_CONFIDENCE for turn in self.turns)
            return "a confidence that is not so" if unsure else ""
        return ""

    def _verdicts(self) -> str:
        text = self.text
        if _UNRATED.search(text):
            unrated = bool(self.turns) and not any(map(rating_of, self.turns))
            return "" if unrated else "a verdict that is not so"
        text = re.sub(
            r"\b(?:right route|right answer|right after|right now|as well|wrong route is)\b",
            " ",
            text,
            flags=re.IGNORECASE,
        )
        wrong, right = _WRONG.search(text), _RIGHT.search(text)
        if not wrong and not right:
            return ""
        if self._is_counted():
            return ""
        if (wrong and right) or _NOT.search(text) or not self.turns:
            return "a verdict that is not so"
        ratings = [rating_of(turn) for turn in self.turns]
        claimed, opposite = ("wrong", "right") if wrong else ("right", "wrong")
        if _HEDGED.search(text):
            return "a verdict that is not so" if opposite in ratings else ""
        if _EACH.search(text) and len(self.turns) < 2:
            return "a verdict that is not so"
        return "" if all(rating == claimed for rating in ratings) else "a verdict that is not so"

    def _is_counted(self) -> bool:
        """Whether the clause states a rate as it is counted: `_numbers` has confirmed it."""
        return bool(_OF.search(self.text) or (_PERCENT.search(self.text) and not _SURE.search(self.text))) or (
            not self.turns and bool(_COUNT.search(self.text))
        )


def _has_failed(turn: Turn) -> bool:
    dispatch = turn.dispatch
    return turn.state in ("failed", "interrupted") or (
        dispatch is not None and bool(dispatch.hops or dispatch.served is None)
    )


def _may_belong(turn: Turn, route: str) -> bool:
    """Whether a route may be called the right one: it is by the verdict, or nobody rated the turn."""
    verdict = turn.verdict
    if verdict is None or not rating_of(turn):
        return True
    if rating_of(turn) == "wrong":
        return verdict.route == route
    return turn.route == route
