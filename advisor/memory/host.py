"""System RAM: what llama.cpp keeps there beside a plan's own weights, cache and compute buffers.

Sources (llama.cpp b11434): ggml/src/ggml-cpu/repack.cpp (which CPU repacks what), ``output_reserve`` in
src/llama-context.cpp, ``lazy_read`` in src/llama-model-loader.cpp, ``--cache-ram`` in common/arg.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmfit.advisor.memory.kv_cache import CacheGeometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import WeightBytes
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.units import GIB, MIB

PROCESS_BYTES = 200 * MIB
"""A stated constant: program, libraries, vocabulary, HTTP threads. Doubt: 100 to 500 MiB with the driver's
host side; see docs/memory.md."""
LAZY_TENSOR_BYTES = 4 * GIB
"""A per-layer token embedding above this is read row by row from disk (gemma4, ``--lazy-mode auto``)."""

_AVX2 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_NEON = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q8_0"})


def repack_types(features: Iterable[str], settings: LaunchSettings) -> frozenset[str]:
    """Tensor types that a CPU with these features copies into its own layout (CPU only, ``--repack``)."""
    if not settings.repack or settings.devices:
        return frozenset()
    known = {feature.lower() for feature in features}
    types: frozenset[str] = frozenset()
    if "avx2" in known:
        types |= _AVX2
    if known & {"avx512f", "avx512"}:
        types |= {"Q2_K"}
    if known & {"asimddp", "dotprod", "i8mm"}:
        types |= _NEON
    return types


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What system RAM holds, in bytes.

    ``mapped_bytes`` lie in the page cache (mmap): the system may drop and read them again, at the price of
    speed. ``private_bytes`` cannot be dropped. ``lazy_bytes`` are read from disk as needed and not counted.
    ``prompt_cache_limit_bytes`` fills only with use (``--cache-ram``) and is not counted either.
    """

    mapped_bytes: int
    private_bytes: int
    lazy_bytes: int
    output_bytes: int
    process_bytes: int
    prompt_cache_limit_bytes: int

    @property
    def overhead_bytes(self) -> int:
        """Beside weights, cache and compute buffers."""
        return self.output_bytes + self.process_bytes


def host_memory(
    shape: ModelShape, table: WeightTable, weights: WeightBytes, settings: LaunchSettings
) -> HostMemory:
    """How the host's share of the weights lies in RAM, and what comes on top (not yet ``output_bytes``)."""
    lazy = _lazy_bytes(shape, table)
    plain = weights.host_bytes - weights.repacked_bytes - lazy
    return HostMemory(
        mapped_bytes=plain if settings.mmap else 0,
        private_bytes=weights.repacked_bytes + (0 if settings.mmap else plain),
        lazy_bytes=lazy,
        output_bytes=0,
        process_bytes=PROCESS_BYTES,
        prompt_cache_limit_bytes=settings.cache_ram_bytes,
    )


def output_bytes(shape: ModelShape, geometry: CacheGeometry) -> int:
    """The rows of logits that a server hands out (``output_reserve``)."""
    return 4 * shape.n_vocab * max(geometry.n_seq_max, geometry.n_outputs)


def _lazy_bytes(shape: ModelShape, table: WeightTable) -> int:
    if shape.architecture != "gemma4":
        return 0
    return sum(
        tensor.host_bytes
        for tensor in table.tensors
        if tensor.host_bytes > LAZY_TENSOR_BYTES and tensor.name == "per_layer_token_embd.weight"
    )
