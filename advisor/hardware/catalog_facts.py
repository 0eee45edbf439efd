"""Joining what a driver says about a card with what the catalogue knows of its name.

Pure: the catalogue's function is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llmfit.advisor.hardware.machine import SAME_SIZE, Gpu, GpuFacts, Machine, Memory, Partition

DriverMatch = Callable[[Gpu, int | None], GpuFacts | None]
"""The row of a card that a probe found, with this much memory (system RAM for unified memory), or ``None``
where it is unknown or could be several. A slice of a card (MIG) has the row of the whole card."""
NAMELESS_AMD, NAMELESS_INTEL, NAMELESS_NVIDIA = "AMD GPU", "Intel GPU", "NVIDIA GPU"
"""What a probe writes where no driver and no table names the card."""
_NAMELESS = frozenset({NAMELESS_AMD, NAMELESS_INTEL, NAMELESS_NVIDIA})
BandwidthEstimate = Callable[[str, int | None], tuple[int, str] | None]
"""Vendor and memory size → the bandwidth that cards of this class have, and a sentence part that says which
cards those are; ``None`` where too few are known."""
PCI_WINDOW = "PCI window"
"""The source of a total that is only the size of the window that the card opens on the PCI bus: an upper
bound, with which the catalogue finds the size that the card is sold with."""
RAM_SOURCE = "RAM"
"""How the source of an integrated GPU's bandwidth begins that is the RAM's."""
FREE_SOURCE = "total less listed programs"
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
    if facts is not None and gpu.unified_memory and not facts.unified_memory:
        note = f"{gpu.name} has memory of its own, but its driver does not tell how much."
        return _without_shared_memory(gpu), (note,)
    gpu = _with_size(gpu, facts)
    if facts is None:
        note = (
            f"The catalogue has no single card for {gpu.name}: its speed is known as far as the driver tells."
        )
        return gpu, (note,)
    facts = _slice_of(facts, gpu.partition)
    if _is_another_of_its_name(gpu, facts):
        note = (
            f"{gpu.name} has another memory size here than the catalogue knows, and another memory: "
            f"the driver's {(gpu.bandwidth_bytes_per_s or 0) / 1e9:.0f} GB/s is used."
        )
        return gpu, (note,)
    given: dict[str, object] = {"fp16_flops": facts.fp16_flops, "architecture": facts.architecture}
    if gpu.name in _NAMELESS:
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


def add_bandwidth(
    gpu: Gpu, memory: Memory, estimate: BandwidthEstimate | None
) -> tuple[Gpu, tuple[str, ...]]:
    """``gpu`` with a bandwidth where neither driver nor catalogue knows one, and a note that says so.

    An integrated GPU has that of its RAM; a card is taken to be like others of its maker and memory size.
    """
    gpu = _with_ram_bandwidth(gpu, memory)
    classless = gpu.partition is not None or (gpu.unified_memory and gpu.vendor != "apple")
    if gpu.bandwidth_bytes_per_s is not None or classless or estimate is None:
        return gpu, ()
    found = estimate(gpu.vendor, gpu.vram_total_bytes)
    if found is None:
        return gpu, ()
    bandwidth, why = found
    note = f"{gpu.name}: its memory bandwidth is not known and taken as {bandwidth / 1e9:.0f} GB/s, {why}."
    return _with_bandwidth(gpu, bandwidth, why), (note,)


def share_ram_bandwidth(machine: Machine) -> Machine:
    """``machine`` with the bandwidth of its RAM on integrated GPUs of which none is known but an earlier one
    of the RAM: for a figure that was found after the GPUs were read (a measurement, an option)."""
    gpus = tuple(_with_ram_bandwidth(gpu, machine.memory) for gpu in machine.gpus)
    return machine if gpus == machine.gpus else replace(machine, gpus=gpus)


def _with_ram_bandwidth(gpu: Gpu, memory: Memory) -> Gpu:
    """The peak of the RAM's type counts before a measurement: every other GPU has its peak, too."""
    its_own = gpu.bandwidth_bytes_per_s is not None and not (
        gpu.sources.get("bandwidth_bytes_per_s", "").startswith(RAM_SOURCE)
    )
    if not gpu.unified_memory or its_own or gpu.partition is not None:
        return gpu
    if memory.peak_bandwidth_bytes_per_s is not None:
        return _with_bandwidth(gpu, memory.peak_bandwidth_bytes_per_s, f"{RAM_SOURCE} (peak of its type)")
    if memory.bandwidth_bytes_per_s is not None:
        source = f"{RAM_SOURCE} ({memory.bandwidth_source})" if memory.bandwidth_source else RAM_SOURCE
        return _with_bandwidth(gpu, memory.bandwidth_bytes_per_s, source)
    return gpu


