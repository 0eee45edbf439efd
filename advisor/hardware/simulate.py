"""A computer that is not here: ``--gpu "2x RTX 3090" --ram 64GiB --vram-free 20GiB,9GiB``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.catalog_facts import share_ram_bandwidth
from llmfit.advisor.hardware.machine import MAX_GPUS, Cpu, Gpu, GpuFacts, GpuLookup, Machine, Memory
from llmfit.advisor.hardware.unified import gpu_share_of_ram
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GB, GIB, MIB, format_gib, parse_size

DEFAULT_RAM_BYTES = 64 * GIB
"""What a simulated computer has when nobody says: a common size beside one or two cards, and a note says
so."""
SMALLEST_RAM_BYTES = 256 * MIB
"""Less is a forgotten unit: ``--ram 64`` would be 64 bytes."""
SMALLEST_FREE_BYTES = MIB
SAME_RAM = 0.08
"""64e9 bytes are 7 % less than 64 GiB."""
FASTEST_RAM_GB_S = 20_000.0
_SPEC = re.compile(r"(?:(\d+)\s*[xX×*]\s*)?(.+)", re.DOTALL)
_SIZE_AT_END = re.compile(r"(.+?)[\s(]+(\d+)\s*(?:GB|GiB|G)\)?", re.IGNORECASE | re.DOTALL)
_SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class _Card:
    """One card of a specification. ``memory_bytes`` is what it is sold with: RAM, where memory is unified."""

    facts: GpuFacts
    memory_bytes: int | None


def simulate_machine(
    gpu_specs: Sequence[str],
    ram: str | None,
    ram_bandwidth: str | None,
    vram_free: str | None,
    lookup: GpuLookup,
) -> Machine:
    """The machine that the options describe; nothing of the real one is used.

    Everything is free unless ``vram_free`` says otherwise, RAM is 64 GiB unless ``ram`` does, and each such
    assumption stands in ``notes``. On a unified-memory machine RAM is the size it is sold with, and the GPU
    may use the part of it that the system allows by default. Raises UsageError for what cannot be understood.
    """
    notes: list[str] = []
    ram_bytes = _parse_ram(ram) if ram is not None else None
    cards = [card for spec in gpu_specs for card in _parse_spec(spec, lookup, ram_bytes, notes)]
    _check_together(gpu_specs, cards)
    total = _ram_of(cards, ram_bytes, notes)
    gpus = tuple(_gpu(index, card, total, notes) for index, card in enumerate(cards))
    visible = total
    if any(gpu.unified_memory and gpu.vendor == "nvidia" for gpu in gpus):
        visible = next(gpu.vram_total_bytes or total for gpu in gpus if gpu.unified_memory)
    machine = Machine(
        os="macos" if any(gpu.vendor == "apple" for gpu in gpus) else "linux",
        cpu=Cpu(None, None, None),
        memory=_shared_bandwidth(Memory(visible, visible, sources=_ram_sources(_SIMULATED)), gpus),
        gpus=gpus,
        notes=tuple(dict.fromkeys(notes)),
        simulated=True,
        described_by="--gpu",
    )
    return override_machine(machine, None, ram_bandwidth, vram_free)


def override_machine(
    machine: Machine, ram: str | None, ram_bandwidth: str | None, vram_free: str | None
) -> Machine:
    """``machine`` with other RAM, RAM bandwidth or free VRAM, as ``--ram``, ``--ram-bandwidth``,
    ``--vram-free``.

    ``ram`` replaces the total and counts as all available. Raises UsageError for a wrong size or count.
    """
    memory, gpus, notes = machine.memory, machine.gpus, list(machine.notes)
    if ram is not None:
        size_bytes = _parse_ram(ram)
        sources = {**memory.sources, **_ram_sources("--ram")}
        memory = replace(
            memory, total_bytes=size_bytes, available_bytes=size_bytes, limit_bytes=None, sources=sources
        )
        gpus = tuple(_resized(gpu, size_bytes) for gpu in gpus)
        notes.append(f"RAM is taken as {format_gib(size_bytes)}, all available, because --ram says so.")
    if ram_bandwidth is not None:
        rate = _parse_bandwidth(ram_bandwidth)
        memory = replace(memory, bandwidth_bytes_per_s=rate, bandwidth_source="--ram-bandwidth")
        gpus = share_ram_bandwidth(replace(machine, memory=memory, gpus=gpus)).gpus
    if vram_free is not None:
        gpus = _with_free(gpus, vram_free, memory, notes)
    changed = ram is not None or vram_free is not None
    return replace(
        machine, memory=memory, gpus=gpus, notes=tuple(notes), simulated=machine.simulated or changed
    )


def _parse_spec(spec: str, lookup: GpuLookup, ram_bytes: int | None, notes: list[str]) -> list[_Card]:
    """Cards in ``2x RTX 3060 8GB``; none in ``none``."""
    shown = clean_text(spec)
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise UsageError("--gpu", "an empty name", 'Write a card such as "2x RTX 3090", or none.')
    if spec.strip().lower() == "none":
        return []
    count = int(match[1] or 1) if len(match[1] or "") < 10 else MAX_GPUS + 1
    if not 1 <= count <= MAX_GPUS:
        raise UsageError(f"GPU {shown!r}", "not a possible number of cards", f"It must be 1 to {MAX_GPUS}.")
    name = match[2].strip()
    rows, size_bytes = _find(name, lookup)
    if rows[0].unified_memory and ram_bytes is not None:
        size_bytes = _agreed_ram(rows, size_bytes, ram_bytes)
    if size_bytes is not None:
        return [_Card(_row_of_size(name, rows, size_bytes), size_bytes)] * count
    if rows[0].default_memory_bytes is not None:
        _note_assumed_size(clean_text(name), rows, notes)
    return [_Card(rows[0], rows[0].default_memory_bytes)] * count


def _find(name: str, lookup: GpuLookup) -> tuple[Sequence[GpuFacts], int | None]:
    """The rows of ``name``, and the memory size if one had to be taken off its end. Raises UsageError."""
    sized = _SIZE_AT_END.fullmatch(name)
    try:
        return lookup(name), None
    except UsageError:
        if sized is None:
            raise
    return lookup(sized[1].rstrip()), int(sized[2]) * GIB


def _row_of_size(name: str, rows: Sequence[GpuFacts], size_bytes: int) -> GpuFacts:
    """The first row sold with ``size_bytes``, or one of which no sizes are known. Raises UsageError."""
    for facts in rows:
        any_size = facts.unified_memory and not facts.memory_bytes_options
        if any_size or size_bytes in facts.memory_bytes_options:
            return facts
    hint = f"It comes with {_sizes(rows)}."
    raise UsageError(f"GPU {clean_text(name)!r}", f"not sold with {format_gib(size_bytes, 0)}", hint)


def _agreed_ram(rows: Sequence[GpuFacts], named_bytes: int | None, ram_bytes: int) -> int:
    """The size of a unified-memory machine that has both a name and ``--ram``. Raises UsageError if they
    differ.

    ``--ram 64GB`` means 64e9 bytes, and machines are sold in GiB under the name GB: the size next to it is
    meant.
    """
    options = [named_bytes] if named_bytes else _all_sizes(rows)
    nearest = min(options, key=lambda size: abs(size - ram_bytes), default=ram_bytes)
    if abs(nearest - ram_bytes) > SAME_RAM * nearest:
        hint = f"It has {format_gib(nearest, 0)}." if named_bytes else f"It comes with {_sizes(rows)}."
        raise UsageError(f"--ram {format_gib(ram_bytes)}", f"not the memory size of {rows[0].name}", hint)
    return nearest


def _note_assumed_size(name: str, rows: Sequence[GpuFacts], notes: list[str]) -> None:
    known = _all_sizes(rows)
    taken_bytes = rows[0].default_memory_bytes or 0
    other = next((size for size in known if size != taken_bytes), None)
    if other is not None:
        notes.append(
            f"{name} is sold with {_sizes(rows)}; {taken_bytes // GIB} GB is taken. "
            f'Write "{name} {other // GIB}GB" for another.'
        )


def _all_sizes(rows: Sequence[GpuFacts]) -> list[int]:
    return sorted({size for facts in rows for size in facts.memory_bytes_options})


def _sizes(rows: Sequence[GpuFacts]) -> str:
    """``8, 16 or 24 GB``."""
    words = [str(size // GIB) for size in _all_sizes(rows)]
    return (f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)) + " GB"


def _check_together(specs: Sequence[str], cards: Sequence[_Card]) -> None:
    """Raises UsageError for cards that cannot be in one computer."""
    if len(cards) > MAX_GPUS:
        raise UsageError(
            f"{len(cards)} GPUs", "too many for one computer", f"llama.cpp takes 1 to {MAX_GPUS}."
        )
    if cards and any(spec.strip().lower() == "none" for spec in specs):
        raise UsageError("--gpu none", "given together with a card", "Leave one of them out.")
    unified = [card for card in cards if card.facts.unified_memory]
    if unified and len(cards) > 1:
        raise UsageError(
            f"{unified[0].facts.name} with another GPU",
            "its memory is the computer's RAM, and llama.cpp plans for it alone",
            "Ask for one of them.",
        )


def _ram_of(cards: Sequence[_Card], ram_bytes: int | None, notes: list[str]) -> int:
    """System RAM; on a unified-memory machine the size that it is sold with."""
    unified = next((card for card in cards if card.facts.unified_memory), None)
    if unified is None:
        if ram_bytes is None:
            notes.append(
                f"System RAM is assumed to be {format_gib(DEFAULT_RAM_BYTES, 0)}; --ram says another size."
            )
        return ram_bytes or DEFAULT_RAM_BYTES
    if unified.memory_bytes is None:
        name = unified.facts.name
        hint = f'Write "{name} 64GB" or add --ram 64GiB.'
        raise UsageError(f"GPU {name!r}", "uses system RAM, and its size is not given", hint)
    return unified.memory_bytes


def _gpu(index: int, card: _Card, ram_bytes: int, notes: list[str]) -> Gpu:
    facts = card.facts
    vram_bytes = card.memory_bytes
    if facts.unified_memory:
        vram_bytes, why = gpu_share_of_ram(facts.vendor, ram_bytes)
        notes.append(why)
    known = {
        "bandwidth_bytes_per_s": facts.bandwidth_bytes_per_s,
        "fp16_flops": facts.fp16_flops,
        "compute_capability": facts.compute_capability,
        "architecture": facts.architecture,
    }
    sources = {name: "catalog" for name, value in known.items() if value is not None}
    return Gpu(
        index=index,
        name=facts.name,
        vendor=facts.vendor,
        backend=facts.backend,
        unified_memory=facts.unified_memory,
        vram_total_bytes=vram_bytes,
        vram_free_bytes=vram_bytes,
        bandwidth_bytes_per_s=facts.bandwidth_bytes_per_s,
        fp16_flops=facts.fp16_flops,
        compute_capability=facts.compute_capability,
        pcie_generation=facts.pcie_generation,
        pcie_width=facts.pcie_width,
        power_limit_w=facts.power_limit_w,
        catalog_id=facts.id,
        architecture=facts.architecture,
        sources={**sources, "vram_total_bytes": _SIMULATED, "vram_free_bytes": _SIMULATED},
    )


def _ram_sources(source: str) -> dict[str, str]:
    return {"total_bytes": source, "available_bytes": source}


def _resized(gpu: Gpu, ram_bytes: int) -> Gpu:
    """A GPU with unified memory in a computer with other RAM."""
    if not gpu.unified_memory:
        return gpu
    share, _ = gpu_share_of_ram(gpu.vendor, ram_bytes)
    sources = {**gpu.sources, "vram_total_bytes": _SIMULATED, "vram_free_bytes": _SIMULATED}
    return replace(gpu, vram_total_bytes=share, vram_free_bytes=share, sources=sources)


def _shared_bandwidth(memory: Memory, gpus: Sequence[Gpu]) -> Memory:
    shared = next((gpu.bandwidth_bytes_per_s for gpu in gpus if gpu.unified_memory), None)
    if shared is None:
        return memory
    return replace(memory, bandwidth_bytes_per_s=shared, bandwidth_source="catalog (shared with the GPU)")


def _with_free(gpus: Sequence[Gpu], text: str, memory: Memory, notes: list[str]) -> tuple[Gpu, ...]:
    """Cards with the free memory that ``20GiB,9GiB`` gives them; one size counts for every card."""
    sizes = [parse_size(part, "--vram-free") for part in text.split(",")]
    if not gpus:
        raise UsageError("--vram-free", "there is no GPU", "Leave it out, or name a card with --gpu.")
    if len(sizes) not in (1, len(gpus)):
        raise UsageError(
            f"--vram-free {clean_text(text)!r}",
            f"{len(sizes)} sizes for {len(gpus)} card{'s' if len(gpus) > 1 else ''}",
            "Give one size for all, or one for each card.",
        )
    each = sizes * len(gpus) if len(sizes) == 1 else sizes
    return tuple(_free_of(gpu, free, memory, notes) for gpu, free in zip(gpus, each, strict=True))


def _free_of(gpu: Gpu, free_bytes: int, memory: Memory, notes: list[str]) -> Gpu:
    if 0 < free_bytes < SMALLEST_FREE_BYTES:
        raise UsageError(f"--vram-free {free_bytes}", "less than 1 MiB", "Write a unit: 20GiB.")
    total, sources = gpu.vram_total_bytes, {**gpu.sources, "vram_free_bytes": "--vram-free"}
    if gpu.unified_memory and total is not None and total < free_bytes <= (memory.total_bytes or 0):
        notes.append(
            f"{gpu.name} is taken as allowed to use {format_gib(free_bytes)}, because --vram-free says so."
        )
        total, sources["vram_total_bytes"] = free_bytes, "--vram-free"
    if total is not None and free_bytes > total:
        most = max(total, memory.total_bytes or 0) if gpu.unified_memory else total
        raise UsageError(
            f"--vram-free {format_gib(free_bytes)}",
            f"more than {gpu.name} {'may use' if gpu.unified_memory else 'has'} ({format_gib(most)})",
            "Free memory cannot exceed the total.",
        )
    return replace(gpu, vram_total_bytes=total, vram_free_bytes=free_bytes, sources=sources)


def _parse_ram(text: str) -> int:
    size_bytes = parse_size(text, "--ram")
    if size_bytes < SMALLEST_RAM_BYTES:
        raise UsageError(
            f"--ram {clean_text(text)!r}", "too little to be meant", "Write a unit: 64GiB or 64GB."
        )
    return size_bytes


def _parse_bandwidth(text: str) -> int:
    """Bytes per second in ``51.2`` or ``51.2 GB/s``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:GB/s)?\s*", text, re.IGNORECASE | re.ASCII)
    rate = float(match[1]) if match else 0.0
    if not 0.1 <= rate <= FASTEST_RAM_GB_S:
        raise UsageError(f"--ram-bandwidth {clean_text(text)!r}", "not a bandwidth in GB/s", "Write 51.2.")
    return round(rate * GB)
