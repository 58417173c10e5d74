"""`--health`: what is served, what of it is used and how the rest could be, and nothing that should not be shown."""

import asyncio
import json
import sys
import tomllib

import pytest

from tests.doubles.scripted import ScriptedServer

SERVED = ("google/gemma-3-1b", "gpt-oss-20b-of-mine", "tinyllama-1.1b", "evil\x1b[31m\u202e\u200b-7b")


@pytest.fixture
async def look(tmp_path):
    """Look at a server that serves SERVED behind a password; returns (exit code, output, errors)."""
    server = ScriptedServer(models=SERVED)
    url = await server.start()
    file = tmp_path / "fleet.toml"
    known = "".join(f'[backends."{name}"]\nremove = true\n' for name in ("LM Studio", "Ollama", "llama-server"))
    file.write_text(
        f'{known}[backends.mine]\nurl = "{url.replace("//", "//anna:s3cr3t@")}/v1"\n[tools.playwright]\nremove = true\n'
    )

    async def run(*args):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tui_router", "--health", "--config", str(file), *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    run.url = url
    yield run
    await server.close()


async def test_what_is_served_is_shown_without_the_password(look):
    code, out, err = await look()
    assert code == 0 and "s3cr3t" not in out + err and "anna" not in out + err
    assert f"mine           {look.url}" in out and "google/gemma-3-1b (" in out
    assert out.replace("\n", "").isprintable()


async def test_what_has_no_place_in_the_fleet_is_listed_with_the_lines_to_write(look):
    _, out, _ = await look()
    assert '[models.gpt-oss-20b]  aliases = ["gpt-oss-20b-of-mine"]' in out
    assert 'write into fleet.toml: [models."tinyllama-1.1b"]\n' in out and "○ evil�<U+200B>-7b" in out
    report = json.loads((await look("--json"))[1])
    assert [found["id"] for found in report["unmatched"]] == list(SERVED[1:])
    assert {found["backend"] for found in report["unmatched"]} == {look.url}
    (first, second, _) = (tomllib.loads(found["toml"])["models"] for found in report["unmatched"])
    assert first == {"gpt-oss-20b": {"aliases": ["gpt-oss-20b-of-mine"]}} and second == {"tinyllama-1.1b": {}}


async def test_the_json_is_one_line_that_a_terminal_can_be_given(look):
    code, out, _ = await look("--json")
    report = json.loads(out)
    assert code == 0 and out.rstrip("\n").isprintable() and "s3cr3t" not in out
    assert report["ready"] and report["backends"][0]["url"] == look.url
