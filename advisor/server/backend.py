"""What a llama-server offers against what the machine has: which device is which GPU. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.server.answers import ServerDevice

SOURCE = "llama-server"
BACKEND_TITLE = {
    "cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL", "metal": "Metal", "cpu": "CPU",
}  # fmt: skip
"""As llama.cpp's people write them."""
_VENDOR_WORDS = {
    "nvidia": ("nvidia", "geforce", "quadro", "tesla"),
    "amd": ("amd", "radeon", "radv"),
    "intel": ("intel", "arc"),
    "apple": ("apple",),
}
_MAKERS_WORDS = frozenset({word for words in _VENDOR_WORDS.values() for word in words}) | {"graphics", "gpu"}


def with_server_backends(machine: Machine, devices: Sequence[ServerDevice]) -> Machine:
    """``machine`` with each GPU's backend as the chosen llama-server really offers it.

    Changed only where that is certain: GPU *i* of those that are planned for a backend which the server lacks
    is device *i* of another one of its backends. Commands then name devices that exist, and a note says so.
    Where it is not certain the machine stays as it is (advisor.diagnosis.server says what people are told).
    """
    offered = list(dict.fromkeys(device.backend for device in devices))
    lacking = [gpu for gpu in machine.gpus if gpu.backend not in offered]
    if not lacking:
        return machine
    for backend in offered:
        named = [device for device in devices if device.backend == backend]
        others = [gpu for gpu in machine.gpus if gpu.backend == backend]
        if others or not is_same_order(lacking, named):
            continue
        gpus = tuple(_planned_for(gpu, backend) if gpu in lacking else gpu for gpu in machine.gpus)
        note = (
            f"Planned for {title(backend)}: this llama-server offers {_listed(named[: len(lacking)])}, "
            f"and nothing for {' or '.join(sorted({title(gpu.backend) for gpu in lacking}))}."
        )
        return replace(machine, gpus=gpus, notes=(*machine.notes, note))
    return machine


def is_same_order(gpus: Sequence[Gpu], devices: Sequence[ServerDevice]) -> bool:
    """Whether GPU *i* is surely device *i*, the devices being those of one backend."""
    if len(devices) < len(gpus):
        return False
    pairs = list(zip(gpus, devices, strict=False))
    if any(same_card(gpu, device) is False for gpu, device in pairs):
        return False
    return all(same_card(gpu, device) for gpu, device in pairs) or len(devices) == len(gpus) == 1


def same_card(gpu: Gpu, device: ServerDevice) -> bool | None:
    """Whether both are a card of one name; ``None`` where their names do not tell.

    Drivers of one card differ in their words: ``AMD Radeon RX 7900 XTX (RADV NAVI31)`` for Vulkan.
    """
    maker = _vendor(device.name)
    if maker is not None and maker != gpu.vendor:
        return False
    ours, theirs = _model_words(gpu.name), _model_words(device.name)
    if ours == theirs and ours:
        return True
    numbers, other_numbers = _numbers(ours), _numbers(theirs)
    return False if numbers and other_numbers and not numbers & other_numbers else None


def title(backend: str) -> str:
    """``CUDA`` for ``cuda``."""
    return BACKEND_TITLE.get(backend, backend)


def _planned_for(gpu: Gpu, backend: str) -> Gpu:
    return replace(gpu, backend=backend, sources={**gpu.sources, "backend": SOURCE})


def _listed(devices: Sequence[ServerDevice]) -> str:
    return ", ".join(f"{device.id} ({device.name})" for device in devices)


def _vendor(name: str) -> str | None:
    words = _words(name)
    found = [vendor for vendor, marks in _VENDOR_WORDS.items() if words & set(marks)]
    return found[0] if len(found) == 1 else None


def _model_words(name: str) -> frozenset[str]:
    return _words(re.sub(r"\([^)]*\)", " ", name)) - _MAKERS_WORDS


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


def _numbers(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if re.search(r"\d{2}", word))
