"""What a device is called where its sizes stand: the same on every screen and in every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfit.advisor.text import printable

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu
    from llmfit.advisor.memory.breakdown import DeviceMemory


def device_label(device: DeviceMemory) -> str:
    """``GPU1`` or ``RAM``: the names of two equal cards would not tell them apart."""
    return "RAM" if device.kind == "host" else f"GPU{device.gpu_index}"


def short_gpu_name(gpu: Gpu) -> str:
    """``RTX 3090`` for ``NVIDIA GeForce RTX 3090``."""
    return printable(gpu.name).removeprefix("NVIDIA ").removeprefix("GeForce ")
