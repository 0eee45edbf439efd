"""One NVML handle, asked field by field: each answer may fail alone and is remembered as not told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MAX_SIZE_BYTES


class CardLostError(Exception):
    """The driver lost the card while it was being read."""


@dataclass(frozen=True, slots=True)
class NvidiaDevice:
    """What CUDA may show a program: a card, or a slice of one (MIG), with what is said about it in notes."""

    gpu: Gpu
    card: int
    """NVML's number of the card, in the order of the PCI bus."""
    instance: tuple[int, int] | None = None
    """GPU instance and compute instance of a slice."""
    untold: tuple[tuple[str, str], ...] = ()
    """What the driver did not tell, and why."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vram:
    """Bytes of a device's memory; ``unified`` where it has none of its own."""

    total: int | None = None
    free: int | None = None
    reserved: int | None = None
    unified: bool = False


class Handle:
    """An NVML device handle (of a card or of a slice) and the list of what it did not tell.

    Every call raises CardLostError when the driver lost the card.
    """

    def __init__(self, nvml: Any, raw: Any) -> None:
        self.nvml = nvml
        self.raw = raw
        self.untold: dict[str, str] = {}

    def call(self, name: str, *arguments: object) -> Any:
        """The answer of NVML's function ``name``. Raises NVMLError, as ``nvml.NVMLError``."""
        nvml = self.nvml
        try:
            return getattr(nvml, name)(self.raw, *arguments)
        except (nvml.NVMLLibraryMismatchError, AttributeError):
            # The driver or the binding is too old to know this function.
            raise nvml.NVMLError(nvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None
        except nvml.NVMLError as error:
            gone = (
                nvml.NVML_ERROR_GPU_IS_LOST,
                nvml.NVML_ERROR_RESET_REQUIRED,
                nvml.NVML_ERROR_GPU_NOT_FOUND,
            )
            if error.value in gone:
                raise CardLostError from error
            raise

    def ask(self, what: str, name: str, *arguments: object) -> Any:
        """The answer, or ``None``, and then ``what`` is remembered as not told."""
        try:
            return self.call(name, *arguments)
        except self.nvml.NVMLError as error:
            self.untold[what] = clean_text(str(error))
        except UnicodeDecodeError:
            self.untold[what] = "not text"
        return None

    def ask_quietly(self, name: str, *arguments: object) -> Any:
        """The answer, or ``None`` where nobody would miss it."""
        try:
            return self.call(name, *arguments)
        except (self.nvml.NVMLError, UnicodeDecodeError):
            return None

    def ask_number(self, what: str, name: str, *arguments: object, most: int) -> int | None:
        """As ``ask``, for a number of 1 to ``most``: drivers answer 0 or all ones where they do not know."""
        number = self.ask(what, name, *arguments)
        if number is None:
            return None
        if not 0 < number <= most:
            self.untold[what] = f"{number} is not possible"
            return None
        return int(number)

    def ask_text(self, what: str, name: str) -> str | None:
        return clean_text(self.ask(what, name) or "") or None

    def vram(self) -> Vram:
        """Total, free and reserved bytes.

        Version 2 of the call tells what the driver reserves; older drivers (before 510) and WSL answer
        version 1 only. Parts that share the system's RAM (GB10, Jetson) answer NotSupported or a total of 0.
        """
        info, error = self._memory_info()
        if error is not None:
            if error.value == self.nvml.NVML_ERROR_NOT_SUPPORTED:
                return Vram(unified=True)
            self.untold["memory"] = clean_text(str(error))
            return Vram()
        if info.total == 0:
            return Vram(unified=True)
        if info.total > MAX_SIZE_BYTES or info.free > info.total:
            self.untold["memory"] = f"{info.free} of {info.total} bytes free is not possible"
            return Vram()
        reserved = getattr(info, "reserved", None)
        return Vram(info.total, info.free, reserved if reserved is None or reserved <= info.total else None)

    def _memory_info(self) -> tuple[Any, Any]:
        """The answer and ``None``, or ``None`` and the error of the last version that was tried."""
        failed = None
        for version in ((self.nvml.nvmlMemory_v2,), ()):
            try:
                return self.call("nvmlDeviceGetMemoryInfo", *version), None
            except self.nvml.NVMLError as error:
                failed = error
        return None, failed
