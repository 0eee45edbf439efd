"""What a machine would have free if some of its programs were closed. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from llmfit.advisor.hardware.machine import UNKNOWN_SIZE, Gpu, Machine, Memory
from llmfit.advisor.units import GIB, format_gib

MAX_TOLD = 3
"""So many programs are named in one line, the others counted."""
_SMALLEST_IN_GIB = GIB // 20
"""Less would read as 0.0 GiB."""


def without_programs(machine: Machine, pids: Collection[int]) -> Machine:
    """``machine`` as it would be without the programs of ``pids``: what they hold on each card is free there.

    A program whose bytes are not known frees nothing that could be counted on. A card never has more free
    than its total less what the driver keeps. Where GPU and CPU share one memory, RAM gains what lay there:
    see ``_with_available``. The same machine comes back when none of ``pids`` runs on it.
    """
    if not any(process.pid in pids for gpu in machine.gpus for process in gpu.processes):
        return machine
    unknown = [
        f"What {process.name} holds on GPU{gpu.index} is not known: closing it is counted as nothing."
        for gpu in machine.gpus
        for process in gpu.processes
        if process.pid in pids and process.vram_bytes is None
    ]
    return replace(
        machine,
        gpus=tuple(_without(gpu, pids) for gpu in machine.gpus),
        memory=_with_available(machine.memory, machine.gpus, pids),
        notes=(*machine.notes, f"Free memory is what it would be {closing_text(machine, pids)}.", *unknown),
    )


def closing_text(machine: Machine, pids: Collection[int]) -> str:
    """``after closing firefox (1.5 GiB), Xorg (0.6 GiB)``; empty for none."""
    return _closing_text(machine.gpus, pids)


def programs_text(machine: Machine, pids: Collection[int]) -> str:
    """``firefox (1.5 GiB), Xorg (0.6 GiB)``: largest first, over all cards; empty for none."""
    return _programs_text(machine.gpus, pids)


def held_by_program(machine: Machine) -> list[tuple[int, int]]:
    """(bytes, pid) of every program whose VRAM is known, over all cards, the largest first."""
    pids = {process.pid for gpu in machine.gpus for process in gpu.processes}
    held = [(sum(_held_bytes(gpu, (pid,)) for gpu in machine.gpus), pid) for pid in pids]
    return sorted((one for one in held if one[0]), reverse=True)


def _closing_text(gpus: Collection[Gpu], pids: Collection[int]) -> str:
    told = _programs_text(gpus, pids)
    return f"after closing {told}" if told else ""


def _programs_text(gpus: Collection[Gpu], pids: Collection[int]) -> str:
    told = [f"{name} ({_size_text(size_bytes)})" for name, size_bytes in _held(gpus, pids)]
    if len(told) > MAX_TOLD:
        told = [*told[:MAX_TOLD], f"{len(told) - MAX_TOLD} more"]
    return ", ".join(told)


def _held(gpus: Collection[Gpu], pids: Collection[int]) -> list[tuple[str, int | None]]:
    """(name, bytes on these cards) of each program in ``pids``; bytes are ``None`` where no card tells."""
    held: dict[int, tuple[str, int | None]] = {}
    for gpu in gpus:
        for process in gpu.processes:
            if process.pid not in pids:
                continue
            before = held.get(process.pid, (process.name, None))[1]
            known = [size for size in (before, process.vram_bytes) if size is not None]
            held[process.pid] = (process.name, sum(known) if known else None)
    return sorted(held.values(), key=lambda one: -(one[1] or 0))


def _size_text(size_bytes: int | None) -> str:
    if size_bytes is None:
        return UNKNOWN_SIZE
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= _SMALLEST_IN_GIB else format_gib(size_bytes)


def _held_bytes(gpu: Gpu, pids: Collection[int]) -> int:
    return sum(process.vram_bytes or 0 for process in gpu.processes if process.pid in pids)


def _without(gpu: Gpu, pids: Collection[int]) -> Gpu:
    """One card without the programs; a free size that was not known stays unknown."""
    left = tuple(process for process in gpu.processes if process.pid not in pids)
    if len(left) == len(gpu.processes):
        return gpu
    free_bytes, gained_bytes = gpu.vram_free_bytes, _held_bytes(gpu, pids)
    if free_bytes is None or not gained_bytes:
        return replace(gpu, processes=left)
    grown_bytes = free_bytes + gained_bytes
    if gpu.vram_total_bytes is not None:
        most_bytes = gpu.vram_total_bytes - (gpu.vram_reserved_bytes or 0)
        grown_bytes = max(free_bytes, min(grown_bytes, most_bytes))
    sources = {**gpu.sources, "vram_free_bytes": _closing_text((gpu,), pids)}
    return replace(gpu, processes=left, vram_free_bytes=grown_bytes, sources=sources)


def _with_available(memory: Memory, gpus: Collection[Gpu], pids: Collection[int]) -> Memory:
    """RAM after closing programs that use it through a GPU with unified memory.

    Only what surely lay in RAM counts: a program may have been in the carve-out, which RAM lacks anyway, and
    under a limit of a control group what others free is not given to this process.
    """
    available, capacity = memory.available_bytes, memory.capacity_bytes
    if available is None or memory.limit_bytes is not None:
        return memory
    gained_bytes = sum(
        max(0, _held_bytes(gpu, pids) - (gpu.carve_out_bytes or 0)) for gpu in gpus if gpu.unified_memory
    )
    if not gained_bytes:
        return memory
    grown_bytes = available + gained_bytes
    if capacity is not None:
        grown_bytes = max(available, min(grown_bytes, capacity))
    sources = {**memory.sources, "available_bytes": _closing_text(gpus, pids)}
    return replace(memory, available_bytes=grown_bytes, sources=sources)
