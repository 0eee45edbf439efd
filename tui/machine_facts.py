"""Everything that is known of a machine, as rows for people: what, its value, and where it was read."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmfit.advisor.diagnosis.diagnose import diagnose, server_problem
from llmfit.advisor.diagnosis.findings import PROBLEM, WARNING, Finding, Surroundings
from llmfit.advisor.diagnosis.machine import modules_text
from llmfit.advisor.hardware.machine import Disk, Gpu, LlamaServer, Machine, Memory
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, format_gib
from llmfit.tui.labels import short_gpu_name

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Fact:
    """``source`` is empty where the probe does not say it."""

    what: str
    value: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Facts under one heading; ``lines`` are sentences below them."""

    title: str
    facts: tuple[Fact, ...] = ()
    lines: tuple[str, ...] = ()


def remarks(machine: Machine) -> Iterator[tuple[str, str]]:
    """(glyph, sentences): what is wrong with the machine and what to do about it, then its notes in full.

    The same findings as those of ``llmfit doctor`` that follow from the machine alone, but for the one that
    stands loud above everything.
    """
    loud = server_problem(machine)
    for finding in _findings(machine):
        if finding.level in _GLYPHS and finding != loud:
            yield _GLYPHS[finding.level], f"{finding.subject}: {finding.text} {finding.fix or ''}".rstrip()
    for note in machine.notes:
        yield "·", note


_GLYPHS = {PROBLEM: "✗", WARNING: "!"}


def _findings(machine: Machine) -> Iterator[Finding]:
    """Without what only a look around this process can tell (packages, variables, files under /dev)."""
    nothing_else = Surroundings(
        llmfit_version="", system=machine.os, architecture=platform.machine(), python=""
    )
    return (found for found in diagnose(machine, nothing_else) if found.source != "/dev")


def machine_sections(machine: Machine) -> Iterator[Section]:
    """Cards first, then RAM, processor, llama-servers and disks; the notes are in ``remarks``."""
    for gpu in machine.gpus:
        yield Section(f"GPU{gpu.index} {short_gpu_name(gpu)}", tuple(card_facts(gpu)))
    yield Section("RAM", tuple(ram_facts(machine.memory)))
    yield Section("Processor", tuple(_cpu_facts(machine)))
    if machine.llama_server is not None or machine.llama_servers or machine.described_by is None:
        yield _servers(machine)
    if machine.disks:
        read_from = "file system" if machine.described_by is None else ""
        yield Section("Disks where models lie", tuple(_disk_fact(disk, read_from) for disk in machine.disks))


def _disk_fact(disk: Disk, read_from: str) -> Fact:
    total, free = format_gib(disk.total_bytes), format_gib(disk.free_bytes)
    return Fact("folder", f"{printable(disk.path)}: {free} free of {total}", read_from)


def card_facts(gpu: Gpu) -> Iterator[Fact]:
    """The facts of one card. What every card has is there even when it is not known."""
    always = (
        ("name", "name", printable(gpu.name)),
        ("memory", "vram_total_bytes", _size(gpu.vram_total_bytes)),
        ("free now", "vram_free_bytes", _size(gpu.vram_free_bytes)),
        ("bandwidth", "bandwidth_bytes_per_s", _rate(gpu.bandwidth_bytes_per_s)),
        ("FP16", "fp16_flops", None if gpu.fp16_flops is None else f"{gpu.fp16_flops / 1e12:.0f} TFLOP/s"),
        ("llama.cpp backend", "backend", printable(gpu.backend)),
        ("driver", "driver", gpu.driver),
    )
    for what, field, value in always:
        yield _sourced(what, value or UNKNOWN, gpu.sources, field)
    for what, field, value in _some_facts(gpu):
        if value:
            yield _sourced(what, value, gpu.sources, field)


def _some_facts(gpu: Gpu) -> Iterator[tuple[str, str, str | None]]:
    """What only some kinds of card have."""
    yield "kept by the driver", "vram_reserved_bytes", _size(gpu.vram_reserved_bytes)
    yield "carve-out", "carve_out_bytes", _size(gpu.carve_out_bytes)
    yield "shares RAM", "unified_memory", "yes, what it uses the host cannot" if gpu.unified_memory else None
    yield "compute capability", "compute_capability", gpu.compute_capability
    yield "PCIe", "pcie_generation", _pcie(gpu)
    yield "power", "power_draw_w" if gpu.power_limit_w is None else "power_limit_w", _power(gpu)
    yield "UUID", "uuid", gpu.uuid
    yield "PCI", "pci_id", " at ".join(part for part in (gpu.pci_id, gpu.pci_bus) if part)
    yield "GPU cores", "gpu_cores", None if gpu.gpu_cores is None else str(gpu.gpu_cores)
    if gpu.partition is not None:
        part = gpu.partition
        shares = f"{part.memory_share:.0%} of its memory, {part.compute_share:.0%} of its processors"
        yield "slice of", "partition", f"{part.card_name}: {shares}"
    yield "catalogue", "catalog_id", gpu.catalog_id


