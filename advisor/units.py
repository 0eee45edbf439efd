"""Units: GB is 1e9 bytes, GiB is 2**30 bytes, and every text says which.

Inside llmfit a size is an ``int`` of bytes. Only this module reads or writes sizes for people.
"""

from __future__ import annotations

import re

from llmfit.advisor.errors import UsageError

KIB = 2**10
MIB = 2**20
GIB = 2**30
TIB = 2**40
GB = 10**9

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "kb": 10**3,
    "m": MIB,
    "mib": MIB,
    "mb": 10**6,
    "g": GIB,
    "gib": GIB,
    "gb": GB,
    "t": TIB,
    "tib": TIB,
    "tb": 10**12,
}
_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)\s*")
_CONTEXT = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([kKmM]?)\s*")
MAX_SIZE_BYTES = 2**50
"""One PiB: anything larger is a typing error, not a computer."""
MAX_CONTEXT_TOKENS = 2**27


def parse_size(text: str, what: str = "size") -> int:
    """Bytes in ``64GiB``, ``64GB`` (1e9), ``64G`` (= GiB) or ``512M``; a bare number is bytes.

    Raises UsageError for anything else.
    """
    match = _SIZE.fullmatch(text) if text.isascii() else None
    if match is None or match[2].lower() not in _SIZE_UNITS:
        raise UsageError(f"{what} {text!r}", "not a size", "Write 64GiB, 64GB (1e9 bytes) or 512MiB.")
    size_bytes = int(float(match[1]) * _SIZE_UNITS[match[2].lower()])
    if size_bytes > MAX_SIZE_BYTES:
        raise UsageError(
            f"{what} {text!r}", "larger than one PiB", "Write 64GiB, 64GB (1e9 bytes) or 512MiB."
        )
    return size_bytes


def parse_context(text: str, what: str = "context", at_least_tokens: int = 1) -> int:
    """Tokens in ``32768``, ``32k`` (x1024), ``1.5k`` or ``1m`` (x1024²). Raises UsageError else."""
    match = _CONTEXT.fullmatch(text) if text.isascii() else None
    if match is None:
        raise UsageError(f"{what} {text!r}", "not a number of tokens", "Write 32768 or 32k.")
    if not match[2] and "." in match[1]:
        raise UsageError(f"{what} {text!r}", "not a whole number of tokens", "Write 32768 or 32k.")
    tokens = int(float(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()])
    if not at_least_tokens <= tokens <= MAX_CONTEXT_TOKENS:
        hint = f"It must be {at_least_tokens} to {MAX_CONTEXT_TOKENS} tokens."
        raise UsageError(f"{what} {text!r}", "out of range", hint)
    return tokens


def format_gib(size_bytes: float, digits: int = 1) -> str:
    """``21.4 GiB``; below 1 GiB in MiB, so that a small thing is not shown as 0.0."""
    if abs(size_bytes) < GIB:
        return f"{size_bytes / MIB:.0f} MiB"
    return f"{size_bytes / GIB:.{digits}f} GiB"


def format_context(tokens: int) -> str:
    """``32K`` for 32768, ``1M`` for 1048576, else the plain number."""
    if tokens >= 1024**2 and tokens % 1024**2 == 0:
        return f"{tokens // 1024**2}M"
    if tokens >= 1024 and tokens % 1024 == 0:
        return f"{tokens // 1024}K"
    return str(tokens)


def pad(count: int, multiple: int) -> int:
    """``count`` rounded up to a multiple (GGML_PAD)."""
    return (count + multiple - 1) // multiple * multiple


def two_figures(number: float) -> str:
    """``0.83``, ``4.2``, ``18``, ``130``."""
    if number >= 100:
        return f"{round(number, -1):.0f}" if number < 1000 else f"{round(number, 2 - _digits(number)):.0f}"
    if number >= 10:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def _digits(number: float) -> int:
    """Before the point."""
    return len(str(int(number)))
