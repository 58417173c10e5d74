"""Draw the screens of the app as PNG, cell by cell: `python scripts/pictures.py [--out DIR] [NAME ...]`.

The app runs on the demo fleet with a store made here; keys are pressed as a person would, and what the compositor
shows is painted with Pillow. Needs a monospaced font with box-drawing characters: JetBrains Mono or DejaVu Sans Mono.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from textual.pilot import Pilot

from tui_router.core.example import SOURCES
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options

CELL_W, CELL_H, SIZE = 10, 21, 16
FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
)
FAMILIES = ("JetBrainsMono-{}.ttf", "DejaVuSansMono{}.ttf")
STYLES = (("Regular", ""), ("Bold", "-Bold"), ("Italic", "-Oblique"), ("BoldItalic", "-BoldOblique"))
RGB = tuple[int, int, int]


@lru_cache
def font_files() -> list[dict[str, Path]]:
    """The font families that are here, best first."""
    files = {p.name: p for folder in FOLDERS for p in Path(folder).expanduser().rglob("*.ttf")}
    found = []
    for at, family in enumerate(FAMILIES):
        styles = {
            jet: files[family.format(names[at])]
            for names in STYLES
            if family.format(names[at]) in files
            for jet in [names[0]]
        }
        if "Regular" in styles:
            found.append(styles)
    if not found:
        sys.exit(
            "no font found: install JetBrains Mono or DejaVu Sans Mono (Debian: fonts-jetbrains-mono, fonts-dejavu)"
        )
    return found


@lru_cache
def face(family: int, style: str) -> ImageFont.FreeTypeFont:
    styles = font_files()[family]
    return ImageFont.truetype(str(styles.get(style, styles["Regular"])), SIZE)


@lru_cache
def family_of(char: str) -> int:
    """The first family that has a glyph for a character."""
    for family in range(len(font_files())):
        font = face(family, "Regular")
        if bytes(font.getmask(char)) != bytes(font.getmask("\uffff")):
            return family
    return len(font_files()) - 1


def draw_block(draw: ImageDraw.ImageDraw, char: str, x: int, y: int, color: RGB) -> bool:
    """Draw characters that must fill their cell exactly; False for all others."""
    code, middle, right, bottom = ord(char), y + CELL_H // 2, x + CELL_W - 1, y + CELL_H - 1
    if 0x2800 <= code <= 0x28FF:
        dots = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
        for bit, (column, row) in enumerate(dots):
            if (code - 0x2800) >> bit & 1:
                cx, cy = x + 1 + column * 5, y + 1 + row * 5.25
                draw.rounded_rectangle((cx, cy, cx + 2, cy + 2), 1, fill=color)
    elif 0x2588 <= code <= 0x258F:
        draw.rectangle((x, y, x + round(CELL_W * (0x2590 - code) / 8) - 1, bottom), fill=color)
    elif 0x2581 <= code <= 0x2587:
        draw.rectangle((x, y + CELL_H - round(CELL_H * (code - 0x2580) / 8), right, bottom), fill=color)
    elif char in "━╸╺":
        left, end = {"━": (0, CELL_W), "╸": (0, CELL_W // 2), "╺": (CELL_W // 2, CELL_W)}[char]
        draw.rectangle((x + left, middle - 1, x + end - 1, middle + 1), fill=color)
    elif char in "▎▊▌":
        draw.rectangle((x, y, x + {"▎": 2, "▊": 7, "▌": 4}[char], bottom), fill=color)
    elif char in "●○◐":
        box = (x, middle - 5, right, middle + 4)
        draw.ellipse(box, fill=color if char == "●" else None, outline=color)
        if char == "◐":
            draw.pieslice(box, 90, 270, fill=color)
    elif char in "─│┌┐└┘├┤┬┴┼╭╮╰╯":
        ways = {
            "─": "lr",
            "│": "ud",
            "┌": "rd",
            "┐": "ld",
            "└": "ru",
            "┘": "lu",
            "├": "udr",
            "┤": "udl",
            "┬": "lrd",
            "┴": "lru",
            "┼": "lrud",
            "╭": "rd",
            "╮": "ld",
            "╰": "ru",
            "╯": "lu",
        }
        centre = x + CELL_W // 2
        ends = {"l": (x, middle), "r": (right, middle), "u": (centre, y), "d": (centre, bottom)}
        for way in ways[char]:
            draw.line((centre, middle, *ends[way]), fill=color)
    else:
        return False
    return True


def paint(app: RouterApp, path: Path) -> None:
    """Save what the app shows now."""
    width, height = app.size
    image = Image.new("RGB", (width * CELL_W, height * CELL_H))
    draw = ImageDraw.Draw(image)
    for row, strip in enumerate(app.screen._compositor.render_strips()):
        column = 0
        for segment in strip:
            style, cells = segment.style, segment.cell_length
            if segment.control or not cells:
                continue
            ink: RGB = (*style.color.get_truecolor(),) if style and style.color else (200, 200, 200)
            ground: RGB = (*style.bgcolor.get_truecolor(),) if style and style.bgcolor else (0, 0, 0)
            if style and style.reverse:
                ink, ground = ground, ink
            x, y = column * CELL_W, row * CELL_H
            draw.rectangle((x, y, x + cells * CELL_W - 1, y + CELL_H - 1), fill=ground)
            name = ("Bold" if style and style.bold else "") + ("Italic" if style and style.italic else "") or "Regular"
            at = x
            for char in segment.text:
                if char != " " and not draw_block(draw, char, at, y, ink):
                    font = face(family_of(char), name)
                    draw.text(
                        (at + (CELL_W - font.getlength(char)) / 2, y + 16),
                        char,
                        fill=ink,
                        font=font,
                        anchor="ls",
                    )
                at += CELL_W
            if style and style.underline:
                draw.line((x, y + CELL_H - 3, x + cells * CELL_W - 1, y + CELL_H - 3), fill=ink)
            column += cells
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


async def until(pilot: Pilot[None], there: Callable[[], bool], what: str, seconds: float = 20) -> None:
    for _ in range(int(seconds * 20)):
        if there():
            return
        await pilot.pause(0.05)
    app = pilot.app
    for strip in app.screen._compositor.render_strips():
        sys.stderr.write("".join(s.text for s in strip).rstrip() + "\n")
    sys.exit(f"waited for {what} in vain")


async def ask(pilot: Pilot[None], text: str, keys: tuple[str, ...] = (), *, finish: bool = True) -> None:
    """Type a request, wait for its answer, and press keys."""
    app = pilot.app
    assert isinstance(app, RouterApp)
    chat = app.chat
    chat.navigation.write()
    chat.widgets.prompt.area.fill(text)
    shown = len(chat.conversation.cards)
    await pilot.press("enter")
    await until(pilot, lambda: len(chat.conversation.cards) > shown, text)
    await pilot.pause(0.1)
    if finish:
        await until(pilot, lambda: not any(c.live for c in chat.conversation.cards.values()), f"the answer to {text}")
        await pilot.pause(0.2)
    if keys:
        await pilot.press(*keys)
        await pilot.pause(0.9)


async def past(pilot: Pilot[None]) -> None:
    """A store with some history, so that the accuracy has something to show."""
    import random

    from tui_router.core.clock import now, stamp
    from tui_router.core.types import Answer, Dispatch, Request, Turn, Verdict

    app = pilot.app
    assert isinstance(app, RouterApp)
    await until(pilot, lambda: app.engine is not None, "the engine")
    engine = app.engine
    assert engine is not None and engine.store is not None
    store, dice = engine.store, random.Random(8)
    texts = [
        "write a python function",
        "hello",
        "goto amazon.com",
        "explain transformers",
        "translate this into French",
        "solve x^2 = 2",
    ]

    begun = datetime.now(UTC) - timedelta(hours=146)
    waits = {r.name: (200.0 + 250 * place, 40.0) for place, r in enumerate(engine.config.fleet.routes)}

    def fill() -> None:
        session = ""
        for i in range(60):
            request = Request(text=texts[i % 6])
            decided = engine.router_service.learner.ensemble.decide(request)  # type: ignore[union-attr]
            decision = decided.decision
            turn = store.record(
                Turn(
                    id="",
                    session=session,
                    at=stamp(begun + timedelta(hours=2.4 * i)),
                    request=request,
                    decision=decision,
                    route=decision.route,
                    state="done",
                    source="command line",
                    shadows=decided.shadows,
                    dispatch=Dispatch(intended=decision.model, served=decision.model),
                    answer=Answer(
                        text="…", first_token_ms=dice.gauss(*waits[decision.route]), tokens_per_second=dice.gauss(58, 6)
                    ),
                )
            )
            session = turn.session
            right = dice.random() < 0.7 + i / 250
            store.rate(
                turn.id,
                Verdict(
                    kind="route",
                    at=now(),
                    rating="right" if right else "wrong",
                    route=decision.route if right else None,
                ),
            )
        store.poll()
        assert engine.router_service.learner is not None
        engine.router_service.learner.catch_up(store)

    await engine.in_store(fill)
    await app.chat.attach(engine, demo=True)


async def main_screen(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, RouterApp)
    await past(pilot)
    await ask(pilot, "goto amazon.com", ("y",))
    await ask(pilot, "translate this into Japanese: good morning", ("n", "6"))
    await ask(pilot, "write a python function that parses ISO 8601 dates", finish=False)
    newest = app.chat.conversation.cards[app.chat.conversation.newest]
    await until(pilot, lambda: len(newest.query("MarkdownFence")) > 0, "the code")
    await pilot.pause(0.6)


async def saved(pilot: Pilot[None]) -> None:
    await main_screen(pilot)
    await until(pilot, lambda: not any(c.live for c in pilot.app.chat.conversation.cards.values()), "the answer")  # type: ignore[attr-defined]
    await pilot.press("y")
    await pilot.pause(1.0)


async def correction(pilot: Pilot[None]) -> None:
    await main_screen(pilot)
    await pilot.press("n")
    await pilot.pause(0.4)


async def asking(pilot: Pilot[None]) -> None:
    await past(pilot)
    await ask(pilot, "hello there", ("y",))
    await ask(pilot, "class at school: a timetable like a python list", finish=False)
    await pilot.pause(0.5)


async def empty(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, RouterApp)
    await until(pilot, lambda: app.engine is not None and app.chat.status.no_server(), "the servers")
    await until(pilot, lambda: all(b.status.reachable is not None for b in app.engine.health.backends), "a look")  # type: ignore[union-attr]
    await pilot.pause(0.6)


async def help_page(pilot: Pilot[None]) -> None:
    await past(pilot)
    await pilot.press("f1")
    await pilot.pause(0.3)


async def stats(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, RouterApp)
    await past(pilot)
    await ask(pilot, "translate this into Japanese: good morning", ("n", "6"))
    await pilot.press("escape", "f3")
    await until(pilot, lambda: "turns," in str(app.screen.query_one("#choices").render()), "the counts")
    await pilot.pause(0.6)


async def report(pilot: Pilot[None]) -> None:
    await stats(pilot)
    await confused(pilot)
    await pilot.press("r")
    await until(pilot, lambda: getattr(pilot.app.screen, "report", None) is not None, "the report")
    await pilot.pause(0.6)


async def confused(pilot: Pilot[None]) -> None:
    """A mistake that repeats: small notes that people call a memo go to the wrong route."""
    from tests.worlds import a_turn, right, wrong

    app = pilot.app
    assert isinstance(app, RouterApp)
    engine = app.engine
    assert engine is not None and engine.store is not None
    store, days = engine.store, ("monday", "tuesday", "wednesday", "thursday", "friday")

    def fill() -> None:
        for i in range(14):
            turn = store.record(a_turn(f"summarise the ledger of {days[i % 5]} and reconcile it"))
            store.rate(turn.id, wrong("reasoning"))
            store.rate(store.record(a_turn("write a python function that adds two dates")).id, right("code"))

    await engine.in_store(fill)


async def behind(pilot: Pilot[None]) -> None:
    """The turns behind a cell."""
    await stats(pilot)
    app = pilot.app
    await pilot.press("down", "down", "down", "down", "right", "enter")
    await until(pilot, lambda: bool(getattr(app.screen, "turns", None)), "the turns")
    await pilot.pause(0.6)


async def trying(pilot: Pilot[None]) -> None:
    await report(pilot)
    await pilot.press("t")
    await until(pilot, lambda: getattr(pilot.app.screen, "replayed", None) is not None, "the replay")
    await pilot.pause(0.6)


async def feed(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, RouterApp)
    await past(pilot)
    for text in (
        "hello",
        "goto amazon.com",
        "write a python function",
        "good morning",
        "translate this into French: hello",
    ):
        await ask(pilot, text, ("y",))
    await until(pilot, lambda: app.engine is not None and app.engine.insights.cost[0] > 0, "a remark", 40)
    await pilot.press("escape")
    app.action_observer()
    await until(pilot, lambda: bool(getattr(app.screen, "seen", None)), "the feed")
    await pilot.pause(0.6)


async def data(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, RouterApp)
    await past(pilot)
    await pilot.press("escape", "f4")
    await until(pilot, lambda: getattr(app.screen, "checkup", None) is not None, "the audit")
    await pilot.press("4")
    await pilot.pause(0.6)


async def recipe(pilot: Pilot[None]) -> None:
    app = pilot.app
    await past(pilot)
    await pilot.press("escape", "f5")
    await until(pilot, lambda: hasattr(app.screen, "form"), "the screen")
    await pilot.pause(1.0)
    await pilot.press("f")
    await until(pilot, lambda: app.screen.found is not None, "the preflight")  # type: ignore[attr-defined]
    await pilot.pause(0.5)


async def begin(pilot: Pilot[None], steps: int) -> None:
    """A real training of a tiny model of random weights on the demo's verdicts and the seeds."""
    from tui_router.training import launcher, start
    from tui_router.training import recipe as recipes

    app = pilot.app
    assert isinstance(app, RouterApp)
    await past(pilot)
    engine = app.engine
    assert engine is not None
    base, plain = engine.folder / "tiny", recipes.Recipe()

    def build() -> None:
        data = start.own_dataset(engine.config, engine.folder, plain, SOURCES)
        size = ("--size", "128", "--layers", "2", "--vocabulary", "4096")
        launcher.run_job(["tiny", "--data", str(data), "--out", str(base), *size], engine.folder)

    await asyncio.to_thread(build)
    await pilot.press("escape", "f5")
    await until(pilot, lambda: hasattr(app.screen, "form"), "the screen")
    await pilot.pause(0.5)
    text = f'base = "{base}"\nmethod = "full"\n[training]\nlearning_rate = 2e-3\nbatch = 32\naccumulate = 1\nsteps = {steps}\n'
    app.screen.form.recipe = recipes.parse(text, "recipe")  # type: ignore[attr-defined]
    await pilot.press("s")
    await until(pilot, lambda: bool(app.screen.seen), "the run", 60)  # type: ignore[attr-defined]


