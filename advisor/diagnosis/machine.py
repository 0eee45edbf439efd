"""What is right and wrong with the processor, the RAM, the GPUs and the disks of a machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.diagnosis.findings import NOTE, OK, WARNING, Finding, Surroundings
from llmfit.advisor.hardware.machine import UNKNOWN_SIZE, Gpu, Machine, Memory
from llmfit.advisor.server.backend import title
from llmfit.advisor.units import GB, GIB, format_gib

MIN_FREE_RAM_BYTES = 2 * GIB
MIN_FREE_DISK_BYTES = 10 * GIB
"""A usual model of 14B parameters in Q4_K_M takes 9 GB."""
SWAP_IN_USE_BYTES = GIB
ESTIMATED = "estimated"
"""How the source of a figure begins that nobody has measured or stated."""


def cpu_findings(machine: Machine, architecture: str, source: str) -> Iterator[Finding]:
    cpu = machine.cpu
    if cpu.name is None and machine.described_by is not None:
        return
    cores = "core count not known"
    if cpu.physical_cores is not None:
        cores = f"{cpu.physical_cores} usable {'core' if cpu.physical_cores == 1 else 'cores'}"
    if cpu.logical_cores is not None:
        cores += f", {cpu.logical_cores} {'thread' if cpu.logical_cores == 1 else 'threads'}"
    if cpu.performance_cores is not None and cpu.performance_cores != cpu.physical_cores:
        cores += f", {cpu.performance_cores} of them fast"
    if cpu.numa_nodes is not None and cpu.numa_nodes > 1:
        cores += f", {cpu.numa_nodes} NUMA nodes"
    name, features = cpu.name or "name not known", ", ".join(cpu.features) or "not known"
    yield Finding(NOTE if cpu.name is None else OK, "CPU", f"{name}: {cores}.", source)
    x86 = architecture.lower() in ("x86_64", "amd64")
    if x86 and cpu.features and "avx2" not in cpu.features:
        yield Finding(
            WARNING,
            "CPU",
            f"it has no AVX2 (it has {features}): a llama-server that was built for AVX2 ends with an "
            "illegal instruction, others compute with slower code.",
            source,
            "Build llama.cpp on this machine: cmake takes the instructions that the CPU has (GGML_NATIVE).",
        )
    else:
        level = OK if cpu.features else NOTE
        yield Finding(level, "CPU", f"instruction sets that llama.cpp uses: {features}.", source)


def ram_findings(memory: Memory, size_source: str, source: str, can_be_measured: bool) -> Iterator[Finding]:
    """``size_source``: where total and available were read, which ``--ram`` may give; ``source``: where the
    rest was. ``can_be_measured``: the RAM is this computer's."""
    total, free = memory.total_bytes, memory.available_bytes
    if total is None:
        yield Finding(WARNING, "RAM", "its size is not known.", size_source, "Name it with --ram SIZE.")
    else:
        modules = f", {found}" if (found := modules_text(memory)) else ""
        yield Finding(OK, "RAM", f"{format_gib(total)}{modules}.", size_source)
    if memory.limit_bytes is not None and (total is None or memory.limit_bytes < total):
        yield Finding(
            NOTE,
            "RAM",
            f"a control group (container) limits this process to {format_gib(memory.limit_bytes)}; that is "
            "what is planned with.",
            "cgroup",
        )
    if free is not None and free < min(MIN_FREE_RAM_BYTES, (memory.capacity_bytes or 0) / 4):
        text = f"only {format_gib(free)} are available."
        yield Finding(WARNING, "RAM", text, size_source, "Close programs.")
    elif free is not None:
        yield Finding(OK, "RAM", f"{format_gib(free)} are available.", size_source)
    yield _ram_bandwidth(memory, source, can_be_measured)
    yield from _swap(memory, source)


def modules_text(memory: Memory) -> str:
    """``DDR5, 2 channels of 64 bits, 6000 MT/s``, or as much of it as is known."""
    parts = [memory.memory_type or ""]
    if memory.channels is not None:
        parts.append(f"{memory.channels} channel{'' if memory.channels == 1 else 's'} of 64 bits")
    if memory.transfer_rate_mt_s is not None:
        parts.append(f"{memory.transfer_rate_mt_s} MT/s")
    return ", ".join(part for part in parts if part)


def _ram_bandwidth(memory: Memory, machine_source: str, can_be_measured: bool) -> Finding:
    measure = "Say it with --ram-bandwidth GB/S."
    if can_be_measured:
        measure = "Measure it: llmfit hardware --measure."
    if memory.bandwidth_bytes_per_s is None:
        text = "its bandwidth is not known, so speeds on the CPU are not told."
        return Finding(WARNING, "RAM", text, machine_source, measure)
    source = memory.bandwidth_source or "given"
    text = f"bandwidth {memory.bandwidth_bytes_per_s / GB:.0f} GB/s."
    if memory.bandwidth_bytes_per_s == memory.peak_bandwidth_bytes_per_s:
        return Finding(NOTE, "RAM", f"{text[:-1]}, the peak of its type; less is reached.", source, measure)
    return Finding(OK, "RAM", text, source)


def _swap(memory: Memory, source: str) -> Iterator[Finding]:
    if memory.swap_total_bytes is None or memory.swap_free_bytes is None:
        return
    used = memory.swap_total_bytes - memory.swap_free_bytes
    if used > SWAP_IN_USE_BYTES:
        yield Finding(
            WARNING,
            "RAM",
            f"{format_gib(used)} of {format_gib(memory.swap_total_bytes)} swap are in use: memory has been "
            "short, and what lies there is slow.",
            source,
            "Close programs before a model is loaded.",
        )


