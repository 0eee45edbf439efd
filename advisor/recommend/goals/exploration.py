"""Which configurations are judged: for each file type the plain one first, then what could be better.

Everything else is pruned with its reason, so that a search is a few dozen judgements of a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.recommend.goals.objectives import TIE_PREFILL_SHARE, TIE_SPEED_SHARE
from llmfit.advisor.recommend.goals.space import Dimensions
from llmfit.advisor.recommend.goals.trials import Trials
from llmfit.advisor.recommend.goals.values import Configuration, Tried
from llmfit.advisor.recommend.judgement import FITS_CPU, FITS_GPU, FITS_OFFLOAD
from llmfit.advisor.recommend.ladders import SHORT_CONTEXT_TOKENS
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S

N_HALVINGS = 4

TOO_LARGE = "the weights alone are larger than the memory"
FULL_CACHE_WILL_DO = "a smaller cache type brings nothing where f16 gets the same"
SHORTER_BRINGS_NOTHING = "a shorter context does not bring more of it onto the GPUs"
LONGER_NOT_ASKED = "longer than what was planned for, or than what fits"
SMALL_GAIN = "a larger micro-batch reads prompts less than 15 % faster"
ONE_SLOT = "several slots were not asked for"
LOSES_MORE = "file types that lose more than one that already reads fast enough"
WORSE_FILE = "file types that lose more than Q4_K_M are for models that do not fit otherwise"


@dataclass(frozen=True, slots=True)
class Explorer:
    """Judges what could be best of one file type after the other."""

    trials: Trials
    dimensions: Dimensions

    def plain(self, file_type: str, **changes: object) -> Configuration:
        open_ = self.dimensions
        start = Configuration(
            file_type, open_.cache_types[0], open_.start_tokens, open_.ubatches[0], open_.slots[0]
        )
        return start._replace(**changes)  # type: ignore[arg-type]

    def explore(self, file_type: str) -> list[Tried]:
        """What fits of this file type, at the context planned for or, where that helps, at shorter ones."""
        if self.has_no_room(file_type):
            self.trials.ledger.prune_file_type(file_type, TOO_LARGE)
            return []
        found = [*self._longer(file_type)] if self.dimensions.longer_contexts else []
        if not any(self._will_do(one) for one in found):
            found += [*self._at_start(file_type), *self.shorter(file_type)]
        # One of two questions may have led to the same configuration.
        return list({one.configuration: one for one in found}.values())

    def _will_do(self, tried: Tried) -> bool:
        """Whether it has the context planned for and reads: a shorter context can win nothing over it."""
        is_long = tried.configuration.context_tokens >= self.dimensions.start_tokens
        return is_long and tried.order_tok_s >= COMFORTABLE_TOK_S

    def has_no_room(self, file_type: str) -> bool:
        """More than all memory there is, whatever the settings."""
        machine = self.trials.machine
        cards, ram = _free_bytes(machine), machine.memory.available_bytes
        if cards is None or ram is None:
            return False
        shared = any(gpu.unified_memory for gpu in machine.gpus)
        return self.trials.weights_bytes(file_type) > (max(cards, ram) if shared else cards + ram)

    def may_be_on_gpus(self, file_type: str) -> bool:
        if not self.trials.machine.gpus:
            return False
        free = _free_bytes(self.trials.machine)
        return free is None or self.trials.gpu_weights_bytes(file_type) <= free

    def on_gpus(self, file_type: str) -> Tried | None:
        """Wholly on the GPUs at the context planned for: in f16 or in the smaller cache type."""
        if not self.may_be_on_gpus(file_type):
            return None
        for cache_type in self.dimensions.cache_types:
            tried = self.trials.attempt(self.plain(file_type, cache_type=cache_type), on_gpus_only=True)
            if tried is not None and tried.judgement.verdict == FITS_GPU:
                return tried
        return None

    def _at_start(self, file_type: str) -> Iterator[Tried]:
        plain = self.trials.attempt(self.plain(file_type))
        if plain is not None:
            yield plain
        for cache_type in self.dimensions.cache_types[1:]:
            if not self._may_gain(plain, cache_type):
                continue
            smaller = self.trials.attempt(self.plain(file_type, cache_type=cache_type))
            if smaller is not None:
                yield smaller

    def _may_gain(self, plain: Tried | None, cache_type: str) -> bool:
        """Whether a smaller cache than that of ``plain`` could change the verdict, or the speed by much."""
        if self.trials.request.depth_tokens:
            return True
        if plain is None:
            nearest = self.trials.missed[-1] if self.trials.missed else None
            return nearest is None or (
                _saved_bytes(nearest.memory.kv_cache_bytes, cache_type) >= nearest.shortfall_bytes
            )
        if plain.judgement.verdict == FITS_GPU or not self.trials.machine.gpus:
            return False
        memory = plain.judgement.memory
        return _saved_bytes(memory.kv_cache_bytes, cache_type) >= TIE_SPEED_SHARE * memory.host.weights_bytes

    def shorter(self, file_type: str) -> Iterator[Tried]:
        """The longest of the shorter contexts that gets a better verdict: all on the GPUs, or fits at all."""
        contexts = [n for n in self.dimensions.contexts[1:] if n >= SHORT_CONTEXT_TOKENS]
        found = [self.trials.known(self.plain(file_type, cache_type=c)) for c in self.dimensions.cache_types]
        fitting = [one for one in found if one is not None]
        if any(one.judgement.verdict == FITS_GPU for one in fitting):
            return
        if self.may_be_on_gpus(file_type):
            tried = self._first_that_fits(file_type, contexts, on_gpus_only=True)
            if tried is not None:
                yield tried
                return
        if not fitting:
            tried = self._first_that_fits(file_type, self.dimensions.contexts[1:])
            if tried is not None:
                yield tried

    def _first_that_fits(
        self, file_type: str, contexts: Sequence[int], on_gpus_only: bool = False
    ) -> Tried | None:
        for tokens in contexts:
            for cache_type in self.dimensions.cache_types:
                configuration = self.plain(file_type, cache_type=cache_type, context_tokens=tokens)
                tried = self.trials.attempt(configuration, on_gpus_only)
                if tried is not None:
                    return tried
        return None

    def _longer(self, file_type: str) -> Iterator[Tried]:
        """The longest context of each cache type, on the GPUs and at all; less where that is too slow."""
        fuller: Tried | None = None
        for cache_type in self.dimensions.cache_types:
            plain = self.plain(file_type, cache_type=cache_type)
            longest = self.dimensions.longer_contexts[-1]
            is_longest = fuller is not None and fuller.configuration.context_tokens >= longest
            if is_longest and not self._may_gain(fuller, cache_type):
                return
            for tried in self._longest(plain):
                yield tried
                fuller = tried if fuller is None else fuller

    def _longest(self, plain: Configuration) -> Iterator[Tried]:
        reached = 0
        if not self.trials.machine.gpus:
            reached = self.trials.longest_context(plain, (FITS_CPU,))
        elif self.may_be_on_gpus(plain.file_type):
            reached = self.trials.longest_context(plain, (FITS_GPU,))
        tried = self._at_context(plain, reached)
        if tried is not None:
            yield tried
        if not self.trials.machine.gpus or reached >= self.dimensions.longer_contexts[-1]:
            return
        for tokens in reversed(self.dimensions.longer_contexts):
            tried = self._at_context(plain, tokens) if tokens > reached else None
            if tried is None:
                continue
            yield tried
            if self._will_do(tried):
                return
            at_start = self.trials.attempt(plain)
            if at_start is None or not self._will_do(at_start):
                return  # a shorter context would not make it fast enough either

    def between_steps(self, best: Tried) -> Iterator[Tried]:
        """Longer than a step of the ladder, up to the next one, as long as it is no worse: the last one that
        comes is the longest, to a sixteenth of that step."""
        low = best.configuration.context_tokens
        above = [n for n in self.dimensions.longer_contexts if n > low]
        if best.judgement.verdict != FITS_OFFLOAD or low not in self.dimensions.all_contexts or not above:
            return
        high = above[0]
        for _ in range(N_HALVINGS):
            middle = (low + high) // 2 // CONTEXT_PADDING_TOKENS * CONTEXT_PADDING_TOKENS
            tried = self.trials.attempt(best.configuration._replace(context_tokens=middle))
            good = tried is not None and tried.judgement.verdict == FITS_OFFLOAD
            was_readable = best.order_tok_s >= COMFORTABLE_TOK_S
            if tried is not None and good and tried.order_tok_s >= COMFORTABLE_TOK_S * was_readable:
                yield tried
                low = middle
            else:
                high = middle

    def _at_context(self, plain: Configuration, tokens: int) -> Tried | None:
        if tokens < SHORT_CONTEXT_TOKENS:
            return None
        return self.trials.attempt(plain._replace(context_tokens=tokens))

    def larger_ubatches(self, base: Tried) -> Iterator[Tried]:
        """The same with the largest micro-batch whose every step gains more than a tie; a smaller one where
        its buffers cost too much of the rest."""
        rates = [(self.dimensions.ubatches[0], base.prefill_tok_s)]
        for ubatch in self.dimensions.ubatches[1:] if base.prefill_tok_s else ():
            rate = self.trials.prefill_with(base, ubatch)
            if rate * (1 - TIE_PREFILL_SHARE) > rates[-1][1]:
                rates.append((ubatch, rate))
        for ubatch, _ in reversed(rates[1:]):
            tried = self.trials.attempt(base.configuration._replace(ubatch=ubatch))
            if tried is None or tried.judgement.verdict != base.judgement.verdict:
                continue
            yield tried
            if tried.order_tok_s >= base.order_tok_s * (1 - TIE_SPEED_SHARE):
                return


def _free_bytes(machine: Machine) -> int | None:
    """On all GPUs together; None where one of them does not say."""
    known = [gpu.usable_bytes for gpu in machine.gpus if gpu.usable_bytes is not None]
    return sum(known) if len(known) == len(machine.gpus) else None


def _saved_bytes(cache_bytes: int, cache_type: str) -> float:
    """What a cache in f16 of that size would save."""
    return cache_bytes * (1 - CACHE_TYPES[cache_type].bits_per_weight / CACHE_TYPES["f16"].bits_per_weight)
