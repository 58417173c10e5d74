"""The recipe as a form: up and down select a field, left and right change it, enter edits its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from tui_router.ui.widgets.lines import Lines, Paragraph, line
from tui_router.ui.widgets.panes import Pane

if TYPE_CHECKING:
    from tui_router.core.example import Source
    from tui_router.training.recipe import Recipe

SOURCES: tuple[tuple[Source, ...], ...] = (
    ("verdict", "imported", "generated", "seed"),
    ("verdict", "imported", "generated"),
    ("verdict",),
)
_FIELDS = (
    "base",
    "method",
    "backend",
    "label",
    "r",
    "alpha",
    "targets",
    "learning_rate",
    "epochs",
    "steps",
    "batch",
    "accumulate",
    "max_length",
    "seed",
)
_NAMES = {
    "r": "LoRA rank",
    "alpha": "LoRA alpha",
    "targets": "LoRA targets",
    "max_length": "max tokens",
    "learning_rate": "learning rate",
    "accumulate": "grad accumulation",
}


class RecipeForm(Pane):
    """A recipe that can be changed."""

    BINDINGS: ClassVar = [
        Binding("up,k", "move(-1)", "field", show=False, id="form_up", tooltip="Select the field above"),
        Binding("down,j", "move(1)", "field", show=False, id="form_down", tooltip="Select the field below"),
        Binding("left,h", "change(-1)", "change", show=False, id="form_less", tooltip="The field's previous value"),
        Binding("right,l", "change(1)", "change", show=False, id="form_more", tooltip="The field's next value"),
        Binding("enter", "type", "type", show=False, id="form_type", tooltip="Edit the field's value"),
    ]

    class Changed(Message):
        """Another recipe, or other sources."""

    title = "Recipe"

    def __init__(self) -> None:
        super().__init__(id="recipe")
        from tui_router.config.validation import field_docs
        from tui_router.training import recipe

        self.names = tuple(recipe.shipped())
        self.recipe_name = self.names[0] if self.names else ""
        self.recipe: Recipe = recipe.load(self.recipe_name) if self.recipe_name else recipe.Recipe()
        self.sources = 0
        self._manual = {
            **field_docs(recipe.Recipe),
            "recipe": "A set of starting values for one base model.",
            "sources": "Which examples are trained on. The seeds are general; your verdicts are yours.",
        }
        self._fields = ("recipe", "sources", *_FIELDS)
        self._at = 0
        self._rows, self._help = Lines(), Paragraph("")
        self._input = Input(id="recipe-input", compact=True)

    def compose(self) -> ComposeResult:
        yield from (self.head, self._help, self._input, self._rows)

    def on_mount(self) -> None:
        self._input.display = False
        self.watch(self, "has_focus", self._show)

    def value(self, field: str) -> object:
        """What a field holds."""
        if field == "recipe":
            return self.recipe_name
        return SOURCES[self.sources] if field == "sources" else getattr(self.recipe, field)

    def _show(self) -> None:
        field = self._fields[self._at]
        self._rows.set_lines(*(self._row(name) for name in self._fields))
        self._help.update(line((self._manual.get(field, ""), "$muted")))
        self.head.set_status("←→ change, enter edit" if self.has_focus else "")

    def _row(self, field: str) -> Content:
        here = self.has_focus and field == self._fields[self._at]
        value = self.value(field)
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if field == "targets":
            shown = shown.replace("_proj", "")
        if field == "steps" and not value:
            shown = "from epochs"
        mark = ("› ", "$accent bold") if here else ("  ", "")
        return line(mark, (f"{_NAMES.get(field, field):<18}", "$muted"), (shown, "$accent bold" if here else "$text"))

    # -- changing ------------------------------------------------------------------------------------------------
    def action_move(self, by: int) -> None:
        """Another field."""
        self._at = (self._at + by) % len(self._fields)
        self._show()

    def action_change(self, by: int) -> None:
        """The next or the previous value of the field."""
        from tui_router.training import recipe
        from tui_router.training.recipe import ATTENTION, FEED_FORWARD

        field, value = self._fields[self._at], self.value(self._fields[self._at])
        choices: dict[str, tuple[Any, ...]] = {
            "method": ("lora", "full"),
            "backend": ("auto", "unsloth", "plain"),
            "label": ("letter", "text"),
            "targets": (ATTENTION, ATTENTION + FEED_FORWARD),
            "r": (4, 8, 16, 32, 64),
            "alpha": (8, 16, 32, 64),
            "learning_rate": (2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3),
            "epochs": (1.0, 2.0, 3.0, 4.0, 6.0, 10.0),
            "steps": (0, 50, 100, 200, 400, 800, 1600),
            "batch": (1, 2, 4, 8, 16, 32),
            "accumulate": (1, 2, 4, 8),
            "max_length": (256, 384, 512, 768, 1024, 2048),
            "seed": (3407, 1, 2, 3, 4, 5),
        }
        if field == "recipe" and self.names:
            self.recipe_name = self.names[(self.names.index(self.recipe_name) + by) % len(self.names)]
            self.recipe = recipe.load(self.recipe_name)
        elif field == "sources":
            self.sources = (self.sources + by) % len(SOURCES)
        elif field == "base":
            bases = tuple(recipe.load(name).base for name in self.names)
            self._set(field, bases[(bases.index(value) + by) % len(bases)] if value in bases else bases[0])
        else:
            known = choices[field]
            self._set(field, known[(known.index(value) + by) % len(known)] if value in known else known[0])
        self._show()
        self.post_message(self.Changed())

    def _set(self, field: str, value: Any) -> None:
        from msgspec.structs import replace

        self.recipe = replace(self.recipe, **{field: value})

    def action_type(self) -> None:
        """Type the field's value."""
        field = self._fields[self._at]
        if field in ("recipe", "sources", "method", "backend", "label", "targets"):
            self.action_change(1)
            return
        self._input.value = str(self.value(field))
        self._input.display = True
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Accept what was typed, if the recipe's own checks accept it."""
        from tui_router.training import recipe

        event.stop()
        field, text = self._fields[self._at], event.value.strip()
        tables = {name: table for table, names in recipe.tables().items() for name in names}
        typed = f'"{text}"' if field == "base" else text
        try:
            made = recipe.parse(
                f"[{tables[field]}]\n{field} = {typed}" if tables[field] else f"{field} = {typed}", "recipe"
            )
        except recipe.RecipeError as error:
            wrong = f"{text!r} is no value of this field" if "TOML" in str(error) else str(error).rpartition(": ")[2]
            self._help.update(line((wrong, "$wrong")))
            return
        self._set(field, getattr(made, field))
        self._close()
        self.post_message(self.Changed())

    def on_key(self, event: Any) -> None:
        """Escape leaves the input, not the screen."""
        if event.key == "escape" and self._input.has_focus:
            event.stop()
            event.prevent_default()
            self._close()

    def _close(self) -> None:
        self._input.display = False
        self.focus()
        self._show()
