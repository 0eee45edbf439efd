"""Keys that mean the same on every screen."""

from __future__ import annotations

from textual.binding import Binding, BindingType

HELP_KEYS: tuple[BindingType, ...] = (
    Binding("question_mark", "app.help", "help", key_display="?"),
    Binding("f1", "app.help(True)", show=False),
)
"""``?`` is a letter while somebody types; F1 always helps."""
