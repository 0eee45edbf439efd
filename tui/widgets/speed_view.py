"""How fast: prompts and answers of several lengths, then one token and one prompt as sums of their terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfit.tui.widgets.judgement_view import JudgementView

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.speed.estimate import SpeedPlan
    from llmfit.advisor.speed.terms import StepTime

PROMPTS_TOKENS = (1024, 8192, 32768)
_GAP = "  "
_TERMS_RIGHT = (2, 3, 4, 5)
_DROPPED_FIRST = (3, 2)
"""Of a sum's columns in a narrow terminal: the rate, then the amount."""


class SpeedView(JudgementView):
    """Draws the speed of a judgement to the width it has."""

    def text_of(self, judgement: Judgement, width: int) -> Text:
        return speed_view(judgement, width)


def speed_view(judgement: Judgement, width: int) -> Text:
    """Everything about the speed; one sentence where there is none."""
    from llmfit.tui.speed_words import depth_text

    speed, plan = judgement.speed, judgement.speed_plan
    if speed is None:
        why = "it does not run here" if not judgement.fits else "a bandwidth that matters is not known"
        return Text(f"Not known: {why}.", "dim")
    lines = [] if plan is None else [*_prompt_lines(judgement, plan), ""]
    lines += _sum_lines(f"One token{depth_text(speed.depth_tokens)}", speed.step, width)
    if speed.prefill is not None:
        title = f"A prompt of {speed.prefill.prompt_tokens} tokens"
        lines += ["", *_sum_lines(title, speed.prefill.step, width)]
    return Text("\n").join([line if isinstance(line, Text) else Text(line, no_wrap=True) for line in lines])


def _prompt_lines(judgement: Judgement, plan: SpeedPlan) -> Iterator[Text | str]:
    """A row a length: what reading it takes, and how fast the answer comes then."""
    from llmfit.advisor.units import format_context
    from llmfit.tui.cli.render import table
    from llmfit.tui.speed_words import seconds_text, speed_text

    rows = [["prompt", "prefill tok/s", "first token", "decode tok/s"]]
    for tokens in shown_prompts(judgement):
        prefill = plan.estimate(0, tokens).prefill
        decode = plan.estimate(tokens).decode_tok_s
        cells = ["?", "?"]
        if prefill is not None:
            cells = [speed_text(prefill.tok_s), seconds_text(prefill.first_token_s)]
        rows.append([format_context(tokens), *cells, speed_text(decode)])
    head, *rest = table(rows, right=range(1, 4))
    yield Text(head, "dim", no_wrap=True)
    yield from rest


def shown_prompts(judgement: Judgement) -> list[int]:
    """Those that have room in a slot's context; what is there of it where none has."""
    settings = judgement.settings
    each = settings.context_tokens if settings.kv_unified else settings.context_tokens // settings.parallel
    fitting = [tokens for tokens in PROMPTS_TOKENS if tokens <= each]
    return fitting or [each]


def _sum_lines(title: str, step: StepTime, width: int) -> Iterator[Text | str]:
    from llmfit.tui.cli.render import table
    from llmfit.tui.speed_words import HEAD, causes_text, term_rows

    rows: list[tuple[str, ...]] = [row.cells for row in (HEAD, *term_rows(step))]
    right = list(_TERMS_RIGHT)
    for column in _DROPPED_FIRST:
        if _width_of(rows) <= width:
            break
        rows = [(*row[:column], *row[column + 1 :]) for row in rows]
        right.pop()
    head, *rest = table(rows, right=right)
    yield Text(f"{title}: {causes_text(step)}")
    yield Text(head, "dim", no_wrap=True)
    yield from rest


def _width_of(rows: Sequence[Sequence[str]]) -> int:
    columns = range(len(rows[0]))
    return sum(max(len(row[column]) for row in rows) for column in columns) + len(_GAP) * (len(columns) - 1)
