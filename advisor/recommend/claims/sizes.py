"""The sizes of a claim: the file, the KV cache, the GPU memory that is used."""

from __future__ import annotations

from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.recommend.claims.claim import (
    BYTES,
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    UNKNOWN,
    Claim,
    Reason,
)
from llmfit.advisor.recommend.claims.subject import Evidence
from llmfit.advisor.recommend.claims.words import gb, gpu_bytes, memory_text
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.search import default_context
from llmfit.advisor.units import format_context

TOLERANCE_SHARE = 0.10
"""A size that is off by more contradicts. GiB that are called GB are 7 % off."""


def weights_reason(claimed_bytes: int, evidence: Evidence) -> Reason:
    """The file's size against what its tensors add up to, or what was published to the byte."""
    model = evidence.subject.model
    tensors_bytes = sum(tensor.n_bytes for tensor in model.tensors)
    known = (tensors_bytes, model.file_bytes, *evidence.subject.published_bytes)
    nearest = min(known, key=lambda size: abs(size - claimed_bytes))
    if not _agrees(claimed_bytes, nearest) or _agrees(claimed_bytes, tensors_bytes):
        nearest = tensors_bytes  # a publisher's own mix explains a claim, but none is needed here
    verdict = SUPPORTED if _agrees(claimed_bytes, nearest) else CONTRADICTED
    source = "computed" if nearest == tensors_bytes else "published"
    bits = nearest * 8 / max(1, model.n_parameters)
    text = (
        f"Weights: {gb(claimed_bytes)} claimed, {gb(nearest)} {source} ({model.n_parameters / 1e9:.1f}e9 "
        f"parameters at {bits:.2f} bits each){_off(claimed_bytes, nearest)}."
    )
    return Reason("weights", verdict, text, claimed_bytes, nearest, BYTES)


def kv_reason(claimed_bytes: int, evidence: Evidence) -> Reason:
    """The cache at the claim's context and cache types; f16 where it names none, as llama.cpp has it."""
    judged = evidence.alone
    computed = judged.memory.kv_cache_bytes
    where = f"at {format_context(judged.settings.context_tokens)} tokens in {_types(judged)}"
    if evidence.subject.request.context_tokens is None:
        return _kv_without_context(claimed_bytes, evidence, where)
    verdict = SUPPORTED if _agrees(claimed_bytes, computed) else CONTRADICTED
    text = (
        f"KV cache: {gb(claimed_bytes)} claimed, {gb(computed)} computed {where}"
        f"{_off(claimed_bytes, computed)}."
    )
    return Reason("KV cache", verdict, text, claimed_bytes, computed, BYTES)


def vram_reason(claim: Claim, evidence: Evidence) -> Reason:
    """GPU memory that is used, or that it is said to fit in."""
    claimed = claim.vram_bytes or 0
    machine = evidence.subject.machine
    if claim.is_budget or claim.is_negated:
        return _budget_reason(claimed, evidence, claim.is_negated)
    if machine is not None and machine.gpus and claimed > gpu_bytes(machine) * (1 + TOLERANCE_SHARE):
        text = f"GPU memory: {gb(claimed)} claimed, {memory_text(machine)} is all there is."
        return Reason("GPU memory", CONTRADICTED, text, claimed, gpu_bytes(machine), BYTES)
    offloaded = _offloaded(claimed, evidence)
    return offloaded or _used_reason(claimed, evidence)


def least_gpu_bytes(evidence: Evidence) -> int:
    """What all of the weights and the shortest useful cache take on cards, driver included."""
    return gpu_total_bytes(evidence.alone_short.memory)


def gpu_total_bytes(memory: MemoryEstimate) -> int:
    return sum(device.total_bytes for device in memory.gpus)


def parts_text(judgement: Judgement) -> str:
    """``weights 17.0 GB, KV cache 1.61 GB at 8K in f16, buffers and driver 0.58 GB``."""
    gpus = judgement.memory.gpus
    weights = sum(device.weights_bytes for device in gpus)
    cache = sum(device.kv_cache_bytes for device in gpus)
    rest = gpu_total_bytes(judgement.memory) - weights - cache
    context = format_context(judgement.settings.context_tokens)
    return (
        f"weights {gb(weights)}, KV cache {gb(cache)} at {context} in {_types(judgement)}, "
        f"buffers and driver {gb(rest)}"
    )


