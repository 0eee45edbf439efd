"""What could not be read of the user's own catalogue rows, in the few lines that a person reads."""

from __future__ import annotations

import sys

MAX_NOTES = 3


def own_row_notes() -> tuple[str, ...]:
    """``FILE:LINE: why`` for each row that was left out; of many the first few and how many more."""
    from llmfit.catalog.overlay import overlay

    problems = overlay().problems
    if len(problems) <= MAX_NOTES:
        return problems
    return (*problems[:MAX_NOTES], f"and {len(problems) - MAX_NOTES} more in the catalogue folder")


def notes_of_this_run() -> tuple[str, ...]:
    """The same where the command has asked the catalogue; one that has not must not pay for reading it."""
    loaded = sys.modules.get("llmfit.catalog.overlay")
    return own_row_notes() if loaded is not None and loaded.overlay.cache_info().currsize else ()
