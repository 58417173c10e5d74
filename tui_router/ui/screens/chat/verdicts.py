"""The main screen's verdicts: marks, the picker, comments, and writing them down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_router.core.clock import now
from tui_router.core.types import Verdict
from tui_router.ui.widgets.lines import line
from tui_router.ui.widgets.prompt import HINT

if TYPE_CHECKING:
    pass

from tui_router.ui.screens.chat.navigation import ChatBrowse


class ChatRating(ChatBrowse):
    """Turns choices into verdicts."""

    def _mark(self, turn_id: str, mark: str) -> None:
        if card := self.cards.get(turn_id):
            card.mark = mark
            card.refresh_lines()
        self.refresh_strips()

    def _commit(self, turn_id: str, what: str) -> None:
        card = self.cards.get(turn_id)
        if card is None:
            return
        if what == "undo":
            self._rate(turn_id, None)
            return
        card.mark = "y"
        card.refresh_lines()
        self._rate(turn_id, Verdict(kind="route", at=now(), rating="right", route=card.turn.decision.route))

    def _rate(self, turn_id: str, verdict: Verdict | None) -> None:
        self.run_worker(self._keep(turn_id, verdict), group="rate", description=f"rate {turn_id}", exit_on_error=False)

    async def _keep(self, turn_id: str, verdict: Verdict | None) -> None:
        """Write a verdict; the word `saved` appears when it is on the disk."""
        from tui_router.store.store_errors import StoreError

        engine = self.engine
        assert engine is not None
        self._error = ""
        try:
            if await engine.rate(turn_id, verdict):
                self._saved = turn_id
            else:
                self._error = engine.unsaved or "the verdict could not be kept"
        except StoreError as error:
            self._error = str(error)
        if card := self.cards.get(turn_id):
            card.mark = ""
            card.refresh_lines()
        self.refresh_strips()

    def _open(self, overlay: str, turn_id: str) -> None:
        card = self.cards.get(turn_id)
        if card is None or self.engine is None:
            self.desk.overlay = ""
            return
        if overlay == "note":
            return
        if overlay == "picker":
            self.picker.ask(card.turn, self.engine.config.fleet)
        else:
            self.chooser.ask(card.turn)
        self.add_class("-floating")
        self.refresh_keys()

    def _close_overlay(self) -> None:
        self.picker.close()
        self.chooser.close()
        self.remove_class("-floating")
        self.refresh_strips()

    def _begin_note(self, turn_id: str, what: str) -> None:
        """The prompt takes a note; a draft in it is kept aside."""
        self._note, self._draft = (turn_id, what), self.prompt.area.whole()
        self.desk.open_note()
        self.prompt.area.clear()
        self.prompt.add_class("-note")
        self.prompt.mark.update(line("note  › "))
        self.prompt.area.placeholder = {"note": "your note", "answer": "optional", "none": "optional"}[what]
        self.prompt.area.focus()
        self.refresh_strips()

    def _save_note(self, text: str) -> None:
        assert self._note is not None
        turn_id, what = self._note
        card = self.cards.get(turn_id)
        self._end_note()
        if card is None or (what == "note" and not text):
            return
        old = card.turn.verdict
        if what == "answer":
            verdict = Verdict(kind="answer", at=now(), rating="wrong", comment=text)
        elif what == "none":
            verdict = Verdict(kind="route", at=now(), rating="wrong", comment=text)
        elif old is not None and old.kind != "note":
            verdict = Verdict(
                kind=old.kind, at=now(), rating=old.rating, route=old.route, comment=text, source=old.source
            )
        else:
            verdict = Verdict(kind="note", at=now(), comment=text)
        self._rate(turn_id, verdict)

    def _end_note(self) -> None:
        self._note = None
        self.desk.overlay = ""
        self.prompt.remove_class("-note")
        self.prompt.mark.update(line("› "))
        self.prompt.area.placeholder = HINT
        self.prompt.area.fill(self._draft) if self._draft else self.prompt.area.clear()
        self._draft = ""
        self.prompt.area.focus()
        self.refresh_strips()
