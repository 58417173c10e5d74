"""HTTP to one server, on real sockets: what a caller gets, and what never gets out."""

import asyncio
import base64
import gzip
import time

import pytest

from tests.doubles.raw import chunked, http, raw_server
from tests.doubles.scripted import ScriptedServer
from tui_router.backends import client as client_module
from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client


async def failure(awaitable):
    with pytest.raises(BackendError) as caught:
        await awaitable
    return caught.value


async def streamed(client, **limits):
    return [c async for c in client.stream("/x", {"a": 1}, **{"first_byte_s": 2.0, "idle_s": 2.0, **limits})]


@pytest.fixture
def connect():
    made = []

    def client(url, key=""):
        made.append(Client(url, key))
        return made[-1]

    yield client
    for one in made:
        asyncio.run(one.close())


async def test_a_plain_reply_has_status_text_and_json(connect):
    async with raw_server(http(b'{"a": [1, "\xc3\xa4"]}', Server="llama.cpp")) as url:
        reply = await connect(url).get("/v1/models")
    assert (reply.status, reply.headers["server"], reply.json["a"][1].text()) == (200, "llama.cpp", "ä")


async def test_a_compressed_reply_is_read_although_none_was_asked_for(connect):
    async with raw_server(http(gzip.compress(b'{"a": 5}'), Content_Encoding="gzip")) as url:
        assert (await connect(url).get("/")).json["a"].count() == 5
    async with raw_server(http(b"not gzip", Content_Encoding="gzip")) as url:
        assert (await failure(connect(url).get("/"))).failure == "broken"


async def test_what_is_not_json_reads_as_nothing(connect):
    async with raw_server(http(b"\xff\xfe{")) as url:
        assert (await connect(url).get("/")).json.raw is None


async def test_nothing_listens(connect):
    async with raw_server() as url:
        pass
    error = await failure(connect(url).get("/"))
    assert error.failure == "down" and str(error) == f"nothing answers at {url}: connection refused"


async def test_a_silent_server_is_given_up_in_time(connect):
    async with raw_server(keep_open=True) as url:
        client, began = connect(url), time.monotonic()
        error = await failure(client.get("/", timeout=0.2))
        assert error.failure == "slow" and "did not answer within 0.2 s" in str(error)
        late = await failure(streamed(client, first_byte_s=0.2))
        assert late.failure == "slow" and "no answer from" in str(late)
    assert time.monotonic() - began < 2


async def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(connect):
    async with raw_server(*(bytes([b]) for b in http(b"{}")), pause_s=0.05) as url:
        assert (await failure(connect(url).get("/", timeout=0.3))).failure == "slow"


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 ", b"SSH-2.0-OpenSSH\r\n", b"\x00\x01\x02\r\n\r\n"])
async def test_a_connection_without_an_http_reply(connect, reply):
    async with raw_server(reply) as url:
        assert (await failure(connect(url).post("/", {}, 2.0))).failure == "no_bytes"
        assert (await failure(streamed(connect(url)))).failure == "no_bytes"


async def test_a_reply_that_is_cut_off(connect):
    async with raw_server(http(b"{}" * 10)[:-5]) as url:
        assert (await failure(connect(url).get("/"))).failure == "broken"


async def test_a_listing_without_an_end_is_not_read_to_its_end(connect, monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_BODY", 2**20)
    async with raw_server(chunked(*(b"[" * 65536 for _ in range(64)), end=False), keep_open=True) as url:
        error = await failure(connect(url).get("/"))
    assert error.failure == "server" and "more than 1 MiB" in str(error)


async def test_a_stream_is_passed_on_whatever_its_content_type_is(connect):
    for kind in ("text/event-stream", "Text/Event-Stream; charset=UTF-8", "text/plain", "application/octet-stream"):
        async with raw_server(chunked(b"data: 1\n\n", b"data: 2\n\n", kind=kind)) as url:
            assert b"".join(await streamed(connect(url))) == b"data: 1\n\ndata: 2\n\n"


async def test_a_stream_that_breaks_or_falls_silent_in_the_middle(connect):
    async with raw_server(chunked(b"data: 1\n\n", end=False)) as url:
        error = await failure(streamed(connect(url)))
        assert error.failure == "broken" and "closed the connection" in str(error)
    async with raw_server(chunked(b"data: 1\n\n", end=False), keep_open=True) as url:
        error = await failure(streamed(connect(url), idle_s=0.2))
        assert error.failure == "idle" and "0.2 s" in str(error)


async def test_leaving_a_stream_closes_its_connection(connect):
    server = ScriptedServer()

    async def endless(request, reply):
        await reply.start_stream()
        while True:
            await reply.chunk(b": alive\n\n")
            await asyncio.sleep(0.01)

    server.chat = endless
    chunks = connect(await server.start()).stream("/x", {}, first_byte_s=2, idle_s=2)
    await anext(chunks)
    await chunks.aclose()
    async with asyncio.timeout(2):
        while server._open:
            await asyncio.sleep(0.01)
    await server.close()


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b'{"error": {"message": "out of order"}}', "application/json", "out of order"),
        (
            b'{"detail": [{"loc": ["body", "messages", 0], "msg": "Field required"}]}',
            "application/json",
            "messages.0: Field",
        ),
        (
            b"<html><head><title>502 Bad Gateway</title></head></html>",
            "text/html",
            "a web page (502 Bad Gateway), HTTP 500",
        ),
        (b"plain words", "text/plain", "plain words"),
        (b"", "text/plain", "HTTP 500"),
        (b'{"error": ' * 1000, "application/json", '{"error"'),
    ],
)
async def test_a_refusal_is_one_sentence(connect, body, kind, said):
    async with raw_server(http(body, "500 Error", kind)) as url:
        error = await failure(streamed(connect(url)))
        assert said in str(error) and len(str(error)) < 500
        assert said in str(await failure(connect(url).ask("/", {}, 2.0)))


