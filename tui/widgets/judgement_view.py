"""A widget that draws one side of a judgement to the width it has."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement


class JudgementView(Static):
    """Draws anew when its judgement or its width changes; nothing without a judgement."""

    judgement: reactive[Judgement | None] = reactive(None)

    @abstractmethod
    def text_of(self, judgement: Judgement, width: int) -> Text:
        """What it shows of a judgement in so many columns."""

    def watch_judgement(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.content_size.width
        self.update(Text("") if self.judgement is None else self.text_of(self.judgement, width))
