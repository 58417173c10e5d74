"""Finds private data in texts by patterns and check digits, so that it can be shown, masked or dropped before an export.

Patterns and not a model: each match has a reason, and nothing is sent anywhere. Names and postal addresses of people are not
searched for, because no pattern tells them from other words. The formats of keys are those that their vendors document;
detect-secrets 1.5 is not used because it brings an HTTP client and knows no keys of model providers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple


class PiiMatch(NamedTuple):
    """A piece of private data in a text."""

    kind: str
    start: int
    end: int
    reason: str = ""
    """What it was recognised as: `GitHub token`."""


# -- keys ----------------------------------------------------------------------------------------------------------
_VENDOR_KEYS: dict[str, tuple[tuple[str, ...], str]] = {
    # name: (texts of which one must be there, pattern)
    "private key": (
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    "webhook": (
        ("hooks.", "/webhooks/", "webhook.office.com", "maker.ifttt.com", "logic.azure.com", "chat.googleapis.com"),
        r"https://(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks/"
        r"|[\w-]+\.webhook\.office\.com/webhookb2/|hooks\.zapier\.com/hooks/catch/|maker\.ifttt\.com/trigger/[\w-]+/(?:json/)?with/key/"
        r"|[\w.-]+\.logic\.azure\.com[:/]|chat\.googleapis\.com/v1/spaces/)[^\s\"'`<>)]{8,}",
    ),
    "OpenAI, Anthropic or Stripe key": (
        ("sk-", "pk-", "rk-", "sk_", "pk_", "rk_", "whsec_"),
        r"\b(?:[spr]k[-_](?:live|test|proj|svcacct|admin|ant|or|lf)?[-_]?(?=[A-Za-z_-]{0,99}\d)[A-Za-z0-9_-]{16,}|whsec_[A-Za-z0-9+/=]{20,})",
    ),
    "key of a model provider": (
        (
            "gsk_",
            "xai-",
            "pplx-",
            "r8_",
            "hf_",
            "nvapi-",
            "csk-",
            "lsv2_",
            "tvly-",
            "fw_",
            "jina_",
            "voyage-",
            "pa-",
            "co_",
        ),
        r"\b(?:gsk_|xai-|pplx-|r8_|hf_|nvapi-|csk-|lsv2_(?:pt|sk)_|tvly-(?:dev-)?|fw_|jina_)[A-Za-z0-9_-]{16,}",
    ),
    "GitHub token": (("gh", "github_pat_"), r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{22,})"),
    "GitLab token": (("gl",), r"\bgl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[A-Za-z0-9_.-]{16,}"),
    "Slack token": (("xox", "xapp-"), r"\b(?:xox[abceoprs](?:\.xox[bp])?-|xapp-\d-)[A-Za-z0-9-]{10,}"),
    "AWS access key": (("AKIA", "ASIA", "ABIA", "ACCA"), r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    "Google key": (("AIza", "ya29.", "GOCSPX-"), r"\b(?:AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})"),
    "SendGrid key": (("SG.",), r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    "npm token": (("npm_",), r"\bnpm_[A-Za-z0-9]{30,}"),
    "PyPI token": (("pypi-",), r"\bpypi-[A-Za-z0-9_-]{16,}"),
    "Telegram bot token": ((":",), r"(?<![\w:])(?:bot)?\d{8,10}:[A-Za-z0-9_-]{35}(?![\w-])"),
    "Twilio key": (("AC", "SK"), r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    "Mailchimp or Mailgun key": (("-us", "key-"), r"\b(?:[0-9a-f]{32}-us\d{1,2}|key-[0-9a-f]{32})\b"),
    "Discord bot token": ((".",), r"\b[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,38}\b"),
    "Azure key": (("Q~", "AccountKey=", "SharedAccessKey=", "sig="), r"(?<![\w~.])[\w~.]{3}\dQ~[\w~.-]{31,34}"),
    "JSON web token": (("eyJ",), r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
    "service token": (
        ("_", "-", ".", "dapi", "ATATT3", "EAA"),
        r"\b(?:do[op]_v1_|shp(?:at|ca|pa|ss)_|lin_api_|ntn_|secret_|figd_|PMAK-|dapi|sq0(?:atp|csp)-|sntry[su]_|hv[sb]\.|dckr_(?:pat|oat)_"
        r"|sb[ap]_|nfp_|NRAK-|glsa_|glc_|pscale_(?:tkn|pw|oauth)_|tskey-\w+-|ATATT3|HRKU-|rnd_|dp\.(?:pt|st|ct)\.|pat[A-Za-z0-9]{14}\.|EAA[A-Z])"
        r"(?=[A-Za-z_=-]{0,99}\d)[A-Za-z0-9_=-]{16,}",
    ),
}
_VENDOR_PATTERNS = tuple(
    (name, hints, re.compile(pattern, re.DOTALL)) for name, (hints, pattern) in _VENDOR_KEYS.items()
)
_SECRET_STEMS = (
    *(
        "pass",
        "pwd",
        "kennwort",
        "contrase",
        "clave",
        "mot de",
        "mot_de",
        "senha",
        "wachtwoord",
        "lösenord",
        "hasło",
        "haslo",
    ),
    *(
        "parola",
        "пароль",
        "密",
        "パスワード",
        "비밀번호",
        "secret",
        "token",
        "credential",
        "key",
        "schlüssel",
        "clé",
        "identified",
    ),
)
"""In small letters; a text without any of them holds no named secret."""
_SECRET_NAMES = (
    r"pass[_-]?word|passwd|pass[_-]?phrase|pass[_-]?code|pwd|passwort|kennwort|contrase(?:ñ|n)a|clave|mot[ _]de[ _]passe"
    r"|senha|wachtwoord|lösenord|has(?:ł|l)o|parola|пароль|密码|密碼|パスワード|비밀번호|secret|token|credentials?"
    r"|(?:api|access|auth|account|client|private|shared[_ -]?access|encryption|signing|master|service|license)"
    r"[_ -]?(?:key|schlüssel)|clé[ _]api"
)
_CONNECTOR = (
    r"(?:[\"'`\])}]{0,3}\s{0,4}(?::=|=>|->|==?|:|：|>)\s{0,4}[\"'`]?|[\"']\s{0,4},\s{0,4}[\"']"
    r"|\s{1,4}(?:is|was|ist|lautet|es|est|è|é|är|to|は|是)\s{0,2}:?\s{1,4}[\"'`]?|\s{1,4}[\"'`](?=\S))"
)
_ASSIGNMENT = re.compile(
    rf"(?:{_SECRET_NAMES})[\w-]{{0,30}}?(?P<connector>{_CONNECTOR})(?P<it>[^\s\"'`<>;,]{{6,500}})", re.IGNORECASE
)
_OPTION = re.compile(
    rf"(?<![\w-])--?[\w-]{{0,30}}?(?:{_SECRET_NAMES})[\w-]{{0,30}}[ =]{{1,4}}[\"']?(?P<it>[^\s\"'`<>;,|&-][^\s\"'`<>;,|&]{{5,500}})",
    re.IGNORECASE,
)
_IDENTIFIED_BY = re.compile(r"\bidentified\s+by\s+[\"'](?P<it>[^\"'\n]{4,})", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"\b(?:bearer|basic|apikey|token)[ \t:]+[\"']?(?P<it>[A-Za-z0-9._~+/=-]{16,})", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"://[^\s:/@\"'<>]*:(?P<it>[^\s/@\"'<>]{3,})@")
_URL_PARAMETER = re.compile(
    r"[?&](?:api_?key|key|access_?token|token|sig|signature|password|secret|code)=(?P<it>[^\s&#\"'<>]{12,})",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"(?:<.*|\$.*|%.*%|\{.*|\.{3,}|x{4,}|\*{3,}|(?:your|my|the|some|new|old|change|example|dummy|sample|test|insert|enter|hidden|secret|password"
    r"|passwort|token|none|null|true|false|undefined|required|optional|string|redacted|process\.env|os\.environ|getenv|config|self|this|env|settings"
    r"|request|req|user|data|input|form|args|params|props|state|ctx|context)(?:[._\-\[(].*|[A-Z_].*|\d{0,3})?)",
    re.IGNORECASE,
)
"""Values that stand for a secret without being one: placeholders, and expressions of code."""
_CODE_VALUE = re.compile(r"[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*(?:\(.*|\[.*)?[)\]}]*")


def _is_secret(value: str, connector: str) -> bool:
    """Return whether a value after the name of a secret is one, and not a word, a placeholder or code."""
    value = value.rstrip(").]}!?:")
    if len(value) < 6 or _PLACEHOLDER.fullmatch(value):
        return False
    quoted = connector[-1:] in "\"'`"
    has_digit = any(c.isdigit() for c in value)
    if has_digit and not _looks_like_call(value):
        return any(c.isalpha() for c in value) or len(value) >= 8
    if _CODE_VALUE.fullmatch(value):  # letters alone: a word of prose or a variable, unless it is a quoted literal
        return quoted and bool(connector.strip(" \t\"'`")) and "(" not in value and "." not in value
    return any(not c.isalnum() and c not in "._()[]{}/-" for c in value) and not _looks_like_call(value)


def _looks_like_call(value: str) -> bool:
    return bool(re.match(r"[A-Za-z_][\w.]*[(\[]", value))


def _has_digit(value: str) -> bool:
    return any(c.isdigit() for c in value)


# -- numbers -------------------------------------------------------------------------------------------------------
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b")
_CARD = re.compile(r"(?<![\d.])(?:(?:\d[ -]?){12,18}\d|\d{4}(?:\.\d{4}){3})(?![\d.]?\d)")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL", "19": "MK SI", "20": "AT BA EE KZ LT LU XK", "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ TL", "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST",
        "26": "IS TR", "27": "FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HU LB PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU",
        "31": "MT SC", "32": "LC",
    }.items()
    for country in countries.split()
}  # fmt: skip  # one line a country would be eighty
"""Country -> characters of its IBANs (ISO 13616, registry of SWIFT)."""
_PHONE = re.compile(
    r"(?<![\w.+])(?<!\d[ -])"
    r"(?:(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?|\(\d{2,5}\)[ .-]?|0\d{1,4}[ ./-])\d{1,4}(?:[ .-]?\d{2,4}){1,4}(?!\w)"
    r"|(?<![\w.])(?:1[ .-])?\(?\d{3}\)?[-. ]\d{3}[-.]\d{4}(?![\w.-]*\d)"
    r"|(?<![\w.+])(?:\+|00)[1-9]\d{8,13}(?!\w)|(?<![\w.])0[1-9]\d{8,10}(?![\w.])"
)
_PHONE_AFTER_WORD = re.compile(
    r"\b(?:phone|telephone|tel|call|text|dial|mobile|cell|cellphone|whatsapp|fax|sms|ring|handy|telefon|rufnummer|tel[eé]fono|m[oó]vil|t[eé]l[eé]phone"
    r"|portable|celular|telefone|number|nummer)\b(?:\W+\w+){0,3}?\W{1,4}(?P<it>\d{7,12})(?![\w.]?\d)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{1,2}[-./ ](?:\d{1,2}[-./ ])?(?:19|20)\d\d(?!\d)|(?:19|20)\d\d[-./]\d{1,2}[-./]\d{1,2}")
_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 7, 15
"""ITU-T E.164 allows 15 digits; shorter local numbers than 7 are too much like other numbers."""
_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]?\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])")
_WELL_KNOWN_IPS = (
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "255.255.255.0",
    "8.8.8.8",
    "8.8.4.4",
    "1.1.1.1",
    "192.168.0.1",
    "192.168.1.1",
)


def _is_card(text: str) -> bool:
    """Return whether digits pass the check of card numbers (ISO/IEC 7812-1)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 else d * 2 - 9 * (d > 4) for i, d in enumerate(digits[-2::-1])]
    return (
        len(digits) >= 13
        and len(set(digits)) > 1
        and digits[0] in (2, 3, 4, 5, 6)
        and (sum(doubled) + digits[-1]) % 10 == 0
    )


