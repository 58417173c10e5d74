"""The URL of a server: what is taken, what is simplified, and that a password is never in a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_router.config.server_urls import normal_url, url_fault, without_login
from tui_router.config.settings import ConfigError, parse_config

EXAMPLE = "http://127.0.0.1:1234"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://localhost:8080", "http://127.0.0.1:8080"),
        ("http://localhost.lan:8080/", "http://localhost.lan:8080"),
        ("HTTP://Box.Lan:1/v1/", "http://box.lan:1"),
        ("http://h:1/v1/chat/completions", "http://h:1"),
        ("http://h:1/api/tags", "http://h:1"),
        ("https://h/some/where/v1", "https://h/some/where"),
        ("http://[::1]:11434", "http://[::1]:11434"),
        ("http://0.0.0.0:11434", "http://0.0.0.0:11434"),
        ("http://Anna:Geh@eim@LOCALHOST:1/v1", "http://Anna:Geh@eim@127.0.0.1:1"),
        ("http://bücher.example:1", "http://bücher.example:1"),
        ("  http://h:1\n", "http://h:1"),
    ],
)
def test_a_url_is_simplified(typed, meant):
    assert not url_fault(typed.strip(), EXAMPLE)
    assert normal_url(typed) == meant and normal_url(meant) == meant


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "expected a URL such as"),
        ("box:8080", 'did you mean "http://box:8080"?'),
        ("192.168.0.7:8080/v1", 'did you mean "http://192.168.0.7:8080/v1"?'),
        ("ftp://h", "found 'ftp://h'"),
        ("http://", "names no host"),
        ("http:///v1", "names no host"),
        ("http://..", "names no host"),
        ("http://h:0", "port that is not a number from 1 to 65535"),
        ("http://h:65536", "port that is not a number from 1 to 65535"),
        ("http://h:8o8o", "port that is not a number from 1 to 65535"),
        ("http://fe80::1:8080", "an IPv6 address stands in brackets"),
        ("http://[fe80::1:8080", "brackets that hold no IPv6 address"),
        ("http://h:1/?key=2", "a ? or a #"),
        ("http://h:1#top", "a ? or a #"),
        ("http://h :1", "a space or a character that is not shown"),
        ("http://h\x00:1", "found 'http://h\\x00:1'"),
        ("http://h\u202e:1", "found 'http://h\\u202e:1'"),
        ("http://h\u200b:1", "found 'http://h\\u200b:1'"),
    ],
)
def test_what_is_wrong_with_a_url_is_told(typed, message):
    assert message in url_fault(typed, EXAMPLE)


@pytest.mark.parametrize(
    "url",
    [
        "http://anna:s3cr3t@h:99999",
        "anna:s3cr3t@h:1",
        "ftp://anna:s3cr3t@h",
        "http://anna:x/s3cr3t@h:1",
        "http://anna:x#s3cr3t@h:1",
        "http://anna:s3cr3t @h:1",
        "http://anna:s3cr3t\n@h:1",
        "http://anna:s3cr3t@[h",
        "http://anna:s3cr3t@h/?x",
    ],
)
@pytest.mark.parametrize("table", ["backends", "tools"])
def test_a_password_is_in_no_message(url, table):
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[{table}.mine]\nurl = {url!r}".replace("'", '"'), None, {})
    assert "s3cr3t" not in str(caught.value) and f"{table}.mine.url" in str(caught.value)


def test_a_password_of_the_wrong_place_or_kind_is_in_no_message():
    for text in (
        '[models.m]\nbackend = ["http://anna:s3cr3t@h:1"]',
        '[settings]\nrouter = "http://anna:s3cr3t@h:1"',
        "[backends.a]\nurl = 5",
    ):
        with pytest.raises(ConfigError) as caught:
            parse_config(text, None, {})
        assert "s3cr3t" not in str(caught.value) and len(caught.value.problems) == 1


def test_a_login_is_kept_for_the_connection_and_hidden_from_view():
    (*_, mine) = parse_config('[backends.mine]\nurl = "http://anna:s3cr3t@box:1/v1"', None, {}).backends
    assert mine.url == "http://anna:s3cr3t@box:1" and without_login(mine.url) == "http://box:1"
    (*_, tool) = parse_config('[tools.mine]\nurl = "http://anna:s3cr3t@box:1/v1"', None, {}).tools
    assert "s3cr3t" not in repr(mine) + repr(tool) and tool.url == mine.url


@given(st.text(alphabet=st.sampled_from("htps:/@[]?#%.\\0123456789ab \t\n\x00\x1b\u202e\u200bé"), max_size=30))
def test_any_text_is_a_url_or_a_sentence(text):
    fault = url_fault(text.strip(), EXAMPLE)
    assert "\n" not in fault
    if not fault:
        assert not url_fault(normal_url(text), EXAMPLE)
        assert normal_url(normal_url(text)) == normal_url(text)
