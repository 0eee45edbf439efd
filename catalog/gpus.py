"""Every card the catalogue knows, by the names that people and drivers give it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import cast

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import SAME_SIZE, Gpu, GpuFacts
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB
from llmfit.catalog import loader
from llmfit.catalog.overlay import Overlay, overlay
from llmfit.catalog.search import nearest, one_of

_MARKS = re.compile(r"\((?:r|tm)\)|®|™", re.IGNORECASE)
_SIZE = re.compile(r"(?<![a-z0-9])(\d+)\s*(?:gb|gib|g)(?![a-z0-9])")
_NOT_KEY = re.compile(r"[^a-z0-9]+")
_DRIVER_REMARK = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")
"""Mesa and others append the chip: ``AMD Radeon RX 7900 XTX (RADV NAVI31)``."""
_GPU_CORES = re.compile(r"\s*\((\d+)-core GPU\)")
"""Apple sells one chip name with several core counts: ``Apple M4 Max (40-core GPU)``."""
_MAKER_WORDS = frozenset(
    {"nvidia", "amd", "intel", "apple", "corporation", "geforce", "radeon", "tesla", "instinct"}
    | {"graphics", "gpu", "generation", "edition", "with", "design"}
)
_SERIES_WORDS = frozenset({"rtx", "gtx", "rx", "arc", "pro", "ai"})
"""What people leave out at the front: ``3090``, ``7900 XTX``, ``A6000``, ``B580``."""
FEWEST_ALIKE = 3
"""Fewer cards are no class."""
_SAME_WORD = {"laptop": "mobile", "notebook": "mobile"}


def list_gpus() -> tuple[GpuFacts, ...]:
    """Every card, the user's own first."""
    return tuple(_facts(row) for row in _rows().values())


def lookup_gpu(name: str) -> tuple[GpuFacts, ...]:
    """Every card sold under ``name``, the most usual first (a ``GpuLookup`` of the hardware room).

    Case, spaces, hyphens, ® and the maker's name do not matter; ``3090`` and ``RTX 4090 Laptop`` are
    understood. A memory size that belongs to the name (``GTX 1060 6GB``) is part of it.
    Raises UsageError with the nearest names.
    """
    found = _named(name)
    if not found:
        raise _unknown(name)
    return found


def gpu_price(gpu_id: str) -> Mapping[str, object] | None:
    """The ``price`` of a row: usd, date, kind and source; None where nobody states one."""
    return cast("Mapping[str, object] | None", _rows()[gpu_id].get("price"))


def gpu_release(gpu_id: str) -> str | None:
    """The date, month or year since when it is sold."""
    return cast("str | None", _rows()[gpu_id].get("release_date"))


def split_memory_size(name: str) -> tuple[str, int | None]:
    """``RTX 3060 8GB`` → (``RTX 3060``, 8 GiB in bytes): card makers write GB and mean 2**30."""
    match = _SIZE.search(name.lower())
    if match is None:
        return name, None
    return (name[: match.start()] + name[match.end() :]).strip(), int(match[1]) * GIB


def match_gpu(gpu: Gpu, memory_bytes: int | None) -> GpuFacts | None:
    """The row of a card that a probe found; ``memory_bytes`` is what it shows (system RAM if shared).

    A row of the user's own with its name first; then by PCI id and revision, then by the driver's name
    (Apple's by their cores, too). A slice (MIG) is looked up as the card it is cut from: the facts are the
    whole card's. None where nothing fits, where several cards fit and the memory does not decide, and where a
    card shows much less memory than it is sold with: a slice that nobody names (vGPU) has less bandwidth,
    too.
    """
    name = gpu.name
    if gpu.partition is not None:
        name = gpu.partition.card_name
        share = gpu.partition.memory_share
        memory_bytes = round(memory_bytes / share) if memory_bytes and share > 0 else None
    named = [facts for facts in _named(name) if gpu.vendor == facts.vendor]
    own = [facts for facts in named if facts.id in overlay().gpus]
    if gpu.gpu_cores is not None:  # read, so that a row with another count is another chip
        named = [facts for facts in named if facts.gpu_cores in (gpu.gpu_cores, None)] or named
    # A PCI id or a core count says which chip it is; a name alone may be that of a family (Orin).
    candidates = (
        (own, False),
        (_with_pci_id(gpu.pci_id), True),
        (named, gpu.gpu_cores is not None),
    )
    found = (_decided(rows, name, memory_bytes, surely) for rows, surely in candidates)
    return next((facts for facts in found if facts is not None), None)


