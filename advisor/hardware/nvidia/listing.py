"""Every NVIDIA device that NVML lists and CUDA would show, and the notes about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.nvidia.card import read_card
from llmfit.advisor.hardware.nvidia.device import CardLostError, Handle, NvidiaDevice
from llmfit.advisor.hardware.nvidia.mig import is_sliced, read_slices
from llmfit.advisor.hardware.nvidia.visible import visible_devices
from llmfit.advisor.text import clean_text

MAX_CARDS = 64
"""More than any computer has; a driver that counts more is not believed."""


def read_devices(nvml: Any, environ: Mapping[str, str], root: Path) -> Findings:
    """Cards and slices of cards (MIG) that CUDA programs with this environment would see.

    ``nvml`` is the binding, initialised; ``root`` is where ``/dev`` lies.
    """
    notes: list[str] = []
    unseen: list[str] = []
    driver: str | None = None
    with suppress(nvml.NVMLError, UnicodeDecodeError):
        driver = clean_text(nvml.nvmlSystemGetDriverVersion()) or None
    devices: list[NvidiaDevice] = []
    for number in range(_count(nvml, unseen)):
        devices.extend(_read_one(nvml, number, driver, notes, unseen))
    if not devices and not unseen:
        notes.append("The NVIDIA driver is installed and lists no card.")
    visible, visibility_notes = visible_devices(devices, environ)
    notes += [*visibility_notes, *_notes_about(visible)]
    if visible and _is_wsl(root) and not any(device.gpu.processes for device in visible):
        notes.append("WSL does not tell which programs hold VRAM, so none is listed.")
    gpus = tuple(device.gpu for device in visible)
    return Findings(gpus=gpus, notes=tuple(dict.fromkeys(notes)), unseen_gpus=tuple(dict.fromkeys(unseen)))


def _count(nvml: Any, unseen: list[str]) -> int:
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        unseen.append(f"The NVIDIA driver did not count its cards: {clean_text(str(error))}.")
        return 0
    if count > MAX_CARDS:
        unseen.append(f"The NVIDIA driver counts {count} cards, which is not possible: none was read.")
        return 0
    return count


def _read_one(
    nvml: Any, number: int, driver: str | None, notes: list[str], unseen: list[str]
) -> tuple[NvidiaDevice, ...]:
    """Card ``number``, or its slices, or nothing and why it is ``unseen``."""
    try:
        handle = Handle(nvml, nvml.nvmlDeviceGetHandleByIndex(number))
        sliced = is_sliced(handle)
        card = read_card(handle, number, driver, sliced=sliced)
        if not sliced:
            return (card,)
        slices, slice_notes = read_slices(handle, card)
    except (CardLostError, nvml.NVMLError_GpuIsLost):
        unseen.append(
            f"NVIDIA card {number} was lost while it was being read, so it is left out: "
            "it needs a restart or has failed."
        )
    except nvml.NVMLError as error:
        unseen.append(f"NVIDIA card {number} could not be opened: {clean_text(str(error))}.")
    else:
        (notes if slices else unseen).extend(slice_notes)
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
