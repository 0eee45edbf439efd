"""detect_machine(): ask every probe what this computer is. Each may fail alone, and says why."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmfit.advisor.hardware.catalog_facts import (
    BandwidthEstimate,
    DriverMatch,
    add_bandwidth,
    add_catalog_facts,
)
from llmfit.advisor.hardware.drm.amd import AmdProbe
from llmfit.advisor.hardware.drm.intel import IntelProbe
from llmfit.advisor.hardware.findings import Findings, Probe
from llmfit.advisor.hardware.host.probe import HostProbe
from llmfit.advisor.hardware.mac.apple import AppleProbe
from llmfit.advisor.hardware.machine import MAX_GPUS, Cpu, Gpu, Machine, Memory
from llmfit.advisor.hardware.nvidia.probe import NvidiaProbe
from llmfit.advisor.text import clean_text

PROBE_TIMEOUT_S = 2.0
"""A driver that hangs must not hang llmfit: after this long its part of the machine stays unknown."""
_OS_NAMES = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}


def default_probes() -> tuple[Probe, ...]:
    """One probe for each source of facts, in the order in which GPUs are numbered."""
    return (HostProbe(), NvidiaProbe(), AmdProbe(), IntelProbe(), AppleProbe())


def detect_machine(
    probes: Sequence[Probe] | None = None,
    match: DriverMatch | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
    estimate: BandwidthEstimate | None = None,
) -> Machine:
    """This computer as it is now.

    ``match`` (the catalogue's ``match_gpu``) fills what drivers do not tell: bandwidth, FP16 rate;
    ``estimate`` (its ``typical_bandwidth``) the bandwidth of cards that it does not know.
    All probes together get ``timeout_s`` seconds. Nothing here raises: what could not be read is ``None`` and
    has its sentence in ``notes``.
    """
    found = _ask(default_probes() if probes is None else probes, timeout_s)
    cpu = next((part.cpu for part in found if part.cpu is not None), Cpu(None, None, None))
    memory = next((part.memory for part in found if part.memory is not None), Memory(None, None))
    unseen = tuple(dict.fromkeys(note for part in found for note in part.unseen_gpus))
    notes = [*unseen, *(note for part in found for note in part.notes)]
    gpus = _without_idle_integrated([gpu for part in found for gpu in part.gpus], notes)
    gpus = _at_most(MAX_GPUS, gpus, notes)
    finished = _with_facts(gpus, memory, match, estimate, notes)
    return Machine(
        os=_OS_NAMES.get(platform.system(), platform.system().lower()),
        cpu=cpu,
        memory=_with_shared_bandwidth(memory, finished),
        gpus=tuple(finished),
        notes=tuple(dict.fromkeys(notes)),
        unseen_gpus=unseen,
    )


def _with_facts(
    gpus: Sequence[Gpu],
    memory: Memory,
    match: DriverMatch | None,
    estimate: BandwidthEstimate | None,
    notes: list[str],
) -> list[Gpu]:
    """``gpus``, numbered, with what RAM and catalogue add to each."""
    finished: list[Gpu] = []
    for index, gpu in enumerate(gpus):
        numbered = _with_shared_memory(replace(gpu, index=index), memory)
        if match is not None:
            numbered, doubts = add_catalog_facts(numbered, match, memory.total_bytes)
            notes.extend(doubts)
            _rename(notes, gpus, gpu.name, numbered.name)
        numbered, doubts = add_bandwidth(numbered, memory, estimate)
        notes.extend(doubts)
        finished.append(numbered)
    return finished


@dataclass(slots=True)
class _Answer:
    findings: Findings | None = None
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)


def _ask(probes: Sequence[Probe], timeout_s: float) -> list[Findings]:
    """Every probe's findings, in order; a probe that fails or hangs leaves a note instead.

    Each runs in its own daemon thread: a driver call that never returns cannot be stopped, only left behind.
    """
    answers = [_Answer() for _ in probes]
    for probe, answer in zip(probes, answers, strict=True):
        threading.Thread(target=_run, args=(probe, answer), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    found: list[Findings] = []
    for probe, answer in zip(probes, answers, strict=True):
        in_time = answer.done.wait(max(0.0, deadline - time.monotonic()))
        if not in_time:
            found.append(_failed(probe, f"the driver did not answer within {timeout_s:g} s"))
        elif answer.findings is not None:
            found.append(answer.findings)
        else:
            found.append(_failed(probe, answer.error or "it failed"))
    return found


def _failed(probe: Probe, why: str) -> Findings:
    note = f"{probe.subject} could not be read: {why}."
    note = note[0].upper() + note[1:]
    return Findings(unseen_gpus=(note,)) if probe.finds_gpus else Findings(notes=(note,))


def _run(probe: Probe, answer: _Answer) -> None:
    try:
        answer.findings = probe.read()
    except Exception as error:  # noqa: BLE001 - a binding may raise anything; the rest still counts
        answer.error = clean_text(f"{type(error).__name__} {error}")
    finally:
        answer.done.set()


def _without_idle_integrated(gpus: list[Gpu], notes: list[str]) -> list[Gpu]:
    """llama.cpp takes integrated GPUs only where there is no other (llama_model_load, device selection)."""
    cards = [gpu for gpu in gpus if not gpu.unified_memory]
    if not cards or len(cards) == len(gpus):
        return gpus
    kept = {gpu.name for gpu in cards}
    for name in dict.fromkeys(gpu.name for gpu in gpus if gpu.unified_memory):
        if name not in kept:  # advice about a GPU that is not used helps nobody
            notes[:] = [note for note in notes if not note.startswith(f"{name}: ")]
        notes.append(f"{name} is left out: llama.cpp uses no integrated GPU beside a graphics card.")
    return cards


def _at_most(most: int, gpus: list[Gpu], notes: list[str]) -> list[Gpu]:
    """As many as llama.cpp takes, whoever made them."""
    if len(gpus) > most:
        notes.append(
            f"{len(gpus)} GPUs are here; llama.cpp takes {most}, so only the first {most} are listed."
        )
    return gpus[:most]


def _rename(notes: list[str], gpus: Sequence[Gpu], old: str, new: str) -> None:
    """What was noted about a nameless card is said of the name that the catalogue gave it."""
    if old != new and [gpu.name for gpu in gpus].count(old) == 1:
        start = f"{old}: "
        notes[:] = [f"{new}: {note[len(start) :]}" if note.startswith(start) else note for note in notes]


def _with_shared_memory(gpu: Gpu, memory: Memory) -> Gpu:
    """A GPU that uses the system's RAM has at most what is free there.

    llama.cpp takes MemAvailable for CUDA's integrated GPUs (ggml_backend_cuda_device_get_memory).
    """
    if not gpu.unified_memory:
        return gpu
    sources = dict(gpu.sources)
    total, free = gpu.vram_total_bytes, gpu.vram_free_bytes
    if total is None and memory.capacity_bytes is not None:
        total, sources["vram_total_bytes"] = memory.capacity_bytes, "system RAM"
    if free is None and total is not None and memory.available_bytes is not None:
        most = (gpu.carve_out_bytes or 0) + memory.available_bytes
        free, sources["vram_free_bytes"] = min(total, most), "system RAM"
    return replace(gpu, vram_total_bytes=total, vram_free_bytes=free, sources=sources)


def _with_shared_bandwidth(memory: Memory, gpus: Sequence[Gpu]) -> Memory:
    """Where CPU and GPU share one memory, its bandwidth is that of the GPU."""
    shared = [gpu for gpu in gpus if gpu.unified_memory and gpu.bandwidth_bytes_per_s is not None]
    if memory.bandwidth_bytes_per_s is not None or not shared:
        return memory
    source = shared[0].sources.get("bandwidth_bytes_per_s", "catalog")
    return replace(
        memory,
        bandwidth_bytes_per_s=shared[0].bandwidth_bytes_per_s,
        bandwidth_source=f"{source} (shared with the GPU)",
    )
