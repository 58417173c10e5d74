"""A request that has been sent to a server is not sent to it again, but for the reasons that the server gives."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.doubles.scripted import ScriptedServer, answer
from tests.worlds import SHIPPED
from tui_router.backends.dispatch import Dispatcher, DispatchOrder
from tui_router.backends.embeddings import Embedder
from tui_router.backends.health import Health
from tui_router.backends.json_writer import Writer
from tui_router.backends.served_chooser import ServedLetterChooser
from tui_router.config.settings import BackendSetting, Settings
from tui_router.core.types import Message

WHOLE_FLEET = ("google/gemma-3-1b", "google/gemma-3n-e4b", "openai/gpt-oss-20b")
MESSAGES = (Message("user", "hello"),)


@pytest.fixture
async def world():
    made = []

    class World:
        async def start(self, chat, models=("google/gemma-3-1b",)):
            self.server = ScriptedServer(chat, models)
            self.health = Health(SHIPPED.fleet, [BackendSetting(name="pretend", url=await self.server.start())])
            made.extend([self.server, self.health])
            await self.health.look()
            self.dispatcher = Dispatcher(SHIPPED.fleet, self.health, Settings(first_byte_s=2, load_s=2, idle_s=1))
            return self

        async def serve(self):
            order = DispatchOrder(route=SHIPPED.fleet.route("simple_chat"), messages=MESSAGES)
            async with asyncio.timeout(20):
                return await self.dispatcher.serve(order, lambda event: None)

    yield World()
    for one in reversed(made):
        await one.close()


def dying(world):
    """A server that reads the whole request and then crashes."""

    async def crash(request, reply):
        await world.server.close()

    return crash


async def dropping(request, reply):
    """A server that reads the whole request and then drops the connection, but lives on."""
    reply.abort()


async def failing(request, reply):
    await reply.json({"error": {"message": "The model has crashed. (Exit code: 6)"}}, 500)


def models_asked(server):
    return [r.body["model"] for r in server.posts]


async def test_a_request_that_crashes_its_server_is_posted_to_it_once(world):
    await world.start(dying(world), WHOLE_FLEET)
    outcome = await world.serve()
    assert outcome.failed and models_asked(world.server) == ["google/gemma-3-1b"]
    assert "closed the connection" in outcome.dispatch.hops[0].reason


@pytest.mark.parametrize("chat", [dropping, failing])
async def test_a_model_that_failed_is_not_asked_again_and_the_others_of_a_living_server_are(world, chat):
    await world.start(chat, WHOLE_FLEET)
    outcome = await world.serve()
    assert outcome.failed and models_asked(world.server) == list(WHOLE_FLEET)


async def test_an_unavailable_server_that_gives_no_reason_is_not_asked_again(world):
    async def unavailable(request, reply):
        await reply.json({"error": {"message": "upstream died"}}, 503)

    await world.start(unavailable)
    assert (await world.serve()).failed and len(world.server.posts) == 1


async def test_a_server_that_says_it_is_still_loading_has_not_begun_and_is_asked_again(world):
    async def loading_once(request, reply):
        if len(world.server.posts) == 1:
            await reply.json({"error": {"message": "Loading model"}}, 503, {"Retry-After": "0.05"})
        else:
            await answer(request, reply)

    await world.start(loading_once)
    outcome = await world.serve()
    assert outcome.answer.text == "Hello there" and len(world.server.posts) == 2


async def test_a_refused_field_is_left_out_once_and_from_then_on(world):
    async def no_stream_options(request, reply):
        if "stream_options" in request.body:
            await reply.json({"error": {"message": "unknown field: stream_options"}}, 400)
        else:
            await answer(request, reply)

    await world.start(no_stream_options)
    assert (await world.serve()).answer.text == "Hello there" and len(world.server.posts) == 2
    assert (await world.serve()).answer.text == "Hello there" and len(world.server.posts) == 3


async def test_a_refusal_that_is_repeated_after_the_correction_is_told(world):
    async def refusing(request, reply):
        await reply.json({"error": {"message": "unknown field: stream_options"}}, 400)

    await world.start(refusing)
    outcome = await world.serve()
    assert outcome.failed and "stream_options" in outcome.answer.error and len(world.server.posts) == 2


async def test_the_writer_of_json_asks_a_crashing_server_once(world):
    from tui_router.backends.backend_errors import BackendError

    for chat, posts in ((failing, 1), (dropping, 1), (dying(world), 1)):
        await world.start(chat)
        with pytest.raises(BackendError):
            await Writer(world.health, "gemma-3-1b").write(MESSAGES, {}, max_tokens=9, temperature=0, deadline_s=2)
        assert len(world.server.posts) == posts


async def test_the_writer_of_json_leaves_a_refused_schema_out_once_and_from_then_on(world):
    async def no_schema(request, reply):
        if "response_format" in request.body:
            await reply.json({"error": {"message": "failed to parse grammar"}}, 500)
        else:
            await reply.json({"choices": [{"message": {"content": "{}"}}], "usage": {"total_tokens": 7}})

    await world.start(no_schema)
    writer = Writer(world.health, "gemma-3-1b")
    for posts in (2, 3):
        written = await writer.write(MESSAGES, {}, max_tokens=9, temperature=0, deadline_s=2)
        assert (written.text, written.tokens, len(world.server.posts)) == ("{}", 7, posts)


@pytest.mark.parametrize("chat", [dropping, failing])
async def test_a_chooser_asks_a_crashing_server_once(world, chat):
    await world.start(chat)
    assert await ServedLetterChooser(world.health, "gemma-3-1b").choose(MESSAGES, "ABC", 2.0) is None
    assert len(world.server.posts) == 1


async def test_vectors_are_asked_of_a_crashing_server_once(world, tmp_path):
    await world.start(dropping, ("text-embedding-x",))
    embedder = Embedder(world.health, tmp_path)
    assert await embedder.vectors(["hello"]) is None
    assert len(world.server.posts) == 1
    await embedder.close()


async def test_a_server_that_closes_idle_connections_is_asked_on_a_new_one(world):
    """Each request has a connection of its own, so none can meet one that the server has dropped."""
    await world.start(answer)
    connections = set()
    handle = world.server._connection

    async def counted(reader, writer):
        connections.add(writer)
        await handle(reader, writer)

    world.server._connection = counted
    await world.server.close()
    await world.server.start(port=int(world.server.url.rpartition(":")[2]))
    for _ in range(3):
        assert (await world.serve()).answer.text == "Hello there"
    assert len(world.server.posts) == 3 and len(connections) == 3


# -- corrections -------------------------------------------------------------------------------------------------------
def refusing(refused, status, message):
    """A server that refuses requests of a kind and answers the others."""

    async def chat(request, reply):
        if refused(request.body):
            await reply.json({"error": {"message": message}}, status)
        else:
            await answer(request, reply)

    return chat


def has_system(body):
    return any(m["role"] == "system" for m in body["messages"])


@pytest.mark.parametrize(
    ("status", "message"), [(400, "System role not supported"), (500, "Jinja Exception: System role not supported")]
)
async def test_a_refused_system_role_is_merged_into_the_first_message_and_remembered(world, status, message):
    await world.start(refusing(has_system, status, message))
    world.dispatcher.settings = Settings(system="Be brief.", first_byte_s=2, load_s=2)
    assert (await world.serve()).answer.text == "Hello there"
    assert [m["content"] for m in world.server.posts[-1].body["messages"]] == ["Be brief.\n\nhello"]
    await world.serve()
    assert len(world.server.posts) == 3, "the second request was written without the role at once"


async def test_a_template_error_of_a_request_without_a_system_text_is_told(world):
    await world.start(refusing(lambda body: True, 400, "Conversation roles must alternate user/assistant"))
    outcome = await world.serve()
    assert outcome.failed and "must alternate" in outcome.answer.error and len(world.server.posts) == 1


async def test_an_error_frame_about_the_system_role_is_corrected_too(world):
    async def chat(request, reply):
        if not has_system(request.body):
            return await answer(request, reply)
        await reply.start_stream()
        said = 'Error rendering prompt with jinja template: \\"System role not supported\\".'
        await reply.chunk(b'event: error\ndata: {"error": {"message": "%s"}}\n\n' % said.encode())
        return await reply.end_stream()

    await world.start(chat)
    world.dispatcher.settings = Settings(system="Be brief.", first_byte_s=2, load_s=2)
    assert (await world.serve()).answer.text == "Hello there"


async def test_a_shorter_answer_is_tried_once_and_not_remembered(world):
    said = (
        "'max_tokens' is too large: 4096. This model's maximum context length is 4200 tokens and your request has 200"
    )
    await world.start(refusing(lambda body: "max_tokens" in body, 400, said))
    for posts in (2, 4):
        assert (await world.serve()).answer.text == "Hello there" and len(world.server.posts) == posts


async def test_refused_webp_is_sent_as_jpeg(world, tmp_path):
    from tests.backends.test_images import WEBP
    from tui_router.backends.images import attach

    (tmp_path / "dot.webp").write_bytes(WEBP)
    await world.start(
        refusing(lambda body: "image/webp" in str(body), 400, "Failed to load image or audio file"), ("qwen3-vl-8b",)
    )
    world.health.backends[0].listing = replace(
        world.health.backends[0].listing, kind="vllm"
    )  # others get no WebP at all
    message = Message("user", "what is it", attachments=(attach(str(tmp_path / "dot.webp")),))
    for posts in (2, 3):
        order = DispatchOrder(route=SHIPPED.fleet.route("vision"), messages=(message,))
        outcome = await world.dispatcher.serve(order, lambda event: None)
        assert outcome.answer.text == "Hello there" and len(world.server.posts) == posts
    assert "data:image/jpeg" in str(world.server.posts[-1].body)
