"""The field for a part of a model's name."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class SearchField(Input):
    """An Input that the cursor leaves downwards, to what was found."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.leave_search", "to the list"),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(placeholder="part of a name, a family or a use", id=id, compact=True)