def _with_bandwidth(gpu: Gpu, bandwidth: int, source: str) -> Gpu:
    sources = {**gpu.sources, "bandwidth_bytes_per_s": source}
    return replace(gpu, bandwidth_bytes_per_s=bandwidth, sources=sources)


def _with_size(gpu: Gpu, facts: GpuFacts | None) -> Gpu:
    """``gpu`` with the memory that the card is sold with, where the driver does not tell it.

    Of several sizes the largest that its PCI window can show; where nothing decides, it stays unknown.
    """
    window = gpu.vram_total_bytes if gpu.sources.get("vram_total_bytes") == PCI_WINDOW else None
    if (
        gpu.unified_memory
        or gpu.partition is not None
        or (gpu.vram_total_bytes is not None and window is None)
    ):
        return gpu
    options = facts.memory_bytes_options if facts is not None else ()
    possible = [size for size in options if window is None or size <= window]
    size = max(possible) if window is not None and possible else possible[0] if len(possible) == 1 else None
    sources = {key: source for key, source in gpu.sources.items() if key != "vram_total_bytes"}
    if size is None:
        return replace(gpu, vram_total_bytes=None, sources=sources)
    sources["vram_total_bytes"] = "catalog"
    free = gpu.vram_free_bytes
    if free is None and "processes" in sources:
        free = max(0, size - sum(process.vram_bytes or 0 for process in gpu.processes))
        sources["vram_free_bytes"] = FREE_SOURCE
    return replace(gpu, vram_total_bytes=size, vram_free_bytes=free, sources=sources)


def _without_shared_memory(gpu: Gpu) -> Gpu:
    """A card whose driver answers 0 bytes is not one that shares the RAM: its memory is unknown."""
    sources = {key: source for key, source in gpu.sources.items() if not key.startswith("vram_")}
    return replace(gpu, unified_memory=False, vram_total_bytes=None, vram_free_bytes=None, sources=sources)


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


def _is_another_of_its_name(gpu: Gpu, facts: GpuFacts) -> bool:
    """Laptop cards above all keep their name with another memory size on another bus (RTX 3050 Laptop: 4 GB
    on 128 bits, 6 GB on 96)."""
    total, sizes = gpu.vram_total_bytes, facts.memory_bytes_options
    if total is None or not sizes or gpu.partition is not None or gpu.unified_memory:
        return False
    sold = any(abs(total / size - 1) <= SAME_SIZE for size in sizes)
    return not sold and _differs(gpu.bandwidth_bytes_per_s, facts.bandwidth_bytes_per_s)


def _differs(read: int | None, known: int | None) -> bool:
    return read is not None and known is not None and abs(read - known) > SAME_BANDWIDTH * known


def _bandwidth_doubt(gpu: Gpu, known: int) -> tuple[str, ...]:
    read = gpu.bandwidth_bytes_per_s
    if read is None or not _differs(read, known):
        return ()
    return (
        f"{gpu.name}: the driver's memory clock gives {read / 1e9:.0f} GB/s, the catalogue says "
        f"{known / 1e9:.0f}; the catalogue's figure is used.",
    )
