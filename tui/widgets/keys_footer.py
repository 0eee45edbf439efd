"""The footer: the keys that mean something now, as many as the terminal has room for."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer

SHORTER = {"probe again": "probe", "on disk": "disk"}
DROPPED_FIRST = ("copy", "mark", "plan", "compare", "use_case", "select_cursor", "context", "probe")
"""Actions that a narrow footer leaves out, one after the other; the help names every key."""


class KeysFooter(Footer):
    """Shortens, then drops; what is left out still works."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._drawn_width = 0

    def compose(self) -> ComposeResult:
        self._drawn_width = self.app.size.width
        yield from fitting_keys(list(super().compose()), self._drawn_width)

    async def on_resize(self) -> None:
        if self.app.size.width != self._drawn_width:
            await self.recompose()


def fitting_keys(keys: list[Widget], width: int) -> list[Widget]:
    """The footer's items that fit into ``width`` cells."""
    if _width_of(keys) > width:
        for key in keys:
            key.description = SHORTER.get(_text(key, "description"), _text(key, "description"))  # type: ignore[attr-defined]
    for action in DROPPED_FIRST:
        if _width_of(keys) > width:
            keys = [key for key in keys if _text(key, "action").removeprefix("app.") != action]
    return keys


def _width_of(keys: list[Widget]) -> int:
    """Cells of ``key description`` with one between two items."""
    return sum(len(_text(key, "key_display")) + len(_text(key, "description")) + 2 for key in keys) - 1


def _text(key: Widget, name: str) -> str:
    return str(getattr(key, name, ""))
