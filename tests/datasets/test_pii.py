"""Planted private data is found in every form; ordinary requests are left alone."""

import random
import string

import pytest

from tests.worlds import SHIPPED
from tui_router.datasets.pii import KINDS, find, mask
from tui_router.datasets.sources import seed_examples

RNG = random.Random(20)
ALNUM = string.ascii_letters + string.digits


def some(count, alphabet=ALNUM):
    """Random characters that hold a digit, as every key does."""
    return "".join(RNG.choice(alphabet) for _ in range(count - 1)) + RNG.choice(string.digits)


def hexes(count):
    return some(count, "0123456789abcdef")


KEYS = {
    "aws access": lambda: RNG.choice(["AKIA", "ASIA"]) + some(16, string.ascii_uppercase + "234567"),
    "github": lambda: RNG.choice(["ghp_", "ghs_", "github_pat_11A"]) + some(36),
    "gitlab": lambda: "glpat-" + some(20),
    "slack": lambda: f"xoxb-{some(12, string.digits)}-{some(12, string.digits)}-{some(24)}",
    "slack webhook": lambda: f"https://hooks.slack.com/services/T{some(8)}/B{some(8)}/{some(24)}",
    "discord webhook": lambda: f"https://discord.com/api/webhooks/{some(18, string.digits)}/{some(60)}",
    "sendgrid": lambda: f"SG.{some(22)}.{some(43)}",
    "npm": lambda: "npm_" + some(36),
    "pypi": lambda: "pypi-AgEIcHlwaS5vcmc" + some(80),
    "telegram": lambda: f"{some(10, '123456789')}:AA{some(33)}",
    "twilio": lambda: RNG.choice(["AC", "SK"]) + hexes(32),
    "groq": lambda: "gsk_" + some(52),
    "google": lambda: RNG.choice(["AIzaSy" + some(33), "GOCSPX-" + some(28)]),
    "stripe": lambda: RNG.choice(["sk_live_", "rk_test_", "whsec_"]) + some(32),
    "openai": lambda: "sk-proj-" + some(48),
    "anthropic": lambda: f"sk-ant-api03-{some(93)}AA",
    "hugging face": lambda: "hf_" + some(34),
    "jwt": lambda: f"eyJhbGciOiJIUzI1NiJ9.eyJ{some(40)}.{some(43)}",
    "azure": lambda: f"{some(3)}8Q~{some(34)}",
    "service": lambda: RNG.choice(
        ["dop_v1_" + hexes(64), "shpat_" + hexes(32), "figd_" + some(40), "dapi" + hexes(32)]
    ),
}
FORMS = (
    "could you check why {} is refused?",
    '{{"name": "prod", "value": "{}", "on": true}}',
    "client = Client('{}')",
    "export VALUE={}",
    "setting: {}  # from the old server",
    "2025-11-03 10:22:01 ERROR got ({}) from the queue",
)
NAMED_SECRETS = [
    'aws_secret_access_key = "wJalrX7tnFEMIK7MDENGbPxRfiCYz1kQ9LmQ0Zab"|wJalrX7tnFEMIK7MDENGbPxRfiCYz1kQ9LmQ0Zab',
    "AWS_SESSION_TOKEN=FwoGZXIvYXdzEBYaDKm8r1|FwoGZXIvYXdzEBYaDKm8r1",
    '{"apiKey": "9f8e7d6c5b4a", "timeout": 3}|9f8e7d6c5b4a',
    "{'client_secret': 'q8!Zp-33kk', }|q8!Zp-33kk",
    "const DB_PASSWORD = `tulpe-Regen-7`;|tulpe-Regen-7",
    "my wifi password is Kartoffel99|Kartoffel99",
    "das Passwort lautet Sommerwind#4|Sommerwind#4",
    "la contraseña es Girasol2024!|Girasol2024!",
    "le mot de passe : cabane-rouge9|cabane-rouge9",
    "a senha é passarinho77|passarinho77",
    "пароль: moloko2025|moloko2025",
    "密码：ab12cd34|ab12cd34",
    "het wachtwoord is fiets-Straat1|fiets-Straat1",
    "curl -H 'Authorization: Bearer 7f3b9a2c4d5e6f708192a3b4' http://x.example|7f3b9a2c4d5e6f708192a3b4",
    "Authorization: Basic am9objpodW50ZXIyc2VjcmV0|am9objpodW50ZXIyc2VjcmV0",
    "X-Api-Key: 0c1d2e3f4a5b6c7d|0c1d2e3f4a5b6c7d",
    "postgres://ana:gr8Kaffee@db.firm.example:5432/app|gr8Kaffee",
    "mysql --user=ana --password=Zitrone!5 shop|Zitrone!5",
    "redis-cli -a x --pass-phrase 'blau3Tasse'|blau3Tasse",
    "curl -u ana:geheim99 https://x.example|geheim99",
    'setPassword("Tr0ub4dor&3")|Tr0ub4dor&3',
    "the login is ana and the password hunter22|hunter22",
    "pw: hunter22|hunter22",
    "CREATE USER ana IDENTIFIED BY 'Wolke-77';|Wolke-77",
    "define('DB_PASSWORD', 'mp3Player!');|mp3Player!",
    "<password>Xk29-qq1</password>|Xk29-qq1",
    "password: swordfish-Blue|swordfish-Blue",
    "$cfg['secret'] => 'zug4nach7';|zug4nach7",
    "AccountName=a;AccountKey=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA==;|Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA==",
    "https://api.example.org/v1/map?key=8Hs7d6Fg5h4J3k2L&zoom=3|8Hs7d6Fg5h4J3k2L",
]
OTHERS = {
    "e-mail": ["jo.doe@firm.example", "a+b@mail.co.uk", "müller@firma.de", "x_9@sub.domain.org"],
    "phone": [
        "+49 30 1234567",
        "+1 (555) 010-9999",
        "555-123-4567",
        "(020) 7946 0958",
        "0171/2345678",
        "+447700900123",
        "004915112345678",
        "015112345678",
        "+33 6 12 34 56 78",
        "(415) 555-0132",
    ],
    "card number": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "4242.4242.4242.4242"],
    "IBAN": [
        "DE89 3704 0044 0532 0130 00",
        "GB82WEST12345698765432",
        "de89370400440532013000",
        "FR14-2004-1010-0505-0001-3M02-606",
        "es91 2100 0418 4502 0005 1332",
        "NL91 ABNA 0417 1643 00",
    ],
    "IP address": [
        "10.0.0.12",
        "203.0.113.77",
        "2001:db8::8a2e:370:7334",
        "fe80::1ff:fe23:4567:890a",
        "2001:db8:0:1:1:1:1:1",
    ],
    "file path": [
        "/home/ana/secret/plan.txt",
        "~/Documents/taxes.pdf",
        r"C:\Users\ana\Desktop\x.docx",
        "/Users/jo/My Files/tax 2023.pdf",
        r"C:\Users\Jo Doe\My Documents\letter to Mia.docx",
        r"\\nas\family\photos",
        "/mnt/data/run one/out.csv",
        "D:/projects/jo/x.py",
    ],
}
AROUND = ("please use {} for it", "{}", "is {} right?", "send it: {}, thanks", "my data ({})", 'value = "{}"')


