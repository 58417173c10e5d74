"""Our own exports, and the logs and seeds of the older LM-Studio router."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui_router.datasets.formats import RowError, example_of, format_of
from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut, Record, RecordShape
from tui_router.datasets.importing.messages import chat_message, requests_of


class OwnExport(RecordShape):
    """A row of `dataset export`, with all its columns."""

    name = "tui-router export"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and {"route", "source", "weight", "has_image"} <= set(value)

    def read(self, record: Record) -> Iterator[Found]:
        form = format_of(record.value)
        try:
            if form is None:
                raise RowError("has the columns of no format")
            example = example_of(record.value, form)
        except RowError as error:
            yield LeftOut(record.where, str(error), damaged=True)
            return
        yield ImportedRequest(
            text=example.text,
            where=record.where,
            labels=(example.route,),
            session=example.session,
            history=example.history,
            has_image=example.has_image,
            has_code=example.has_code,
            source=example.source,
            origin=example.origin,
            weight=example.weight,
        )


class OwnToolExport(RecordShape):
    """A row of `dataset export --kind tool-use`. Its request belongs to the route that calls tools; the calls are dropped."""

    name = "tui-router tool-use export"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and {"tools", "scenario", "origin"} <= set(value)

    def read(self, record: Record) -> Iterator[Found]:
        turns = record.value.get("messages") or record.value.get("conversations")
        if not isinstance(turns, list):
            yield LeftOut(record.where, "a conversation with tools without its messages", damaged=True)
            return
        messages = [
            chat_message(turn.get("role") or turn.get("from"), turn.get("content") or turn.get("value") or "")
            for turn in turns
            if isinstance(turn, Mapping)
        ]
        yield from requests_of(messages, record.where, last_only=True, in_tools_route=True)


class OlderLog:
    """A log of the older LM-Studio router: requests, and rows of feedback that name a request by its time."""

    name = "older router log"

    def __init__(self) -> None:
        self._requests: dict[str, tuple[str, dict[str, Any]]] = {}
        """Timestamp -> (where, row)."""
        self._without_request: list[LeftOut] = []

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and ("routing" in value or bool(value.get("feedback_update")))

    def read(self, record: Record) -> Iterator[Found]:
        row, at = record.value, str(record.value.get("timestamp"))
        if not row.get("feedback_update"):
            self._requests[at] = (record.where, dict(row))
        elif at in self._requests:
            self._requests[at][1]["feedback"] = row.get("feedback")
        else:
            why = f"is feedback on a request of {at}, which is not in the file"
            self._without_request.append(LeftOut(record.where, why, damaged=True))
        return iter(())

    def finish(self) -> Iterator[Found]:
        """Yield all requests, joined with the feedback that came later."""
        yield from self._without_request
        for where, row in self._requests.values():
            yield _logged_request(where, row)


def _logged_request(where: str, row: Mapping[str, Any]) -> Found:
    request, routing, feedback = row.get("request"), row.get("routing"), row.get("feedback") or {}
    text = request.get("text") if isinstance(request, Mapping) else None
    readable = isinstance(text, str) and isinstance(routing, Mapping) and isinstance(feedback, Mapping)
    if not readable or not isinstance(request, Mapping) or not isinstance(routing, Mapping):
        return LeftOut(where, "is a log row without a request text, a routing or a readable feedback", damaged=True)
    label = feedback.get("correct_route") or feedback.get("correct_model")
    if not label and feedback.get("user_rating") == 1:
        label = routing.get("task_type") or routing.get("model_chosen")
    return ImportedRequest(
        text=str(text),
        where=where,
        labels=(str(label),) if label else (),
        session=str(row.get("session_id") or ""),
        origin=f"{where} {row.get('timestamp', '')}".strip(),
        has_image=bool(request.get("has_image")),
        has_code=bool(request.get("has_code")),
    )
