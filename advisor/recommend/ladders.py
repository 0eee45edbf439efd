"""What is tried, in which order: file types, contexts, cache types; and what is taken where nobody asks."""

from __future__ import annotations

from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.quantization import DEFAULT_FILE_TYPE

QUANT_LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
"""File types in falling quality that every publisher has. Below them models lose more than a smaller one."""
GOOD_ENOUGH = DEFAULT_FILE_TYPE
"""Smaller types are for models that have no room in this one: they lose more than they win in speed."""
SMALLER_FILE_TYPES = ("Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K", "IQ2_XXS")
"""What may help a model that somebody wants at any price, in falling size: further down than is proposed."""
HEAVY_LOSS_FILE_TYPES = SMALLER_FILE_TYPES[SMALLER_FILE_TYPES.index(QUANT_LADDER[-1]) + 1 :]
"""Below what is ever proposed: a smaller model loses less. Only for what does not run otherwise."""

DEFAULT_CONTEXT_TOKENS = 32768
"""Enough for a long chat, a few source files or a paper; models with less get their own maximum."""
LONG_CONTEXT_TOKENS = 131072
"""What is planned for where the use is long context and nobody says how long."""
SHORT_CONTEXT_TOKENS = 8192
"""A few pages: the least that is proposed together with everything else that saves."""
CONTEXT_LADDER = (4096, 8192, 16384, 32768, 65536, 131072, 262144)
"""Doublings, as models are trained: what a person chooses from, and what is tried where one is too long."""

DEFAULTS = LaunchSettings(context_tokens=DEFAULT_CONTEXT_TOKENS)
"""llama-server's own batch, micro-batch and cache type, which the advisor changes only for a reason."""
SMALLER_CACHE_TYPES = ("q8_0", "q4_0")
"""In falling size: the quantised types that default CUDA builds have fast attention kernels for."""
SAVING_CACHE_TYPE = SMALLER_CACHE_TYPES[0]
"""Taken unasked where it saves a layout: its loss is within the noise of every published measurement."""
FAST_CACHE_TYPES = ("f16", "bf16", *SMALLER_CACHE_TYPES)
"""What default CUDA builds have fast attention kernels for, with K = V (ggml-cuda GGML_CUDA_FA_QUANTS)."""


def shorter_contexts(than_tokens: int, at_least_tokens: int = 0) -> tuple[int, ...]:
    """The steps of the ladder below ``than_tokens``, the longest first."""
    return tuple(tokens for tokens in reversed(CONTEXT_LADDER) if at_least_tokens <= tokens < than_tokens)


__all__ = [
    "CONTEXT_LADDER",
    "DEFAULTS",
    "DEFAULT_CONTEXT_TOKENS",
    "DEFAULT_FILE_TYPE",
    "FAST_CACHE_TYPES",
    "GOOD_ENOUGH",
    "HEAVY_LOSS_FILE_TYPES",
    "LONG_CONTEXT_TOKENS",
    "QUANT_LADDER",
    "SAVING_CACHE_TYPE",
    "SHORT_CONTEXT_TOKENS",
    "SMALLER_CACHE_TYPES",
    "SMALLER_FILE_TYPES",
    "shorter_contexts",
]
