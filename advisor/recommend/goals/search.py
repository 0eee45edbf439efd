"""search_configurations(): one model on one machine, all sensible configurations, best first for a goal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.goals import exploration as why
from llmfit.advisor.recommend.goals.choices import Explanation
from llmfit.advisor.recommend.goals.exploration import Explorer
from llmfit.advisor.recommend.goals.objectives import TIE_LOSS_POINTS, Question, Ranking, rank
from llmfit.advisor.recommend.goals.space import Dimensions, Ledger, dimensions_of
from llmfit.advisor.recommend.goals.trials import Trials
from llmfit.advisor.recommend.goals.values import (
    BALANCE,
    CONTEXT,
    QUALITY,
    Configuration,
    ConfigurationSearch,
    RankedConfiguration,
    Tried,
)
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement
from llmfit.advisor.recommend.ladders import GOOD_ENOUGH, QUANT_LADDER, SMALLER_FILE_TYPES
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S, need_of, thinking_need
from llmfit.advisor.recommend.quality import QualityFacts, reduced
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import default_context, may_quantise_cache
from llmfit.advisor.recommend.warnings import without_refused
from llmfit.advisor.units import format_context, format_gib, pad

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

FILE_TYPES = (QUANT_LADDER[0], *SMALLER_FILE_TYPES)
"""In falling size, down to what only a model needs that does not fit otherwise."""


def search_configurations(
    build_or_model: Callable[[str], Model] | Model,
    facts: QualityFacts,
    machine: Machine,
    goal: str,
    request: Request,
    speeds: MachineSpeeds | None = None,
    use_case: str = "general",
    file_type_reason: str = "It is the only file type to choose from.",
) -> ConfigurationSearch:
    """What fits, best first for ``goal`` (quality, speed, context or balance), the best one explained.

    ``build_or_model`` is the way to build any file type of the model, or the model itself where its file type
    is fixed, for ``file_type_reason``. Everything that ``request`` fixes stays. ``facts`` are those of the
    model, ``speeds`` what was measured on this machine. Deterministic. Raises as ``judge``.
    """
    build, file_types = _file_types_of(build_or_model)
    sample = build(file_types[0] if len(file_types) == 1 else GOOD_ENOUGH)
    request, _ = without_refused(sample, request)
    start_tokens = request.context_tokens or max(
        default_context(sample), pad(request.filled_tokens, CONTEXT_PADDING_TOKENS)
    )
    dimensions = dimensions_of(
        request,
        file_types,
        start_tokens,
        sample.shape.context_train_tokens,
        may_quantise_cache(sample, request, start_tokens),
        wants_context=goal == CONTEXT,
    )
    need = need_of(use_case)
    if facts.quality is not None and facts.quality.thinks:
        need = thinking_need(need)
    ledger = Ledger.of(dimensions)
    trials = Trials(build, facts, machine, request, need, speeds, ledger)
    question = Question(facts, need, start_tokens)
    reason = file_type_reason if len(file_types) == 1 else ""
    return _Search(trials, Explorer(trials, dimensions), dimensions, question, goal, reason).result()


def _file_types_of(
    build_or_model: Callable[[str], Model] | Model,
) -> tuple[Callable[[str], Model], tuple[str, ...]]:
    """How each file type is built, and which there are."""
    if not isinstance(build_or_model, Model):
        return build_or_model, FILE_TYPES
    fixed = build_or_model
    return (lambda _: fixed), (fixed.quantization,)


@dataclass(frozen=True, slots=True)
class _Search:
    trials: Trials
    explorer: Explorer
    dimensions: Dimensions
    question: Question
    goal: str
    file_type_reason: str

    def result(self) -> ConfigurationSearch:
        found = self._found()
        if not found:
            return self._nothing_fits()
        ranking = self._with_neighbours(found)
        explanation = Explanation(
            self.trials, self.explorer, self.question, self.goal, ranking, self.file_type_reason
        )
        choices = explanation.choices()
        self._settle()
        quality = self.trials.facts.quality
        ranked = tuple(
            RankedConfiguration(
                judgement=one.judgement,
                quality=None if quality is None else reduced(quality, *one.losses),
                choices=() if number else choices,
            )
            for number, one in enumerate(ranking.order)
        )
        return self._search(ranked, None, "")

    def _found(self) -> list[Tried]:
        """Everything that fits of the acceptable file types; of the smaller ones where none of those does."""
        found: list[Tried] = []
        for name in self._file_types(acceptable=True):
            if self._cannot_win(name, found):
                self.trials.ledger.prune_file_type(name, why.LOSES_MORE)
            else:
                found += self.explorer.explore(name)
        for name in self._file_types(acceptable=False):
            if found:
                break
            found = self.explorer.explore(name)
        return found

    def _cannot_win(self, file_type: str, found: Sequence[Tried]) -> bool:
        """Whether two that lose less have all that counts before the loss: a winner and its runner-up."""
        loss = self.trials.facts.file_type_loss(file_type)
        if self.goal not in (QUALITY, CONTEXT) or loss is None:
            return False
        full = [one for one in found if self._has_all_before_loss(one, file_type)]
        better = [one for one in full if one.worst_loss_points + TIE_LOSS_POINTS < loss.high_points]
        return bool(better) and len({one.configuration.file_type for one in full}) > 1

    def _has_all_before_loss(self, tried: Tried, file_type: str) -> bool:
        """The context that counts, a readable speed and, for a long context, no worse a verdict."""
        longest = self.dimensions.all_contexts[-1] if self.dimensions.longer_contexts else None
        tokens = self.dimensions.start_tokens if longest is None else longest
        if tried.configuration.context_tokens < tokens or tried.order_tok_s < COMFORTABLE_TOK_S:
            return False
        return (
            self.goal == QUALITY
            or tried.judgement.verdict == FITS_GPU
            or not self.explorer.may_be_on_gpus(file_type)
        )

    def _file_types(self, acceptable: bool) -> Iterator[str]:
        limit, loss_of = self.question.acceptable_points, self.trials.facts.file_type_loss
        for name in self.dimensions.file_types:
            loss = loss_of(name) if len(self.dimensions.file_types) > 1 else None
            if (limit is None or loss is None or loss.points <= limit) == acceptable:
                yield name

    def _with_neighbours(self, found: list[Tried]) -> Ranking:
        """Ranked once more with larger micro-batches of all that could come first by them.

        The best of another file type gets the micro-batch of the first, so that they can be compared.
        """
        tried = {one.configuration: one for one in found}
        ranking = self._rank(tried)
        for base in {
            one.configuration: one for one in (*ranking.finalists, *self._slow_readers(ranking))
        }.values():
            tried |= {one.configuration: one for one in self.explorer.larger_ubatches(base)}
        if self.goal == CONTEXT:
            longer = self.explorer.between_steps(self._rank(tried).order[0])
            tried |= {one.configuration: one for one in longer}
        best = self._rank(tried).order[0].configuration
        for configuration in self._beside(best, self._rank(tried)):
            beside = self.trials.attempt(configuration)
            tried |= {} if beside is None else {configuration: beside}
        return self._rank(tried)

    def _beside(self, best: Configuration, ranking: Ranking) -> Iterator[Configuration]:
        """What is shown next to the best has its chance of being the best: alike but for one thing."""
        if self.dimensions.cache_types[1:]:
            other = next(name for name in self.dimensions.cache_types if name != best.cache_type)
            yield best._replace(cache_type=other)
        for one in ranking.order:
            if one.configuration.file_type != best.file_type:
                yield one.configuration._replace(ubatch=best.ubatch)
                return

    def _rank(self, tried: Mapping[Configuration, Tried]) -> Ranking:
        return rank(list(tried.values()), self.question, self.goal)

    def _slow_readers(self, ranking: Ranking) -> list[Tried]:
        """Where waiting for prompts weighs: what would win by reading them faster, one a file type."""
        if self.goal != BALANCE:
            return []
        patience_s = self.question.need.patience_s
        slow = (one for one in ranking.order if one.wait_s > patience_s)
        first: dict[str, Tried] = {}
        for one in slow:
            first.setdefault(one.configuration.file_type, one)
        return list(first.values())

    def _settle(self) -> None:
        """Says of all that was not judged why not; the first reason that holds."""
        ledger, plain = self.trials.ledger, self.dimensions
        judged_types = {one.file_type for one in ledger.judged}
        ledger.prune(why.ONE_SLOT, lambda one: one.n_slots != plain.slots[0])
        ledger.prune(why.WORSE_FILE, lambda one: one.file_type not in judged_types)
        ledger.prune(why.LONGER_NOT_ASKED, lambda one: one.context_tokens > plain.start_tokens)
        ledger.prune(why.SHORTER_BRINGS_NOTHING, lambda one: one.context_tokens < plain.start_tokens)
        ledger.prune(why.SMALL_GAIN, lambda one: one.ubatch != plain.ubatches[0])
        ledger.prune_rest(why.FULL_CACHE_WILL_DO)

    def _nothing_fits(self) -> ConfigurationSearch:
        nearest = min(self.trials.missed, key=lambda one: one.shortfall_bytes, default=None)
        if nearest is None:  # all were too large even to be judged: the smallest is
            smallest = self.dimensions.file_types[-1]
            self.trials.attempt(self.explorer.plain(smallest))
            nearest = self.trials.missed[-1]
        self._settle()
        return self._search((), nearest, _nothing_fits_text(nearest, len(self.dimensions.file_types) > 1))

    def _search(
        self, ranked: tuple[RankedConfiguration, ...], nearest: Judgement | None, nothing_fits: str
    ) -> ConfigurationSearch:
        ledger = self.trials.ledger
        return ConfigurationSearch(
            goal=self.goal,
            ranked=ranked,
            nearest=nearest,
            nothing_fits=nothing_fits,
            n_considered=ledger.n_considered,
            n_judged=len(ledger.judged),
            pruned=ledger.pruned,
        )


def _nothing_fits_text(nearest: Judgement, several_types: bool) -> str:
    tokens = format_context(nearest.settings.context_tokens)
    which = nearest.model.quantization
    text = f"Not even {which} fits" if several_types else f"{which} does not fit"
    return (
        f"{text}: with a context of {tokens} and its cache in {nearest.settings.cache_type_k} it lacks "
        f"{format_gib(nearest.shortfall_bytes)}."
    )


__all__ = ["search_configurations"]
