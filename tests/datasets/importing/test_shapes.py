"""Every kind of file is recognised by its content, and its requests come with the conversation before them."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.worlds import SHIPPED
from tui_router.core.example import Example
from tui_router.datasets.importing.json_files import without_trailing_commas
from tui_router.datasets.importing.reader import ImportReader
from tui_router.datasets.importing.text_encoding import encoding_of

FIXTURES = Path(__file__).parent / "fixtures"
FLEET = SHIPPED.fleet


def read(*paths, **more):
    reader = ImportReader(FLEET, **more)
    return list(reader.requests(paths)), reader.summary()


def routes(requests):
    return [one.route if isinstance(one, Example) else None for one in requests]


def said_before(request):
    return [(m.role, m.content) for m in request.history]


EXPECTED = {
    "chatgpt_conversations.json": (
        "ChatGPT export",
        ["How do I loop over a dict in Python?", "And sort it by value, descending?", "What bread is this?"],
        ["an image without text"],
    ),
    "claude_conversations.json": (
        "Claude export",
        ["Why is my dough sticky?", "For how long?"],
        ["a conversation without a message of the user"],
    ),
    "open_webui_chats.json": ("Open WebUI chats", ["Write a haiku about rain", "What is on this picture?"], []),
    "open_webui_feedback.json": (
        "Open WebUI feedback",
        ["Write a haiku about rain", "What is on this picture?"],
        ["a rating without its chat; export the feedback with its snapshots"],
    ),
    "lm_studio.conversation.json": (
        "LM Studio conversations",
        ["regex for ISO dates", "does it match this?"],
        [],
    ),
    "llm_logs.json": (
        "simonw/llm logs",
        ["name for a bakery", "explain yeast", "another one", "what is this"],
        [],
    ),
    "litellm.jsonl": (
        "LiteLLM logs",
        ["translate 'bread' to Danish", "and to Finnish", "what is in this scan"],
        [
            "a call whose messages were not logged (LiteLLM: store_prompts_in_spend_logs)",
            "a call by a program (a title, tags or a search), not by a person",
            "a call of the kind 'aembedding', not a chat",
        ],
    ),
    "langfuse_traces.json": (
        "Langfuse export",
        ["plan a week of lunches", "sum 3 and 4"],
        ["an observation of the kind SPAN, not a call of a model"],
    ),
    "openai_fine_tuning.jsonl": (
        "OpenAI fine-tuning",
        ["What is proofing?", "How warm?", "Is the shop open on Sunday?", "Compare rye and spelt"],
        [],
    ),
    "openai_batch.jsonl": (
        "OpenAI requests",
        ["classify this review", "describe the image"],
        ["a result of a batch, which does not hold the request; import the batch's input file"],
    ),
    "openai_requests.jsonl": (
        "OpenAI requests",
        ["rename this variable", "write a birthday wish", "second"],
        [],
    ),
    "sharegpt.jsonl": (
        "ShareGPT, WildChat or LMSYS",
        [
            "Outline a novel",
            "Make it darker",
            "write a rust macro",
            "prove it by induction",
            "weather in Oslo",
            "tell a joke",
            "ping",
            "again",
        ],
        [],
    ),
    "alpaca.json": (
        "Alpaca",
        ["Summarise the text.\n\nBread is old.", "Name three grains.", "Who baked it?\n\nMia baked it."],
        [],
    ),
    "prompt_completion.jsonl": ("prompt and completion", ["Complete: once upon", "hello", "p"], []),
    "message_list.json": ("a list of messages", ["first question", "second question"], []),
    "own_tool_use.jsonl": ("tui-router tool-use export", ["text Mia that I am late", "dim the lamp"], []),
    "semicolon.csv": ("rows", ["schreibe einen Parser", "ein Text; mit Semikolon\r\nund Zeile"], []),
    "windows1252.csv": ("rows", ["Übersetze „Brötchen“ für Zoë", "Grüße"], []),
    "tabs.tsv": ("rows", ["sortiere die Liste der Kunden", "hallo du", "rechne 3 + 4 im Kopf aus"], []),
    "no_header.csv": ("rows", ["write a loop, please", "hi"], []),
    "one_column.csv": ("rows", ["hello, you", "what now"], []),
    "requests.txt": ("lines of text", ["goto example.org", "why is the sky blue, and the sea?"], []),
    "trailing_commas.json": ("rows", ["one, two,]", "three"], []),
    "bom_crlf.jsonl": ("rows", ["grüß dich", "fix it"], []),
    "utf16.jsonl": ("rows", ["grüß dich", "fix it"], []),
}


def test_every_fixture_has_an_expectation():
    other = {"llm_logs.sql", "open_webui.sql", "markdown"}
    assert {path.name for path in FIXTURES.iterdir()} == {*EXPECTED, *other}


@pytest.mark.parametrize("renamed", [False, True], ids=["own name", "another name"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_recognised_and_says_what_it_leaves_out(tmp_path, name, renamed):
    path = FIXTURES / name
    if renamed and name not in ("tabs.tsv", "no_header.csv"):  # an unknown header needs the name of a table
        path = tmp_path / "download"
        shutil.copy(FIXTURES / name, path)
    source, texts, left_out = EXPECTED[name]
    requests, summary = read(path)
    assert summary.source == source and [one.text for one in requests] == texts
    assert [one.why for one in summary.left_out] == left_out and not summary.damaged
    assert summary.read == len(texts) == summary.labelled + summary.pending
    assert all(one.origin.startswith(path.name) for one in requests)


def test_chatgpt_only_the_path_to_the_current_node_is_read():
    requests, _ = read(FIXTURES / "chatgpt_conversations.json")
    assert said_before(requests[1]) == [
        ("user", "How do I loop over a dict in Python?"),
        ("assistant", "Use .items()."),
    ]
    assert requests[2].has_image and not requests[1].has_image
    assert requests[0].session == requests[1].session == "chatgpt:c-1" != requests[2].session


def test_chatgpt_without_a_current_node_ends_at_the_newest_message(tmp_path):
    conversations = json.loads((FIXTURES / "chatgpt_conversations.json").read_text())
    for one in conversations:
        del one["current_node"]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(conversations))
    assert len(read(path)[0]) == 3


def test_claude_thinking_is_no_answer_and_an_attached_image_counts():
    requests, _ = read(FIXTURES / "claude_conversations.json")
    assert said_before(requests[1])[1] == ("assistant", "Try a cold proof.") and requests[1].has_image


def test_open_webui_a_good_rating_labels_the_request_with_the_route_of_its_model():
    assert routes(read(FIXTURES / "open_webui_chats.json")[0]) == ["general_chat", None]
    feedback, summary = read(FIXTURES / "open_webui_feedback.json")
    assert routes(feedback) == ["general_chat", None] and summary.mapped == {"gemma-3n-e4b": "general_chat"}
    assert said_before(feedback[1])[1] == ("assistant", "Soft rain") and feedback[1].has_image


def test_lm_studio_the_selected_version_is_read():
    requests, _ = read(FIXTURES / "lm_studio.conversation.json")
    assert said_before(requests[1]) == [("user", "regex for ISO dates"), ("assistant", r"\d{4}-\d{2}-\d{2}")]
    assert requests[1].has_image


def test_a_logged_call_counts_once_with_its_conversation_as_history():
    requests, _ = read(FIXTURES / "litellm.jsonl")
    assert said_before(requests[1]) == [("user", "translate 'bread' to Danish"), ("assistant", "brød")]
    assert routes(requests) == [None, "general_chat", None] and requests[2].has_image
    requests, _ = read(FIXTURES / "langfuse_traces.json")
    assert routes(requests) == ["reasoning", None] and said_before(requests[1])[0] == ("user", "hi")


def test_turns_of_tools_are_neither_request_nor_answer():
    requests, _ = read(FIXTURES / "sharegpt.jsonl")
    assert routes(requests)[2] == "code" and said_before(requests[7]) == [("user", "ping"), ("assistant", "pong")]
    assert routes(read(FIXTURES / "own_tool_use.jsonl")[0]) == ["tool_use", "tool_use"]


@pytest.mark.parametrize(
    "name", ["semicolon.csv", "tabs.tsv", "no_header.csv", "bom_crlf.jsonl", "trailing_commas.json"]
)
def test_tables_and_rows_are_labelled(name):
    assert all(route in FLEET.by_route for route in routes(read(FIXTURES / name)[0]))


def test_a_header_that_is_called_like_a_route_stays_a_header(tmp_path):
    (tmp_path / "t.csv").write_text("anfrage,code\nwie sortiere ich eine lange Liste,a7\nsag etwas sehr Nettes,b8\n")
    _, summary = read(tmp_path / "t.csv")
    assert summary.columns == ("anfrage", "code") and summary.damaged == 2


def database(path, script):
    with sqlite3.connect(path) as db:
        db.executescript((FIXTURES / script).read_text())
    return db


def test_the_database_of_simonw_llm(tmp_path):
    database(tmp_path / "logs", "llm_logs.sql").close()
    requests, summary = read(tmp_path / "logs")
    assert summary.source == "simonw/llm logs"
    assert [one.text for one in requests] == ["name for a bakery", "what is this", "another one"]
    assert requests[1].has_image and said_before(requests[2])[1] == ("assistant", "Crumb")


def test_the_database_of_open_webui(tmp_path):
    db = database(tmp_path / "webui.db", "open_webui.sql")
    (chat,) = json.loads((FIXTURES / "open_webui_chats.json").read_text())
    rating = json.loads((FIXTURES / "open_webui_feedback.json").read_text())[0]
    with db:
        db.execute(
            "INSERT INTO chat(id, user_id, title, archived, created_at, updated_at, chat) VALUES (?, 'u', 'Rain', 0, 1, 1, ?)",
            (chat["id"], json.dumps(chat["chat"])),
        )
        values = [json.dumps(rating[key]) for key in ("data", "meta", "snapshot")]
        db.execute("INSERT INTO feedback VALUES ('f-1', 'u', 0, 'rating', ?, ?, ?, 1, 1)", values)
    db.close()
    requests, summary = read(tmp_path / "webui.db")
    assert summary.shapes == {"Open WebUI chats": 1, "Open WebUI feedback": 1}
    assert routes(requests) == ["general_chat", None, "general_chat"]


def test_a_database_of_another_program_says_what_is_in_it(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    _, summary = read(tmp_path / "x.db")
    assert summary.left_out[0].why == "is a database of no known program; its tables are recipes" and summary.damaged


def test_parquet_of_wildchat_and_lmsys(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    wildchat = {
        "conversation_hash": "w",
        "model": "gpt-4",
        "timestamp": "2024-01-01",
        "turn": 2,
        "language": "English",
        "conversation": [
            {"role": "user", "content": "knead by hand?", "language": "English", "toxic": False, "redacted": False},
            {"role": "assistant", "content": "yes", "language": "English", "toxic": False, "redacted": False},
            {"role": "user", "content": "how long?", "language": "English", "toxic": False, "redacted": False},
        ],
    }
    lmsys = {
        "conversation_id": "l",
        "model": "vicuna-13b",
        "turn": 1,
        "language": "English",
        "redacted": False,
        "conversation": [{"content": "name a grain", "role": "user"}, {"content": "rye", "role": "assistant"}],
        "openai_moderation": [{"flagged": False}],
    }
    for name, row in (("wildchat", wildchat), ("lmsys", lmsys)):
        parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / name)
    requests, summary = read(tmp_path / "wildchat", tmp_path / "lmsys")
    assert [one.text for one in requests] == ["knead by hand?", "how long?", "name a grain"]
    assert said_before(requests[1]) == [("user", "knead by hand?"), ("assistant", "yes")]
    assert summary.source == "WildChat or LMSYS" and requests[1].session == "w"


def test_an_excel_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Prompt", "Route"], ["sort my list", "code"], [None, None], ["good evening", None]):
        book.active.append(row)
    book.save(tmp_path / "book.xlsx")
    requests, summary = read(tmp_path / "book.xlsx")
    assert [(one.text, route) for one, route in zip(requests, routes(requests), strict=True)] == [
        ("sort my list", "code"),
        ("good evening", None),
    ]
    assert not summary.left_out


def test_a_folder_of_markdown_and_text():
    requests, summary = read(FIXTURES / "markdown")
    found = {one.origin: one for one in requests}
    assert found["bold.md, message 1"].text == "name a cheese"
    assert said_before(found["chat.md, message 3"]) == [("user", "How long to bake?"), ("assistant", "40 minutes.")]
    assert (
        found["llm.md, message 1"].text == "name for a bakery"
        and found["notes.txt, line 3"].text == "write to the mill"
    )
    assert found["prompt.md"].route == "code" and found["prompt.md"].text.endswith("- keep the year first")
    assert summary.read == 7 and not summary.left_out


def test_a_folder_leaves_out_what_it_cannot_read_and_a_file_alone_is_a_fault(tmp_path):
    (tmp_path / "export").mkdir()
    shutil.copy(FIXTURES / "chatgpt_conversations.json", tmp_path / "export" / "conversations.json")
    (tmp_path / "export" / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    (tmp_path / "export" / "chat.html").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "export" / ".hidden").write_text("not read")
    requests, summary = read(tmp_path / "export")
    assert len(requests) == 3 and not summary.damaged
    assert {(one.where, one.why) for one in summary.left_out if not one.where.startswith("conv")} == {
        ("chat.html", "is a web page; import the program's own export instead"),
        ("photo.png", "is not a text file"),
    }
    assert read(tmp_path / "export" / "photo.png")[1].damaged == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[{"text": "a", "route": "code"}, {"text": ', "bad, after 1 items: is not valid JSON"),
        ('{"text": "a"}\n{half\n', "bad, line 2: is not JSON"),
        ('{"text": "a"}\n[1, 2]\n', "bad, line 2: expected an object, found [1, 2]"),
        ('{"a": 1, "b": 2}\n', "bad, line 1: has no column named text, request or prompt; its columns are a, b"),
    ],
)
def test_damaged_records_say_where_and_why(tmp_path, text, why):
    (tmp_path / "bad").write_text(text)
    _, summary = read(tmp_path / "bad")
    assert summary.damaged == 1 and f"{summary.left_out[-1].where}: {summary.left_out[-1].why}".startswith(why)


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ('{"data": [{"text": "a b"}, {"text": "c d"}], "meta": {}}', 2),
        ('{\n "id": 1,\n "conversations": [\n  {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]\n}', 1),
        ('{\n "text": "a"\n}\n{\n "text": "b"\n}\n', 2),
        ('["one", "two"]', 2),
        ('[[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]', 2),
        ('[{"role": "user", "content": "a"}]\n[{"role": "user", "content": "b"}]\n', 2),
        ("[]", 0),
        ("", 0),
    ],
)
def test_every_arrangement_of_json(tmp_path, text, records):
    (tmp_path / "file").write_text(text)
    requests, _ = read(tmp_path / "file")
    assert len(requests) == records


def test_one_line_of_json_that_is_longer_than_what_is_looked_at(tmp_path):
    rows = [{"text": f"request {n} " + "x" * 1000, "route": "code"} for n in range(200)]
    for value in (rows, {"items": rows}):
        (tmp_path / "file").write_text(json.dumps(value))
        assert len(read(tmp_path / "file")[0]) == 200
    row = {"conversations": [{"from": "human", "value": "y" * 100_000}]}
    (tmp_path / "file").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    assert len(read(tmp_path / "file")[0]) == 2


def test_a_large_list_with_trailing_commas_is_read_to_its_end(tmp_path):
    rows = ",\n".join(json.dumps({"text": f'n{n} ",]" {"é" * 500}', "route": "code"})[:-1] + ",}" for n in range(500))
    (tmp_path / "file").write_text(f"[{rows},]", encoding="utf-8")
    requests, summary = read(tmp_path / "file")
    assert len(requests) == 500 and not summary.damaged and requests[499].text.startswith('n499 ",]"')


def test_trailing_commas_inside_of_strings_stay():
    assert without_trailing_commas('{"a": ", ]", "b": [1, 2, ], }') == '{"a": ", ]", "b": [1, 2 ] }'


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain", "ascii"),
        ("grüß dich", "utf-8"),
        ("grüß dich", "utf-8-sig"),
        ("grüß dich", "utf-16"),
        ("grüß dich, wie geht es", "utf-16-le"),
        ("grüß dich, wie geht es", "utf-16-be"),
        ("grüß dich", "utf-32"),
        ("Grüße für Zoë, „bitte“ – 5 €", "cp1252"),
        ("naïve café à la crème", "latin-1"),
        ("Привет, как дела? Напиши, пожалуйста, письмо моему брату о погоде и о хлебе.", "cp1251"),
        ("今日の天気を教えてください。明日の予定も一緒に教えてくれると助かります。", "shift_jis"),
    ],
)
def test_encodings(tmp_path, text, encoding):
    path = tmp_path / "file.txt"
    path.write_bytes(text.encode(encoding))
    found = encoding_of(path)
    assert found is not None and path.read_bytes().decode(found) == text
    assert [one.text for one in read(path)[0]] == [text]
