"""NVIDIA cards through NVML, the library that comes with the driver (module pynvml of nvidia-ml-py)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.small_files import read_bytes
from llmfit.advisor.text import clean_text


class NvidiaProbe:
    """Reads every NVIDIA card, or slice of one (MIG), that CUDA programs started from here would see."""

    subject = "NVIDIA cards"
    finds_gpus = True

    def __init__(self, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> None:
        self._environ = os.environ if environ is None else environ
        self._root = root

    def read(self) -> Findings:
        try:
            import pynvml  # 16 ms, and not needed for a simulated machine
        except ImportError:
            return Findings(notes=("NVIDIA cards were not looked for: the package nvidia-ml-py is missing.",))
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return _without_driver(pynvml, error, self._root)
        try:
            # Not needed where there is no driver.
            from llmfit.advisor.hardware.nvidia.listing import read_devices

            return read_devices(pynvml, self._environ, self._root)
        finally:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def _without_driver(nvml: Any, error: Any, root: Path) -> Findings:
    """Most computers have no NVIDIA card and no driver; a driver that fails was installed for a card."""
    if error.value != nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return Findings(unseen_gpus=(_why_no_answer(nvml, error),))
    if _is_jetson(root):
        note = (
            "This is an NVIDIA Jetson whose system has no NVML (JetPack 6 and later have it), so its GPU "
            "cannot be seen: name it with --gpu."
        )
        return Findings(unseen_gpus=(note,))
    note = "NVML not found: no NVIDIA driver is installed here, so NVIDIA cards cannot be seen."
    return Findings(notes=(note,))


def _why_no_answer(nvml: Any, error: Any) -> str:
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "NVML is installed but the NVIDIA driver is not loaded, so NVIDIA cards cannot be seen."
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "The NVIDIA driver was updated since this computer started: restart it to see the cards."
    if error.value == nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
        return "NVIDIA cards cannot be seen: the NVML library found here is too old, or is not NVIDIA's."
    if error.value == nvml.NVML_ERROR_NO_PERMISSION:
        return "NVIDIA cards cannot be seen: this user may not talk to the driver (/dev/nvidiactl)."
    return f"NVIDIA cards cannot be seen: {clean_text(str(error))}."


def _is_jetson(root: Path) -> bool:
    """The device tree names the chip: ``nvidia,tegra234`` (Linux: arch/arm64/boot/dts/nvidia)."""
    return b"nvidia,tegra" in read_bytes(root / "proc/device-tree/compatible", 4096)
