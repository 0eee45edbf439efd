"""Which of the devices that NVML lists a CUDA program started from here would see. Pure.

Sources: CUDA Programming Guide, "CUDA Environment Variables"; NVIDIA MIG User Guide, "CUDA Device
Enumeration".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from llmfit.advisor.hardware.machine import MAX_GPUS
from llmfit.advisor.hardware.nvidia.device import NvidiaDevice

SEVERAL_SLICES_DRIVER = 570
"""From this driver on CUDA shows a program one compute instance of every GPU instance, whole cards beside
them; before it, one slice and nothing else."""


def visible_devices(
    devices: Sequence[NvidiaDevice], environ: Mapping[str, str]
) -> tuple[tuple[NvidiaDevice, ...], tuple[str, ...]]:
    """The devices that ``CUDA_VISIBLE_DEVICES`` leaves, in its order, at most as many as llama.cpp takes; and
    notes.

    Without that variable every slice of a card (MIG) stays listed, though CUDA may show programs only one: a
    note says which, and how to choose another.
    """
    notes: list[str] = []
    chosen = list(devices)
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    by_speed = environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    unlike = by_speed and _cards_differ(devices)
    whole = [device for device in devices if device.gpu.partition is None]
    if wanted is None and by_speed and _cards_differ(whole):
        notes.append(
            "These cards differ: CUDA counts them fastest first, this list by PCI bus. "
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID so that --tensor-split means the same cards."
        )
    if wanted is not None and devices:
        counted = _fastest_first(devices) if unlike else None
        chosen = _seen_at_once(_listed(wanted, devices, counted or {}))
        if unlike and any(_is_number(entry.strip()) for entry in wanted.split(",")):
            notes.append(_number_note(devices, counted))
        if len(chosen) < len(devices):
            notes.append(
                f"CUDA_VISIBLE_DEVICES leaves {len(chosen)} of {len(devices)} NVIDIA {_noun(devices)} "
                "to programs started here."
            )
    elif any(device.instance for device in devices) and len(devices) > 1:
        notes.append(_slice_note(devices))
    if len(chosen) > MAX_GPUS:
        notes.append(
            f"{len(chosen)} NVIDIA {_noun(chosen)} are here; llama.cpp takes {MAX_GPUS}, so only the first "
            f"{MAX_GPUS} are listed. CUDA_VISIBLE_DEVICES chooses others."
        )
    return tuple(chosen[:MAX_GPUS]), tuple(notes)


def _cards_differ(devices: Sequence[NvidiaDevice]) -> bool:
    return len({_card_name(device) for device in devices}) > 1


def _card_name(device: NvidiaDevice) -> str:
    return device.gpu.name if device.gpu.partition is None else device.gpu.partition.card_name


def _fastest_first(devices: Sequence[NvidiaDevice]) -> dict[int, int] | None:
    """CUDA's number -> NVML's number of unlike cards, or ``None`` where the order is not certain.

    CUDA_DEVICE_ORDER is FASTEST_FIRST unless set: a heuristic that NVIDIA does not tell (CUDA Programming
    Guide). Compute capability alone is not it: a GB300 (10.3) stands before an RTX PRO 4000
    (12.0, vllm pull request 53834). So only an order on which capability and memory bandwidth agree is taken,
    as seen for 4090 before 3090 (ollama issue 7429) and 3090 before GTX 1660 SUPER (koboldcpp issue 1023).
    """
    speeds: dict[str, tuple[tuple[int, ...], int]] = {}
    for device in devices:
        capability, bandwidth = device.gpu.compute_capability, device.gpu.bandwidth_bytes_per_s
        if capability is None or bandwidth is None or device.gpu.partition is not None:
            return None
        speed = tuple(int(part) for part in capability.split(".")), bandwidth
        if speeds.setdefault(device.gpu.name, speed) != speed:
            return None
    ordered = sorted(speeds.values(), reverse=True)
    if not all(fast[0] > slow[0] and fast[1] > slow[1] for fast, slow in pairwise(ordered)):
        return None
    cards = sorted(devices, key=lambda device: ordered.index(speeds[device.gpu.name]))
    return {number: device.card for number, device in enumerate(cards)}


def _number_note(devices: Sequence[NvidiaDevice], counted: Mapping[int, int] | None) -> str:
    sure = "CUDA_DEVICE_ORDER=PCI_BUS_ID, or the UUID instead of a number, makes it certain."
    if counted is None:
        return (
            "These cards differ, and CUDA counts them fastest first: a number may mean another card than the "
            f"one listed here, which is counted by PCI bus. {sure}"
        )
    names = {device.card: device.gpu.name for device in devices}
    told = ", ".join(f"{number} is taken as {names[card]}" for number, card in counted.items())
    return f"CUDA counts unlike cards fastest first: {told}. {sure}"


def _listed(wanted: str, devices: Sequence[NvidiaDevice], counted: Mapping[int, int]) -> list[NvidiaDevice]:
    """The entries of the list up to the first that names nothing: there CUDA stops reading.

    ``counted`` tells CUDA's numbers where they are not NVML's.
    """
    chosen: list[NvidiaDevice] = []
    for entry in wanted.split(","):
        match = _named_by(entry.strip(), devices, counted)
        if match is None or match in chosen:
            break
        chosen.append(match)
    return chosen


def _is_number(entry: str) -> bool:
    return entry.isascii() and entry.isdecimal() and len(entry) < 10


def _named_by(entry: str, devices: Sequence[NvidiaDevice], counted: Mapping[int, int]) -> NvidiaDevice | None:
    """By number or UUID, which may be shortened while it stays unique.

    A number or UUID of a card that is cut into slices means its first slice; NVIDIA documents no number for a
    slice (not checked on such a machine). Before driver 470 a slice is ``MIG-GPU-UUID/GPU instance/compute
    instance``.
    """
    if _is_number(entry):
        card = counted.get(int(entry)) if counted else int(entry)
        return next((device for device in devices if device.card == card), None)
    if entry.startswith("MIG-"):
        matching = [device for device in devices if (device.gpu.uuid or "").startswith(entry)]
        matching = matching or [device for device in devices if entry == _old_name(device)]
        return matching[0] if len(matching) == 1 else None
    matching = [
        device for device in devices if entry.startswith("GPU-") and _card_uuid(device).startswith(entry)
    ]
    return matching[0] if len({device.card for device in matching}) == 1 else None


def _card_uuid(device: NvidiaDevice) -> str:
    partition = device.gpu.partition
    return (device.gpu.uuid if partition is None else partition.card_uuid) or ""


def _old_name(device: NvidiaDevice) -> str | None:
    if device.instance is None:
        return None
    return f"MIG-{_card_uuid(device)}/{device.instance[0]}/{device.instance[1]}"


def _seen_at_once(chosen: Sequence[NvidiaDevice]) -> list[NvidiaDevice]:
    """Those of ``chosen`` that one program sees together."""
    slices = [device for device in chosen if device.gpu.partition is not None]
    if slices and not _several(slices[0]):
        return slices[:1]
    seen: dict[object, NvidiaDevice] = {}
    for device in chosen:
        # One compute instance of each GPU instance.
        instance = device.instance[0] if device.instance else device.gpu.uuid
        seen.setdefault((device.card, instance), device)
    return list(seen.values())


def _several(device: NvidiaDevice) -> bool:
    major = (device.gpu.driver or "").partition(".")[0]
    return major.isdecimal() and int(major) >= SEVERAL_SLICES_DRIVER


def _slice_note(devices: Sequence[NvidiaDevice]) -> str:
    """Which slice a program gets unasked, and the name of the one with the most free memory."""
    slices = [device for device in devices if device.gpu.partition is not None]
    roomiest = max(slices, key=lambda device: device.gpu.usable_bytes or 0)
    choice = f"CUDA_VISIBLE_DEVICES={roomiest.gpu.uuid or 'MIG-…'}"
    if _several(slices[0]):
        return (
            "CUDA shows a program every slice that has memory of its own (driver 570 and newer); "
            f"{choice} leaves it the one with the most free memory, {roomiest.gpu.name}."
        )
    note = f"CUDA shows a program only the first slice, {slices[0].gpu.name}, and no other NVIDIA card"
    if roomiest is slices[0]:
        return f"{note}; it has the most free memory ({choice})."
    return f"{note}, unless {choice} names the one with the most free memory, {roomiest.gpu.name}."


def _noun(devices: Sequence[NvidiaDevice]) -> str:
    return "devices" if any(device.gpu.partition is not None for device in devices) else "cards"
