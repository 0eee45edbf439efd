"""Everything about the chosen pick that stands between the list and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll

from llmfit.tui.widgets.memory_view import MemoryView
from llmfit.tui.widgets.settings_view import SettingsView
from llmfit.tui.widgets.why_panel import WhyPanel

if TYPE_CHECKING:
    from llmfit.tui.messages import Pick

_TITLES = {
    "why-box": "Why",
    "bytes-box": "Where the bytes go (GiB)",
    "settings-box": "Settings, one by one",
}


class AnswerPanels(Horizontal):
    """Why at the left; the bytes and, where there is room, the settings at the right."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="why-box", can_focus=False):
            yield WhyPanel(id="why")
        with Vertical(id="numbers"):
            with VerticalScroll(id="bytes-box", can_focus=False):
                yield MemoryView(id="bytes")
            with VerticalScroll(id="settings-box", can_focus=False):
                yield SettingsView(id="settings")

    def on_mount(self) -> None:
        for box, title in _TITLES.items():
            self.query_one(f"#{box}").border_title = title

    def show(self, pick: Pick | None) -> None:
        """Draws all panels for a pick and scrolls them back to their beginning."""
        self.query_one(WhyPanel).pick = pick
        self.query_one(MemoryView).judgement = pick.judgement if pick else None
        self.query_one(SettingsView).pick = pick
        for box in _TITLES:
            self.query_one(f"#{box}").scroll_home(animate=False)
