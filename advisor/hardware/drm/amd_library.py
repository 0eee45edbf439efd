"""What libdrm tells of AMD GPUs, through pyamdgpuinfo: for files of the driver that cannot be read.

It opens /dev/dri, for which sysfs needs no right, and knows little more: its copy of libdrm's table of names,
and the same sizes. It is GPL-3.0, so it is imported only here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MAX_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class LibraryCard:
    """One card as the library knows it; 0 and nonsense are unknown."""

    name: str | None = None
    vram_total_bytes: int | None = None
    vram_used_bytes: int | None = None
    gtt_total_bytes: int | None = None
    gtt_used_bytes: int | None = None


Library = Callable[[], Mapping[str, LibraryCard]]
"""PCI address → card. Empty without the package, without /dev/dri, or without the right to open it."""


def read_library() -> Mapping[str, LibraryCard]:
    """Every card that pyamdgpuinfo can open."""
    cards: dict[str, LibraryCard] = {}
    # The library raises FileNotFoundError where /dev/dri is missing, and RuntimeError or OSError for a card.
    with suppress(ImportError, OSError, RuntimeError):
        import pyamdgpuinfo

        for index in range(pyamdgpuinfo.detect_gpus()):
            with suppress(OSError, RuntimeError):
                gpu = pyamdgpuinfo.get_gpu(index)
                cards[str(gpu.pci_slot).lower()] = _card(gpu)
    return cards


def _card(gpu: Any) -> LibraryCard:
    sizes = gpu.memory_info
    return LibraryCard(
        name=clean_text(str(gpu.name)) if gpu.name else None,
        vram_total_bytes=_size(sizes.get("vram_size")) or None,
        vram_used_bytes=_size(_ask(gpu.query_vram_usage)),
        gtt_total_bytes=_size(sizes.get("gtt_size")) or None,
        gtt_used_bytes=_size(_ask(gpu.query_gtt_usage)),
    )


def _ask(query: Callable[[], Any]) -> Any:
    with suppress(OSError, RuntimeError):
        return query()
    return None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= MAX_SIZE_BYTES else None