def _used_reason(claimed: int, evidence: Evidence) -> Reason:
    """Between the weights with the shortest cache and everything at the default context, 10 % either way."""
    short, full = evidence.alone_short, evidence.alone
    least = sum(device.llama_cpp_bytes for device in short.memory.gpus)
    most = gpu_total_bytes(full.memory) + full.memory.host.weights_bytes
    inside = (1 - TOLERANCE_SHARE) * least <= claimed <= (1 + TOLERANCE_SHARE) * most
    computed = gpu_total_bytes(full.memory)
    text = f"GPU memory: {gb(claimed)} claimed, {gb(computed)} computed ({parts_text(full)})"
    if short.settings.context_tokens < full.settings.context_tokens:
        context = format_context(short.settings.context_tokens)
        text += f"; {gb(gpu_total_bytes(short.memory))} with {context} of context, as none is named"
    return Reason("GPU memory", SUPPORTED if inside else CONTRADICTED, text + ".", claimed, computed, BYTES)


def _budget_reason(claimed: int, evidence: Evidence, is_negated: bool) -> Reason:
    """``fits in 32 GB``; negated, ``does not fit in 32 GB`` at the default context."""
    judged = evidence.alone if is_negated else evidence.alone_short
    needed = gpu_total_bytes(judged.memory)
    fits = needed <= claimed * (1.0 if is_negated else 1 + TOLERANCE_SHARE)
    said = f"GPU memory: that it {'does not fit' if is_negated else 'fits'} in {gb(claimed)} is claimed, "
    text = f"{said}{gb(needed)} computed ({parts_text(judged)})."
    return Reason(
        "GPU memory", SUPPORTED if fits != is_negated else CONTRADICTED, text, claimed, needed, BYTES
    )


def _offloaded(claimed: int, evidence: Evidence) -> Reason | None:
    """Where the rest of the model may lie in the RAM that the claim names; None where that is not so."""
    subject = evidence.subject
    if subject.machine is None or (evidence.on_gpus is not None and not subject.offload_is_stated):
        return None
    if not subject.ram_is_known and not subject.offload_is_stated:
        return None
    judged = evidence.anywhere
    if not judged.fits:
        return None
    computed = gpu_total_bytes(judged.memory)
    agrees = _agrees(claimed, computed) if subject.offload_is_stated else claimed <= computed * 1.1
    text = (
        f"GPU memory: {gb(claimed)} claimed, {gb(computed)} computed ({parts_text(judged)}), with "
        f"{gb(judged.memory.host.weights_bytes)} of weights in RAM."
    )
    return Reason("GPU memory", NEEDS_OFFLOAD if agrees else CONTRADICTED, text, claimed, computed, BYTES)


def _kv_without_context(claimed: int, evidence: Evidence, where: str) -> Reason:
    model = evidence.subject.model
    default_bytes = evidence.alone.memory.kv_cache_bytes
    longest = model.shape.context_train_tokens or default_context(model)
    most = evidence.alone_at(longest).memory.kv_cache_bytes
    said = f"KV cache: {gb(claimed)} claimed without a context"
    if claimed > most * (1 + TOLERANCE_SHARE):
        text = f"{said}, {gb(most)} computed at all {format_context(longest)} that it was trained for."
        return Reason("KV cache", CONTRADICTED, text, claimed, most, BYTES)
    return Reason(
        "KV cache", UNKNOWN, f"{said}, {gb(default_bytes)} computed {where}.", claimed, default_bytes, BYTES
    )


def _agrees(claimed: float, computed: float) -> bool:
    return abs(claimed - computed) <= TOLERANCE_SHARE * computed


def _off(claimed: float, computed: float) -> str:
    """``: 43 % too little``, empty where it agrees."""
    if _agrees(claimed, computed) or not computed:
        return ""
    share = claimed / computed
    if share >= 2:
        return f": {share:.1f} times too much"
    if share <= 0.5:
        return f": only {share:.0%} of it" if share >= 0.01 else ": less than 1% of it"
    return f": {abs(share - 1):.0%} too {'much' if share > 1 else 'little'}"


def _types(judgement: Judgement) -> str:
    settings = judgement.settings
    same = settings.cache_type_k == settings.cache_type_v
    return settings.cache_type_k if same else f"{settings.cache_type_k}/{settings.cache_type_v}"


__all__ = [
    "TOLERANCE_SHARE",
    "gpu_total_bytes",
    "kv_reason",
    "least_gpu_bytes",
    "parts_text",
    "vram_reason",
    "weights_reason",
]
