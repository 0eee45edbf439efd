"""Slices of an NVIDIA card (MIG, Multi-Instance GPU): each is a device of its own.

A slice is a compute instance inside a GPU instance; compute instances of one GPU instance share its memory.
Facts about shares: NVIDIA MIG User Guide, "Supported MIG Profiles" (A100, H100, H200 and B200: 8 memory
slices and 7 compute slices; A30 and RTX PRO 6000: 4 and 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from llmfit.advisor.hardware.machine import Gpu, Partition
from llmfit.advisor.hardware.nvidia.device import Handle, NvidiaDevice, Vram
from llmfit.advisor.hardware.nvidia.processes import read_processes
from llmfit.advisor.units import MAX_SIZE_BYTES, MIB

MEMORY_SLICES = 8
"""A slice's memory is so many eighths of the card's; quarters are even eighths."""
_MOST_SLICES = 64
"""CUDA takes no more in all (MIG User Guide); no card has more than 8 today."""
_WHOLE_CARD_PROFILES = (8, 7, 6, 4, 2)
"""Compute slices of the profile that is a whole card, the largest first."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What all slices of a card come to."""

    memory_bytes: int | None
    multiprocessors: int | None
    slices: int


@dataclass(frozen=True, slots=True)
class _Shares:
    memory_share: float
    compute_share: float
    measured: bool
    """The memory share is a ratio of sizes, not a conclusion from the number of slices."""


def is_sliced(card: Handle) -> bool:
    """Whether MIG is on, so that no program can use the card as a whole."""
    mode = card.ask_quietly("nvmlDeviceGetMigMode")
    return bool(mode) and mode[0] == card.nvml.NVML_DEVICE_MIG_ENABLE


def read_slices(card: Handle, whole: NvidiaDevice) -> tuple[tuple[NvidiaDevice, ...], tuple[str, ...]]:
    """Every slice of ``whole``, a card on which MIG is on, and notes. Raises CardLostError."""
    slots = min(card.ask_quietly("nvmlDeviceGetMaxMigDeviceCount") or 0, _MOST_SLICES)
    total = _whole(card, slots)
    found: list[NvidiaDevice] = []
    denied = False
    for slot in range(slots):
        try:
            raw = card.call("nvmlDeviceGetMigDeviceHandleByIndex", slot)
        except card.nvml.NVMLError as error:
            denied = denied or error.value == card.nvml.NVML_ERROR_NO_PERMISSION
            continue
        found.append(_read_slice(Handle(card.nvml, raw), card, whole, total))
    if not found:
        return (), (_no_slice_note(whole, denied),)
    return tuple(found), _notes(whole, len(found), total)


def _read_slice(handle: Handle, card: Handle, whole: NvidiaDevice, total: _Whole) -> NvidiaDevice:
    name = handle.ask_text("name", "nvmlDeviceGetName") or f"{whole.gpu.name} MIG"
    uuid = handle.ask_text("UUID", "nvmlDeviceGetUUID")
    instance = (
        handle.ask_quietly("nvmlDeviceGetGpuInstanceId"),
        handle.ask_quietly("nvmlDeviceGetComputeInstanceId"),
    )
    attributes = handle.ask("slice attributes", "nvmlDeviceGetAttributes")
    vram = _vram(handle, attributes)
    shares = _shares(vram.total, attributes, total)
    gpu = replace(
        whole.gpu,
        name=name,
        uuid=uuid,
        unified_memory=False,
        vram_total_bytes=vram.total,
        vram_free_bytes=vram.free,
        vram_reserved_bytes=vram.reserved,
        bandwidth_bytes_per_s=_part(whole.gpu.bandwidth_bytes_per_s, shares),
        power_limit_w=None,
        power_draw_w=None,
        processes=read_processes(handle, card, instance[0]),
        partition=Partition(whole.gpu.name, whole.gpu.uuid, shares.memory_share, shares.compute_share),
    )
    known = instance if None not in instance else None
    untold = dict(whole.untold) | handle.untold
    return NvidiaDevice(
        replace(gpu, sources=_sources(gpu, whole.gpu)),
        whole.card,
        known,
        tuple(untold.items()),
        whole.remarks,
    )


def _vram(handle: Handle, attributes: Any) -> Vram:
    """As the slice tells; else at least its size, from its attributes."""
    vram = handle.vram()
    if vram.total is not None:
        return vram
    handle.untold.setdefault("memory", "Not Supported")
    size = 0 if attributes is None else attributes.memorySizeMB * MIB
    return Vram(total=size if 0 < size <= MAX_SIZE_BYTES else None)


