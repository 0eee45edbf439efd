"""Computers whose GPU shares their memory, as whole boxes: watts at the wall socket, read by others.

What is rated of such a chip tells little: the catalogue's 55 W of a Radeon 8060S is the chip's base, the box
around it draws 133 W. A computer that nobody read is not in here, and its power is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmfit.advisor.recommend.cost.energy import Spread


@dataclass(frozen=True, slots=True)
class BoxPower:
    """``what`` completes a sentence: whose reading of which computer."""

    watts: Spread
    what: str


_READ = "as read by J. Geerling with llama.cpp and Ollama"
_APPLES_SHARE = Spread(0.80, 0.90, 1.0)
"""Of the maximum that Apple states: the Mac Studio M3 Ultra drew 223 to 262 of its 270 W with models."""


def _apples_maximum(watts: float, what: str) -> BoxPower:
    return BoxPower(
        _APPLES_SHARE.times(watts), f"80 to 100 % of what Apple states as the maximum of a {what}"
    )


_BOXES: Mapping[str, BoxPower] = MappingProxyType(
    {
        "apple-m3-ultra": BoxPower(Spread(223, 243, 262), f"a Mac Studio M3 Ultra {_READ}"),
        "apple-m4": BoxPower(Spread(30, 30.5, 31.5), f"a Mac mini M4 {_READ}"),
        "nvidia-gb10": BoxPower(Spread(123, 133, 156), f"a Dell Pro Max with GB10 {_READ}"),
        "amd-radeon-8060s": BoxPower(Spread(133, 133, 140), f"a Framework Desktop {_READ}"),
        "apple-m1-max": _apples_maximum(115, "Mac Studio M1 Max"),
        "apple-m1-ultra": _apples_maximum(215, "Mac Studio M1 Ultra"),
        "apple-m2-max": _apples_maximum(145, "Mac Studio M2 Max"),
        "apple-m2-ultra": _apples_maximum(295, "Mac Studio M2 Ultra"),
    }
)
"""By catalogue id. Readings: github.com/geerlingguy/ai-benchmarks, README and issues 2, 21, 34, 42 (peaks at
the socket). Apple's maxima: support.apple.com/102027, at the socket. Each in ``tests/data/power.csv``."""


def whole_box(catalog_id: str | None) -> BoxPower | None:
    """The computer around this GPU, where somebody has read one."""
    return None if catalog_id is None else _BOXES.get(catalog_id)
