"""The fourteen machines whose lists of proposals a person has read: docs/machines/NAME.md holds each."""

from __future__ import annotations

from collections.abc import Mapping

CONTEXT_TOKENS = 32768
USES = ("general", "coding")
_BESIDE = {"ram": "64GiB", "ram_bandwidth": "60"}

MACHINES: Mapping[str, Mapping[str, object]] = {
    "rtx-3070-8gb": {"gpu": ["RTX 3070"], **_BESIDE},
    "rtx-4070-12gb": {"gpu": ["RTX 4070"], **_BESIDE},
    "rtx-4060-ti-16gb": {"gpu": ["RTX 4060 Ti 16GB"], **_BESIDE},
    "rtx-3090-24gb": {"gpu": ["RTX 3090"], **_BESIDE},
    "rtx-5090-32gb": {"gpu": ["RTX 5090"], **_BESIDE},
    "2x-rtx-3090": {"gpu": ["2x RTX 3090"], **_BESIDE},
    "2x-rtx-3090-one-busy": {"gpu": ["2x RTX 3090"], "vram_free": "24GiB,10GiB", **_BESIDE},
    "rx-7900-xtx": {"gpu": ["RX 7900 XTX"], **_BESIDE},
    "arc-b580": {"gpu": ["Arc B580"], **_BESIDE},
    "m4-max-128gb": {"gpu": ["M4 Max 128GB"]},
    "strix-halo-128gb": {"gpu": ["Strix Halo 128GB"]},
    "dgx-spark": {"gpu": ["DGX Spark"]},
    "h100": {"gpu": ["H100"], **_BESIDE},
    "cpu-32gb": {"gpu": ["none"], "ram": "32GiB", "ram_bandwidth": "50"},
}
"""The options of each, as ``machine_from`` and the command line take them."""
