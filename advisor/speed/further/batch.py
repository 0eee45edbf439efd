"""A step that computes several tokens at once: of several streams, or drafted ones of one stream.

Weights are read once for all tokens, of experts those that the tokens touch together. Two kinds of kernels
compete, and the faster one counts: matrix-vector kernels, in which reading and multiplying hide each other
in part (the root of the sum of squares, as on the CPU), and matrix-matrix kernels, in which they add up.
llama.cpp chooses by the number of columns and the type (ggml_cuda_should_use_mmvq in
ggml-cuda/mmvq.cu and its like); where it does not choose the faster one, a step takes longer than here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import hypot, sqrt

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.host import PLACE, Host
from llmfit.advisor.speed.decode.plan import weights_s
from llmfit.advisor.speed.further.batch_constants import BATCH, BatchConstants
from llmfit.advisor.speed.prefill.constants import CONSTANTS as PREFILL
from llmfit.advisor.speed.prefill.constants import PrefillConstants
from llmfit.advisor.speed.prefill.costs import PlaceCosts
from llmfit.advisor.speed.prefill.rates import FLOP_PER_PARAMETER, CardRates, card_rates, matrix_s, typed
from llmfit.advisor.speed.prefill.stages import Cost
from llmfit.advisor.speed.reads import DecodeReads, PlaceReads, Role
from llmfit.advisor.speed.terms import StepTime, Term

CACHE, KERNELS, SAMPLING = "KV cache", "kernels", "step"
"""What the terms of a plain step are called (decode/plan.py); those of weights by their Role."""


class Tokens(Enum):
    """Whose tokens a step computes."""

    STREAMS = "one of each stream, each with its own cache"
    UNIFIED = "one of each stream, all in one cache"
    """Each token is multiplied with the cells of all streams; those of others are masked afterwards."""
    DRAFTED = "several of one stream"


@dataclass(frozen=True, slots=True)
class Growth:
    """How the time of the weights of one role in one place grows with the tokens of a step.

    ``column_s`` is what one token multiplies in the matrix-vector kernels, never more than ``read_s``, in
    which one token is read and multiplied; ``matrix_*`` those of the other kernels, ``None`` on the CPU.
    """

    read_s: float
    column_s: float
    matrix_read_s: float | None = None
    matrix_token_s: float = 0.0
    tile_tokens: int = 1
    """The matrix-matrix kernels compute at least so many columns."""
    is_expert: bool = False

    def factor(self, n_tokens: int, touched: float) -> float:
        """The time over that of one token; ``touched`` are experts over those of one token."""
        if n_tokens == 1 or not self.read_s:
            return 1.0
        part = touched if self.is_expert else 1.0
        read_s, multiply_s = part * self.read_s, n_tokens * self.column_s
        vector_s = sqrt(read_s**2 + multiply_s**2 - (part * self.column_s) ** 2)
        if self.matrix_read_s is None:
            return vector_s / self.read_s
        columns = n_tokens if self.is_expert else max(n_tokens, self.tile_tokens)
        return min(vector_s, part * self.matrix_read_s + columns * self.matrix_token_s) / self.read_s


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How each term of a plain step grows: made once for a placement, asked for every number of tokens.

    ``growths`` by the place and the name of a term. Nothing is faster than ``token_bound_s`` a token:
    operations over the peak rates.
    """

    growths: Mapping[tuple[str, str], Growth]
    kernels_factor: Mapping[str, float]
    attention: Mapping[str, Cost]
    """By GPU: what one token multiplies for each cached one."""
    window_tokens: int
    expert_share: float
    """Experts of a layer that one token uses, of all; 1 without experts."""
    touch_exponent: float
    token_bound_s: float
    backends: frozenset[str]
    """Of the GPUs that take part."""

    def touched(self, n_tokens: int) -> float:
        """Experts that ``n_tokens`` touch together over those of one token: between 1 and all of them."""
        share, independent = self.expert_share, float(n_tokens**self.touch_exponent)
        return (1 - float((1 - share) ** independent)) / share

    def step(self, one: StepTime, n_tokens: int, tokens: Tokens, depth_tokens: int) -> StepTime:
        """The step of ``n_tokens`` from that of one token (calibrated or not) at the same depth.

        With one token it is ``one`` itself.
        """
        if n_tokens == 1:
            return one
        terms = tuple(self._grown(term, n_tokens, tokens, depth_tokens) for term in one.terms)
        return StepTime(terms, max(one.bound_s, n_tokens * self.token_bound_s))

    def _grown(self, term: Term, n_tokens: int, tokens: Tokens, depth_tokens: int) -> Term:
        growth = self.growths.get((term.where, term.what))
        if growth is not None:
            touched = self.touched(n_tokens)
            read = touched if growth.is_expert else 1.0
            return scaled_work(term, growth.factor(n_tokens, touched), read)
        if term.what == KERNELS:
            return scaled_work(term, self.kernels_factor.get(term.where, 1.0), 1.0)
        if term.what == CACHE:
            reads = 1 if tokens is Tokens.DRAFTED else n_tokens
            looks = n_tokens * (n_tokens if tokens is Tokens.UNIFIED else 1)
            work_s = looks * min(term.time_s, self._attention_s(term.where, depth_tokens))
            return scaled_work(term, max(float(reads), work_s / term.time_s), reads)
        return scaled_work(term, n_tokens, n_tokens) if term.what == SAMPLING else term

    def _attention_s(self, where: str, depth_tokens: int) -> float:
        """Multiplying one token with all cached ones, at the rates of prompts.

        On the CPU reading them means it already.
        """
        cost = self.attention.get(where)
        if cost is None:
            return 0.0
        window_tokens = min(depth_tokens, self.window_tokens or depth_tokens)
        return cost.cell_s * depth_tokens + cost.window_cell_s * window_tokens


