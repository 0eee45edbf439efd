"""The choices of a search by goal, for people and as JSON: what, why, and what was next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmfit.advisor.text import printable
from llmfit.tui.cli.render import TEXT_WIDTH, wrapped

if TYPE_CHECKING:
    from llmfit.advisor.recommend.goals.values import Choice, ConfigurationSearch, RunnerUp
    from llmfit.advisor.recommend.quality import Loss, Quality, ReducedQuality
    from llmfit.tui.goal_choice import GoalChoice

LABEL_WIDTH = 14
_LEGEND = (
    "or: the runner-up with decode and an 8K prompt in tok/s, what it loses against the full weights, and "
    "the memory of all devices. docs/advice.md says how each goal weighs."
)


def choice_lines(found: GoalChoice) -> Iterator[str]:
    """The section "Choices"; nothing fits: what was tried instead."""
    search = found.search
    yield f"Choices for {search.goal}: {search.n_judged} of {search.n_considered} configurations judged"
    if not search.ranked:
        yield from wrapped(search.nothing_fits, TEXT_WIDTH, "  ")
        return
    best = search.ranked[0]
    for choice in best.choices:
        yield from _choice_lines(choice)
    if best.quality is not None and found.ability is not None:
        text = (
            f"Ability with these losses: {best.quality.score:.0f} of 100 (80 % interval "
            f"{best.quality.low:.0f} to {best.quality.high:.0f}) for general use; {found.ability.basis}."
        )
        yield from wrapped(printable(text), TEXT_WIDTH, "  ")
    yield from wrapped(_LEGEND, TEXT_WIDTH, "  ")


def _choice_lines(choice: Choice) -> Iterator[str]:
    yield f"  {choice.dimension:<{LABEL_WIDTH - 2}}{printable(choice.chosen)}"
    margin = " " * LABEL_WIDTH
    yield from wrapped(printable(choice.reason), TEXT_WIDTH, margin)
    for runner_up in choice.runner_ups:
        text = printable(f"or {runner_up.value}: {runner_up.text}")
        first, *rest = wrapped(text, TEXT_WIDTH, margin)
        yield first
        yield from wrapped(" ".join(line.strip() for line in rest), TEXT_WIDTH, f"{margin}   ")


def choice_notes(found: GoalChoice) -> Iterator[str]:
    """One line a choice, for stderr."""
    if found.search.ranked:
        for choice in found.search.ranked[0].choices:
            yield f"{choice.dimension} {choice.chosen}: {choice.reason}"


def choices_document(found: GoalChoice) -> dict[str, object]:
    """``goal``, ``choices``, ``quality`` and ``search``: additions to ``llmfit.estimate/1``."""
    search = found.search
    best = search.ranked[0] if search.ranked else None
    return {
        "goal": search.goal,
        "choices": [] if best is None else [_choice_document(choice) for choice in best.choices],
        "quality": None if best is None or best.quality is None else _quality(best.quality, found.ability),
        "search": _search_document(search),
    }


def _choice_document(choice: Choice) -> dict[str, object]:
    return {
        "dimension": choice.dimension,
        "chosen": choice.chosen,
        "reason": choice.reason,
        "fixed": choice.is_fixed,
        "runner_ups": [_runner_up_document(runner_up) for runner_up in choice.runner_ups],
    }


def _runner_up_document(runner_up: RunnerUp) -> dict[str, object]:
    return {
        "value": runner_up.value,
        "text": runner_up.text,
        "verdict": runner_up.verdict,
        "decode_tok_s": runner_up.decode_tok_s,
        "prefill_tok_s": runner_up.prefill_tok_s,
        "loss_points": _loss_document(runner_up.loss),
        "total_bytes": runner_up.total_bytes,
        "context": runner_up.context_tokens,
    }


def _loss_document(loss: Loss | None) -> dict[str, object] | None:
    if loss is None:
        return None
    return {"low": loss.low_points, "expected": loss.points, "high": loss.high_points}


def _quality(quality: ReducedQuality, ability: Quality | None) -> dict[str, object]:
    return {
        "score": quality.score,
        "low": quality.low,
        "high": quality.high,
        "grade": None if ability is None else ability.grade,
    }


def _search_document(search: ConfigurationSearch) -> dict[str, object]:
    return {
        "considered": search.n_considered,
        "judged": search.n_judged,
        "pruned": [{"count": pruned.n_configurations, "why": pruned.why} for pruned in search.pruned],
        "nothing_fits": search.nothing_fits or None,
    }
