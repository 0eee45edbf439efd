"""The field for a part of a model's name."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input

TYPING_PAUSE_S = 0.2
"""A search waits for this long after the last key, so that each letter does not start one."""


class SearchField(Input):
    """An Input that the cursor leaves downwards, to what was found; it tells what was typed after a pause."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.leave_search", "to the list"),
    ]

    class Typed(Message):
        """``text`` is what to search for now; ``entered`` where Enter ended the typing."""

        def __init__(self, text: str, entered: bool) -> None:
            super().__init__()
            self.text = text
            self.entered = entered

    def __init__(self, id: str | None = None) -> None:
        super().__init__(placeholder="part of a name, a family or a use", id=id, compact=True)
        self._pause: Timer | None = None

    def open(self) -> None:
        self.display = True
        self.focus()

    def close(self) -> None:
        """Empties and hides it; what was typed last is not told any more."""
        self._stop_waiting()
        with self.prevent(Input.Changed):
            self.value = ""
        self.display = False

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._stop_waiting()
        self._pause = self.set_timer(TYPING_PAUSE_S, lambda: self._tell(False))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._stop_waiting()
        self._tell(True)

    def _tell(self, entered: bool) -> None:
        self.post_message(self.Typed(self.value.strip(), entered))

    def _stop_waiting(self) -> None:
        if self._pause is not None:
            self._pause.stop()
