"""Plain text for people: the same values as the JSON documents, aligned, no colour needed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.memory.fitting_budget import RAM_RESERVE_BYTES, machine_budgets
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.recommend.judgement import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    VERDICT_PHRASE,
    Judgement,
)
from llmfit.advisor.recommend.warnings import OF_THE_MACHINE
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, GIB, format_context, format_gib
from llmfit.tui.labels import device_label
from llmfit.tui.speed_words import speed_sentences
from llmfit.tui.speed_words import two_figures as two_figures

if TYPE_CHECKING:
    from llmfit.advisor.recommend.ranking import Recommendation

TEXT_WIDTH = 78
MAX_DEVICE_CHARACTERS = 18
MIN_MODEL_CHARACTERS = 12
TABLE_WIDTH = 80
VERDICT_GLYPH = {FITS_GPU: "✓", FITS_OFFLOAD: "~", FITS_CPU: "~", DOES_NOT_FIT: "✗"}
"""Stands before the words for a verdict: never colour alone."""


def verdict_text(judgement: Judgement) -> str:
    """``✗ does not fit: 67.3 GiB short``."""
    text = f"{VERDICT_GLYPH[judgement.verdict]} {VERDICT_PHRASE[judgement.verdict]}"
    if judgement.verdict == FITS_GPU and len(judgement.settings.devices) > 1:
        text = f"✓ fits on {len(judgement.settings.devices)} GPUs"
    if judgement.shortfall_bytes:
        text += f": {format_gib(judgement.shortfall_bytes)} short"
    return text


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
        name = _short_name(printable(gpu.name))
        names[name] = names.get(name, 0) + 1
    parts = [name if count == 1 else f"{count}x {name}" for name, count in names.items()] or ["no GPU"]
    capacity = machine.memory.capacity_bytes
    if capacity is not None:
        limited = machine.memory.total_bytes is not None and capacity < machine.memory.total_bytes
        parts.append(f"{format_gib(capacity, 0)} RAM{' (limit)' if limited else ''}")
    return " · ".join(parts)


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


def memory_table(judgement: Judgement) -> list[str]:
    """Where the bytes go: one row a device in GiB, at most 78 columns."""
    budgets = machine_budgets(judgement.machine)
    rows = [["", "weights", "KV", "compute", "other", "total", "margin", "free", ""]]
    for device in judgement.memory.devices:
        on_host = device.kind == "host"
        short_bytes = (
            budgets.ram_shortfall_bytes(judgement.memory) if on_host else budgets.card_shortfall_bytes(device)
        )
        margin_bytes = device.margin_bytes + (RAM_RESERVE_BYTES if on_host else 0)
        parts = (device.weights_bytes, device.kv_cache_bytes, device.compute_bytes, device.overhead_bytes)
        rows.append(
            [
                _device_name(device),
                *(_gib(part) for part in parts),
                _gib(device.total_bytes),
                _gib(margin_bytes),
                "?" if device.free_bytes is None else _gib(device.free_bytes),
                "✗" if short_bytes else "✓",
            ]
        )
    return table(rows, right=range(1, 8))


_LEGEND = (
    "other: the driver on a GPU, llama-server itself in RAM. margin: how far these "
    "figures may be off, in RAM also 1 GiB for the system. It fits where total and "
    "margin are free."
)


def judgement_lines(judgement: Judgement, width: int = TEXT_WIDTH, explained: bool = False) -> Iterator[str]:
    """The whole answer of ``llmfit estimate``; prose is wrapped, the command is not: it is to be copied."""
    from llmfit.tui.cli.speed_lines import explanation_lines, speed_lines

    model, settings = judgement.model, judgement.settings
    yield f"{printable(model.id)} {printable(model.quantization)} on {machine_line(judgement.machine)}"
    yield verdict_text(judgement)
    yield ""
    yield "Where the bytes go, in GiB (2^30 bytes)"
    yield from (f"  {line}" for line in memory_table(judgement))
    yield from wrapped(_LEGEND, width, "  ")
    yield ""
    slots = "one slot" if settings.parallel == 1 else f"{settings.parallel} slots"
    tokens = format_context(settings.context_tokens)
    plain = "" if tokens == str(settings.context_tokens) else f" ({settings.context_tokens} tokens)"
    yield f"Context {tokens}{plain}, {slots}, KV cache in {_cache_types(settings)}"
    if judgement.fits:
        yield from speed_lines(judgement)
        if explained:
            yield from explanation_lines(judgement)
    for title, lines in (
        ("Why", judgement.reasons),
        ("Mind", tuple(warning.text for warning in judgement.warnings)),
        ("Assumed", judgement.assumed),
        (_remedy_title(judgement), tuple(_remedy_text(r.text, r.decode_tok_s) for r in judgement.remedies)),
    ):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from wrapped(printable(line), width, "  - ")
    if judgement.shell_line is not None:
        yield ""
        yield judgement.shell_line


def wrapped(text: str, width: int = TEXT_WIDTH, start: str = "") -> list[str]:
    """Prose as lines of at most ``width`` columns; a word that is longer stays whole."""
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def recommendation_lines(
    recommendations: Sequence[Recommendation], machine: Machine, use_case: str
) -> Iterator[str]:
    """The few picks as a table, then why and how for each."""
    yield f"What to run for {use_case} use on {machine_line(machine)}"
    of_the_machine = (
        warning.text
        for recommendation in recommendations
        for warning in recommendation.judgement.warnings
        if warning.code in OF_THE_MACHINE
    )
    for note in dict.fromkeys((*machine.unseen_gpus, *of_the_machine)):
        yield from wrapped(printable(note), TEXT_WIDTH, "! ")
    yield ""
    if not recommendations:
        if machine.memory.capacity_bytes is None:
            yield from wrapped(
                "How much RAM there is could not be read, so nothing is proposed: name it with --ram SIZE."
            )
        else:
            yield from wrapped(
                "Nothing that meets what was asked (use, context, speed, licence, family) fits this machine."
            )
        return
    yield from picks_table(recommendations)
    if any(_lacks_ram_bandwidth(recommendation.judgement) for recommendation in recommendations):
        yield from wrapped(_NEEDS_BANDWIDTH)
    for number, recommendation in enumerate(recommendations, 1):
        yield ""
        yield f"{number}. {printable(recommendation.judgement.model.id)}: {recommendation.purpose}"
        speeds = (f"{what} {text}" for what, text in speed_sentences(recommendation.judgement))
        for line in (*recommendation.why, *speeds):
            yield from wrapped(printable(line), TEXT_WIDTH, "   - ")
        for warning in recommendation.judgement.warnings:
            if warning.code in OF_THE_MACHINE:
                continue  # told once, above
            yield from wrapped(f"Mind: {printable(warning.text)}", TEXT_WIDTH, "   - ")
        if recommendation.judgement.shell_line is not None:
            yield f"   {recommendation.judgement.shell_line}"
    assumed = dict.fromkeys(line for pick in recommendations for line in pick.judgement.assumed)
    if assumed:
        yield ""
        yield "Assumed"
        for line in assumed:
            yield from wrapped(printable(line), TEXT_WIDTH, "  - ")


def picks_table(recommendations: Sequence[Recommendation]) -> list[str]:
    """One row a pick, at most TABLE_WIDTH columns: the cache type goes first, then the cards are summed up,
    then long names take a second line."""
    rows = _pick_rows(recommendations, one_by_one=True)
    if _width_of(rows) > TABLE_WIDTH:
        rows = [row[:4] + row[5:] for row in rows]
    if _width_of(rows) > TABLE_WIDTH:
        rows = [row[:4] + row[5:] for row in _pick_rows(recommendations, one_by_one=False)]
    over = max(0, _width_of(rows) - TABLE_WIDTH)
    widest = max(len(row[_NAME]) for row in rows)
    rows = [line for row in rows for line in _folded(row, max(MIN_MODEL_CHARACTERS, widest - over))]
    numbers = range(len(rows[0]) - 4, len(rows[0]))
    return [*table(rows, right=(0, *numbers)), "GPU and RAM in GiB, decode and prefill in tokens per second"]


def _folded(row: Sequence[str], width: int) -> Iterator[list[str]]:
    """The row, and further lines for what its name has too much."""
    first, *more = folded_name(row[_NAME], width)
    yield [*row[:_NAME], first, *row[_NAME + 1 :]]
    for part in more:
        yield ["", "", part, *("" for _ in row[_NAME + 1 :])]


def folded_name(name: str, width: int) -> list[str]:
    """A name as lines of at most ``width``, broken behind hyphens; what has none is broken anywhere."""
    lines = [""]
    for part in re.findall(r"[^-]*-|[^-]+$", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return [line[at : at + width] for line in lines for at in range(0, max(1, len(line)), width)]


_NEEDS_BANDWIDTH = "?: needs the RAM's bandwidth (--ram-bandwidth GB/S, or llmfit hardware --measure)"


def _lacks_ram_bandwidth(judgement: Judgement) -> bool:
    """Its speed is not known, and for no other reason."""
    machine = judgement.machine
    used = (gpu for gpu in machine.gpus if gpu.index in judgement.settings.devices)
    known = all(gpu.bandwidth_bytes_per_s is not None for gpu in used)
    return judgement.speed is None and known and machine.memory.bandwidth_bytes_per_s is None


_NAME = 2
"""Column of the model's name."""