def _is_iban(text: str) -> bool:
    """Return whether letters and digits pass the check of an IBAN (ISO 13616)."""
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[PiiMatch]:
    for match in _IBAN_START.finditer(text):
        length, letters, at = _IBAN_LENGTHS.get(match[0][:2].upper(), 0), "", match.start()
        while at < len(text) and len(letters) < length:
            if text[at].isascii() and text[at].isalnum():
                letters += text[at]
            elif text[at] not in " -\u00a0":
                break
            at += 1
        if letters and len(letters) == length and not text[at : at + 1].isalnum() and _is_iban(letters):
            yield PiiMatch("IBAN", match.start(), at, "check digits of an IBAN")


def _is_phone(text: str) -> bool:
    digits = sum(c.isdigit() for c in text)
    return (
        _MIN_PHONE_DIGITS <= digits <= _MAX_PHONE_DIGITS
        and not _DATE.match(text)
        and len(set(text) - set(" .-/()")) > 2
    )


def _is_ipv4(text: str) -> bool:
    return text not in _WELL_KNOWN_IPS


def _is_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    # `a::b` is an address too, and a name in C++ or Rust.
    return not (address.is_loopback or address.is_unspecified) and _has_digit(text) and len(text) >= 6


# -- file paths ----------------------------------------------------------------------------------------------------
_SEGMENT = r"[^\s\"'`<>|:;,*?/\\]"
_PATH_START = (
    r"(?:file://)?(?:~\w*/|\$(?:HOME|USERPROFILE|\{HOME\})[/\\]|%\w+%\\|/(?:home|Users|Volumes|root|mnt|media|srv|var|opt|etc|private)/"
    r"|\b[A-Za-z]:[\\/](?!/)|\\\\[\w.-]+\\)"
)
_QUOTED_PATH = re.compile(rf"(?<=[\"'`])(?<![\w/]){_PATH_START}[^\"'`\n<>|]+(?=[\"'`])")
_PATH = re.compile(
    rf"(?<![\w/.]){_PATH_START}"
    rf"(?:{_SEGMENT}+(?:(?:\\ | ){_SEGMENT}+){{0,4}}[/\\]+)*"  # folders, which may hold spaces if a separator follows
    rf"(?:{_SEGMENT}*?(?:(?:\\ | )[\w()&+-]+){{1,4}}\.[A-Za-z][A-Za-z0-9]{{1,4}}\b|(?:\\ |{_SEGMENT})*)"
)
_PUBLIC_PATHS = (
    "/etc/hosts",
    "/etc/passwd",
    "/etc/fstab",
    "/etc/nginx",
    "/etc/apt",
    "/etc/ssh",
    "/var/log",
    "/var/www",
    "/var/lib",
    "/var/run",
    "/opt",
    "C:\\Windows",
    "C:\\Program Files",
)
"""Beginnings of paths that are the same on every machine."""


