"""The two lines that name the machine and the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from llmfit.advisor.text import printable

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine

MAX_SEARCH_WIDTH = 24


def title_text(machine: Machine | None) -> Text:
    """``llmfit   2x RTX 3090 · 64 GiB RAM   simulated``."""
    title = Text("llmfit", "bold", no_wrap=True, overflow="ellipsis")
    if machine is not None:
        from llmfit.tui.cli.render import machine_line

        title.append(f"   {machine_line(machine)}", "not bold")
        title.append("   simulated" if machine.simulated else "", "not bold italic")
    return title


def recommendation_question(use_case: str, context_tokens: int | None) -> Text:
    """``What to run: coding use · 64K context``."""
    return Text(f"What to run: {use_case} use · {_context_text(context_tokens)}", "bold")


def question_line(question: Text, thinking: bool, width: int) -> Text:
    """The question as it stands above the list: with a word while it is being answered, cut to ``width``."""
    line = question.copy()
    if thinking:
        line.append("   thinking…", "not bold italic")
    line.truncate(width - 2, overflow="ellipsis")
    return line


def search_question(
    text: str, context_tokens: int | None, found: int | None = None, not_modelled: int = 0
) -> Text:
    """``Search “qwen” · 7 found, 1 not modelled · 64K context``; ``found`` is ``None`` before any answer."""
    question = Text(f"Search “{printable(text, MAX_SEARCH_WIDTH)}”", "bold")
    if found is not None:
        question.append(f" · {found} found", "not bold")
        question.append(f", {not_modelled} not modelled" if not_modelled else "", "not bold")
    return question.append(f" · {_context_text(context_tokens)}")


def _context_text(context_tokens: int | None) -> str:
    """``64K context``, or what is planned for when nobody says."""
    from llmfit.advisor.recommend.ladders import DEFAULT_CONTEXT_TOKENS
    from llmfit.advisor.units import format_context

    if context_tokens is None:
        return f"{format_context(DEFAULT_CONTEXT_TOKENS)} context (automatic)"
    return f"{format_context(context_tokens)} context"
