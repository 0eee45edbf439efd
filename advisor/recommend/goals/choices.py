"""Why the best configuration is what it is: one choice a dimension, with its reason and its runner-up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmfit.advisor.recommend.goals.context_reason import why_not_shorter
from llmfit.advisor.recommend.goals.exploration import Explorer
from llmfit.advisor.recommend.goals.neighbours import Neighbours, placement_text
from llmfit.advisor.recommend.goals.objectives import Question, Ranking, rank
from llmfit.advisor.recommend.goals.space import MORE_SLOTS
from llmfit.advisor.recommend.goals.trials import Trials
from llmfit.advisor.recommend.goals.values import (
    CACHE_TYPE,
    CONTEXT_SIZE,
    FILE_TYPE,
    MICRO_BATCH,
    PLACEMENT,
    SLOTS,
    YOU_FIXED_IT,
    Choice,
    Configuration,
    RunnerUp,
    Tried,
)
from llmfit.advisor.recommend.goals.words import (
    UNKNOWN_SPEED,
    decode_text,
    differences,
    figures_text,
    reason_text,
    verdict_phrase,
    whole_loss,
)
from llmfit.advisor.recommend.judgement import FITS_GPU
from llmfit.advisor.recommend.ladders import SAVING_CACHE_TYPE
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.recommend.other_speeds import concurrency_of
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import format_context, format_gib, two_figures

_PLACEMENT_SETTINGS = frozenset({"gpu_layers", "n_cpu_moe", "tensor_split", "override_tensor", "split_mode"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explains the first of a ranking; what is shown beside it is judged where it was not yet."""

    trials: Trials
    explorer: Explorer
    question: Question
    goal: str
    ranking: Ranking
    file_type_reason: str

    @property
    def best(self) -> Tried:
        return self.ranking.order[0]

    @property
    def beside(self) -> Neighbours:
        return Neighbours(self.trials, self.best)

    @property
    def at(self) -> Configuration:
        return self.best.configuration

    @property
    def request(self) -> Request:
        return self.trials.request

    def choices(self) -> tuple[Choice, ...]:
        return (
            self._file_type(),
            self._cache_type(),
            self._context(),
            self._placement(),
            self._micro_batch(),
            self._slots(),
        )

    # ------------------------------------------------------------ file type

    def _file_type(self) -> Choice:
        chosen = self.at.file_type
        if self.file_type_reason:
            return Choice(FILE_TYPE, chosen, self.file_type_reason, is_fixed=True)
        others = list(self._other_file_types())
        if not others:
            return Choice(FILE_TYPE, chosen, "No other file type fits.")
        first = others[0]
        name = differences(self.at, first.configuration)
        reason = self._why_not(first, chosen, name)
        if self.best.decode_tok_s is None and UNKNOWN_SPEED not in reason and self._rests_on_usual_ram():
            reason += f" {UNKNOWN_SPEED}"
        return Choice(FILE_TYPE, chosen, reason, tuple(self._runner_up(one) for one in others))

    def _rests_on_usual_ram(self) -> bool:
        return self.best.order_tok_s > 0 and self.trials.machine.memory.bandwidth_bytes_per_s is None

    def _other_file_types(self) -> Iterator[Tried]:
        """The best of another file type; and, where this is slower than reading, the largest that would stay
        on the GPUs."""
        other = next((t for t in self.ranking.order if t.configuration.file_type != self.at.file_type), None)
        if other is not None:
            yield other
        slow = self.best.order_tok_s < COMFORTABLE_TOK_S
        if self.best.judgement.verdict == FITS_GPU or not slow:
            return
        for name in self.explorer.dimensions.file_types:
            tried = self.explorer.on_gpus(name) if name != self.at.file_type else None
            if tried is not None:
                yield tried
                return

    # ------------------------------------------------------------ cache type

    def _cache_type(self) -> Choice:
        chosen = self.at.cache_type
        if self.request.cache_type_k is not None or self.request.cache_type_v is not None:
            return Choice(CACHE_TYPE, chosen, YOU_FIXED_IT, is_fixed=True)
        types = self.explorer.dimensions.cache_types
        others = [name for name in types if name != chosen]
        if not others:
            return Choice(CACHE_TYPE, chosen, self._no_smaller_cache())
        other = self.beside.changed(cache_type=others[0])
        if other is None:
            return Choice(CACHE_TYPE, chosen, f"With {others[0]} this does not fit.")
        reason = self._why_not(other, chosen, others[0])
        return Choice(CACHE_TYPE, chosen, reason, (self._runner_up(other, self._full_context_text(other)),))

    def _no_smaller_cache(self) -> str:
        from llmfit.advisor.recommend.cache_advice import cache_types_worth_trying

        if self.request.flash_attn is False:
            return "A quantised cache needs flash attention, which is off."
        settings = self.best.judgement.settings
        advice = cache_types_worth_trying(self.best.judgement.model, settings)
        return advice.reason or f"llama.cpp takes no {SAVING_CACHE_TYPE} cache of this model."

    def _full_context_text(self, other: Tried) -> str:
        """What the cache type does to the speed when the context is full: nothing at depth 0."""
        tokens = self.at.context_tokens - 1
        plans = (self.best.judgement.speed_plan, other.judgement.speed_plan)
        speeds = [plan.estimate(tokens).decode_tok_s.expected for plan in plans if plan is not None]
        shown = [two_figures(speed) for speed in speeds]
        if len(set(shown)) < 2:
            return ""
        return f"with the context full {shown[1]} instead of {shown[0]} tok/s"

    # ------------------------------------------------------------ context

    def _context(self) -> Choice:
        tokens = self.at.context_tokens
        chosen = format_context(tokens)
        if self.request.context_tokens is not None:
            return Choice(CONTEXT_SIZE, chosen, YOU_FIXED_IT, is_fixed=True)
        other = self.beside.other_context()
        runner_ups = () if other is None else (self._runner_up(other, self._cache_growth(other)),)
        reason = why_not_shorter(self.beside, self.question, self.goal) or self._why_shorter()
        return Choice(CONTEXT_SIZE, chosen, reason, runner_ups)

    def _why_shorter(self) -> str:
        longer = next(
            (t for t in self.ranking.order if t.configuration.context_tokens > self.at.context_tokens), None
        )
        if longer is None:
            return f"Nothing fits with {format_context(self.question.start_tokens)}."
        return self._why_not(longer, "It", differences(self.at, longer.configuration))

    def _cache_growth(self, other: Tried) -> str:
        mine, its = (one.judgement.memory.kv_cache_bytes for one in (self.best, other))
        return f"its cache takes {format_gib(its)} instead of {format_gib(mine)}"

    # ------------------------------------------------------------ placement

    def _placement(self) -> Choice:
        judgement = self.best.judgement
        chosen = placement_text(judgement)
        reason = judgement.reasons[0] if judgement.reasons else ""
        if self.request.fixed & _PLACEMENT_SETTINGS:
            return Choice(PLACEMENT, chosen, f"As far as you fixed it. {reason}".strip(), is_fixed=True)
        other = self.beside.other_placement()
        if other is None:
            return Choice(PLACEMENT, chosen, reason)
        value = placement_text(other.judgement)
        runner_up = self._runner_up(other, value=value)
        return Choice(PLACEMENT, chosen, reason, (runner_up,))

    # ------------------------------------------------------------ micro-batch and slots

    def _micro_batch(self) -> Choice:
        chosen = str(self.at.ubatch)
        if self.request.ubatch is not None:
            return Choice(MICRO_BATCH, chosen, YOU_FIXED_IT, is_fixed=True)
        sizes = self.explorer.dimensions.ubatches
        place = sizes.index(self.at.ubatch)
        around = sizes[:1] if place else sizes[1:2]
        other = self.beside.changed(ubatch=around[0]) if around else None
        if other is None:
            return Choice(MICRO_BATCH, chosen, "It is llama-server's own, and a larger one does not fit.")
        if place:
            reason = self._why_not(other, chosen, f"micro-batch {around[0]}")
        else:
            reason = self._why_no_larger_ubatch(other)
        return Choice(MICRO_BATCH, chosen, reason, (self._runner_up(other),))

    def _why_no_larger_ubatch(self, other: Tried) -> str:
        if other.judgement.verdict != self.best.judgement.verdict:
            larger = other.configuration.ubatch
            return f"It is llama-server's own; with {larger} this only {verdict_phrase(other.judgement)}."
        if not self.best.prefill_tok_s:
            return "It is llama-server's own; how fast prompts are read is not known."
        gain = other.prefill_tok_s / self.best.prefill_tok_s - 1
        more = other.judgement.memory.compute_bytes - self.best.judgement.memory.compute_bytes
        change = f"read prompts {gain:.0%} faster" if gain > 0.005 else "read prompts no faster"
        cost = f" for {format_gib(more)} more of compute buffers" if more > 0 else ""
        slower = other.order_tok_s < self.best.order_tok_s * 0.99
        decode = f" and decode at {decode_text(other)} instead of {decode_text(self.best)}" if slower else ""
        return f"It is llama-server's own; {other.configuration.ubatch} would {change}{cost}{decode}."

    def _slots(self) -> Choice:
        n_slots = self.at.n_slots
        if self.request.parallel is not None:
            return Choice(SLOTS, str(n_slots), YOU_FIXED_IT, is_fixed=True)
        runner_ups = [one for n in MORE_SLOTS if (one := self._with_slots(n)) is not None]
        reason = "One person asks one question at a time."
        if not runner_ups:
            reason += f" {MORE_SLOTS[0]} slots of the same context would not fit."
        return Choice(SLOTS, str(n_slots), reason, tuple(runner_ups))

    def _with_slots(self, n_slots: int) -> RunnerUp | None:
        """``n_slots`` that have the chosen context each."""
        tried = self.beside.with_slots(n_slots)
        if tried is None:
            return None
        together = concurrency_of(tried.judgement)
        mine = self.best.judgement.memory.total_bytes
        parts = [f"{format_gib(tried.judgement.memory.total_bytes - mine)} more"]
        if together is not None:
            every = together.all_slots
            parts.append(
                f"{two_figures(every.aggregate_tok_s.expected)} tok/s together, "
                f"{two_figures(every.stream_tok_s.expected)} each"
            )
        text = ", ".join(parts)
        if tried.judgement.verdict != self.best.judgement.verdict:
            text = f"{text}; {verdict_phrase(tried.judgement)}"
        return replace(
            self._runner_up(tried),
            value=f"{n_slots} of {format_context(self.at.context_tokens)} each",
            text=text,
        )

    # ------------------------------------------------------------ common

    def _why_not(self, other: Tried, name: str, other_name: str) -> str:
        """Why the chosen one stands before ``other``: as ranked or, if it was only judged beside, by both."""
        if other.configuration in self.ranking.fell_by:
            criterion = self.ranking.fell_by[other.configuration]
        else:
            both = rank([self.best, other], self.question, self.goal)
            criterion = both.fell_by.get(other.configuration) if both.order[0] is self.best else None
        return reason_text(self.question, criterion, self.best, other, name, other_name)

    def _runner_up(self, other: Tried, more: str = "", value: str = "") -> RunnerUp:
        speed = other.judgement.speed
        known_prefill = speed is not None and speed.prefill is not None
        text = figures_text(other, self.best)
        return RunnerUp(
            value=value or differences(self.at, other.configuration),
            text=f"{text}; {more}" if more else text,
            verdict=other.judgement.verdict,
            decode_tok_s=other.decode_tok_s,
            prefill_tok_s=other.prefill_tok_s if known_prefill else None,
            loss=whole_loss(other),
            total_bytes=other.judgement.memory.total_bytes,
            context_tokens=other.configuration.context_tokens,
        )


__all__ = ["Explanation"]