def gpu_findings(machine: Machine, surroundings: Surroundings) -> Iterator[Finding]:
    if not machine.gpus:
        yield Finding(NOTE, "GPU", "none was found: everything runs on the CPU.", "probes")
    for gpu in machine.gpus:
        yield from _memory_findings(gpu)
        yield _bandwidth_finding(gpu)
        yield from _link_and_power(gpu, surroundings.default_power_limits_w.get(gpu.index))
        yield from _kind_findings(gpu)


def _memory_findings(gpu: Gpu) -> Iterator[Finding]:
    subject, total, free = f"GPU{gpu.index}", gpu.vram_total_bytes, gpu.vram_free_bytes
    source = gpu.sources.get("vram_total_bytes", "driver")
    if total is None:
        text = f"{gpu.name}: its memory size is not known, so nothing can be planned for it."
        yield Finding(WARNING, subject, text, source, "Name it with --gpu, or write a machine file.")
        return
    shared = " of the system's RAM" if gpu.unified_memory else ""
    yield Finding(OK, subject, f"{gpu.name}, {format_gib(total)}{shared}{_driver(gpu)}.", source)
    source = gpu.sources.get("vram_free_bytes", source)
    if free is None:
        text = "what is free is not known: what no listed program holds is taken as free."
        yield Finding(WARNING, subject, text, source, "Say it with --vram-free.")
        return
    reserved = f", {format_gib(gpu.vram_reserved_bytes)} are the driver's" if gpu.vram_reserved_bytes else ""
    yield Finding(OK, subject, f"{format_gib(free)} are free{reserved}.", source)
    if gpu.processes:
        told = ", ".join(
            f"{holder.name} {UNKNOWN_SIZE if holder.vram_bytes is None else format_gib(holder.vram_bytes)}"
            for holder in gpu.holders
        )
        half = free < total / 2
        fix = "Close what you do not need: the app shows what that would give."
        yield Finding(NOTE, subject, f"held by {told}.", "driver", fix if half else None)


def _driver(gpu: Gpu) -> str:
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    return f"{driver}, planned for {title(gpu.backend)}"


def _bandwidth_finding(gpu: Gpu) -> Finding:
    subject, bandwidth = f"GPU{gpu.index}", gpu.bandwidth_bytes_per_s
    source = gpu.sources.get("bandwidth_bytes_per_s", "catalogue")
    if bandwidth is None:
        text = "its memory bandwidth is not known, so speeds on it are not told."
        fix = "Add a row for it to your own catalogue (docs/catalogue.md)."
        return Finding(WARNING, subject, text, "catalogue", fix)
    text = f"bandwidth {bandwidth / GB:.0f} GB/s"
    if source.startswith(ESTIMATED):
        fix = "Add a row for it to your own catalogue (docs/catalogue.md)."
        return Finding(WARNING, subject, f"{text}, which is only estimated.", source, fix)
    return Finding(OK, subject, f"{text}.", source)


def _link_and_power(gpu: Gpu, default_limit_w: float | None) -> Iterator[Finding]:
    subject = f"GPU{gpu.index}"
    if gpu.pcie_width is not None and gpu.pcie_max_width is not None and gpu.pcie_width < gpu.pcie_max_width:
        yield Finding(
            WARNING,
            subject,
            f"it uses {gpu.pcie_width} of {gpu.pcie_max_width} PCIe lanes: loading, and prompts while "
            "weights are in RAM, take longer. Some cards use fewer lanes while they are idle.",
            gpu.sources.get("pcie_width", "driver"),
            "Look under load; then check the slot, the riser and the BIOS.",
        )
    limit = gpu.power_limit_w
    if limit is not None and default_limit_w is not None and limit < 0.95 * default_limit_w:
        yield Finding(
            NOTE,
            subject,
            f"its power limit is {limit:.0f} W, below the {default_limit_w:.0f} W of the catalogue: it may "
            "compute slower than others of its name.",
            gpu.sources.get("power_limit_w", "driver"),
        )


def _kind_findings(gpu: Gpu) -> Iterator[Finding]:
    subject = f"GPU{gpu.index}"
    if gpu.partition is not None:
        share = f"{gpu.partition.memory_share:.0%} of the memory of {gpu.partition.card_name}"
        fix = "CUDA_VISIBLE_DEVICES with its UUID makes a program use this slice alone."
        yield Finding(NOTE, subject, f"it is a slice (MIG) with {share}.", "driver", fix)
    if gpu.unified_memory:
        text = "it shares the RAM with the CPU: what one uses, the other lacks"
        if gpu.carve_out_bytes:
            text += f"; the firmware keeps {format_gib(gpu.carve_out_bytes)} for it alone"
        yield Finding(NOTE, subject, f"{text}.", gpu.sources.get("vram_total_bytes", "driver"))


def disk_findings(machine: Machine, source: str) -> Iterator[Finding]:
    for disk in machine.disks:
        text = f"{format_gib(disk.free_bytes)} of {format_gib(disk.total_bytes)} are free under {disk.path}."
        if disk.free_bytes < MIN_FREE_DISK_BYTES:
            yield Finding(WARNING, "disk", text, source, "Make room before a model is downloaded.")
        else:
            yield Finding(OK, "disk", text, source)
