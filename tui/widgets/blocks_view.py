"""Titled blocks of lines: beside each other where the terminal is wide, else one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

_GLYPH_STYLES = {"✓": "green", "~": "yellow", "✗": "red"}
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Block:
    """A title, and lines as they stand: aligned tables and wrapped prose of the command line."""

    title: str
    lines: tuple[str, ...]

    @staticmethod
    def of(title: str, lines: Iterable[str]) -> Block:
        """Without the indentation that all lines share below their title on the command line."""
        found = tuple(lines)
        indented = all(line.startswith(_INDENT) for line in found if line)
        return Block(title, tuple(line[len(_INDENT) :] for line in found) if indented else found)

    def halves(self) -> tuple[Block, Block]:
        """Cut at the empty line that is nearest to the middle; the second half has no title."""
        empty = [n for n, line in enumerate(self.lines) if not line]
        middle = len(self.lines) // 2
        cut = min(empty, key=lambda n: abs(n - middle), default=len(self.lines))
        return Block(self.title, self.lines[:cut]), Block("", self.lines[cut + 1 :])


class BlocksView(Container):
    """Two columns of blocks; the style sheet puts the second below the first in a narrow terminal."""

    def compose(self) -> ComposeResult:
        yield Static(classes="blocks")
        yield Static(classes="blocks")

    def show(self, left: Sequence[Block], right: Sequence[Block] = ()) -> None:
        for column, blocks in zip(self.query(Static), (left, right), strict=True):
            text = blocks_text(blocks)
            column.update(text)
            column.display = bool(text)


def blocks_text(blocks: Sequence[Block]) -> Text:
    parts = []
    for block in blocks:
        lines = [Text(line, "bold") for line in block.title.splitlines()]
        lines += [_styled(line) for line in block.lines]
        parts.append(Text("\n", no_wrap=True).join(lines))
    return Text("\n\n", no_wrap=True).join(parts)


def _styled(line: str) -> Text:
    """The glyphs of verdicts in their colours; the row that the page is about stands out."""
    text = Text(line, "bold" if line.lstrip().startswith("> ") else "", no_wrap=True)
    for place, character in enumerate(line):
        style = _GLYPH_STYLES.get(character)
        if style is not None and line[place + 1 : place + 2] in ("", " "):
            text.stylize(style, place, place + 1)
    return text
