"""What is published about a model's ability: a summary, the raw scores of unranked uses, or every score."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from llmfit.advisor.recommend.article.values import Article, Score
from llmfit.advisor.text import printable
from llmfit.tui.article_words import quality_text, share_text
from llmfit.tui.cli.render import TABLE_WIDTH, TEXT_WIDTH, table, wrapped

RAW_USES = ("vision", "long-context")
"""Too few measurements to fit an ability: their scores are shown as they are."""
MAX_RAW = 6


def evidence_lines(article: Article, with_scores: bool) -> Iterator[str]:
    """Ability with its grade; where asked, every score by source."""
    quality = article.quality
    if quality is None:
        yield from _bullets(["Nobody's scores of this model are known here, so no ability is stated."])
        return
    yield from _bullets([f"Ability {quality_text(quality)}: {quality.basis}.", *_knowledge(article)])
    scores = article.scores
    if not scores:
        return
    yield from _bullets([_count_text(scores) + ("." if with_scores else "; --evidence lists them.")])
    if with_scores:
        yield from _all_scores(scores)
    else:
        yield from _raw_scores(scores)


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from wrapped(printable(sentence), TEXT_WIDTH, "  - ")


def _knowledge(article: Article) -> Iterator[str]:
    known = article.knowledge
    if known is not None:
        interval = "" if known.is_measured else f" ({known.low_share:.0%} to {known.high_share:.0%})"
        yield f"Knowledge without looking it up: {share_text(known)}{interval} of questions ({known.basis})."


def _count_text(scores: Sequence[Score]) -> str:
    independent = sum(score.kind == "independent" for score in scores)
    by_vendor = len(scores) - independent
    if not by_vendor or not independent:
        kind = "independent" if independent else "by the vendor"
        return f"{len(scores)} published scores are known, all of them {kind}"
    return f"{len(scores)} published scores are known: {independent} independent, {by_vendor} by the vendor"


def _raw_scores(scores: Sequence[Score]) -> Iterator[str]:
    """Vision and long context: the newest independent scores as published."""
    for use in RAW_USES:
        found = [score for score in scores if score.shown_for == use and not score.is_doubtful]
        found.sort(key=lambda score: score.date or "", reverse=True)
        found.sort(key=lambda score: score.kind != "independent")
        if found:
            yield from wrapped(f"{use.capitalize()}, as published:", TEXT_WIDTH, "  - ")
            yield from _score_table(found[:MAX_RAW])


def _all_scores(scores: Sequence[Score]) -> Iterator[str]:
    """Every score under its source."""

    def origin(score: Score) -> tuple[str, str, str]:
        return score.kind, score.date or "", score.source

    ordered = sorted(scores, key=origin, reverse=True)
    ordered.sort(key=lambda score: score.kind)
    for (kind, date, source), found in groupby(ordered, key=origin):
        yield ""
        dated = f", {date}" if date else ""
        yield from wrapped(printable(f"{source} ({kind}{dated})"), TEXT_WIDTH, "  ")
        yield from _score_table(list(found))


def _score_table(scores: Sequence[Score]) -> Iterator[str]:
    """Score and use, then the benchmark with mode and setting, wrapped under itself."""
    rows = [[f"{score.score:g}", score.unit, score.counts_for or "shown only"] for score in scores]
    aligned = table(rows, right=(0,))
    width = max(len(line) for line in aligned)
    for score, cells in zip(scores, aligned, strict=True):
        start = f"    {printable(cells).ljust(width)}  "
        text = printable(_benchmark_text(score))
        # sources contain addresses that are longer than the column
        lines = textwrap.wrap(text, TABLE_WIDTH - len(start), break_on_hyphens=False)
        yield start + lines[0]
        yield from (" " * len(start) + line for line in lines[1:])


def _benchmark_text(score: Score) -> str:
    known = score.setting.casefold() in ("", score.benchmark.casefold())
    parts = (score.benchmark, score.mode, "" if known else score.setting, "doubtful" * score.is_doubtful)
    return "; ".join(part for part in parts if part)
