"""A bare Textual app: the floor that the dashboard is compared with."""

from textual.app import App, ComposeResult
from textual.widgets import Footer, Header, Input, Static


class Floor(App[None]):
    def compose(self) -> ComposeResult:
        yield Header()
        yield Static("the floor")
        yield Input(placeholder="type here")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Input).focus()


Floor().run()