def _pick_rows(recommendations: Sequence[Recommendation], one_by_one: bool) -> list[list[str]]:
    """Head and rows; ``one_by_one``: each card's memory on its own, not the sum."""
    rows = [["", "purpose", "model", "quant", "KV", "ctx", "GPU", "RAM", "decode", "prefill"]]
    for number, recommendation in enumerate(recommendations, 1):
        judgement = recommendation.judgement
        speed = judgement.speed
        prefill = None if speed is None else speed.prefill_tok_s
        rows.append(
            [
                str(number),
                recommendation.purpose,
                printable(judgement.model.id.split("/")[-1]),
                printable(judgement.model.quantization),
                judgement.settings.cache_type_k,
                format_context(judgement.settings.context_tokens),
                _on_gpus(judgement, one_by_one),
                f"{judgement.memory.host.total_bytes / GIB:.1f}",
                "?" if speed is None else two_figures(speed.decode_tok_s.expected),
                "?" if prefill is None else two_figures(prefill.expected),
            ]
        )
    return rows


def _on_gpus(judgement: Judgement, one_by_one: bool) -> str:
    """``21.4+20.9``, or their sum; a dash on the CPU alone."""
    sizes = [device.total_bytes / GIB for device in judgement.memory.gpus]
    if not sizes:
        return "–"
    return "+".join(f"{size:.1f}" for size in sizes) if one_by_one else f"{sum(sizes):.1f}"


