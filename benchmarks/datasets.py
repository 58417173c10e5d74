"""Time and memory of import, label audit and export with many examples, and the echo of a key meanwhile. Linux only."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.screen import PROGRAM, at, echo, opened
from tui_router.routing.learned import seeds


def run(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _chatgpt_export(path)
        for n in (count // 4, count):
            file = path / f"{n}.jsonl"
            _write(file, n)
            store = path / f"store-{n}"
            where = ("--data-dir", str(store))
            print(f"  {n:,} examples")
            _timed("import", "dataset", "import", str(file), *where)
            _timed("label audit (dataset check)", "dataset", "check", *where)
            for form in ("messages", "csv", "hf"):
                out = path / "out"
                _timed(f"export {form}", "dataset", "export", "--format", form, "--out", str(out), *where)
                shutil.rmtree(out)
        _meanwhile(path / f"store-{count}", path / "home")


def _chatgpt_export(folder: Path) -> None:
    """Time a dry run on 1,000 conversations of 40 messages, in the form of ChatGPT's export."""
    rng, file = random.Random(0), folder / "conversations.json"
    words = [word for seed in seeds.load() for word in seed.request.text.split()]
    with file.open("w") as out:
        for number in range(1000):
            nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
            for place in range(40):
                role, count = ("assistant", 800) if place % 2 else ("user", 20)
                content = {"content_type": "text", "parts": [" ".join(rng.choices(words, k=count))]}
                nodes[str(place)] = {
                    "id": str(place),
                    "message": {"author": {"role": role}, "content": content, "recipient": "all", "metadata": {}},
                    "parent": str(place - 1) if place else "root",
                    "children": [str(place + 1)] if place < 39 else [],
                }
            row = {"title": "", "mapping": nodes, "current_node": "39", "conversation_id": str(number)}
            out.write(("," if number else "[") + json.dumps(row))
        out.write("]")
    print(f"  ChatGPT export of {file.stat().st_size / 1e6:.0f} MB, 20,000 requests")
    _timed("import --dry-run", "dataset", "import", str(file), "--dry-run", "--data-dir", str(folder / "chatgpt"))
    _timed("import", "dataset", "import", str(file), "--data-dir", str(folder / "chatgpt"))


def _write(file: Path, count: int) -> None:
    """Write seeds with three random words added to each: none are equal, some are near-duplicates."""
    rng, known = random.Random(0), seeds.load()
    words = [word for seed in known for word in seed.request.text.split()]
    with file.open("w") as rows:
        for _ in range(count):
            seed = rng.choice(known)
            text = seed.request.text.split()
            for _ in range(3):
                text.insert(rng.randrange(len(text) + 1), rng.choice(words))
            rows.write(json.dumps({"text": " ".join(text), "route": seed.route}) + "\n")


def _timed(name: str, *arguments: str) -> None:
    start = time.perf_counter()
    out = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(PROGRAM[0], [*PROGRAM, *arguments], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
    peak_kb = 0
    while True:
        done, status, _ = os.wait4(pid, os.WNOHANG)
        if done:
            break
        peak_kb = max(peak_kb, _anonymous_kb(pid))
        time.sleep(0.02)
    os.close(out)
    elapsed_s = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) == 0, name
    print(f"    {name:<24} {elapsed_s:6.1f} s   {peak_kb / 1024:5.0f} MB")


def _anonymous_kb(pid: int) -> int:
    """Return the memory of a process and its children in kB. Pages of files are not counted: the kernel can drop them."""
    total = 0
    for one in (pid, *_children(pid)):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
    return total


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _meanwhile(store: Path, home: Path) -> None:
    terminal = opened([*PROGRAM, "--no-health-check", "--data-dir", str(store)], home)
    terminal.see("F1", seconds=60)
    terminal.press("f4")
    terminal.see("LABEL AUDIT", seconds=60)
    terminal.press("/")
    terminal.see("Find examples")
    terminal.settle_for(3.0)
    lags = echo(terminal)
    print("  tui-router during a label audit of all of them")
    print(f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   n={len(lags)}")
    terminal.press("esc")
    terminal.settle_for(0.5)
    start = time.perf_counter()
    terminal.press("ctrl+q")
    terminal.ended(60)
    print(f"    quit after {time.perf_counter() - start:.1f} s, with the audit unfinished")
