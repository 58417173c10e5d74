"""Every key has an id and a sentence, and every action is in the palette."""

import importlib
import inspect
import pkgutil
from collections import Counter
from functools import partial

from textual.binding import Binding

from tui_router.ui import screens, widgets
from tui_router.ui.app import RouterApp
from tui_router.ui.screens import chat
from tui_router.ui.screens.chat.keyboard import _BROWSE


def bindings():
    """(class, binding) of the whole dashboard."""
    classes = {RouterApp}
    for package in (screens, widgets, chat):
        for module in pkgutil.iter_modules(package.__path__):
            made = importlib.import_module(f"{package.__name__}.{module.name}")
            found = inspect.getmembers(made, inspect.isclass)
            classes |= {c for _, c in found if c.__module__ == made.__name__ and "BINDINGS" in vars(c)}
    return [(c, b) for c in classes for b in vars(c)["BINDINGS"]]


def test_every_binding_has_an_id_of_its_own_a_description_and_a_sentence():
    found = bindings()
    assert len(found) > 90
    assert not [(c.__name__, b) for c, b in found if not isinstance(b, Binding) or not b.description or not b.tooltip]
    ids = Counter(b.id for _, b in found)
    assert None not in ids and not [name for name, n in ids.items() if n > 1]


def test_no_printable_key_of_the_app_has_priority():
    assert not [b.key for b in RouterApp.BINDINGS if b.priority and len(b.key) == 1]


async def test_every_action_of_the_app_and_of_the_conversation_is_in_the_palette(face):
    async with face() as f:
        found = list(f.app.get_system_commands(f.app.screen))
        names = {(c.callback.func if isinstance(c.callback, partial) else c.callback).__name__ for c in found}
        missing = [b.action for b in RouterApp.BINDINGS if f"action_{b.action.partition('(')[0]}" not in names]
        assert not missing
        titles = {c.title for c in found}
        assert {"Copy the answer", "Copy a code block", "Copy the request", "Edit and send again", "Retry"} <= titles
        assert {
            "Theme: light",
            "Pin route code",
            "Pin model gemma-3-1b",
            "Undo the verdict",
            "Enlarge the pane",
        } <= titles
        assert len(titles) == len(found), "no title twice"
        assert set(_BROWSE.values()) <= {
            "write",
            "find",
            "enlarge",
            "help",
            "thoughts",
            "retry",
            "sessions",
            "copy answer",
            "copy request",
            "copy block",
            "edit",
        }, "a new key of browse needs a command in the palette"


async def test_the_palette_of_a_screen_has_its_keys(face):
    async with face() as f:
        await f.pilot.press("f4")
        await f.see("F4 Data")
        found = {c.title: c.help for c in f.app.get_system_commands(f.app.screen)}
        assert found["Relabel"] == "Give the example another route" and "Enlarge" in found
        await f.pilot.press("escape")
        await f.ask("hello")
        await f.pilot.press("ctrl+p")
        await f.pilot.pause(0.2)
        await f.type("copy the req")
        await f.see("Copy the request")
        await f.pilot.press("down", "enter")
        await f.until(lambda: any("copied the request" in n.message for n in f.app._notifications), "the copy")


async def test_help_begins_with_the_keys_of_the_open_screen(face):
    async with face() as f:
        await f.pilot.press("f3")
        await f.see("F3 Stats")
        await f.pilot.press("f1")
        await f.see("select a number; show its turns")
        lines = f.screen()
        assert lines.index("select a number") < lines.index("new line")
