"""What a device is called where its sizes stand: the same on every screen and in every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmfit.advisor.memory.breakdown import DeviceMemory


def device_label(device: DeviceMemory) -> str:
    """``GPU1`` or ``RAM``: the names of two equal cards would not tell them apart."""
    return "RAM" if device.kind == "host" else f"GPU{device.gpu_index}"
