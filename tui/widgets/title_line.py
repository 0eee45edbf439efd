"""The first line of the full screens: which machine the answers are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.widgets import Static

from llmfit.tui.widgets.heading import title_text

if TYPE_CHECKING:
    from llmfit.tui.app import LlmfitApp


class TitleLine(Static):
    """Follows what the app knows of the machine, and whether it is being probed."""

    def on_mount(self) -> None:
        self.watch(self.app, "known", self._draw)
        self.watch(self.app, "probing", self._draw)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        app = cast("LlmfitApp", self.app)
        self.update(title_text(app.known, app.probing, app.size.width))