def _is_path(text: str) -> bool:
    return not text.startswith(_PUBLIC_PATHS) and len(text) > 4


# -- all of them ---------------------------------------------------------------------------------------------------
class _Pattern(NamedTuple):
    kind: str
    reason: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ("",)
    """In small letters; the pattern is searched only in a text that has one of them, because most requests have none."""
    check: Callable[[str], bool] = bool
    """Whether a matched piece is what it looks like."""


_NUMBER: tuple[str, ...] = ()
"""Hint of patterns of numbers: `_FOUR_DIGITS`."""
_FOUR_DIGITS = re.compile(r"(?:\d\D*){4}")
_PATTERNS = (
    _Pattern("key", "password in a URL", _URL_PASSWORD, ("://",)),
    _Pattern("key", "key in a URL", _URL_PARAMETER, ("?", "&"), _has_digit),
    _Pattern(
        "key",
        "token after a scheme of authorization",
        _AUTHORIZATION,
        ("bearer", "basic", "apikey", "token"),
        _has_digit,
    ),
    _Pattern("key", "password in SQL", _IDENTIFIED_BY, ("identified",)),
    _Pattern("key", "value of an option", _OPTION, ("-",), lambda value: _is_secret(value, " ")),
    _Pattern("e-mail", "e-mail address", _EMAIL, ("@",)),
    _Pattern("card number", "check digit of a card", _CARD, _NUMBER, _is_card),
    _Pattern("phone", "phone number", _PHONE, _NUMBER, _is_phone),
    _Pattern("phone", "number after a word for a phone", _PHONE_AFTER_WORD, _NUMBER, _is_phone),
    _Pattern("IP address", "IPv4 address", _IPV4, _NUMBER, _is_ipv4),
    _Pattern("IP address", "IPv6 address", _IPV6, (":",), _is_ipv6),
    _Pattern("file path", "path", _QUOTED_PATH, ("/", "\\"), _is_path),
    _Pattern("file path", "path", _PATH, ("/", "\\"), _is_path),
)
KINDS = ("key", "e-mail", "card number", "IBAN", "phone", "IP address", "file path")


