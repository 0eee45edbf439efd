"""Text that comes from files, made safe to show.

A model file may carry anything in its names: escape sequences that move the cursor, right-to-left overrides
that reorder what a person reads, or markup. Text is kept raw where it is data and passes through here where
it is shown. Markup of a particular screen library is the business of that screen.
"""

from __future__ import annotations

import unicodedata

MAX_TEXT_LENGTH = 120
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi, zero width), surrogate, private, unassigned, line and paragraph separators."""


def printable(text: str, max_characters: int = 0) -> str:
    r"""``text`` with every character that is not plainly visible written as ``\x1b``, ``\n`` or ``\u202e``.

    ``max_characters`` > 0 cuts longer results and ends them with an ellipsis. Never raises.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(_visible(character) for character in text)
    if 0 < max_characters < len(text):
        return text[: max_characters - 1] + "…"
    return text


def _visible(character: str) -> str:
    if unicodedata.category(character) in _UNSAFE_CATEGORIES:
        return character.encode("unicode_escape").decode("ascii")
    return character


def clean_text(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """``text`` from a driver or file as a value to keep: one line, printable, not endless.

    Where ``printable`` shows what is wrong with a text, this leaves it out.
    """
    kept = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(kept.split())[:max_length]
