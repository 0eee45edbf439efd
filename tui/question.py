"""The one question that the first screen answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A search comes before the models on this disk, these before the recommendations."""

    use_case: str = "general"
    context_tokens: int | None = None
    search_text: str = ""
    on_disk: bool = False

    @property
    def is_recommendation(self) -> bool:
        return not self.search_text and not self.on_disk

    @property
    def is_about_disk(self) -> bool:
        return self.on_disk and not self.search_text