def masked_whole(text, secret):
    """Whether nothing is left of a secret: no eight characters in a row of its second half."""
    left, tail = mask(text), secret[len(secret) // 2 :]
    return secret not in left and not any(tail[i : i + 8] in left for i in range(max(1, len(tail) - 7)))


def planted():
    for name, make in KEYS.items():
        for form in FORMS:
            secret = make()
            yield f"{name}: {form}", form.format(secret), secret
    for line in NAMED_SECRETS:
        text, _, secret = line.rpartition("|")
        yield text, text, secret
    for kind, pieces in OTHERS.items():
        for place, piece in enumerate(pieces):
            for form in (AROUND[place % 6], AROUND[(place + 3) % 6]):
                yield f"{kind}: {form}", form.format(piece), piece


def test_nearly_everything_planted_is_masked():
    cases = list(planted())
    missed = [(name, secret) for name, text, secret in cases if not masked_whole(text, secret)]
    assert len(cases) >= 150 and len(KEYS) >= 12
    assert len(missed) <= 0.05 * len(cases), missed


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_is_called_by_its_name(kind):
    named = [any(match.kind == kind for match in find(f"use {piece} now")) for piece in OTHERS[kind]]
    assert sum(named) >= 0.95 * len(named), list(zip(OTHERS[kind], named, strict=True))
    assert kind in KINDS


def test_a_match_says_why():
    matches = find("token ghp_abcdefghijklmnopqrstuvwxyz0123456789 for 203.0.113.77")
    assert [(match.kind, match.reason) for match in matches] == [
        ("key", "GitHub token"),
        ("IP address", "IPv4 address"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "what does password: required mean in this form?",
        "s_password = newPassword; emit changed()",
        'password = os.environ["DB_PASSWORD"]',
        "token = get_token(user)",
        "the secret is patience",
        "valid_date('03-11-2000') => True, 12/03/2024 16:00 - 18:00",
        "std::vector<int> a::b at 12:30:45, ratio 16:9",
        "version 1.2.3, order 000095037, id 593647757",
        "DE00 3704 0044 0532 0130 00 is no IBAN and 4111 1111 1111 1112 no card",
        "see /etc/hosts and /var/log/syslog, then ping 127.0.0.1 or ::1",
        "use sk-learn-compatible-estimators-everywhere",
        "either/or, and 3.14159265358979 or 1234567890123456",
        "Set the API key in the settings: Settings.api_key = settings.key",
    ],
)
def test_what_only_looks_private_is_left_alone(text):
    assert mask(text) == text


def test_few_ordinary_requests_hold_any():
    seeds = [e.text for e in seed_examples(SHIPPED.fleet)]
    assert sum(bool(find(text)) for text in seeds) / len(seeds) < 0.003
