"""What a step of several tokens costs over that of one: the fitted constants, with their evidence.

Fitted by ``tests/bench/concurrency_accuracy.py --fit`` to how the steps of tests/data/concurrency.csv grow:
308 rows of 9 cards, most of a GB10 and an M2 Ultra (llama-batched-bench), the others of single tables. The
growth is fitted where a table has the step of one token, so that no error of the plain step gets in: a median
error of 9 %, 28 % at the 90th percentile. Vulkan and SYCL nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BatchConstants:
    """By backend where kernels differ; a backend without an entry has that of ``cuda``."""

    column_bytes: Mapping[str, float] = field(hash=False)
    """Bytes that could be read in the time in which the matrix-vector kernels (up to 8 columns in
    ggml-cuda/mmvq.cu, mul_mv_ext in ggml-metal) multiply one more column, per parameter."""
    pair_bytes: Mapping[str, float] = field(hash=False)
    """The same of routed experts, for each pair of a token and an expert."""
    matrix_read_factor: float
    """Reading weights in the matrix-matrix kernels over reading them in the matrix-vector ones."""
    tile_tokens: Mapping[str, int] = field(hash=False)
    """Columns that a matrix-matrix product of dense weights computes at least: 32 on Metal (NR1 of
    kernel_mul_mm, ggml-metal/kernels/mul_mm.metal); elsewhere tiles come in several sizes."""
    matrix_token_factor: Mapping[str, float] = field(hash=False)
    """Multiplying one of few columns over one of a whole ubatch (prefill): tiles are not full."""
    touch_exponent: float
    """n tokens touch as many experts as n to this power independent ones: routers have favourites."""
    kernels_factor: Mapping[str, float] = field(hash=False)
    """Starting the kernels of a step with several tokens over those of a step with one."""


BATCH = BatchConstants(
    column_bytes=MappingProxyType({"cuda": 0.10, "metal": 0.27}),
    pair_bytes=MappingProxyType({"cuda": 0.08, "metal": 0.93}),
    matrix_read_factor=1.17,
    tile_tokens=MappingProxyType({"metal": 32}),
    matrix_token_factor=MappingProxyType({"cuda": 1.1, "metal": 1.9}),
    touch_exponent=0.74,
    kernels_factor=MappingProxyType({"cuda": 1.47, "metal": 1.43}),
)
