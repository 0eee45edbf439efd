"""Where a model goes on a machine: the door to the placement planner."""

from __future__ import annotations

from llmfit.advisor.memory.fitting_context import largest_context
from llmfit.advisor.memory.fitting_layout import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    Layout,
    find_gpu_layout,
    find_layout,
)

__all__ = [
    "DOES_NOT_FIT",
    "FITS_CPU",
    "FITS_GPU",
    "FITS_OFFLOAD",
    "Layout",
    "find_gpu_layout",
    "find_layout",
    "largest_context",
]
