"""Every configuration that a search considers, and what became of each: judged, or pruned for a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

from llmfit.advisor.recommend.goals.values import Configuration, Pruned
from llmfit.advisor.recommend.ladders import CONTEXT_LADDER, DEFAULTS, SAVING_CACHE_TYPE, shorter_contexts
from llmfit.advisor.recommend.request import Request

LARGER_UBATCHES = (1024, 2048, 4096)
"""Doublings of llama-server's 512; a larger one gains nothing that the next prompt would notice."""
MORE_SLOTS = (2, 4)
PLAIN_UBATCH = DEFAULTS.ubatch


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The values tried of each dimension, the plain one first; one alone where the user fixed it.

    ``contexts`` begin with the one planned for. ``longer_contexts`` are for the goal of a long context.
    """

    file_types: tuple[str, ...]
    cache_types: tuple[str, ...]
    contexts: tuple[int, ...]
    longer_contexts: tuple[int, ...]
    ubatches: tuple[int, ...]
    slots: tuple[int, ...]

    @property
    def start_tokens(self) -> int:
        return self.contexts[0]

    @property
    def all_contexts(self) -> tuple[int, ...]:
        return self.contexts + self.longer_contexts


def dimensions_of(
    request: Request,
    file_types: tuple[str, ...],
    start_tokens: int,
    trained_tokens: int,
    may_quantise_cache: bool,
    wants_context: bool,
) -> Dimensions:
    """What stays open of the dimensions; ``trained_tokens`` is 0 where nobody says."""
    contexts: tuple[int, ...] = (start_tokens,)
    longer: tuple[int, ...] = ()
    if request.context_tokens is None:
        contexts += shorter_contexts(start_tokens, at_least_tokens=request.filled_tokens)
        if wants_context:
            longer = longer_contexts(start_tokens, trained_tokens)
    plain = request.base_settings(start_tokens)
    cache_type = cache_name(plain.cache_type_k, plain.cache_type_v)
    batch = request.batch or max(LARGER_UBATCHES)
    larger = () if request.ubatch is not None else tuple(n for n in LARGER_UBATCHES if n <= batch)
    return Dimensions(
        file_types=file_types,
        cache_types=(cache_type, SAVING_CACHE_TYPE) if may_quantise_cache else (cache_type,),
        contexts=contexts,
        longer_contexts=longer,
        ubatches=(plain.ubatch, *larger),
        slots=(plain.parallel, *(() if request.parallel is not None else MORE_SLOTS)),
    )


def longer_contexts(than_tokens: int, trained_tokens: int) -> tuple[int, ...]:
    """The steps of the ladder above it, doubled on, up to and with the trained context; none where nobody
    says that."""
    steps = {*CONTEXT_LADDER, trained_tokens}
    longest = CONTEXT_LADDER[-1]
    while longest < trained_tokens:
        steps.add(longest)
        longest *= 2
    return tuple(tokens for tokens in sorted(steps) if than_tokens < tokens <= trained_tokens)


def cache_name(type_k: str, type_v: str) -> str:
    return type_k if type_k == type_v else f"{type_k}/{type_v}"


@dataclass(slots=True)
class Ledger:
    """Which configurations are considered and what became of them; each ends judged or pruned."""

    dimensions: Dimensions
    judged: set[Configuration] = field(default_factory=set)
    _open: set[Configuration] = field(default_factory=set)
    _pruned: dict[str, set[Configuration]] = field(default_factory=dict)

    @classmethod
    def of(cls, dimensions: Dimensions) -> Ledger:
        every = product(
            dimensions.file_types,
            dimensions.cache_types,
            dimensions.all_contexts,
            dimensions.ubatches,
            dimensions.slots,
        )
        return cls(dimensions, _open={Configuration(*one) for one in every})

    def judge(self, configuration: Configuration) -> None:
        """Also of one that was pruned: it is shown beside the chosen one after all."""
        self._open.discard(configuration)
        for pruned in self._pruned.values():
            pruned.discard(configuration)
        self.judged.add(configuration)

    def prune(self, why: str, which: Callable[[Configuration], bool]) -> None:
        """Settles what is still open; the first reason that holds is the one that is told."""
        found = {one for one in self._open if which(one)}
        if found:
            self._open -= found
            self._pruned.setdefault(why, set()).update(found)

    def prune_file_type(self, file_type: str, why: str) -> None:
        self.prune(why, lambda one: one.file_type == file_type)

    def prune_rest(self, why: str) -> None:
        self.prune(why, lambda _: True)

    @property
    def pruned(self) -> tuple[Pruned, ...]:
        """The most frequent reason first."""
        by_number = sorted((-len(found), why) for why, found in self._pruned.items() if found)
        return tuple(Pruned(-number, why) for number, why in by_number)

    @property
    def n_considered(self) -> int:
        return len(self.judged) + len(self._open) + sum(map(len, self._pruned.values()))
