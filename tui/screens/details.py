"""Everything about one configuration, as ``llmfit estimate`` prints it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.tui.cli.render import judgement_lines


class DetailsScreen(ModalScreen[None]):
    """Scrolls; Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss_screen", "back"),
        Binding("y", "copy", "copy command"),
    ]

    def __init__(self, judgement: Judgement) -> None:
        super().__init__()
        self.judgement = judgement

    def compose(self) -> ComposeResult:
        box = VerticalScroll(Static(Text("\n".join(judgement_lines(self.judgement)))), id="details")
        box.border_title = "Details"
        yield box
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one("#details").focus()

    def action_dismiss_screen(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        if self.judgement.argv is not None:
            self.app.copy_to_clipboard(shell_command(self.judgement.argv))
            self.notify("Sent to the terminal's clipboard.", timeout=3)
