"""The short ranked list: one row a configuration; the cursor stays on its model when the list changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

if TYPE_CHECKING:
    from llmfit.tui.messages import Pick


class PicksTable(DataTable[Text]):
    """Shows picks in as many columns as there is room for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "details", key_display="enter"),
        Binding("home,g", "first", "top", show=False),
        Binding("end", "last", "bottom", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", header_height=1, cell_padding=1)
        self.picks: tuple[Pick, ...] = ()
        self._drawn_width = 0

    @property
    def selected(self) -> Pick | None:
        """The pick under the cursor."""
        return self.picks[self.cursor_row] if 0 <= self.cursor_row < len(self.picks) else None

    def show(self, picks: tuple[Pick, ...], keep_cursor: bool = True) -> None:
        """Replaces all rows. The cursor stays on its model if that is still there, else goes to the first."""
        before = self.selected if keep_cursor else None
        looks_alike, self.picks = _shown(picks) == _shown(self.picks), picks
        if looks_alike and self.row_count:
            return  # only what stands beside the list has changed
        self._draw_rows()
        keys = [pick.key for pick in picks]
        if before is not None and before.key in keys:
            self.move_cursor(row=keys.index(before.key), animate=False)

    def _draw_rows(self) -> None:
        from llmfit.tui.widgets.pick_columns import pick_cells, planned_columns

        self._drawn_width = self.size.width
        self.clear(columns=True)
        columns = planned_columns(self.picks, self._drawn_width - self.styles.scrollbar_size_vertical)
        for column, width in columns:
            label = Text(column.label, justify="right" if column.right else "left")
            self.add_column(label, width=width)
        for pick in self.picks:
            self.add_row(*pick_cells(pick, columns))

    def on_resize(self) -> None:
        """A new width may have room for other columns."""
        if self.picks and self.size.width != self._drawn_width:
            row = self.cursor_row
            self._draw_rows()
            self.move_cursor(row=row, animate=False)

    def action_first(self) -> None:
        self.move_cursor(row=0)

    def action_last(self) -> None:
        self.move_cursor(row=self.row_count - 1)


def _shown(picks: tuple[Pick, ...]) -> list[tuple[object, ...]]:
    """What of the picks is on the screen: everything but the remedies."""
    return [
        (pick.key, pick.purpose, pick.quality, pick.local, pick.local_others, pick.is_marked,
         pick.judgement.verdict, pick.judgement.shortfall_bytes, pick.judgement.model.quantization,
         pick.judgement.settings, pick.judgement.memory, pick.judgement.speed)
        for pick in picks
    ]  # fmt: skip
