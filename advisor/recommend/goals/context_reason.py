"""Why the context of the best configuration is as long as it is."""

from __future__ import annotations

from llmfit.advisor.recommend.goals.neighbours import Neighbours
from llmfit.advisor.recommend.goals.objectives import IS_READABLE, Question
from llmfit.advisor.recommend.goals.values import CONTEXT
from llmfit.advisor.recommend.goals.words import verdict_phrase
from llmfit.advisor.recommend.judgement import FITS_OFFLOAD
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.units import format_context, two_figures


def why_not_shorter(beside: Neighbours, question: Question, goal: str) -> str:
    """For a context as long as planned for, or longer; empty for a shorter one, which needs a reason."""
    judgement, tokens = beside.best.judgement, beside.best.configuration.context_tokens
    shown, trained = format_context(tokens), judgement.model.shape.context_train_tokens
    full = _when_full(beside) if goal == CONTEXT else ""
    fits = verdict_phrase(judgement)
    if trained and tokens >= trained:
        return f"{shown} is all that the model was trained for; it {fits}{full}."
    if tokens < question.start_tokens:
        return ""
    if tokens == question.start_tokens:
        filled = beside.trials.request.filled_tokens > tokens // 2
        asked = ", and it holds what --depth and --prompt ask" if filled else ""
        return f"{shown} is planned for where nobody says: long chats, a few source files{asked}."
    if _is_cut_by_speed(beside, question):
        return f"{shown} is about the most that still gives {COMFORTABLE_TOK_S:.0f} tok/s{full}."
    most = "about the most" if judgement.verdict == FITS_OFFLOAD else "the most"
    return f"{shown} is {most} with which it {fits}{full}."


def _is_cut_by_speed(beside: Neighbours, question: Question) -> bool:
    """The next step would get the same verdict, but no readable speed."""
    best, longer = beside.best, beside.other_context()
    if longer is None or longer.configuration.context_tokens < best.configuration.context_tokens:
        return False
    same = longer.judgement.verdict == best.judgement.verdict
    return same and IS_READABLE.value(question, longer) < IS_READABLE.value(question, best)


def _when_full(beside: Neighbours) -> str:
    plan = beside.best.judgement.speed_plan
    if plan is None:
        return ""
    full = plan.estimate(beside.best.configuration.context_tokens - 1).decode_tok_s.expected
    return f", and with all of it filled it decodes at {two_figures(full)} tok/s"
