"""F1: what every key does."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tui_router.ui.widgets.lines import Lines, line

Keys = tuple[tuple[str, str], ...]
_WRITING: Keys = (
    ("enter", "send"),
    ("shift+enter, ctrl+j", "new line"),
    ("↑ on empty", "earlier requests, of earlier runs too"),
    ("esc", "browse; esc again stops the answer"),
    ("@image PATH", "attach a picture; a pasted path works too"),
    ("/", "commands, tab completes; // sends a slash"),
)
_RATING: Keys = (
    ("y", "the route was right"),
    ("n", "wrong: pick the right one, digits choose"),
    ("c", "comment: wrong route, bad answer, or a note"),
    ("u", "undo a verdict"),
    ("enter", "next, no verdict"),
    ("any other key", "goes to the prompt"),
    ("alt+y n c", "rate the newest turn, from anywhere"),
)
_BROWSE: Keys = (
    ("j k ↑ ↓ g G", "between turns"),
    ("y n c u", "rate the selected turn, or rate it again"),
    ("t", "show or fold reasoning and long requests"),
    ("x b X", "copy the answer, a code block, the request"),
    ("e r", "edit and send again; retry"),
    ("/", "find in the conversation"),
    ("i, enter", "write"),
    ("z", "enlarge the pane; esc goes back"),
    ("tab", "the panes"),
    ("1-5", "choose a pane, below 120 columns"),
    ("s", "sessions"),
)
_ANYWHERE: Keys = (
    ("F1 F2 F3 F4", "help, chat, stats, data"),
    ("F5 F6", "train, export"),
    ("^O", "sessions"),
    ("^R", "check the servers"),
    ("^S", "skip a slow model, ask its fallback"),
    ("^P", "every action"),
    ("^Q", "quit"),
)
_DATA: Keys = (
    ("1-5 j k", "kind of issue; the next, the previous one"),
    ("e l d u", "keep, relabel, drop, undo"),
    ("/", "find examples"),
    ("g G", "generate requests, tool calls; again: stop"),
    ("x", "to the Export screen"),
)
_STATS: Keys = (
    ("1-4", "period"),
    ("↑ ↓ ← → enter", "select a number; show its turns, to rate them again"),
    ("r", "report"),
    ("z", "enlarge a pane"),
)
_REPORT: Keys = (
    ("j k enter", "select a finding; show its turns"),
    ("t", "try what it proposes; a applies it"),
    ("u", "undo the newest change"),
    ("← → s", "past reports; save this one"),
)
_TRAIN: Keys = (
    ("↑ ↓ ← → enter", "the recipe: field, value, edit one"),
    ("f s", "preflight, start"),
    ("[ ]", "newer, older run; n: a new one"),
    ("p x d", "pause or resume; stop and keep; stop and discard"),
    ("v m c", "another curve, smoothing, compare with a run"),
    ("g o b", "the gate's result, promote, roll back"),
    ("w delete", "note, delete"),
)
_EXPORT: Keys = (
    ("m", "dataset or model"),
    ("↑ ↓ ← →", "field, value"),
    ("d x", "folder, write it"),
    ("c r", "copy or run its command"),
)
COMMANDS: Keys = (
    ("/health", "check servers and models"),
    ("/image PATH", "attach a picture"),
    ("/model NAME", "pin a model; alone: unpin"),
    ("/route NAME", "pin a route; alone: unpin"),
    ("/find TEXT", "find a turn of this conversation"),
    ("/new", "start a new conversation"),
    ("/stats", "accuracy, routes, calibration, models"),
    ("/analyze", "the report of today"),
    ("/observer", "events and the observer's remarks"),
    ("/help", "this page"),
)
"""(command with its argument, what it does), in the order in which they are shown."""


class HelpScreen(ModalScreen[None]):
    """A page of keys.

    Args:
        feedback: Whether this person rates; without it the keys of rating are left out.
        first: The group of the open screen, shown before the others; empty for the conversation.
    """

    BINDINGS: ClassVar = [
        Binding("escape,f1,q,question_mark,enter", "dismiss_help", "close", id="close_help", tooltip="Close the help")
    ]

    def __init__(self, feedback: bool, first: str = "") -> None:
        super().__init__(classes="dialog")
        self.feedback, self.first = feedback, first

    def compose(self) -> ComposeResult:
        groups = [
            ("Writing", _WRITING),
            *([("Rating, while the prompt is empty", _RATING)] if self.feedback else []),
            ("Browsing, after esc", _BROWSE),
            ("Anywhere", _ANYWHERE),
            ("F3 Stats", _STATS),
            ("Report", _REPORT),
            ("F4 Data", _DATA),
            ("F5 Train", _TRAIN),
            ("F6 Export", _EXPORT),
            ("Commands", COMMANDS),
        ]
        groups.sort(key=lambda group: group[0] != self.first)
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
