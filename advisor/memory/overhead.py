"""What a GPU driver takes beside llama.cpp's own buffers, and how much we doubt our figures.

None of this is in llama.cpp's memory breakdown, which calls it "unaccounted" (common/fit.cpp): the driver's
context, compiled kernels, matrix library workspaces, the temporary pool. No figure here was measured by this
project on the card in question; they are stated constants with their doubt, so that they can be argued with.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.units import MIB


@dataclass(frozen=True, slots=True)
class DriverOverhead:
    """``expected_bytes`` is counted, ``doubt_bytes`` goes into the margin; their sum is the upper end."""

    expected_bytes: int
    doubt_bytes: int


PROJECTOR_DOUBT_BYTES = 1024 * MIB
"""Buffers of a vision projector (tools/mtmd/clip.cpp) grow with the image and are not modelled: this much is
kept as margin where one is loaded. Not measured."""

_OVERHEADS = {
    # NVIDIA: context and kernels 250-450 MiB, cuBLAS workspace and pool up to 100 MiB
    "cuda": DriverOverhead(400 * MIB, 200 * MIB),
    "rocm": DriverOverhead(400 * MIB, 300 * MIB),
    "sycl": DriverOverhead(400 * MIB, 300 * MIB),
    "vulkan": DriverOverhead(200 * MIB, 200 * MIB),
    "metal": DriverOverhead(150 * MIB, 150 * MIB),
}
_UNKNOWN = DriverOverhead(400 * MIB, 300 * MIB)


def driver_overhead(backend: str) -> DriverOverhead:
    """The stated constant for a llama.cpp backend."""
    return _OVERHEADS.get(backend, _UNKNOWN)
