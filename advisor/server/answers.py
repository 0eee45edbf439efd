"""What llama-server prints about itself, read: version, build, backends, devices, and why it does not start.

No I/O here: see ask.py. The forms of the text are those of llama.cpp's common/arg.cpp
(``--version``, ``common_print_available_devices``) and of the loaders of Linux (glibc, musl) and macOS.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Collection
from dataclasses import dataclass, field

from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MIB

MAX_DEVICES = 64
MAX_BUILD = 10**7
_VERSION = re.compile(r"^version: (.+)$", re.MULTILINE)
_BUILD = re.compile(r"\(build (\d{1,9})\b|^(\d{1,9}) \(")
"""``0.6.0-dev (build 11434, commit abc)``; until 2026 ``6123 (79e0b68c)``, of a package ``0 (unknown)``."""
_DEVICE = re.compile(
    r"^[ \t]+([A-Za-z]\w{0,30}): (.*) \((\d{1,12}) MiB, (\d{1,12}) MiB free\)\s*$", re.MULTILINE
)
_HEAD = "Available devices:"
_LOADED = re.compile(r"^.*load_backend: loaded (\w{1,20}) backend from", re.MULTILINE)
_LOADED_CPU = re.compile(r"load_backend: loaded CPU backend from (/.{0,4000})/[^/]+$", re.MULTILINE)
_NOT_STARTED = re.compile(r"failed to initialize (CUDA|ROCm|MUSA|SYCL): (.+)")
_BACKEND_OF_DEVICE = {"mtl": "metal", "gpuopencl": "opencl"}
"""Where a device is not called after its backend (ggml-metal.cpp, ggml-opencl.cpp)."""
LISTS_NO_GPU = "It lists no GPU: it was built without one, or its driver is missing."
"""Of a build that nothing proves to be CPU-only, on a machine that has a GPU."""
_NO_GPUS = frozenset({"blas", "amx", "zendnn", "zdnn", "cpu", "rpc"})
"""Listed, but no place for layers: accelerators of the CPU. RPC is another computer."""
_MISSING_LIBRARY = (
    re.compile(r"error while loading shared libraries: ([^:\s]+): cannot open shared object"),  # glibc
    re.compile(r"Error loading shared library ([^:\s]+): "),  # musl
    re.compile(r"Library not loaded: (\S+)"),  # macOS
)
_OLD_LIBRARY = re.compile(r"version [`'\"](\w+_[\d.]+)' not found")
_MISSING_SYMBOL = re.compile(r"(?:undefined symbol|Symbol not found|symbol not found)[: ]+(\S+)")


@dataclass(frozen=True, slots=True)
class ServerDevice:
    """A device that a llama-server offers, in its own words."""

    id: str
    """As ``--device`` names it: ``CUDA0``, ``Vulkan1``."""
    name: str
    total_bytes: int | None = None
    free_bytes: int | None = field(default=None, compare=False)
    """When it was asked; whole MiB, as it prints them."""

    @property
    def backend(self) -> str:
        """``cuda``, ``rocm``, ``vulkan``, ``sycl``, ``metal`` …"""
        kind = self.id.rstrip("0123456789").lower()
        return _BACKEND_OF_DEVICE.get(kind, kind)


def version_of(text: str) -> tuple[str | None, int | None]:
    """Version and build number in what ``--version`` printed; ``None`` for what it does not tell.

    0 is what a build outside of git calls itself, 1 what one from a clone without history does
    (cmake/build-info.cmake: ``git rev-list --count HEAD``): both say nothing about its age.
    """
    found = _VERSION.search(text)
    if found is None:
        return None, None
    version = clean_text(found[1])
    match = _BUILD.search(version)
    number = int(match[1] or match[2]) if match else 0
    return version or None, number if 1 < number <= MAX_BUILD else None


def devices_of(text: str) -> tuple[ServerDevice, ...] | None:
    """The GPUs in what ``--list-devices`` printed; ``None`` where it printed no list."""
    if _HEAD not in text:
        return None
    devices = [
        ServerDevice(name, clean_text(described), int(total) * MIB or None, int(free) * MIB)
        for name, described, total, free in _DEVICE.findall(text)[:MAX_DEVICES]
    ]
    return tuple(device for device in devices if device.backend not in _NO_GPUS)


def backends_of(text: str, devices: tuple[ServerDevice, ...]) -> tuple[str, ...]:
    """Those of its devices, then those that it says it loaded, ``cpu`` last: every llama-server has it."""
    named = [device.backend for device in devices]
    loaded = [match.lower() for match in _LOADED.findall(text)]
    kinds = [_BACKEND_OF_DEVICE.get(kind, kind) for kind in loaded] + [
        kind.lower() for kind, _ in _NOT_STARTED.findall(text)
    ]
    found = dict.fromkeys(named + [kind for kind in kinds if kind not in _NO_GPUS])
    return (*list(found)[:MAX_DEVICES], "cpu")


def backend_problem(text: str) -> str | None:
    """Why a backend that it was built with gives no device, in one sentence."""
    found = _NOT_STARTED.search(text)
    return f"{found[1]} could not be started: {clean_text(found[2])}." if found else None


def backend_folder(text: str) -> str | None:
    """The folder from which it loads its backends, where these are libraries that it looks for when it starts
    (GGML_BACKEND_DL) and it says so."""
    found = _LOADED_CPU.search(text)
    return found[1] if found else None


def is_cpu_only(parts: Collection[str]) -> bool:
    """Whether the libraries of a build, named as in ``Identity.parts``, prove that it has the CPU alone.

    Each backend of a shared build is a library of its own (ggml/src/CMakeLists.txt,
    ggml_add_backend_library). A static build has none, and proves nothing.
    """
    kinds = {part.split("-", 1)[0] for part in parts if not part.startswith("lib")} - {"base"}
    return "cpu" in kinds and kinds <= _NO_GPUS


def start_problem(text: str, exit_code: int | None, timeout_s: float) -> str | None:
    """Why a program did not answer, in one sentence; ``None`` where it ended well and printed something.

    ``exit_code`` is ``None`` for one that was stopped after ``timeout_s``, and negative for a signal.
    """
    if exit_code is None:
        return f"It did not answer within {timeout_s:g} s and was stopped."
    if (reason := _loader_problem(text)) is not None:
        return reason
    signal_number = -exit_code if exit_code < 0 else exit_code - 128 if 128 < exit_code <= 192 else 0
    if signal_number == signal.SIGILL:
        return "It ended with an illegal instruction: it was built for another CPU than this one."
    if signal_number:
        return f"It was ended by the signal {_signal_name(signal_number)}."
    if exit_code:
        first = next((line for line in map(clean_text, text.splitlines()) if line), "and said nothing")
        return f"It ended with exit code {exit_code}: {first.rstrip('.')}."
    return None if text.strip() else "It printed nothing."


def _loader_problem(text: str) -> str | None:
    for pattern in _MISSING_LIBRARY:
        if found := pattern.search(text):
            return f"The shared library {clean_text(found[1].rsplit('/', 1)[-1])} is missing."
    if found := _OLD_LIBRARY.search(text):
        return f"It needs a newer system library: {clean_text(found[1])} is missing."
    if found := _MISSING_SYMBOL.search(text):
        return f"It was built with other libraries than it finds here: {clean_text(found[1])} is missing."
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