async def training(pilot: Pilot[None]) -> None:
    await begin(pilot, 240)
    screen = pilot.app.screen
    await until(pilot, lambda: len(screen.seen[0].curve.steps) > 155, "some steps", 240)  # type: ignore[attr-defined]
    await pilot.pause(0.6)
    screen.seen[0].run.request_stop("discard")  # type: ignore[attr-defined]


async def exporting(pilot: Pilot[None]) -> None:
    await past(pilot)
    await pilot.press("escape", "f6")
    await until(pilot, lambda: bool(getattr(pilot.app.screen, "dataset", None)), "the screen")
    await until(pilot, lambda: bool(pilot.app.screen.dataset.examples), "the examples")  # type: ignore[attr-defined]
    await pilot.pause(0.5)


async def exporting_model(pilot: Pilot[None]) -> None:
    await begin(pilot, 60)
    screen = pilot.app.screen
    await until(pilot, lambda: screen.seen[0].verdict is not None, "the gate", 240)  # type: ignore[attr-defined]
    await pilot.press("f6")
    await until(pilot, lambda: bool(getattr(pilot.app.screen, "router", None)), "the screen")
    await until(pilot, lambda: bool(pilot.app.screen.router.finished), "the runs")  # type: ignore[attr-defined]
    await pilot.press("m", "down", "right", "right", "x")
    await until(pilot, lambda: pilot.app.screen.router.made is not None, "the export", 90)  # type: ignore[attr-defined]
    await pilot.pause(0.6)


