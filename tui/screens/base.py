"""What the full screens have in common: the app's knowledge of the machine, and one widget with the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import Screen
from textual.widget import Widget

if TYPE_CHECKING:
    from llmfit.tui.app import LlmfitApp


class FullScreen(Screen[None]):
    """``home`` has the focus unless a dialog or a field takes it."""

    home: type[Widget]

    @property
    def llmfit(self) -> LlmfitApp:
        return cast("LlmfitApp", self.app)

    def on_resize(self) -> None:
        """A terminal that was too small has taken the focus away."""
        if self.focused is None:
            self.call_after_refresh(self.query_one(self.home).focus)
