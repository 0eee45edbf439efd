"""Which parts of an article stand in which section of the model's screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfit.tui.widgets.blocks_view import Block

if TYPE_CHECKING:
    from llmfit.advisor.recommend.article.values import Article

WHY, GOALS = "Why", "Goals"
SECTIONS = (WHY, GOALS, "Files", "Context", "Speed", "Cards", "Cost", "Evidence", "Pitfalls")
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Files": (("quants",), ("running", "help")),
    "Context": (("ladder",), ("depths",)),
    "Speed": (("depths",), ("prompts",)),
    "Cards": (("cards",), ("help",)),
    "Cost": (("energy",), ("assumed",)),
    "Evidence": (("evidence",), ()),
    "Pitfalls": (("pitfalls",), ()),
}
"""Keys of ``article_sections``: the left column and the right one."""
_EMPTY = {
    "Speed": "No speed is known: it does not run here, or a bandwidth that matters is not known.",
    "Cards": "No kind of card is known to try it on: this machine has no GPU.",
    "Cost": "Nothing runs here, so nothing is drawn from the wall.",
    "Pitfalls": "No pitfall of this model is known here. That nobody has met one is not said.",
}
COLUMN_LINES = 34
"""Of a long list more than this goes into the second column."""


def blocks_of(section: str, article: Article) -> tuple[list[Block], list[Block]]:
    """The left and the right column; one sentence where there is nothing."""
    from llmfit.tui.cli.render_article import article_sections

    found = {key: Block.of(title, lines) for key, title, lines in article_sections(article, with_scores=True)}
    if not article.is_compromise:
        found.pop("running", None)  # that is the pick itself, in Why
    columns = [[found[key] for key in keys if key in found and found[key].lines] for keys in _PLACES[section]]
    left, right = columns
    if not left:
        return [Block(section, (_EMPTY.get(section, "Nothing is known."),))], right
    if not right and len(left[-1].lines) > COLUMN_LINES:
        return [*left[:-1], (halves := left[-1].halves())[0]], [halves[1]]
    return left, right
