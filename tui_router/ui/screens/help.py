"""F1: what every key does."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tui_router.ui.widgets.lines import Lines, line

_WRITING = (
    ("enter", "send"), ("shift+enter, ctrl+j", "new line"), ("↑ on empty", "earlier requests"), ("esc", "browse; esc again stops the answer"),
    ("@image PATH", "attach a picture; a pasted path works too"), ("/", "commands; // sends a slash"),
)  # fmt: skip
_RATING = (
    ("y", "the route was right"), ("n", "wrong: pick the right one, digits choose"), ("c", "wrong route, bad answer, or a note"),
    ("u", "take a verdict back"), ("enter", "next, no verdict"), ("any other key", "goes to the prompt"),
    ("alt+y n c", "rate the newest turn, from anywhere"),
)  # fmt: skip
_BROWSE = (
    ("j k ↑ ↓ g G", "between turns"), ("y n c u", "rate the selected one, again or anew"), ("t", "show or fold the reasoning"),
    ("r", "ask again"), ("/", "find in the conversation"), ("i, enter", "write"), ("z", "enlarge the pane; esc goes back"),
    ("tab", "the panes"), ("1-5", "choose a pane, below 100 columns"), ("s", "sessions"),
)  # fmt: skip
_ANYWHERE = (
    ("F1 F2 F3 F4", "help, chat, stats, data"), ("F5 F6", "train, export"),
    ("^O", "sessions"), ("^R", "look for servers"), ("^S", "leave a slow model for the next"),
    ("^P", "every action"), ("^Q", "quit"),
)  # fmt: skip
_DATA = (
    ("1-5 j k", "kind of doubt; the next, the one before"), ("e l d u", "keep, relabel, drop, undo"), ("/", "find examples"),
    ("g G", "a served model writes requests, tool use; again: stop"), ("x", "to the Export screen"),
)  # fmt: skip
_STATS = (
    ("1-4", "period"), ("↑ ↓ ← → enter", "a number; the turns behind it, to be rated again"), ("r", "report"), ("z", "enlarge a pane"),
)  # fmt: skip
_REPORT = (
    ("j k enter", "a finding; its turns"), ("t", "try what it proposes; a applies it"), ("u", "undo the newest change"),
    ("← → s", "kept reports; keep this one"),
)  # fmt: skip
_TRAIN = (
    ("↑ ↓ ← → enter", "the recipe: field, value, type one"), ("f s", "preflight, start"), ("[ ]", "newer, older run; n: a new one"),
    ("p x d", "pause or go on; stop and keep; stop and drop"), ("v m c", "another curve, smoothing, a run beside it"),
    ("g o b", "the gate's page, promote, roll back"), ("w delete", "note, delete"),
)  # fmt: skip
_EXPORT = (
    ("m", "dataset or model"), ("↑ ↓ ← →", "field, value"), ("d x", "folder, write it"), ("c r", "copy or run its command"),
)  # fmt: skip
COMMANDS = (
    ("/health", "look at servers and models"), ("/image PATH", "attach a picture"), ("/model NAME", "pin a model; alone: unpin"),
    ("/route NAME", "pin a route; alone: unpin"), ("/new", "a new conversation"), ("/stats", "how the router does"),
    ("/analyze", "the report of today"), ("/observer", "the feed, and who writes it"), ("/help", "this page"),
)  # fmt: skip


class HelpScreen(ModalScreen[None]):
    """A page of keys."""

    BINDINGS: ClassVar = [Binding("escape,f1,q,question_mark,enter", "dismiss_help", "close", id="close_help")]

    def __init__(self, feedback: bool) -> None:
        super().__init__(classes="dialog")
        self.feedback = feedback

    def compose(self) -> ComposeResult:
        groups: list[tuple[str, tuple[tuple[str, str], ...]]] = [("Writing", _WRITING)]
        if self.feedback:
            groups.append(("Rating, while the prompt is empty", _RATING))
        groups += [
            ("Browsing, after esc", _BROWSE), ("Anywhere", _ANYWHERE), ("F3 Stats", _STATS), ("Report", _REPORT),
            ("F4 Data", _DATA), ("F5 Train", _TRAIN), ("F6 Export", _EXPORT), ("Commands", COMMANDS),
        ]  # fmt: skip
        rows: list[Content] = []
        for title, pairs in groups:
            rows.append(line((title, "$strong bold")))
            rows += [line((f"  {key:<20}", "$accent"), what) for key, what in pairs]
            rows.append(line(""))
        with Vertical(classes="box"), VerticalScroll():
            yield Lines(*rows[:-1])

    def action_dismiss_help(self) -> None:
        """Close the page."""
        self.dismiss(None)
