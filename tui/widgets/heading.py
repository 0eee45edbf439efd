"""The two lines that name the machine and the question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from llmfit.advisor.text import printable
from llmfit.tui.on_disk import HERE, HERE_WORDS, OTHER_TYPE, OTHER_TYPE_WORDS

if TYPE_CHECKING:
    from llmfit.tui.known_machine import KnownMachine
    from llmfit.tui.messages import Pick
    from llmfit.tui.question import Question

MAX_SEARCH_WIDTH = 24


def title_text(known: KnownMachine | None, probing: bool, width: int) -> Text:
    """``llmfit   2x RTX 3090 · 64 GiB RAM   after closing firefox (1.5 GiB)``, cut to ``width``."""
    parts = [("llmfit", "bold")]
    if known is not None:
        from llmfit.tui.cli.render import machine_line

        parts.append((machine_line(known.probed), ""))
        if known.probed.simulated:
            parts.append(("simulated", "italic"))
        elif known.probed.described_by is not None:
            parts.append(("from a file", "italic"))
        if known.closed:
            parts.append((printable(known.closing), "bold yellow"))
    if probing:
        # before what is closed, which may be long
        parts.insert(-1 if known is not None and known.closed else len(parts), ("probing…", "italic"))
    title = Text("")
    for gap in ("   ", "  "):
        title = Text(gap).join([Text(text, style) for text, style in parts])
        if title.cell_len <= width - 2:
            break
    title.truncate(width - 2, overflow="ellipsis")
    return title


def question_line(question: Text, busy: str, marks: set[str], width: int) -> Text:
    """The question above the list, what is done while it is answered, and what the marks of the rows mean."""
    line = question.copy()
    if busy:
        line.append(f"   {busy}", "not bold italic")
    forms = (legend for legend in _legends(marks) if line.cell_len + len(legend) + 3 <= width - 2)
    legend = next(forms, "")
    line.append(f"   {legend}" if legend else "", "not bold green")
    line.truncate(width - 2, overflow="ellipsis")
    return line


def _legends(marks: set[str]) -> Iterator[str]:
    """Each shorter than the one before."""
    known = ((HERE, HERE_WORDS, "on disk"), (OTHER_TYPE, OTHER_TYPE_WORDS, "other type"))
    shown = [one for one in known if one[0] in marks]
    yield "  ".join(f"{mark} {words}" for mark, words, _ in shown)
    yield "  ".join(f"{mark} {words}" for mark, _, words in shown)


def question_text(question: Question, found: int | None = None, left_out: int = 0, marked: int = 0) -> Text:
    """``What to run: coding use · 64K context``, ``Search “qwen” · 7 found, 1 not modelled · 64K context``.

    ``found`` is ``None`` before any answer.
    """
    if question.is_recommendation:
        text = Text(f"What to run: {question.use_case} use", "bold")
    elif question.search_text:
        text = Text(f"Search “{printable(question.search_text, MAX_SEARCH_WIDTH)}”", "bold")
        text.append(_found_text(found, left_out, "found", "not modelled"), "not bold")
    else:
        text = Text("On this disk", "bold")
        word = "model" if found == 1 else "models"
        text.append(_found_text(found, left_out, word, "not usable"), "not bold")
    text.append(f" · {_context_text(question.context_tokens)}")
    if marked:
        text.append(f" · {marked} marked{': v compares' if marked > 1 else ''}", "not bold")
    return text


def _found_text(found: int | None, left_out: int, found_word: str, left_out_word: str) -> str:
    if found is None:
        return ""
    return f" · {found} {found_word}" + (f", {left_out} {left_out_word}" if left_out else "")


def _context_text(context_tokens: int | None) -> str:
    """``64K context``, or what is planned for when nobody says."""
    from llmfit.advisor.recommend.ladders import DEFAULT_CONTEXT_TOKENS
    from llmfit.advisor.units import format_context

    if context_tokens is None:
        return f"{format_context(DEFAULT_CONTEXT_TOKENS)} context (automatic)"
    return f"{format_context(context_tokens)} context"


def pick_heading(pick: Pick) -> Text:
    """The first line of a page about one pick: model, file type, context, cache type, parameters."""
    from llmfit.advisor.units import format_context

    settings, model = pick.judgement.settings, pick.judgement.model
    cache = settings.cache_type_k
    if settings.cache_type_v != cache:
        cache = f"{cache}/{settings.cache_type_v}"
    text = Text(f"{printable(model.id)} {printable(model.quantization)}", "bold")
    text.append(f"   {format_context(settings.context_tokens)} context · KV {printable(cache)}", "not bold")
    text.append(f" · {model.n_parameters / 1e9:.1f}B {printable(model.shape.architecture)}", "not bold")
    return text
