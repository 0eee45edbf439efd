"""The best layout of one model on one machine: which cards, which layers, which experts in RAM, and why.

In order of preference: one card, several cards, experts in RAM, layers in RAM, no GPU at all. The first that
fits is taken; "fits" means that the estimate with its margin (``DeviceMemory.required_bytes``) stays within
what is free on every card and in RAM. docs/placement.md compares this with llama.cpp's own ``--fit``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.fitting_reasons import layout_reasons
from llmfit.advisor.memory.fitting_search import Attempt, LayoutSearch
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.units import MIB, format_gib

FITS_GPU = "fits_gpu"
FITS_OFFLOAD = "fits_offload"
FITS_CPU = "fits_cpu"
DOES_NOT_FIT = "does_not_fit"
PROMPT_CACHE_STEP_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class Layout:
    """A complete placement. ``settings`` names the cards; ``memory`` is its estimate.

    ``shortfall_bytes`` is what is missing on the cards and in RAM together, 0 where it fits; with the verdict
    ``does_not_fit`` the settings are the ones that miss the least. ``reasons`` are plain sentences.
    """

    settings: LaunchSettings
    memory: MemoryEstimate
    verdict: str
    shortfall_bytes: int
    reasons: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return self.verdict != DOES_NOT_FIT


def find_layout(
    shape: ModelShape,
    weights: WeightTable,
    machine: Machine,
    base: LaunchSettings,
    fixed: frozenset[str] = frozenset(),
) -> Layout:
    """Where the parts of the model go on this machine, with the settings named in ``fixed`` kept as they are.

    ``base`` holds everything that is not a placement (context, cache types, slots …). Open, unless named in
    ``fixed``: ``devices``, ``gpu_layers``, ``n_cpu_moe``, ``override_tensor``, ``tensor_split``. Raises
    NotModelledError and UsageError as ``estimate_memory`` does.
    """
    search = LayoutSearch(shape, weights, machine, base, fixed)
    tries = (
        search.one_card,
        search.several_cards,
        search.experts_in_ram,
        search.layers_in_ram,
        search.no_card,
    )
    found = next((attempt for attempt in (one() for one in tries) if attempt is not None), None)
    return _layout(search, found or search.nearest())


def find_gpu_layout(
    shape: ModelShape,
    weights: WeightTable,
    machine: Machine,
    base: LaunchSettings,
    fixed: frozenset[str] = frozenset(),
) -> Layout | None:
    """``find_layout`` where that is wholly on the cards, else None: much less to try. Raises as it does."""
    search = LayoutSearch(shape, weights, machine, base, fixed)
    found = search.one_card() or search.several_cards()
    if found is None or not found.memory.everything_on_gpus:
        return None
    return _layout(search, found)


def _layout(search: LayoutSearch, attempt: Attempt) -> Layout:
    verdict = _verdict(search, attempt)
    settings, cache_reason = _with_room_for_prompts(search, attempt)
    reasons = layout_reasons(search, attempt, everything_on_gpu=verdict == FITS_GPU) + cache_reason
    return Layout(settings, attempt.memory, verdict, attempt.shortfall_bytes, reasons)


def _verdict(search: LayoutSearch, attempt: Attempt) -> str:
    if not attempt.fits:
        return DOES_NOT_FIT
    if attempt.gpu_weights_bytes == 0:
        return FITS_CPU
    return FITS_GPU if attempt.memory.everything_on_gpus else FITS_OFFLOAD


def _with_room_for_prompts(search: LayoutSearch, attempt: Attempt) -> tuple[LaunchSettings, tuple[str, ...]]:
    """llama-server's prompt cache fills with use (``--cache-ram``): limit it to the RAM that is left."""
    settings = attempt.settings
    left_bytes = search.budgets.ram_left_bytes(attempt.memory)
    if (
        not attempt.fits
        or left_bytes is None
        or settings.cache_ram_bytes <= left_bytes
        or "cache_ram_bytes" in search.fixed
    ):
        return settings, ()
    limit_bytes = left_bytes // PROMPT_CACHE_STEP_BYTES * PROMPT_CACHE_STEP_BYTES
    reason = (
        f"The server's prompt cache is limited to the {format_gib(limit_bytes)} of RAM that are left (-cram)."
        if limit_bytes
        else "The server's prompt cache is off (-cram 0): no RAM is left for it."
    )
    return replace(settings, cache_ram_bytes=limit_bytes), (reason,)
