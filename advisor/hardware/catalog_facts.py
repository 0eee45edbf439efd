"""Joining what a driver says about a card with what the catalogue knows of its name.

Pure: the catalogue's function is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llmfit.advisor.hardware.machine import Gpu, GpuFacts, Partition

DriverMatch = Callable[[Gpu, int | None], GpuFacts | None]
"""The row of a card that a probe found, with this much memory (system RAM for unified memory), or ``None``
where it is unknown or could be several. A slice of a card (MIG) has the row of the whole card."""
GENERIC_NAMES = frozenset({"AMD GPU", "Intel GPU", "NVIDIA GPU"})
"""What a probe writes where no driver and no table names the card."""
SAME_BANDWIDTH = 0.1
"""Memory clock × bus width meets the catalogue within 1 % on the cards checked; 10 % off is another card."""


def add_catalog_facts(
    gpu: Gpu, match: DriverMatch, ram_bytes: int | None = None
) -> tuple[Gpu, tuple[str, ...]]:
    """``gpu`` with the catalogue's bandwidth, FP16 rate and id where it knows the card, and notes about
    doubts.

    What a driver measured (sizes, compute capability, power limit) is kept; only gaps are filled. The
    bandwidth is the catalogue's: a driver gives clock and bus width, and the data rate is a conclusion from
    them. ``ram_bytes`` is the system's RAM, the size that counts for a GPU with unified memory.
    """
    facts = match(gpu, ram_bytes if gpu.unified_memory else gpu.vram_total_bytes)
    if facts is None:
        note = (
            f"The catalogue has no single card for {gpu.name}: its speed is known as far as the driver tells."
        )
        return gpu, (note,)
    facts = _slice_of(facts, gpu.partition)
    given: dict[str, object] = {"fp16_flops": facts.fp16_flops}
    if gpu.name in GENERIC_NAMES:
        given["name"] = facts.name
    notes: tuple[str, ...] = ()
    if gpu.compute_capability is None:
        given["compute_capability"] = facts.compute_capability
    if facts.bandwidth_bytes_per_s is not None:
        given["bandwidth_bytes_per_s"] = facts.bandwidth_bytes_per_s
        notes = _bandwidth_doubt(gpu, facts.bandwidth_bytes_per_s)
    given = {name: value for name, value in given.items() if value is not None}
    sources = {**gpu.sources, **dict.fromkeys(given, "catalog")}
    return replace(gpu, catalog_id=facts.id, sources=sources, **given), notes  # type: ignore[arg-type]


def _slice_of(facts: GpuFacts, partition: Partition | None) -> GpuFacts:
    """The facts of a card as far as they hold for a slice of it."""
    if partition is None:
        return facts
    bandwidth, flops = facts.bandwidth_bytes_per_s, facts.fp16_flops
    return replace(
        facts,
        bandwidth_bytes_per_s=None if bandwidth is None else round(bandwidth * partition.memory_share),
        fp16_flops=None if flops is None else round(flops * partition.compute_share),
    )


def _bandwidth_doubt(gpu: Gpu, known: int) -> tuple[str, ...]:
    read = gpu.bandwidth_bytes_per_s
    if read is None or abs(read - known) <= SAME_BANDWIDTH * known:
        return ()
    return (
        f"{gpu.name}: the driver's memory clock gives {read / 1e9:.0f} GB/s, the catalogue says "
        f"{known / 1e9:.0f}; the catalogue's figure is used.",
    )
