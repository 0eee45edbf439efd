"""The command line, always visible and selectable, because a clipboard may not be reachable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable

if TYPE_CHECKING:
    from llmfit.tui.messages import Pick

_TITLE = "Command"


class CommandPreview(Static):
    """Draws the command of one pick. Its heading says what ``y`` did, so that nothing covers the text."""

    pick: reactive[Pick | None] = reactive(None)
    subject = ""
    """Of what, where that is not the pick that the page is about."""

    def watch_pick(self, pick: Pick | None) -> None:
        command = command_text(pick)
        title = f"{_TITLE} of {self.subject}" if self.subject else _TITLE
        self.border_title = f"{title} (y copies it)" if command else title
        self.update(_no_command(pick) if pick is not None and not command else Text(printable(command)))

    def copy(self) -> None:
        """Sends the command to the terminal's clipboard (OSC 52), which never answers."""
        command = command_text(self.pick)
        if command:
            self.app.copy_to_clipboard(command)
            self.border_title = f"{_TITLE}: sent to the clipboard; if it did not arrive, select it here"
        elif self.pick is not None:
            self.border_title = f"{_TITLE}: nothing to copy, this does not run here"
        else:
            self.border_title = f"{_TITLE}: nothing to copy, no model is chosen"


def command_text(pick: Pick | None) -> str:
    """What a shell takes; empty where nothing can run."""
    return "" if pick is None else pick.judgement.shell_line or ""


def _no_command(pick: Pick) -> Text:
    from llmfit.tui.cli.render import verdict_text

    return Text().append(f"No command: it {verdict_text(pick.judgement).removeprefix('✗ ')}.", "bold red")