def find(text: str) -> list[PiiMatch]:
    """Return the private data in a text, in its order and without overlaps; of two kinds for one place the first in the code."""
    found: list[PiiMatch] = []
    for match in _matches(text):
        if not any(one.start < match.end and match.start < one.end for one in found):
            found.append(match)
    return sorted(found, key=lambda one: one.start)


def _matches(text: str) -> Iterator[PiiMatch]:
    for name, hints, pattern in _VENDOR_PATTERNS:
        if any(hint in text for hint in hints):
            for match in pattern.finditer(text):
                yield PiiMatch("key", match.start(), match.end(), name)
    lower = text.lower()
    named = any(stem in lower for stem in _SECRET_STEMS)
    if named:
        for match in _ASSIGNMENT.finditer(text):
            if _is_secret(match["it"], match["connector"]):
                yield PiiMatch("key", *match.span("it"), "value of a secret's name")
    has_number = _FOUR_DIGITS.search(text) is not None
    if has_number:
        yield from _ibans(text)
    for one in _PATTERNS:
        hinted = has_number if one.hints is _NUMBER else any(hint in lower for hint in one.hints)
        if not hinted or (one.pattern is _OPTION and not named):
            continue
        group = "it" if "it" in one.pattern.groupindex else 0
        for match in one.pattern.finditer(text):
            if one.check(match[group]):
                yield PiiMatch(one.kind, *match.span(group), one.reason)


def mask(text: str) -> str:
    """Return the text with `[kind]` in the place of each piece of private data."""
    pieces, at = [], 0
    for match in find(text):
        pieces += [text[at : match.start], f"[{match.kind}]"]
        at = match.end
    return "".join([*pieces, text[at:]])
