"""Small files of the kernel and the firmware: read whole, never more than a bound, never an exception."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from llmfit.advisor.units import MAX_SIZE_BYTES

MAX_BYTES = 2**16
"""Files of /proc and /sys with one value or one short table are far below this (an attribute of sysfs is one
page), and so is libdrm's table amdgpu.ids."""


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The first ``max_bytes`` of a file; empty where it is missing or unreadable."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        return file.read(max_bytes)
    return b""


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """``read_bytes`` as text without blanks around it."""
    return read_bytes(path, max_bytes).decode(errors="replace").strip()


def read_int(path: Path) -> int | None:
    """A file with one decimal number; ``None`` for anything else (``max``)."""
    return to_int(read_text(path))


def read_number(path: Path, most: int = MAX_SIZE_BYTES) -> int | None:
    """A whole number from 0 to ``most``; anything else is unknown."""
    number = read_int(path)
    return number if number is not None and 0 <= number <= most else None


def to_int(text: str) -> int | None:
    """Decimal digits with a sign, at most 20 of them; ``None`` for anything else."""
    text = text.strip()
    return int(text) if len(text) <= 20 and text.removeprefix("-").isdecimal() and text.isascii() else None


def parse_cpu_list(text: str, limit: int = 2**14) -> frozenset[int]:
    """``0-3,8`` as the kernel writes sets of CPUs and nodes (cpumap_print_to_pagebuf, ``%*pbl``).

    Numbers from ``limit`` on and parts that are no range are left out.
    """
    members: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = to_int(first), to_int(last if dash else first)
        if low is not None and high is not None and 0 <= low <= high < limit:
            members.update(range(low, high + 1))
    return frozenset(members)