def typical_bandwidth(vendor: str, memory_bytes: int | None) -> tuple[int, str] | None:
    """The middle bandwidth (bytes/s) of this vendor's cards with this much memory, and which cards those are.

    A ``BandwidthEstimate`` of the hardware room, for cards that the catalogue does not know. None with fewer
    than three cards to judge by.
    """
    if not memory_bytes:
        return None
    alike = sorted(
        facts.bandwidth_bytes_per_s
        for facts in list_gpus()
        if facts.vendor == vendor
        and facts.bandwidth_bytes_per_s is not None
        and facts.memory_bytes_options
        and facts.unified_memory == (vendor == "apple")
        and _size_difference(facts, memory_bytes) <= SAME_SIZE
    )
    if len(alike) < FEWEST_ALIKE:
        return None
    maker = {"amd": "AMD", "nvidia": "NVIDIA"}.get(vendor, vendor.capitalize())
    size = f"{round(memory_bytes / GIB)} GB"
    why = (
        f"estimated: middle of {len(alike)} {maker} cards with {size} in the catalogue, "
        f"{alike[0] / 1e9:.0f} to {alike[-1] / 1e9:.0f} GB/s"
    )
    return alike[(len(alike) - 1) // 2], why


def _decided(
    found: Sequence[GpuFacts], name: str, memory_bytes: int | None, is_this_chip: bool
) -> GpuFacts | None:
    """The one of ``found`` that has this memory; of several, the one that drivers call ``name``.

    ``is_this_chip``: a single row is surely meant. The RAM that it shares then decides nothing: a machine may
    show less of it than is sold (firmware, a virtual machine).
    """
    fitting = [facts for facts in found if _shortfall(facts, memory_bytes) <= SAME_SIZE]
    if len(found) > 1:
        fitting = [
            facts for facts in fitting if memory_bytes and _size_difference(facts, memory_bytes) <= SAME_SIZE
        ]
    elif is_this_chip and found and found[0].unified_memory:
        fitting = list(found)
    named = [facts for facts in fitting if name in facts.driver_names] or fitting
    distinct = {(facts.bandwidth_bytes_per_s, facts.fp16_flops) for facts in named}
    return named[0] if len(distinct) == 1 else None


def _with_pci_id(pci_id: str | None) -> tuple[GpuFacts, ...]:
    """Rows with this vendor, device and revision, else with this vendor and device in any revision.

    An id without a revision stands for every revision; a revision that no row has may be another card.
    """
    if pci_id is None:
        return ()
    rows, ids = _rows(), _by_pci_id()
    device, _, revision = pci_id.lower().partition(" rev ")
    found = ids.get(f"{device} rev {revision}", ()) if revision else ()
    found = found or ids.get(device, ())
    if not found and not revision:
        found = tuple(
            row_id for key, row_ids in ids.items() if key.startswith(device + " ") for row_id in row_ids
        )
    return tuple(_facts(rows[row_id]) for row_id in dict.fromkeys(found))


def _shortfall(facts: GpuFacts, memory_bytes: int | None) -> float:
    """How far the memory is below the smallest size sold that is not below it, as a part of that size."""
    if memory_bytes is None or not facts.memory_bytes_options:
        return 0.0
    return min(max(0.0, 1 - memory_bytes / size) for size in facts.memory_bytes_options)


def _size_difference(facts: GpuFacts, memory_bytes: int) -> float:
    """How far the memory is from the nearest size sold, above or below, as a share of it; 0 where none is
    known."""
    return min((abs(memory_bytes / size - 1) for size in facts.memory_bytes_options), default=0.0)


def _named(name: str) -> tuple[GpuFacts, ...]:
    rows = _rows()
    found: Sequence[str] = [row_id for row_id in rows if row_id == name.strip().lower()]
    for spelling in (name, _DRIVER_REMARK.sub("", name)):
        found = found or _by_key().get(gpu_key(spelling), ())
    return tuple(_facts(rows[row_id]) for row_id in found)


def gpu_key(name: str) -> str:
    """What is left of a name without case, separators, ® and the maker's name."""
    return "".join(_gpu_words(name))


def _gpu_words(name: str) -> list[str]:
    text = _SIZE.sub(lambda size: f" {size[1]}gb ", _MARKS.sub(" ", name.lower()).replace("max-q", "maxq"))
    text = text.replace("+", " plus ")
    found = (_SAME_WORD.get(word, word) for word in _NOT_KEY.split(text))
    return [word for word in found if word and word not in _MAKER_WORDS]


def _rows() -> Mapping[str, loader.Row]:
    return _rows_with(overlay())


def _by_key() -> Mapping[str, tuple[str, ...]]:
    return _keys_with(overlay())


@cache
def _rows_with(own: Overlay) -> Mapping[str, loader.Row]:
    """Id → row: the user's own first, so that they win where a name is shared."""
    bundled_gpus = loader.bundled_rows(loader.GPUS)
    return {**own.gpus, **{row_id: row for row_id, row in bundled_gpus.items() if row_id not in own.gpus}}


@cache
def _keys_with(own: Overlay) -> Mapping[str, tuple[str, ...]]:
    """Name key → row ids in the order of the file: the most usual of one name stands first."""
    full: dict[str, list[str]] = {}
    short: dict[str, list[str]] = {}
    for row_id, row in _rows_with(own).items():
        for key in dict.fromkeys(gpu_key(name) for name in _names(row)):
            full.setdefault(key, []).append(row_id)
        for key in dict.fromkeys(key for name in _names(row) for key in _short_keys(name)):
            short.setdefault(key, []).append(row_id)
    return {key: tuple(full.get(key) or short[key]) for key in (*full, *short) if key}


def _by_pci_id() -> Mapping[str, tuple[str, ...]]:
    return _pci_ids_with(overlay())


@cache
def _pci_ids_with(own: Overlay) -> Mapping[str, tuple[str, ...]]:
    """``1002:744c rev c8`` or, where the revision tells nothing, ``10de:2204`` → row ids."""
    found: dict[str, list[str]] = {}
    for row_id, row in _rows_with(own).items():
        for pci_id in _texts(row, "pci_ids"):
            found.setdefault(pci_id.lower(), []).append(row_id)
    return {pci_id: tuple(row_ids) for pci_id, row_ids in found.items()}


def _names(row: loader.Row) -> Iterator[str]:
    """Every name of a card, and its name without the memory size that tells it from its sibling."""
    name = str(row["name"])
    yield name
    yield from _texts(row, "driver_names")
    yield from _texts(row, "aliases")
    yield split_memory_size(name)[0]
    yield _GPU_CORES.sub("", name)


def _short_keys(name: str) -> Iterator[str]:
    parts = _gpu_words(name)
    while len(parts) > 1 and parts[0] in _SERIES_WORDS:
        parts = parts[1:]
        if any(character.isdigit() for character in parts[0]):
            yield "".join(parts)


def _texts(row: loader.Row, field: str) -> tuple[str, ...]:
    return tuple(str(text) for text in cast(Sequence[object], row.get(field) or ()))


def _facts(row: loader.Row) -> GpuFacts:
    options = tuple(cast(Sequence[int], row.get("memory_bytes") or ()))
    power = cast("float | None", row.get("tdp_w"))
    return GpuFacts(
        id=str(row["id"]),
        name=str(row["name"]),
        vendor=str(row["vendor"]),
        backend=_backend(row),
        memory_bytes_options=options,
        default_memory_bytes=max(options, default=None),
        bandwidth_bytes_per_s=_whole(row, "bandwidth_bytes_per_s"),
        fp16_flops=_fp16_flops(row),
        compute_capability=cast("str | None", row.get("compute_capability")),
        unified_memory=bool(row.get("unified_memory")),
        driver_names=_texts(row, "driver_names"),
        pcie_generation=_whole(row, "pcie_generation"),
        pcie_width=_whole(row, "pcie_width"),
        power_limit_w=None if power is None else float(power),
        pci_ids=_texts(row, "pci_ids"),
        gpu_cores=int(cores[1]) if (cores := _GPU_CORES.search(str(row["name"]))) else None,
        architecture=str(row["architecture"]) if row.get("architecture") else None,
    )


def _backend(row: loader.Row) -> str:
    """The llama.cpp backend a card is planned for where nobody probed what is installed."""
    vendor = row["vendor"]
    if vendor == "amd":
        graphics = not str(row.get("architecture")).startswith("CDNA")  # MI300A shares RAM and has no Vulkan
        return "vulkan" if row.get("unified_memory") and graphics else "rocm"
    return {"nvidia": "cuda", "apple": "metal"}.get(str(vendor), "vulkan")


def _fp16_flops(row: loader.Row) -> int | None:
    """Matrix units, else the better of the shader rates: Pascal's FP16 is a 64th of the FP32 used instead."""
    matrix = _whole(row, "fp16_matrix_flops")
    if matrix is not None:
        return matrix
    return max(filter(None, (_whole(row, "fp16_flops"), _whole(row, "fp32_flops"))), default=None)


def _whole(row: loader.Row, field: str) -> int | None:
    value = row.get(field)
    return value if isinstance(value, int) else None


def _unknown(name: str) -> UsageError:
    names = {gpu_key(text): str(row["name"]) for row in _rows().values() for text in reversed([*_names(row)])}
    wanted = gpu_key(split_memory_size(name)[0]) or name
    close = tuple(dict.fromkeys(shown for key, shown in names.items() if wanted and wanted in key))[:5]
    close = close or nearest(wanted, names)
    hint = (
        f"Did you mean {one_of(close)}?"
        if close
        else "Write a name like RTX 3090, RX 7900 XTX or M4 Max 64GB."
    )
    return UsageError(f"GPU {printable(name, 80)!r}", "not in the catalogue", hint)
