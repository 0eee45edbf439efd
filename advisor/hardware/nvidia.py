"""NVIDIA cards through NVML, the library that comes with the driver (module pynvml of nvidia-ml-py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any, TypeVar

from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.machine import Gpu, VramProcess
from llmfit.advisor.units import MAX_SIZE_BYTES

T = TypeVar("T")
TRANSFERS_PER_MEMORY_CLOCK = 2
"""NVML reports a clock at which the bus moves two bits a line, whatever the memory type.

Checked against makers' figures: RTX 3090 (GDDR6X, 9751 MHz x 384 bit: 936 GB/s), RTX 5090 (GDDR7, 14001 x
512: 1792), GTX 1060 (GDDR5, 4004 x 192: 192), A100 40 GB (HBM2, 1215 x 5120: 1555), H100 SXM (HBM3, 2619 x
5120: 3352).
"""


class _CardLostError(Exception):
    """The driver lost the card while it was being read."""


class NvidiaProbe:
    """Reads every NVIDIA card that CUDA programs started from here would see."""

    subject = "NVIDIA cards"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def read(self) -> Findings:
        try:
            import pynvml  # 16 ms, and not needed for a simulated machine
        except ImportError:
            return Findings(notes=("NVIDIA cards were not looked for: the package nvidia-ml-py is missing.",))
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return Findings(notes=(_why_no_driver(pynvml, error),))
        try:
            return _read_cards(pynvml, self._environ)
        finally:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def _why_no_driver(nvml: Any, error: Any) -> str:
    if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "NVML not found: no NVIDIA driver is installed here, so NVIDIA cards cannot be seen."
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "NVML is installed but the NVIDIA driver is not loaded, so NVIDIA cards cannot be seen."
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "The NVIDIA driver was updated since this computer started: restart it to see the cards."
    return f"NVIDIA cards cannot be seen: {clean_text(str(error))}."


def _read_cards(nvml: Any, environ: Mapping[str, str]) -> Findings:
    notes: list[str] = []
    driver: str | None = None
    with suppress(nvml.NVMLError, UnicodeDecodeError):
        driver = clean_text(nvml.nvmlSystemGetDriverVersion())
    gpus: list[Gpu] = []
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return Findings(notes=(f"The NVIDIA driver did not count its cards: {clean_text(str(error))}.",))
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(_CardReader(nvml, handle, index, notes).read(driver))
        except nvml.NVMLError as error:
            notes.append(f"NVIDIA card {index} could not be opened: {clean_text(str(error))}.")
        except _CardLostError:
            notes.append(
                f"NVIDIA card {index} was lost while it was being read, so it is left out: "
                "it needs a restart or has failed."
            )
    return Findings(gpus=_visible(gpus, environ, notes), notes=tuple(notes))


class _CardReader:
    """Reads one card; a field that fails is ``None`` and named in one note about the card."""

    def __init__(self, nvml: Any, handle: Any, index: int, notes: list[str]) -> None:
        self._nvml = nvml
        self._handle = handle
        self._index = index
        self._notes = notes
        self._failed: dict[str, str] = {}

    def read(self, driver: str | None) -> Gpu:
        nvml = self._nvml
        name = clean_text(self._ask("name", nvml.nvmlDeviceGetName) or "") or "NVIDIA GPU"
        uuid = self._ask("UUID", nvml.nvmlDeviceGetUUID)
        total, free, reserved, unified = self._memory()
        capability = self._ask("compute capability", nvml.nvmlDeviceGetCudaComputeCapability)
        limit_mw = self._ask("power limit", nvml.nvmlDeviceGetEnforcedPowerLimit)
        read: dict[str, Any] = {
            "vram_total_bytes": total,
            "vram_free_bytes": free,
            "vram_reserved_bytes": reserved,
            "bandwidth_bytes_per_s": self._bandwidth(),
            "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
            "pcie_generation": self._ask("PCIe generation", nvml.nvmlDeviceGetMaxPcieLinkGeneration),
            # The width stays while a card is idle; the generation drops, so there the maximum counts.
            "pcie_width": self._ask("PCIe width", nvml.nvmlDeviceGetCurrPcieLinkWidth),
            "power_limit_w": limit_mw / 1000 if limit_mw else None,
        }
        processes = self._processes()
        self._note_failures(name)
        sources = {key: "nvml" for key, value in read.items() if value is not None}
        if "bandwidth_bytes_per_s" in sources:
            sources["bandwidth_bytes_per_s"] = "nvml (memory clock × bus width)"
        return Gpu(
            index=self._index,
            name=name,
            vendor="nvidia",
            backend="cuda",
            uuid=clean_text(uuid) if uuid else None,
            unified_memory=unified,
            driver=driver,
            processes=processes,
            sources=sources,
            **read,
        )

    def _ask(self, what: str, call: Callable[..., T], *arguments: object) -> T | None:
        nvml = self._nvml
        try:
            answer = call(self._handle, *arguments)
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
                raise _CardLostError from error
            self._failed[what] = clean_text(str(error))
        except UnicodeDecodeError:
            self._failed[what] = "not text"
        else:
            self._failed.pop(what, None)
            return answer
        return None

    def _memory(self) -> tuple[int | None, int | None, int | None, bool]:
        """Total, free, reserved bytes, and whether the card has no memory of its own.

        Version 2 of the call tells what the driver reserves; older drivers only know version 1. Parts that
        share the system's RAM (GB10, Jetson) answer NotSupported or a total of 0.
        """
        nvml = self._nvml
        info = self._ask("memory", nvml.nvmlDeviceGetMemoryInfo, nvml.nvmlMemory_v2)
        if info is None:
            info = self._ask("memory", nvml.nvmlDeviceGetMemoryInfo)
        if info is None:
            unified = self._failed["memory"] == str(nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED))
            if unified:
                del self._failed["memory"]
            return None, None, None, unified
        if info.total == 0:
            return None, None, None, True
        if info.total > MAX_SIZE_BYTES or info.free > info.total:
            self._failed["memory"] = f"{info.free} of {info.total} bytes free is not possible"
            return None, None, None, False
        return info.total, info.free, getattr(info, "reserved", None), False

    def _bandwidth(self) -> int | None:
        """Peak bytes per second of the card's memory: highest memory clock × bus width."""
        nvml = self._nvml
        clock_mhz = self._ask("memory clock", nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_MEM)
        bus_bits = self._ask("memory bus width", nvml.nvmlDeviceGetMemoryBusWidth)
        if not clock_mhz or not bus_bits:
            return None
        return int(clock_mhz) * 10**6 * TRANSFERS_PER_MEMORY_CLOCK * int(bus_bits) // 8

    def _processes(self) -> tuple[VramProcess, ...]:
        """Programs that hold memory, the largest first. One that computes and draws is counted once."""
        nvml = self._nvml
        held: dict[int, int | None] = {}
        for call in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            try:
                running = self._ask("programs", getattr(nvml, call))
            except nvml.NVMLLibraryMismatchError:
                # Drivers before 510 know version 2 of these calls only.
                running = self._ask("programs", getattr(nvml, f"{call}_v2"))
            for process in running or ():
                known = [size for size in (held.get(process.pid), process.usedGpuMemory) if size is not None]
                held[process.pid] = max(known, default=None)
        programs = [VramProcess(pid, _process_name(nvml, pid), used) for pid, used in held.items()]
        return tuple(sorted(programs, key=lambda program: (-(program.vram_bytes or 0), program.pid)))

    def _note_failures(self, name: str) -> None:
        if not self._failed:
            return
        what, reasons = ", ".join(self._failed), sorted(set(self._failed.values()))
        self._notes.append(f"Card {self._index} ({name}) does not tell its {what}: {'; '.join(reasons)}.")


