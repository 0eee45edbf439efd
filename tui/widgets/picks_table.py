"""The short ranked list: one row a configuration, never a speed for what cannot run."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.widgets import DataTable

from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU, Judgement
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context, format_gib
from llmfit.tui.cli.render import device_totals, two_figures
from llmfit.tui.messages import Pick

_GLYPHS = {FITS_GPU: ("✓", "green"), DOES_NOT_FIT: ("✗", "red")}
_PURPOSE_WIDTH = 15
_FIXED_WIDTHS = {"": 1, "quant": 7, "KV": 4, "context": 7, "memory GiB": 16, "decode tok/s": 12}
_NARROW_FIXED_WIDTHS = {"": 1, "quant": 7, "KV": 4, "ctx": 5, "memory GiB": 14, "tok/s": 10}
_CELL_PADDING = 2
NARROW = 100


class PicksTable(DataTable[Text]):
    """Shows picks; the column of names takes whatever width is left, so that no name is clipped early."""

    DEFAULT_CLASSES: ClassVar[str] = "picks"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, header_height=1)
        self._shown: tuple[Pick, ...] = ()

    def show(self, picks: tuple[Pick, ...]) -> None:
        """Replaces all rows; the cursor goes to the first."""
        self._shown = picks
        self.clear(columns=True)
        width = self.size.width or self.app.size.width
        narrow = width < NARROW
        fixed = _NARROW_FIXED_WIDTHS if narrow else _FIXED_WIDTHS
        purpose_width = 0 if narrow else _PURPOSE_WIDTH + _CELL_PADDING
        taken = sum(fixed.values()) + _CELL_PADDING * (len(fixed) + 1) + purpose_width
        name_width = max(16, width - taken - 1)
        self.add_column("", width=1)
        if not narrow:
            self.add_column("purpose", width=_PURPOSE_WIDTH)
        self.add_column("model", width=name_width)
        for label in list(fixed)[1:]:
            self.add_column(label, width=fixed[label])
        for pick in picks:
            cells = pick_cells(pick, name_width)
            self.add_row(*(cells[:1] + cells[2:] if narrow else cells))

    def on_resize(self) -> None:
        row = self.cursor_row
        self.show(self._shown)
        if row < len(self._shown):
            self.move_cursor(row=row)


def pick_cells(pick: Pick, name_width: int) -> list[Text]:
    """Verdict glyph, purpose, name, quant, cache, context, memory, decode; plain texts, no markup."""
    judgement = pick.judgement
    glyph, style = _GLYPHS.get(judgement.verdict, ("~", "yellow"))
    name = printable(judgement.model.id.split("/")[-1])
    if len(name) > name_width:
        name = name[: name_width - 1] + "…"
    return [
        Text(glyph, style),
        Text(pick.purpose),
        Text(name, "bold"),
        Text(judgement.model.quantization),
        Text(judgement.settings.cache_type_k),
        Text(format_context(judgement.settings.context_tokens), justify="right"),
        Text(_memory(judgement), justify="right"),
        Text(_speed(judgement), justify="right"),
    ]


def _memory(judgement: Judgement) -> str:
    if judgement.verdict == DOES_NOT_FIT:
        return f"{format_gib(judgement.shortfall_bytes, 0)} short"
    return device_totals(judgement)


def _speed(judgement: Judgement) -> str:
    if judgement.verdict == DOES_NOT_FIT:
        return "–"
    if judgement.speed is None:
        return "?"
    decode = judgement.speed.decode_tok_s
    return f"{two_figures(decode.expected)} ({two_figures(decode.low)}-{two_figures(decode.high)})"
