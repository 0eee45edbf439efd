"""The command's flags, one a line, each with what it does here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable

if TYPE_CHECKING:
    from llmfit.tui.messages import Pick

_LONGEST_FLAG = 22


class SettingsView(Static):
    """Draws the settings of one pick."""

    pick: reactive[Pick | None] = reactive(None)

    def watch_pick(self, pick: Pick | None) -> None:
        self.update(Text("") if pick is None else settings_table(pick))


def settings_table(pick: Pick) -> Table | Text:
    """Two aligned columns; the second wraps under itself and takes in values too long for the first."""
    from llmfit.tui.flag_texts import explained_flags

    rows = list(explained_flags(pick.judgement))
    if not rows:
        return Text("No settings: it does not run on this machine.", "dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for flag, meaning in rows:
        name, _, value = flag.partition(" ")
        shown, text = (flag, meaning) if len(flag) <= _LONGEST_FLAG else (name, f"{value}: {meaning}")
        table.add_row(Text(printable(shown), "bold"), Text(printable(text)))
    return table