async def test_a_good_status_with_an_error_in_it_is_an_error(connect):
    async with raw_server(http(b'{"error": "Unexpected endpoint or method. (POST /x). Returning 200 anyway"}')) as url:
        assert (await failure(connect(url).ask("/x", {}, 2.0))).failure == "not_found"


async def test_a_redirect_is_told(connect):
    reply = http(b"", "301 Moved Permanently", Location="https://me:pa55word@models.example/v1/models")
    async with raw_server(reply) as url:
        for error in (await failure(connect(url).get("/")), await failure(streamed(connect(url)))):
            assert error.failure == "settings" and "redirects to https://models.example/v1/models" in str(error)


# -- settings ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["  sk-secret-0001\r\n", "Bearer sk-secret-0001", "bearer  sk-secret-0001\n"])
async def test_what_was_copied_along_with_a_key_is_dropped(connect, key):
    server = ScriptedServer()
    await connect(await server.start(), key).get("/v1/models")
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret-0001"
    await server.close()


@pytest.mark.parametrize("key", ["sk-s\u00e9cret", "sk\u2014secret", "sk-\nsecret", "sk-\x00secret", "\u200bsecret"])
async def test_a_key_that_cannot_be_sent_is_one_sentence_without_the_key(connect, key):
    error = await failure(connect("http://127.0.0.1:9", key).get("/"))
    assert error.failure == "settings" and "the API key of http://127.0.0.1:9 holds" in str(error)
    assert "cret" not in str(error)


async def test_a_login_in_the_address_is_sent_and_not_shown(connect):
    server = ScriptedServer()
    url = (await server.start()).replace("//", "//m%40e:pa55%20word@")
    client = connect(url)
    await client.get("/v1/models")
    sent = server.requests[0].headers["authorization"]
    assert sent == "Basic " + base64.b64encode(b"m@e:pa55 word").decode()
    assert client.url == server.url
    await server.close()
    assert "pa55" not in str(await failure(client.get("/")))


async def test_a_key_that_a_server_repeats_is_not_shown(connect):
    said = b'{"error": {"message": "the key sk-lm-secret and the password pa55word are wrong"}}'
    async with raw_server(http(said, "401 Unauthorized")) as plain:
        url = plain.replace("//", "//me:pa55word@")
        reply = await connect(url, "sk-lm-secret").get("/")
        assert "***" in reply.text and "secret" not in reply.text and "pa55word" not in reply.text
        assert "secret" not in str(await failure(connect(url, "sk-lm-secret").ask("/", {}, 2.0)))


async def test_a_key_that_is_no_secret_leaves_names_alone(connect):
    async with raw_server(http(b'{"error": "ollama has no model ollama/x"}', "404 Not Found")) as url:
        assert "ollama/x" in str(await failure(connect(url, "ollama").ask("/", {}, 2.0)))


@pytest.mark.parametrize(
    "url", ["http://[x", "http://127.0.0.1:99999", "http://a b", "http://127.0.0.1:8o8o", "http://", "http://\u2028"]
)
async def test_an_address_that_is_none_is_one_sentence(connect, url):
    error = await failure(connect(url).get("/"))
    assert error.failure in ("settings", "down") and len(str(error)) < 300


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:9", "socks4://u:pa55word@127.0.0.1:9", "gopher://x", "http://[x"]
)
async def test_a_proxy_that_cannot_be_used_is_one_sentence_and_private_servers_do_not_need_it(
    connect, monkeypatch, proxy
):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    error = await failure(connect("http://models.example").get("/"))
    assert error.failure == "settings" and "NO_PROXY" in str(error) and "pa55word" not in str(error)
    async with raw_server(http(b"{}")) as url:
        assert (await connect(url).get("/")).status == 200
        assert (await connect(url.replace("127.0.0.1", "0.0.0.0")).get("/")).status == 200


async def test_a_remote_server_is_asked_through_the_proxy(connect, monkeypatch):
    async with raw_server(http(b'{"through": "proxy"}')) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removeprefix("http://"))
        assert (await connect("http://models.example").get("/")).json["through"].text() == "proxy"
    monkeypatch.setenv("http_proxy", proxy.replace("//", "//me:pa55word@"))
    error = str(await failure(connect("http://models.example").get("/")))
    assert f"connection refused (asked through the proxy {proxy})" in error and "pa55word" not in error


async def test_missing_certificates_concern_encrypted_servers_only(connect, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    error = await failure(connect("https://127.0.0.1:9").get("/"))
    assert error.failure == "settings" and "SSL_CERT_FILE" in str(error)
    async with raw_server(http(b"{}")) as url:
        assert (await connect(url).get("/")).status == 200


async def test_https_to_a_server_without_it(connect):
    async with raw_server(http(b"{}", "400 Bad Request")) as url:
        error = await failure(connect(url.replace("http:", "https:")).get("/"))
    assert error.failure in ("down", "no_bytes") and len(str(error)) < 200


async def test_a_server_that_listens_on_the_other_loopback_address_only(connect):
    server = ScriptedServer()
    try:
        url = await server.start("::1")
    except OSError:
        pytest.skip("this machine has no [::1]")
    client = connect(url.replace("[::1]", "127.0.0.1"))
    assert (await client.get("/v1/models")).status == 200
    await server.close()
    assert (await failure(client.get("/"))).failure == "down"


async def test_closing_never_fails_and_may_come_twice(connect):
    async with raw_server(http(b"{}")) as url:
        client = connect(url)
        await client.get("/")
        await client.close()
        await client.close()
    await connect("http://[x").close()