def _process_name(nvml: Any, pid: int) -> str:
    # Imported here: needed only where a program holds VRAM.
    import psutil  # type: ignore[import-untyped]

    with suppress(psutil.Error, ValueError, OSError):
        return clean_text(psutil.Process(pid).name())
    with suppress(nvml.NVMLError, UnicodeDecodeError):
        return clean_text(PurePath(nvml.nvmlSystemGetProcessName(pid)).name) or "unknown"
    return "unknown"


def _visible(gpus: list[Gpu], environ: Mapping[str, str], notes: list[str]) -> tuple[Gpu, ...]:
    """The cards that CUDA_VISIBLE_DEVICES leaves, in its order.

    CUDA reads the list up to the first entry that it does not know. Its numbers count in CUDA's own order,
    which is NVML's order (PCI bus) only with CUDA_DEVICE_ORDER=PCI_BUS_ID or equal cards, hence the note.
    """
    by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if len({gpu.name for gpu in gpus}) > 1 and not by_bus:
        notes.append(
            "These cards differ: CUDA counts them fastest first, this list by PCI bus. "
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID so that --tensor-split means the same cards."
        )
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or not gpus:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for entry in wanted.split(","):
        match = _named_by(entry.strip(), gpus)
        if match is None or match in chosen:
            break
        chosen.append(match)
    if len(chosen) < len(gpus):
        notes.append(
            f"CUDA_VISIBLE_DEVICES leaves {len(chosen)} of {len(gpus)} NVIDIA cards to programs started here."
        )
    return tuple(chosen)


def _named_by(entry: str, gpus: list[Gpu]) -> Gpu | None:
    if entry.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(entry)), None)
    matching = [gpu for gpu in gpus if entry.startswith("GPU-") and (gpu.uuid or "").startswith(entry)]
    return matching[0] if len(matching) == 1 else None