def _whole(card: Handle, slots: int) -> _Whole:
    """Memory and multiprocessors of the card, as far as this user may know them.

    In a container that was given one slice, NVML denies the memory of the card
    (github.com/NVIDIA/nvidia-container-toolkit, issue 842); then the profile of a whole card tells it. NVML
    does not count a card's cores while MIG is on (github.com/DataDog/datadog-agent, pull request 45266).
    """
    memory = Handle(card.nvml, card.raw).vram().total
    profile = None
    for slices in _WHOLE_CARD_PROFILES:
        number = getattr(card.nvml, f"NVML_GPU_INSTANCE_PROFILE_{slices}_SLICE")
        profile = profile or card.ask_quietly("nvmlDeviceGetGpuInstanceProfileInfo", number)
    if profile is None:
        return _Whole(memory, None, slots)
    return _Whole(memory or profile.memorySizeMB * MIB or None, profile.multiprocessorCount or None, slots)


def _shares(size: int | None, attributes: Any, whole: _Whole) -> _Shares:
    """Of memory in eighths, of multiprocessors as they are counted.

    Where the card's own figures are denied, both come from the compute slices: the usual profiles have the
    next power of two as their part of the memory (1/8 with 1 of 7, 4/8 with 3 or 4, all with 7; 1/4 with 1 of
    4; only 1g.10gb of an A100 40 GB and its likes have more). Where not even those are told, the least is
    taken. The bandwidth then stays unknown here; the catalogue knows a card only if share and size agree.
    """
    slices = 0 if attributes is None else attributes.gpuInstanceSliceCount
    if size is not None and whole.memory_bytes is not None:
        eighths = round(MEMORY_SLICES * size / whole.memory_bytes)
        memory, measured = min(max(eighths, 1), MEMORY_SLICES) / MEMORY_SLICES, True
    else:
        usual = _power_of_two(slices) / _power_of_two(whole.slices) if slices and whole.slices else 0.0
        memory, measured = min(max(usual, 1 / MEMORY_SLICES), 1.0), False
    processors = 0 if attributes is None else attributes.multiprocessorCount
    if processors and whole.multiprocessors:
        compute = processors / whole.multiprocessors
    else:
        computing = 0 if attributes is None else attributes.computeInstanceSliceCount or slices
        compute = computing / whole.slices if computing and whole.slices else memory
    return _Shares(memory, min(compute, 1.0), measured)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _part(bandwidth: int | None, shares: _Shares) -> int | None:
    return None if bandwidth is None or not shares.measured else round(bandwidth * shares.memory_share)


def _sources(part: Gpu, whole: Gpu) -> dict[str, str]:
    fields = ("vram_total_bytes", "vram_free_bytes", "vram_reserved_bytes", "bandwidth_bytes_per_s")
    dropped = {*fields, "power_limit_w", "power_draw_w"}
    sources = {name: source for name, source in whole.sources.items() if name not in dropped}
    sources |= {name: "nvml" for name in fields if getattr(part, name) is not None}
    if part.bandwidth_bytes_per_s is not None:
        sources["bandwidth_bytes_per_s"] = "nvml (memory clock × bus width × share of the memory)"
    return sources


def _no_slice_note(whole: NvidiaDevice, denied: bool) -> str:
    note = f"MIG is on for {whole.gpu.name} (card {whole.card}), but "
    if denied:
        return note + "this user may use none of its slices: ask for access, or start the container with one."
    return note + (
        "it has no slice, so no program can use it: make one (sudo nvidia-smi mig "
        f"-i {whole.card} -lgip lists the profiles, -cgi PROFILE -C makes one), or turn MIG off "
        f"(sudo nvidia-smi -i {whole.card} -mig 0)."
    )


def _notes(whole: NvidiaDevice, slices: int, total: _Whole) -> tuple[str, ...]:
    name, limit = whole.gpu.name, whole.gpu.power_limit_w
    notes: list[str] = []
    if limit is not None:
        cut = f"{slices} slice{'s' * (slices != 1)} (MIG)"
        notes.append(f"{name} is cut into {cut}; its power limit of {limit:g} W is the whole card's.")
    if total.memory_bytes is None:
        notes.append(
            f"This user may not read the memory of the whole {name}: what its slices have of it and of its "
            "bandwidth is concluded from their compute slices."
        )
    return tuple(notes)