Pose = Callable[[Pilot[None]], Awaitable[None]]
WIDE, NARROW = (120, 40), (80, 24)
PICTURES: dict[str, tuple[Pose, tuple[int, int], str, bool]] = {
    "main-120x40-dark": (main_screen, WIDE, "router-dark", True),
    "main-120x40-light": (main_screen, WIDE, "router-light", True),
    "main-120x40-high": (main_screen, WIDE, "router-high", True),
    "main-80x24-dark": (main_screen, NARROW, "router-dark", True),
    "main-80x24-light": (main_screen, NARROW, "router-light", True),
    "main-200x60-dark": (main_screen, (200, 60), "router-dark", True),
    "saved-120x40-dark": (saved, WIDE, "router-dark", True),
    "correction-120x40-dark": (correction, WIDE, "router-dark", True),
    "correction-80x24-dark": (correction, NARROW, "router-dark", True),
    "ask-120x40-dark": (asking, WIDE, "router-dark", True),
    "ask-80x24-dark": (asking, NARROW, "router-dark", True),
    "empty-120x40-dark": (empty, WIDE, "router-dark", False),
    "empty-80x24-dark": (empty, NARROW, "router-dark", False),
    "stats-120x40-dark": (stats, WIDE, "router-dark", True),
    "stats-120x40-light": (stats, WIDE, "router-light", True),
    "stats-80x24-dark": (stats, NARROW, "router-dark", True),
    "report-120x40-dark": (report, WIDE, "router-dark", True),
    "report-80x24-dark": (report, NARROW, "router-dark", True),
    "turns-120x40-dark": (behind, WIDE, "router-dark", True),
    "turns-80x24-dark": (behind, NARROW, "router-dark", True),
    "try-120x40-dark": (trying, WIDE, "router-dark", True),
    "try-80x24-dark": (trying, NARROW, "router-dark", True),
    "observer-120x40-dark": (feed, WIDE, "router-dark", True),
    "observer-80x24-dark": (feed, NARROW, "router-dark", True),
    "data-120x40-dark": (data, WIDE, "router-dark", True),
    "data-80x24-dark": (data, NARROW, "router-dark", True),
    "recipe-120x40-dark": (recipe, WIDE, "router-dark", True),
    "recipe-80x24-dark": (recipe, NARROW, "router-dark", True),
    "train-120x40-dark": (training, WIDE, "router-dark", True),
    "train-120x40-light": (training, WIDE, "router-light", True),
    "train-80x24-dark": (training, NARROW, "router-dark", True),
    "export-120x40-dark": (exporting, WIDE, "router-dark", True),
    "export-80x24-dark": (exporting, NARROW, "router-dark", True),
    "export-model-120x40-dark": (exporting_model, WIDE, "router-dark", True),
    "help-120x40-dark": (help_page, WIDE, "router-dark", True),
}


async def shoot(name: str, out: Path) -> None:
    pose, size, theme, demo = PICTURES[name]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder  # so that no picture shows where it was made
        app = RouterApp(Options(demo=demo, data_dir=Path(folder) / "store"))
        app.theme = theme
        async with app.run_test(size=size, notifications=True) as pilot:
            await pose(pilot)
            app.theme = theme
            await pilot.pause(0.2)
            paint(app, out / f"{name}.png")
            await app._stop_engine()
    sys.stdout.write(f"{out / name}.png\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("names", nargs="*", help=f"parts of: {', '.join(PICTURES)}")
    args = parser.parse_args()
    for name in PICTURES:
        if not args.names or any(part in name for part in args.names):
            asyncio.run(shoot(name, args.out))


if __name__ == "__main__":
    main()