def _width_of(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))) - 2


def _device_name(device: DeviceMemory) -> str:
    """``GPU0 RTX 3090``, ``RAM``; long names are cut to what the table has room for."""
    label = device_label(device)
    if device.kind == "host":
        return label
    return printable(f"{label} {_short_name(device.name)}", MAX_DEVICE_CHARACTERS)


def _short_name(name: str) -> str:
    for maker in ("NVIDIA ", "GeForce ", "AMD ", "Radeon ", "Apple ", "Intel "):
        name = name.removeprefix(maker)
    return name


def _cache_types(settings: LaunchSettings) -> str:
    k, v = settings.cache_type_k, settings.cache_type_v
    return k if k == v else f"{k} (K) and {v} (V)"


def _remedy_title(judgement: Judgement) -> str:
    if not judgement.fits and all(remedy.verdict == DOES_NOT_FIT for remedy in judgement.remedies):
        return "No change of settings makes it fit. Nearest:"
    return "What would help"


def _remedy_text(text: str, decode_tok_s: float | None) -> str:
    return text if decode_tok_s is None else f"{text}, about {two_figures(decode_tok_s)} tok/s"


def _gib(size_bytes: int) -> str:
    gib = size_bytes / GIB
    return f"{gib:.2f}" if gib < 1000 else f"{gib:.1f}"
