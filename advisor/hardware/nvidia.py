"""NVIDIA cards through NVML, the library that comes with the driver (module pynvml of nvidia-ml-py)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.nvidia_card import read_card
from llmfit.advisor.hardware.nvidia_device import CardLostError, Handle, NvidiaDevice
from llmfit.advisor.hardware.nvidia_mig import is_sliced, read_slices
from llmfit.advisor.hardware.nvidia_visible import visible_devices

MAX_CARDS = 64
"""More than any computer has; a driver that counts more is not believed."""


class NvidiaProbe:
    """Reads every NVIDIA card, or slice of one (MIG), that CUDA programs started from here would see."""

    subject = "NVIDIA cards"

    def __init__(self, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> None:
        self._environ = os.environ if environ is None else environ
        self._root = root

    def read(self) -> Findings:
        try:
            import pynvml  # 16 ms, and not needed for a simulated machine
        except ImportError:
            return Findings(notes=("NVIDIA cards were not looked for: the package nvidia-ml-py is missing.",))
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return Findings(notes=_why_no_driver(pynvml, error, self._root))
        try:
            return self._read_cards(pynvml)
        finally:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _read_cards(self, nvml: Any) -> Findings:
        notes: list[str] = []
        driver: str | None = None
        with suppress(nvml.NVMLError, UnicodeDecodeError):
            driver = clean_text(nvml.nvmlSystemGetDriverVersion()) or None
        devices: list[NvidiaDevice] = []
        for number in range(_count(nvml, notes)):
            devices.extend(_read_one(nvml, number, driver, notes))
        visible, visibility_notes = visible_devices(devices, self._environ)
        notes += [*visibility_notes, *_notes_about(visible)]
        if visible and _is_wsl(self._root) and not any(device.gpu.processes for device in visible):
            notes.append("WSL does not tell which programs hold VRAM, so none is listed.")
        return Findings(gpus=tuple(device.gpu for device in visible), notes=tuple(dict.fromkeys(notes)))


def _count(nvml: Any, notes: list[str]) -> int:
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        notes.append(f"The NVIDIA driver did not count its cards: {clean_text(str(error))}.")
        return 0
    if count > MAX_CARDS:
        notes.append(f"The NVIDIA driver counts {count} cards, which is not possible: none was read.")
        return 0
    return count


def _why_no_driver(nvml: Any, error: Any, root: Path) -> tuple[str, ...]:
    if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        note = "NVML not found: no NVIDIA driver is installed here, so NVIDIA cards cannot be seen."
        if _is_jetson(root):
            note = (
                "This is an NVIDIA Jetson whose system has no NVML (JetPack 6 and later have it), so its GPU "
                "cannot be seen: name it with --gpu."
            )
        return (note,)
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return ("NVML is installed but the NVIDIA driver is not loaded, so NVIDIA cards cannot be seen.",)
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return ("The NVIDIA driver was updated since this computer started: restart it to see the cards.",)
    if error.value == nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
        return ("NVIDIA cards cannot be seen: the NVML library found here is too old, or is not NVIDIA's.",)
    if error.value == nvml.NVML_ERROR_NO_PERMISSION:
        return ("NVIDIA cards cannot be seen: this user may not talk to the driver (/dev/nvidiactl).",)
    return (f"NVIDIA cards cannot be seen: {clean_text(str(error))}.",)


def _read_one(nvml: Any, number: int, driver: str | None, notes: list[str]) -> tuple[NvidiaDevice, ...]:
    """Card ``number``, or its slices, or nothing and a note."""
    try:
        handle = Handle(nvml, nvml.nvmlDeviceGetHandleByIndex(number))
        sliced = is_sliced(handle)
        card = read_card(handle, number, driver, sliced=sliced)
        if not sliced:
            return (card,)
        slices, slice_notes = read_slices(handle, card)
    except (CardLostError, nvml.NVMLError_GpuIsLost):
        notes.append(
            f"NVIDIA card {number} was lost while it was being read, so it is left out: "
            "it needs a restart or has failed."
        )
    except nvml.NVMLError as error:
        notes.append(f"NVIDIA card {number} could not be opened: {clean_text(str(error))}.")
    else:
        notes.extend(slice_notes)
        return slices
    return ()


def _notes_about(devices: Sequence[NvidiaDevice]) -> list[str]:
    """One sentence for all devices of one name that hide the same fields, and the remarks."""
    alike: dict[tuple[str, tuple[tuple[str, str], ...]], list[int]] = {}
    for position, device in enumerate(devices):
        if device.untold:
            alike.setdefault((device.gpu.name, device.untold), []).append(position)
    notes = [_untold_note(name, dict(untold), positions) for (name, untold), positions in alike.items()]
    return notes + [remark for device in devices for remark in device.remarks]


def _untold_note(name: str, untold: Mapping[str, str], positions: Sequence[int]) -> str:
    fields: dict[str, list[str]] = {}
    for field, reason in untold.items():
        fields.setdefault(reason, []).append(field)
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in fields.items())
    if len(positions) == 1:
        return f"Card {positions[0]} ({name}) does not tell its {told}."
    return f"Cards {', '.join(map(str, positions))} ({name}) do not tell their {told}."


def _is_wsl(root: Path) -> bool:
    """Windows offers its GPUs to Linux as /dev/dxg (kernel driver dxgkrnl)."""
    return (root / "dev/dxg").exists()


def _is_jetson(root: Path) -> bool:
    """The device tree names the chip: ``nvidia,tegra234`` (Linux: arch/arm64/boot/dts/nvidia)."""
    with suppress(OSError):
        return b"nvidia,tegra" in (root / "proc/device-tree/compatible").read_bytes()[:4096]
    return False
