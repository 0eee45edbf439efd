"""``--split-mode tensor`` as a what-if figure: equal cards that work on every layer at the same time.

Each card reads its share of every matrix and of the cache; after attention and after the feed-forward the
parts are summed over all cards (all-reduce, ggml/src/ggml-backend-meta.cpp), and all wait for that. llama.cpp
b11434 calls the mode experimental; how much memory it takes is not modelled (``assign_layers`` raises
NotModelledError), so nothing here says that it fits. ``--split-mode row`` fails to load in that version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.kv_cache import uses_flash_attention
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.constants import DECODE
from llmfit.advisor.speed.decode.plan import plan_decode
from llmfit.advisor.speed.reads import Role, decode_reads
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import Cause, StepTime, Term

UNSUPPORTED = frozenset(
    (
        "grok", "mpt", "plamo2", "minicpm3", "gemma3n", "mamba", "mamba2", "jamba", "falcon-h1", "olmo2",
        "olmoe", "deepseek2", "deepseek32", "hy_v4", "dots3note", "glm-dsa", "bitnet", "t5", "nemotron_h",
        "nemotron_h_moe", "granitehybrid", "minimax-01", "minimax-m2", "minimax-m3", "mistral4",
        "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next", "qwen3tts",
    )
)  # fmt: skip
"""llm_arch_supports_sm_tensor (src/llama-arch.cpp): these fail to load."""
REDUCTIONS_A_LAYER = 2
"""After the output projection of attention (or of a recurrent layer) and after the feed-forward."""
REDUCTION_S: Mapping[str, float] = MappingProxyType({"cuda": 29e-6, "rocm": 40e-6})
"""Waiting for one another and summing up: with it the median error of tests/data/tensor_split.csv is least
(tests/bench/tensor_split_accuracy.py); tables that have the layer split, too, ask for 14 to 62 microseconds,
the one of ROCm for 40. CUDA reduces with NCCL or a kernel of its own for two cards (ggml-cuda/allreduce.cu),
ROCm by copies. Of Vulkan and SYCL nobody published figures of a released version."""
RANGE = (0.72, 1.25)
"""Low and high over expected: four of five of the measured rows; wide, because the link between the cards
matters (NVLink, P2P, PCIe lanes) and they are few."""


@dataclass(frozen=True, slots=True)
class TensorSplitSpeed:
    """``speedup_factor`` is over the same cards with ``--split-mode layer``; below 1 the reductions cost more
    than sharing the reading saves. ``basis`` is ``what if``: its memory is not modelled."""

    n_gpus: int
    tok_s: SpeedRange
    layer_tok_s: float
    speedup_factor: float
    bound_tok_s: float
    step: StepTime
    basis: str = "what if"


def tensor_split_refusal(shape: ModelShape, gpus: Sequence[Gpu], settings: LaunchSettings) -> str | None:
    """Why there is no figure, one plain sentence; ``None`` where there is one."""
    if len(gpus) < 2:
        return "A tensor split needs at least two GPUs."
    if shape.architecture in UNSUPPORTED:
        return f"llama.cpp b11434 has no tensor split for the architecture {shape.architecture}."
    if not uses_flash_attention(shape, settings):
        return "A tensor split needs flash attention."
    if len({(gpu.name, gpu.backend, gpu.bandwidth_bytes_per_s) for gpu in gpus}) > 1:
        return "Only tensor splits over equal cards are modelled."
    if gpus[0].backend not in REDUCTION_S:
        return f"Nobody published a tensor split with {gpus[0].backend} in a released llama.cpp."
    partly = 0 <= settings.gpu_layers <= shape.n_layer_all or not settings.kv_offload
    if partly or settings.n_cpu_moe or settings.override_tensor:
        return "Tensor splits with weights or cache in RAM are not modelled."
    return None


def tensor_split_speed(
    model: Model, weights: WeightTable, gpus: Sequence[Gpu], settings: LaunchSettings, depth_tokens: int = 0
) -> TensorSplitSpeed | None:
    """Decode speed of one stream over ``gpus``.

    ``None`` where ``tensor_split_refusal`` says why, or where the bandwidth of the cards is not known.
    """
    if tensor_split_refusal(model.shape, gpus, settings) is not None:
        return None
    card = Card.of(gpus[0])
    if card is None:
        return None
    alone = LaunchSettings(settings.context_tokens, devices=(0,))
    assignment = assign_layers(model.shape, alone, (None,), weights)
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    plan = plan_decode(reads, [card], None)
    if plan is None:
        return None
    one = plan.step(depth_tokens, settings.cache_type_k, settings.cache_type_v)
    step = _shared(one, model.shape, card, len(gpus))
    by_layer = StepTime((*one.terms, _hops(card, len(gpus))), one.bound_s)
    bound = 1 / step.bound_s
    return TensorSplitSpeed(
        n_gpus=len(gpus),
        tok_s=SpeedRange.around(1 / step.total_s, RANGE, bound),
        layer_tok_s=1 / by_layer.total_s,
        speedup_factor=by_layer.total_s / step.total_s,
        bound_tok_s=bound,
        step=step,
    )


def _shared(one: StepTime, shape: ModelShape, card: Card, n_gpus: int) -> StepTime:
    """The step of one card that had it all, shared out: kernels are started on all cards at once."""
    roles = {role.value for role in Role}
    terms = []
    for term in one.terms:
        if term.what in roles:
            terms.append(_part(term, 1 / n_gpus))
        elif term.what == "KV cache":
            terms.append(_part(term, _cache_share(shape, n_gpus)))
        else:
            terms.append(term)
    n, each_s = REDUCTIONS_A_LAYER * shape.n_layer, REDUCTION_S[card.backend]
    terms.append(Term("reductions", f"{n_gpus} GPUs", Cause.PCIE, n * each_s, n, 1 / each_s, "reductions"))
    return StepTime(tuple(terms), one.bound_s / n_gpus)


def _part(term: Term, share: float) -> Term:
    amount = None if term.amount is None else term.amount * share
    return Term(term.what, "each GPU", term.cause, term.time_s * share, amount, term.rate_per_s, term.unit)


def _cache_share(shape: ModelShape, n_gpus: int) -> float:
    """Heads are not cut: of two heads over three cards one card has one and one has none."""
    heads = min((n for n in shape.n_head_kv if n), default=1)
    return -(-heads // n_gpus) / heads


def _hops(card: Card, n_gpus: int) -> Term:
    return Term("hop", card.label, Cause.LAUNCH, (n_gpus - 1) * DECODE.hop_s)
