"""The sections of a page in one line: a digit and a name each, the open one marked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

OPEN_MARK = "▸"
MAX_GAP = 3


class SectionBar(Static):
    """Names with the digits that open them; the screen's action ``section`` answers clicks."""

    current: reactive[int] = reactive(0)

    def __init__(self, names: Sequence[str], id: str | None = None) -> None:
        super().__init__(id=id)
        self.names = tuple(names)

    def watch_current(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.content_size.width:  # before that it would be laid out a name a line
            self.update(section_text(self.names, self.current, self.content_size.width))


def section_text(names: Sequence[str], current: int, width: int) -> Text:
    """As many names a line as have room, none of them broken; gaps grow with the width."""
    items = [f"{OPEN_MARK if n == current else ' '}{n + 1} {name}" for n, name in enumerate(names)]
    spare = width - sum(map(len, items))
    gap = max(0, min(MAX_GAP, spare // max(1, len(items) - 1)))
    text, used = Text(no_wrap=True), 0
    for n, item in enumerate(items):
        if used and used + gap + len(item) > width:
            text.append("\n")
            used = 0
        elif used:
            text.append(" " * gap)
            used += gap
        click = Style.from_meta({"@click": f"screen.section({n})"})
        text.append(item, click + Style(bold=True, underline=True) if n == current else click)
        used += len(item)
    return text
