"""The sentence that stands where a screen finds no room."""

from __future__ import annotations

from textual.widgets import Static

from llmfit.tui.terminal_size import MIN_COLUMNS, MIN_ROWS


class TooSmall(Static):
    """Shown instead of everything else by the style sheet, in a terminal that is too small."""

    def __init__(self) -> None:
        super().__init__(
            f"llmfit needs a terminal of at least {MIN_COLUMNS} columns and {MIN_ROWS} rows. q quits.",
            id="too-small",
        )