def _sourced(what: str, value: str, sources: Mapping[str, str], field: str) -> Fact:
    return Fact(what, printable(value), printable(sources.get(field, "")))


def _size(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else format_gib(size_bytes, 2)


def _rate(bytes_per_s: int | None) -> str | None:
    return None if bytes_per_s is None else f"{bytes_per_s / GB:.0f} GB/s"


def _pcie(gpu: Gpu) -> str | None:
    """``4.0 x8 (x16 possible)``."""
    if gpu.pcie_generation is None and gpu.pcie_width is None:
        return None
    generation = "generation not known" if gpu.pcie_generation is None else f"{gpu.pcie_generation}.0"
    width = "" if gpu.pcie_width is None else f" x{gpu.pcie_width}"
    more = gpu.pcie_max_width is not None and gpu.pcie_max_width != gpu.pcie_width
    return f"{generation}{width}" + (f" (x{gpu.pcie_max_width} possible)" if more else "")


def _power(gpu: Gpu) -> str | None:
    """``350 W at most, 30 W now``."""
    told = []
    if gpu.power_limit_w is not None:
        told.append(f"{gpu.power_limit_w:.0f} W at most")
    if gpu.power_draw_w is not None:
        told.append(f"{gpu.power_draw_w:.0f} W now")
    return ", ".join(told) or None


def ram_facts(memory: Memory) -> Iterator[Fact]:
    """System RAM; the bandwidth's source says whether it was measured."""
    sources = memory.sources
    yield _sourced("total", _size(memory.total_bytes) or UNKNOWN, sources, "total_bytes")
    yield _sourced("available", _size(memory.available_bytes) or UNKNOWN, sources, "available_bytes")
    if memory.limit_bytes is not None:
        yield _sourced("limit", format_gib(memory.limit_bytes, 2), sources, "limit_bytes")
    yield Fact(
        "bandwidth", _rate(memory.bandwidth_bytes_per_s) or UNKNOWN, printable(memory.bandwidth_source or "")
    )
    if memory.peak_bandwidth_bytes_per_s is not None:
        peak = _rate(memory.peak_bandwidth_bytes_per_s) or UNKNOWN
        yield _sourced("peak of its type", peak, sources, "peak_bandwidth_bytes_per_s")
    type_text = modules_text(memory)
    if type_text:
        named = (name for name in ("memory_type", "transfer_rate_mt_s", "channels") if name in sources)
        yield _sourced("type", type_text, sources, next(named, ""))
    if memory.swap_total_bytes is not None:
        free = "" if memory.swap_free_bytes is None else f", {format_gib(memory.swap_free_bytes)} free"
        total = format_gib(memory.swap_total_bytes)
        told = f"{total}{free}" if memory.swap_total_bytes else "none"
        yield _sourced("swap", told, sources, "swap_total_bytes")


def _cpu_facts(machine: Machine) -> Iterator[Fact]:
    cpu = machine.cpu
    yield _sourced("name", cpu.name or UNKNOWN, cpu.sources, "name")
    cores = UNKNOWN if cpu.physical_cores is None else str(cpu.physical_cores)
    if cpu.performance_cores is not None:
        cores += f", {cpu.performance_cores} of them fast"
    yield _sourced("cores for us", cores, cpu.sources, "physical_cores")
    if cpu.logical_cores is not None:
        yield _sourced("threads for us", str(cpu.logical_cores), cpu.sources, "logical_cores")
    if cpu.numa_nodes is not None:
        yield _sourced("NUMA nodes", str(cpu.numa_nodes), cpu.sources, "numa_nodes")
    if cpu.features:
        yield _sourced("instructions", ", ".join(cpu.features), cpu.sources, "features")
    yield Fact("system", printable(machine.os), "" if machine.described_by else "platform.system")


def _servers(machine: Machine) -> Section:
    """Every llama-server, the one that is taken first."""
    taken = machine.llama_server
    rest = [server for server in machine.llama_servers if taken is None or server.path != taken.path]
    every = ([taken] if taken is not None else []) + rest
    if not every:
        return Section("llama-server", lines=("None was found. A command is shown all the same.",))
    facts = []
    for server in every:
        what = "found" if taken is None else "taken" if server is taken else "also there"
        facts.append(Fact(what, printable(server.path)))
        facts.append(Fact("", _server_text(server)))
    lines = () if taken is not None else ("None that works. A command is shown all the same.",)
    return Section("llama-server", tuple(facts), lines)


def _server_text(server: LlamaServer) -> str:
    """``b11434, cuda cpu: CUDA0, CUDA1``, or why it does not start."""
    if server.problem:
        return f"✗ {printable(server.problem)}"
    told = [f"b{server.build}"] if server.build else []
    if server.version and not server.build:
        told.append(printable(server.version))
    if server.backends:
        told.append(f"backends {printable(' '.join(server.backends))}")
        told.append(f"devices {printable(' '.join(server.devices))}" if server.devices else "sees no GPU")
    return ", ".join(told) or "not asked yet"