def scaled_work(term: Term, time_factor: float, amount_factor: float) -> Term:
    """``amount_factor`` times the work in ``time_factor`` times the time."""
    slower = term.scaled(time_factor)
    if slower.amount is None or slower.rate_per_s is None:
        return slower
    rate = slower.rate_per_s * amount_factor
    return replace(slower, amount=slower.amount * amount_factor, rate_per_s=rate)


def plan_batches(
    shape: ModelShape,
    reads: DecodeReads,
    cards: Sequence[Card],
    host: Host | None,
    gpus: Sequence[Gpu],
    constants: BatchConstants = BATCH,
    prefill: PrefillConstants = PREFILL,
) -> BatchPlan:
    """``cards`` and ``gpus`` are those of ``reads.gpus``, as a plain step has them (plan_decode)."""
    share = shape.n_expert_used / shape.n_expert if shape.n_expert else 1.0
    costs = PlaceCosts.of(shape, reads, prefill)
    growths: dict[tuple[str, str], Growth] = {}
    attention: dict[str, Cost] = {}
    token_bound_s = 0.0
    for place, card, gpu in zip(reads.gpus, cards, gpus, strict=True):
        rates = card_rates(gpu, prefill)
        for role in Role:
            if place.weight_bytes(role):
                growths[card.label, role.value] = _gpu_growth(place, role, card, rates, constants)
        if rates is not None:
            found = [cost for cost in costs.gpu_stage(place, rates).costs if cost.what == "attention"]
            attention.update({cost.where: cost for cost in found})
            token_bound_s += FLOP_PER_PARAMETER * place.n_parameters() / rates.peak_flops
    if host is not None:
        for role in Role:
            if reads.host.weight_bytes(role):
                growths[PLACE, role.value] = _host_growth(reads.host, role, host)
    return BatchPlan(
        growths=growths,
        kernels_factor={card.label: _of(constants.kernels_factor, card) for card in cards},
        attention=attention,
        window_tokens=shape.window_tokens,
        expert_share=share,
        touch_exponent=constants.touch_exponent,
        token_bound_s=token_bound_s,
        backends=frozenset(card.backend for card in cards),
    )


def _gpu_growth(
    place: PlaceReads, role: Role, card: Card, rates: CardRates | None, constants: BatchConstants
) -> Growth:
    expert = role is Role.EXPERT
    read_s = sum(weights_s(read, card) for read in place.weights if read.role is role)
    per_parameter = _of(constants.pair_bytes if expert else constants.column_bytes, card)
    column_s = min(read_s, place.n_parameters(role) * per_parameter / card.weights_bytes_per_s)
    if rates is None:
        return Growth(read_s, column_s, is_expert=expert)
    token_s = matrix_s(typed(place, role), rates)
    matrix_read_s = read_s * constants.matrix_read_factor
    if expert:
        token_s /= rates.kernels.expert_factor
        matrix_read_s += token_s * rates.kernels.pad_tokens
    token_s *= _of(constants.matrix_token_factor, card)
    tile_tokens = constants.tile_tokens.get(card.backend, 1)
    return Growth(read_s, column_s, matrix_read_s, token_s, tile_tokens, expert)


def _host_growth(place: PlaceReads, role: Role, host: Host) -> Growth:
    """On the CPU each token is multiplied on its own; the matrices are read once.

    From 32 tokens on llama.cpp copies matrices in RAM to the first GPU (prefill/plan.py): not modelled here.
    """
    time_s = working_s = 0.0
    for read in place.weights:
        if read.role is role:
            working_s += host.arithmetic_s(read)
            time_s += hypot(host.read_s(read), host.arithmetic_s(read))
    return Growth(time_s, working_s, is_expert=role is Role.EXPERT)


def _of(by_backend: Mapping[str, float], card: Card) -> float:
    return by_backend.get(card.backend, by_backend["cuda"])
