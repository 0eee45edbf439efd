"""Programs that hold memory of an NVIDIA device."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePath
from typing import Any

from llmfit.advisor.hardware.machine import UNKNOWN_PROGRAM, VramProcess
from llmfit.advisor.hardware.nvidia.device import Handle
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MAX_SIZE_BYTES

_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)
"""Programs that compute, that draw, and that compute through NVIDIA's MPS server."""


def read_processes(
    handle: Handle, card: Handle | None = None, gpu_instance: int | None = None
) -> tuple[VramProcess, ...]:
    """Programs that hold memory, the largest first; one on several lists is counted once, with its most.

    A slice is asked itself; where it does not answer (vGPU hosts), those of its ``card`` that run in
    ``gpu_instance`` are taken. ``vram_bytes`` is ``None`` where the driver does not tell. A program of
    another container or PID namespace keeps its number and is called ``UNKNOWN_PROGRAM``.
    """
    held: dict[int, int | None] = {}
    for name in _LISTS:
        for process in _running(handle, name, card, gpu_instance):
            known = [size for size in (held.get(process.pid), _size(process)) if size is not None]
            held[process.pid] = max(known, default=None)
    programs = [VramProcess(pid, _name(handle.nvml, pid), used) for pid, used in held.items()]
    return tuple(sorted(programs, key=lambda program: (-(program.vram_bytes or 0), program.pid)))


def _running(handle: Handle, name: str, card: Handle | None, gpu_instance: int | None) -> list[Any]:
    try:
        return _list(handle, name)
    except handle.nvml.NVMLError as error:
        if card is not None:
            with suppress(handle.nvml.NVMLError):
                return [entry for entry in _list(card, name) if entry.gpuInstanceId == gpu_instance]
        # A part that has no lists of the other kinds lacks nothing.
        absent = (handle.nvml.NVML_ERROR_NOT_SUPPORTED, handle.nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        if name == _LISTS[0] or error.value not in absent:
            handle.untold["programs"] = clean_text(str(error))
        return []


def _list(handle: Handle, name: str) -> list[Any]:
    try:
        return list(handle.call(name))
    except handle.nvml.NVMLError as error:
        if error.value != handle.nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
    # Drivers before 510 know version 2 of these calls only.
    return list(handle.call(f"{name}_v2"))


def _size(process: Any) -> int | None:
    used = process.usedGpuMemory
    return int(used) if used is not None and used <= MAX_SIZE_BYTES else None


def _name(nvml: Any, pid: int) -> str:
    # Imported here: needed only where a program holds VRAM.
    import psutil  # type: ignore[import-untyped]

    with suppress(psutil.Error, ValueError, OSError, OverflowError):
        return clean_text(psutil.Process(pid).name()) or UNKNOWN_PROGRAM
    with suppress(nvml.NVMLError, UnicodeDecodeError):
        return clean_text(PurePath(nvml.nvmlSystemGetProcessName(pid)).name) or UNKNOWN_PROGRAM
    return UNKNOWN_PROGRAM
