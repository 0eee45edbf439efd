"""Plain text for people: the same values as the JSON documents, aligned, no colour needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.recommend.judgement import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    Judgement,
)
from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.advisor.speed.estimate import SpeedEstimate
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, GIB, format_context, format_gib

VERDICT_TEXT = {
    FITS_GPU: "✓ fits on the GPU",
    FITS_OFFLOAD: "~ runs with weights in system RAM",
    FITS_CPU: "~ runs on the CPU only",
    DOES_NOT_FIT: "✗ does not fit",
}
"""A glyph and words for every verdict: never colour alone."""


def verdict_text(judgement: Judgement) -> str:
    """``✗ does not fit: 67.3 GiB short``."""
    text = VERDICT_TEXT[judgement.verdict]
    if judgement.verdict == FITS_GPU and len(judgement.settings.devices) > 1:
        text = f"✓ fits on {len(judgement.settings.devices)} GPUs"
    if judgement.shortfall_bytes:
        text += f": {format_gib(judgement.shortfall_bytes)} short"
    return text


def speed_text(speed: SpeedEstimate | None) -> str:
    """``18 (15-21) tok/s``; two significant figures, because more would be a lie."""
    if speed is None:
        return "not known"
    decode = speed.decode_tok_s
    return f"{two_figures(decode.expected)} ({two_figures(decode.low)}-{two_figures(decode.high)}) tok/s"


def two_figures(number: float) -> str:
    """``0.83``, ``4.2``, ``18``, ``130``."""
    if number >= 100:
        return f"{round(number, -1):.0f}" if number < 1000 else f"{round(number, -2):.0f}"
    if number >= 10:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows of equal length as aligned lines, the head first; columns in ``right`` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    to_right = set(right)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in to_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def machine_line(machine: Machine) -> str:
    """``2x RTX 3090 · 64.0 GiB RAM`` for a title."""
    names: dict[str, int] = {}
    for gpu in machine.gpus:
        name = printable(gpu.name).removeprefix("NVIDIA ").removeprefix("GeForce ")
        names[name] = names.get(name, 0) + 1
    parts = [name if count == 1 else f"{count}x {name}" for name, count in names.items()] or ["no GPU"]
    if machine.memory.total_bytes is not None:
        parts.append(f"{format_gib(machine.memory.total_bytes, 0)} RAM")
    return " · ".join(parts)


def gpu_line(gpu: Gpu) -> str:
    """``GPU0 RTX 3090: 2.1 of 24.0 GiB used (Xorg 0.6, firefox 1.5) · 936 GB/s``; unknown stays unknown."""
    text = f"GPU{gpu.index} {printable(gpu.name)}: {gpu_memory_text(gpu)}"
    holders = ", ".join(
        f"{printable(process.name)} {'?' if process.vram_bytes is None else format_gib(process.vram_bytes)}"
        for process in gpu.processes
    )
    if holders:
        text += f" ({holders})"
    return f"{text} · {bandwidth_text(gpu.bandwidth_bytes_per_s)}"


def gpu_memory_text(gpu: Gpu) -> str:
    if gpu.vram_total_bytes is None:
        return "memory size not known"
    if gpu.vram_free_bytes is None:
        return f"{format_gib(gpu.vram_total_bytes)}, free not known"
    used = (gpu.vram_total_bytes - gpu.vram_free_bytes) / GIB
    return f"{used:.1f} of {format_gib(gpu.vram_total_bytes)} used"


def bandwidth_text(bytes_per_s: int | None) -> str:
    return "bandwidth not known" if bytes_per_s is None else f"{bytes_per_s / GB:.0f} GB/s"


def ram_line(machine: Machine) -> str:
    memory = machine.memory
    if memory.total_bytes is None:
        return "RAM: size not known"
    free = (
        "free not known" if memory.available_bytes is None else f"{format_gib(memory.available_bytes)} free"
    )
    limit = f" · limited to {format_gib(memory.limit_bytes)} by the cgroup" if memory.limit_bytes else ""
    speed = bandwidth_text(memory.bandwidth_bytes_per_s)
    return f"RAM {free} of {format_gib(memory.total_bytes)}{limit} · {speed}"


def memory_table(devices: Sequence[DeviceMemory]) -> list[str]:
    """Where the bytes go: one row a device, GiB."""
    rows = [["device", "weights", "KV cache", "compute", "driver etc.", "total", "free", "margin", ""]]
    for device in devices:
        free = "?" if device.free_bytes is None else _gib(device.free_bytes)
        short = f"✗ {format_gib(device.shortfall_bytes)} over" if device.shortfall_bytes else "✓"
        rows.append(
            [
                printable(device.name),
                _gib(device.weights_bytes),
                _gib(device.kv_cache_bytes),
                _gib(device.compute_bytes),
                _gib(device.overhead_bytes),
                _gib(device.total_bytes),
                free,
                _gib(device.margin_bytes),
                short,
            ]
        )
    return table(rows, right=range(1, 8))


def judgement_lines(judgement: Judgement) -> Iterator[str]:
    """The whole answer of ``llmfit estimate``."""
    model, settings = judgement.model, judgement.settings
    yield f"{printable(model.id)} {printable(model.quantization)}"
    yield f"  on {machine_line(judgement.machine)}"
    yield f"  {verdict_text(judgement)}"
    yield ""
    yield "Where the bytes go (GiB = 2^30 bytes)"
    yield from (f"  {line}" for line in memory_table(judgement.memory.devices))
    yield ""
    yield (
        f"Context {format_context(settings.context_tokens)} ({settings.context_tokens} tokens) · "
        f"KV cache {settings.cache_type_k}/{settings.cache_type_v} · slots {settings.parallel}"
    )
    if judgement.fits:
        yield f"Decode {speed_text(judgement.speed)}" + _bound_text(judgement.speed)
    for title, lines in (
        ("Why", judgement.reasons),
        ("Mind", tuple(warning.text for warning in judgement.warnings)),
        ("What would help", tuple(_remedy_text(r.text, r.decode_tok_s) for r in judgement.remedies)),
    ):
        if lines:
            yield ""
            yield title
            yield from (f"  - {printable(line)}" for line in lines)
    if judgement.argv is not None:
        yield ""
        yield shell_command(judgement.argv)


def recommendation_lines(
    recommendations: Sequence[Recommendation], machine: Machine, use_case: str
) -> Iterator[str]:
    """The few picks as a table, then why and how for each."""
    yield f"What to run for {use_case} use on {machine_line(machine)}"
    yield ""
    if not recommendations:
        yield "Nothing in the catalogue fits this machine at this context and speed."
        return
    rows = [["", "purpose", "model", "quant", "KV", "context", "memory GiB", "decode tok/s"]]
    for number, recommendation in enumerate(recommendations, 1):
        judgement = recommendation.judgement
        rows.append(
            [
                str(number),
                recommendation.purpose,
                printable(judgement.model.id.split("/")[-1]),
                judgement.model.quantization,
                judgement.settings.cache_type_k,
                format_context(judgement.settings.context_tokens),
                device_totals(judgement),
                speed_text(judgement.speed).removesuffix(" tok/s"),
            ]
        )
    yield from table(rows, right=(0,))
    for number, recommendation in enumerate(recommendations, 1):
        yield ""
        yield f"{number}. {printable(recommendation.judgement.model.id)}: {recommendation.purpose}"
        yield from (f"   - {printable(line)}" for line in recommendation.why)
        if recommendation.judgement.argv is not None:
            yield f"   {shell_command(recommendation.judgement.argv)}"


def device_totals(judgement: Judgement) -> str:
    """``21.4+20.9`` for two cards, ``10.2 + RAM 38.0`` with offload, ``RAM 12.1`` on the CPU alone."""
    on_gpus = "+".join(f"{device.total_bytes / GIB:.1f}" for device in judgement.memory.gpus)
    if judgement.verdict == FITS_GPU:
        return on_gpus
    on_host = f"RAM {judgement.memory.host.total_bytes / GIB:.1f}"
    return f"{on_gpus} + {on_host}" if on_gpus else on_host


def _bound_text(speed: SpeedEstimate | None) -> str:
    if speed is None:
        return ": a bandwidth of this machine is not known"
    bound = two_figures(speed.bound_tok_s)
    return f" at depth {speed.depth_tokens}, bound {bound}, limited by {speed.limited_by}"


def _remedy_text(text: str, decode_tok_s: float | None) -> str:
    return text if decode_tok_s is None else f"{text}, about {two_figures(decode_tok_s)} tok/s"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f}"
