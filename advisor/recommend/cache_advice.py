"""Which cache types a model bears: by architecture and shape, so it holds for any GGUF file.

A quantised cache halves or quarters what a context takes. Some models get slow by it, some get worse, for
some there is nothing to win, and for some nobody has measured it. The source stands beside each rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.memory.kv_cache import cache_geometry, cache_plane, cache_rows, check_cache_types
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.recommend.ladders import DEFAULTS, SMALLER_CACHE_TYPES
from llmfit.advisor.units import MIB, format_gib

CACHE_TYPE_HURTS = "cache_type_hurts"
"""Reported to make this model slow or wrong."""
CACHE_TYPE_NOT_MEASURED = "cache_type_not_measured"
"""Nobody published what it costs this kind of model."""
CACHE_TYPE_SAVES_LITTLE = "cache_type_saves_little"
"""The cache is so small that quantising it wins nothing."""
TINY_CACHE_BYTES = 100 * MIB
"""Below it, what a quantised cache saves is less than the doubt of any estimate."""

FULL = DEFAULTS.cache_type_k
Q8, Q4 = SMALLER_CACHE_TYPES
_DELICATE_BELOW_PARAMETERS = 4 * 10**9
_DELICATE_BELOW = {"qwen2": 8 * 10**9, "qwen2vl": 8 * 10**9, "gemma3": 35 * 10**8}
"""Qwen2.5-7B (7.6 billion) is delicate; Gemma 3 4B (3.9 billion) was measured and is not (PR 21551)."""
_ROTATED_HEAD_STEP = 64


@dataclass(frozen=True, slots=True)
class CacheAdvice:
    """The types worth trying for K and V alike, the largest first, and why no smaller one; f16 is always one.

    ``lowest_k`` and ``lowest_v`` are the smallest types advised for each half. ``reason`` and ``source`` are
    empty where every type of the ladder is worth trying.
    """

    types: tuple[str, ...]
    lowest_k: str = Q4
    lowest_v: str = Q4
    code: str = ""
    reason: str = ""
    source: str = ""

    def allows(self, type_k: str, type_v: str) -> bool:
        """Whether neither half is smaller than what is advised for it."""
        return _bits(type_k) >= _bits(self.lowest_k) and _bits(type_v) >= _bits(self.lowest_v)


def cache_types_worth_trying(model: Model, settings: LaunchSettings | None = None) -> CacheAdvice:
    """What to try for this model; with ``settings`` also whether its cache is worth quantising at all.

    Only the context, slots and window of ``settings`` count. Raises UsageError for settings that llama.cpp
    refuses.
    """
    advice = _by_model(model)
    if settings is not None and _bits(advice.lowest_v) < _bits(FULL):
        cache_bytes = f16_cache_bytes(model.shape, settings)
        if cache_bytes < TINY_CACHE_BYTES:
            advice = _tiny(cache_bytes)
    return replace(advice, types=_types(model.shape, settings or DEFAULTS, advice))


def f16_cache_bytes(shape: ModelShape, settings: LaunchSettings) -> int:
    """The attention cache of all layers in f16, without recurrent states, which no cache type changes."""
    full = replace(settings, cache_type_k=FULL, cache_type_v=FULL)
    geometry = cache_geometry(shape, full)
    plane = cache_plane(shape, cache_rows(FULL, FULL, geometry), (0,) * shape.n_layer_all)
    return sum(
        cell_bytes * geometry.n_ctx_seq + window_cell_bytes * geometry.swa_cells
        for _, _, cell_bytes, window_cell_bytes in plane.devices
    )


def has_delicate_keys(model: Model) -> bool:
    """Small models whose K has outliers that four and five bits cut off.

    Seen on Qwen2.5 1.5B and 7B and on TinyLlama; that all below 4 billion parameters are so is caution.
    """
    return model.n_parameters < _DELICATE_BELOW.get(model.shape.architecture, _DELICATE_BELOW_PARAMETERS)


def rotates_quantised_cache(shape: ModelShape) -> bool:
    """Whether llama.cpp spreads outliers over the head before it quantises a K/V row.

    ``llama_kv_cache`` (src/llama-kv-cache.cpp b11434, attn_rot_k and attn_rot_v): heads of one width that 64
    divides, in each of the caches for full and for windowed layers.
    """
    for heads in (shape.head_dim_k, shape.head_dim_v):
        for kinds in ((LayerKind.FULL, LayerKind.HYBRID), (LayerKind.SWA,)):
            widths = {heads[layer] for layer in range(shape.n_layer_kv) if shape.kinds[layer] in kinds}
            if len(widths) > 1 or any(width % _ROTATED_HEAD_STEP for width in widths):
                return False
    return True


_ALL_TYPES = CacheAdvice(())
_GPT_OSS = CacheAdvice(
    (),
    FULL,
    FULL,
    CACHE_TYPE_HURTS,
    "gpt-oss was reported much slower with a quantised cache, and its cache is small: half of its layers "
    "keep a window only.",
    "llama.cpp issue 15766 (b6365, RTX 3090)",
)
_GEMMA_2_3 = CacheAdvice(
    (),
    FULL,
    FULL,
    CACHE_TYPE_HURTS,
    "Gemma 2 and 3 were reported to read prompts very slowly with a quantised cache, on CUDA and Metal.",
    "llama.cpp issue 12352 (heads of 256)",
)
_GEMMA_4 = CacheAdvice(
    (),
    Q8,
    Q8,
    CACHE_TYPE_NOT_MEASURED,
    "The rotation that protects 4-bit caches was off for Gemma 4 in b8643; nothing newer was published.",
    "llama.cpp issue 21394",
)
_MLA = CacheAdvice(
    (),
    FULL,
    FULL,
    CACHE_TYPE_NOT_MEASURED,
    "All heads share one compressed row (MLA): what quantising it costs was not measured.",
    "no published measurement found (2026-11)",
)
_DELICATE_KEYS = CacheAdvice(
    (),
    Q8,
    Q4,
    CACHE_TYPE_HURTS,
    "Small models can break with K below q8_0: perplexity went from 6.6 to 3556 with 3-bit K on Qwen2.5-7B. "
    "V may be smaller.",
    "github.com/TheTom/turboquant_plus, asymmetric-kv-compression.md",
)
_BY_ARCHITECTURE = {"gpt-oss": _GPT_OSS, "gemma2": _GEMMA_2_3, "gemma3": _GEMMA_2_3}


def _tiny(cache_bytes: int) -> CacheAdvice:
    return CacheAdvice(
        (),
        FULL,
        FULL,
        CACHE_TYPE_SAVES_LITTLE,
        f"The whole cache takes {format_gib(cache_bytes)} in f16: quantising it saves next to nothing.",
        "github.com/gianlucamazza/xllama pull 181 (q8_0 changes the answers of LFM2.5-350M)",
    )


def _by_model(model: Model) -> CacheAdvice:
    """The first rule that holds, the strictest first."""
    known = _BY_ARCHITECTURE.get(model.shape.architecture)
    if known is not None:
        return known
    if model.shape.mla is not None:
        return _MLA
    if has_delicate_keys(model):
        return _DELICATE_KEYS
    return _GEMMA_4 if model.shape.architecture == "gemma4" else _ALL_TYPES


def _types(shape: ModelShape, settings: LaunchSettings, advice: CacheAdvice) -> tuple[str, ...]:
    """f16 and the steps of the ladder that the advice and llama.cpp allow."""
    return (
        FULL,
        *(
            name
            for name in SMALLER_CACHE_TYPES
            if advice.allows(name, name) and _is_taken(shape, settings, name)
        ),
    )


def _is_taken(shape: ModelShape, settings: LaunchSettings, name: str) -> bool:
    try:
        check_cache_types(shape, settings, name, name)
    except LlmfitError:
        return False
    return True


def _bits(name: str) -> float:
    return CACHE_TYPES[name].bits_per_weight


__all__ = [
    "CACHE_TYPE_HURTS",
    "CACHE_TYPE_NOT_MEASURED",
    "CACHE_TYPE_SAVES_LITTLE",
    "CacheAdvice",
    "cache_types_worth_trying",
    "f16_cache_bytes",
    "has_delicate_keys",
    "rotates_quantised_cache",
]
