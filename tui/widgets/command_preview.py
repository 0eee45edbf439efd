"""The command line, always visible and selectable, because a clipboard may not be reachable."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_gib
from llmfit.tui.messages import Pick


class CommandPreview(Static):
    """Draws the command of one pick."""

    pick: reactive[Pick | None] = reactive(None)

    def on_mount(self) -> None:
        self.border_title = "Command"
        self.border_subtitle = "y copies"

    def watch_pick(self, pick: Pick | None) -> None:
        if pick is None:
            self.update(Text(""))
        elif pick.judgement.argv is None:
            short = format_gib(pick.judgement.shortfall_bytes)
            self.update(Text(f"No command: {short} short on this machine.", "red"))
        else:
            self.update(Text(printable(shell_command(pick.judgement.argv))))
