"""Planted private data is found; ordinary requests are left alone."""

import pytest

from tests.worlds import SHIPPED
from tui_router.datasets.pii import find, mask
from tui_router.datasets.sources import seed_examples

PLANTED = {
    "e-mail": ["jo.doe@firm.example", "a+b@mail.co.uk", "first_last@sub.domain.org", "x@y.io", "müller@firma.de"],
    "phone": [
        "+49 30 1234567",
        "+1 (555) 010-9999",
        "555-123-4567",
        "(020) 7946 0958",
        "0171/2345678",
        "+44 7700 900123",
    ],
    "key": [
        "sk-proj-AbCdEfGhIjKlMnOpQrSt",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123def456",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "hf_abcdefghijklmnopqrstuvwx",
        "xoxb-123456789012-abcdefghijkl",
    ],
    "card number": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "IP address": ["10.0.0.12", "203.0.113.77"],
    "file path": [
        "/home/ana/secret/plan.txt",
        "~/Documents/taxes.pdf",
        r"C:\Users\ana\Desktop\x.docx",
        "/Users/jo/repo",
    ],
}
AROUND = ["please use {} for it", "{}", "is {} right?", "send it: {}, thanks", "my data ({})"]


def test_nearly_everything_planted_is_found_and_masked():
    found = missed = 0
    for kind, pieces in PLANTED.items():
        for piece in pieces:
            for around in AROUND:
                text = around.format(piece)
                ok = any(f.kind == kind and piece.rstrip(").,?") in text[f.start : f.end + 1] for f in find(text))
                found, missed = found + ok, missed + (not ok)
    assert found / (found + missed) >= 0.95


@pytest.mark.parametrize("text", ["my password is hunter2boat", "api_key=abc123xyz", "the token: q1w2e3r4t5"])
def test_a_secret_is_known_by_what_stands_before_it(text):
    assert mask(text).endswith("[key]") and text.split()[-1].split("=")[-1] not in mask(text)


def test_check_digits_tell_a_card_from_a_number():
    assert find("4111 1111 1111 1112") == [] or all(f.kind != "card number" for f in find("4111 1111 1111 1112"))
    assert not any(f.kind == "IBAN" for f in find("DE00 3704 0044 0532 0130 00"))


def test_few_ordinary_requests_hold_any():
    seeds = [e.text for e in seed_examples(SHIPPED.fleet)]
    assert sum(bool(find(text)) for text in seeds) / len(seeds) < 0.003
