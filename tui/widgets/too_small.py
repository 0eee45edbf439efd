"""The sentence that stands where a screen finds no room."""

from __future__ import annotations

from textual.widgets import Static


class TooSmall(Static):
    """Shown instead of everything else by the style sheet, in a terminal that is too small."""

    def __init__(self) -> None:
        super().__init__(
            "llmfit needs a terminal of at least 60 columns and 18 rows. q quits.", id="too-small"
        )
