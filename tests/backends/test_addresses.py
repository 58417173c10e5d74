"""Whose machine an address is on, which proxy leads to it, and what of it may be shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router.backends.addresses import (
    connected,
    is_local,
    is_private,
    is_usable,
    login,
    other_loopback,
    proxy_for,
)
from tui_router.config.server_urls import without_login

PROXY = {"http": "http://proxy:3128", "https": "http://proxy:3128"}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1234",
        "http://127.1.2.3",
        "http://localhost",
        "http://LOCALHOST.:80",
        "http://[::1]:1234",
        "http://0.0.0.0:11434",
        "http://[::]:11434",
        "http://[::ffff:127.0.0.1]",
        "http://me:pw@127.0.0.1",
    ],
)
def test_this_machine(url):
    assert is_local(url) and is_private(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3",
        "http://172.16.0.9:8000",
        "http://192.168.1.20",
        "http://169.254.1.1",
        "http://100.101.102.103",
        "http://[fd12:3456::1]",
        "http://[fe80::1]",
        "http://[::ffff:192.168.1.20]",
        "http://workstation:1234",
        "http://gpu.local",
        "http://nas.lan",
        "http://box.tail1234.ts.net",
        "http://box.home.arpa",
    ],
)
def test_a_private_network_is_never_asked_through_a_proxy(url):
    assert is_private(url) and not is_local(url) and proxy_for(url, {**PROXY, "all": "socks5://x:1"}) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8",
        "http://172.32.0.1",
        "http://models.example",
        "http://[2001:4860::1]",
        "http://127.0.0.1.example",
    ],
)
def test_others_are(url):
    assert not is_local(url) and not is_private(url) and proxy_for(url, PROXY) == "http://proxy:3128"


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("*", True),
        ("models.example", True),
        ("Models.Example", True),
        (".example", True),
        ("*.example", True),
        ("example", True),
        ("a.b, models.example ,c", True),
        ("a.b models.example", True),
        ("models.example:8443", True),
        ("https://models.example", True),
        ("models.example.", True),
        ("models.example:1", False),
        ("dels.example", False),
        ("models.example.org", False),
        ("", False),
        (",,", False),
        ("[::1]:x", False),
        ("10.0.0.0/8", False),
    ],
)
def test_forms_of_no_proxy(no_proxy, direct):
    assert (proxy_for("https://models.example:8443", {**PROXY, "no": no_proxy}) == "") is direct


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://8.8.8.7", "8.8.8.0/24", True),
        ("http://8.8.8.7", "8.8.8.7", True),
        ("http://8.8.8.7:8000", "8.8.8.7:8000", True),
        ("http://8.8.8.7", "8.8.9.0/24", False),
        ("http://[2001:4860::1]:80", "[2001:4860::1]", True),
        ("http://[2001:4860::1]", "2001:4860::1", True),
        ("http://[2001:4860::1]", "2001:4860::/32", True),
        ("http://[2001:4860::1]", "[2001:4860::1]:81", False),
    ],
)
def test_addresses_and_networks_in_no_proxy(url, no_proxy, direct):
    assert (proxy_for(url, {**PROXY, "no": no_proxy}) == "") is direct


def test_the_proxy_of_the_scheme_goes_before_the_one_of_all():
    assert proxy_for("https://a.b", {"all": "http://all:1", "http": "http://plain:1"}) == "http://all:1"
    assert proxy_for("http://a.b", {"all": "http://all:1", "http": "plain:1"}) == "http://plain:1"
    assert proxy_for("http://a.b", {}) == ""


def test_a_login_is_taken_apart_and_shown_nowhere():
    url = "http://me:p%40ss%2Fword@box.lan:1234/v"
    assert login(url) == ("me", "p@ss/word") and login("http://box.lan") is None
    assert without_login(url) == connected(url) == "http://box.lan:1234/v"
    assert without_login("http://a@b:c@box") == "http://box"
    assert without_login("http://me:pa/ss#w?rd@box:80/x") == "http://box:80/x", "a password that was not quoted"
    assert (
        without_login("http://box:80/x@y") == "http://box:80/x@y"
        and without_login("http://box/x@y") == "http://box/x@y"
    )


@pytest.mark.parametrize(
    ("url", "asked", "other"),
    [
        ("http://localhost:1234/", "http://127.0.0.1:1234", "http://[::1]:1234"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434", "http://[::1]:11434"),
        ("http://[::]:1", "http://[::1]:1", "http://127.0.0.1:1"),
        ("http://127.0.0.1/sub", "http://127.0.0.1/sub", "http://[::1]/sub"),
        ("http://127.0.0.1.example", "http://127.0.0.1.example", ""),
        ("http://192.168.1.2", "http://192.168.1.2", ""),
    ],
)
def test_loopback_has_two_addresses(url, asked, other):
    assert connected(url) == asked and other_loopback(asked) == other


@given(st.text(max_size=30).map(lambda text: f"http://{text}"), st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_an_address_that_can_be_asked_or_not(url, no_proxy):
    assert isinstance(is_usable(url), bool) and isinstance(is_local(url), bool)
    assert isinstance(proxy_for(url, {**PROXY, "no": no_proxy}), str)
    login(url)
    other_loopback(connected(url))
