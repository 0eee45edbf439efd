"""How much of a computer's RAM its GPU may use, where the two share one memory.

With default settings of the system; the sentence beside each figure names the setting that moves it. A probe
that reads the real limit does not need this.
"""

from __future__ import annotations

from llmfit.advisor.units import GIB

APPLE_SMALL_MAC_BYTES = 36 * GIB
"""Up to this much RAM macOS lets Metal use two thirds, above it three quarters.

Evidence: Metal's recommendedMaxWorkingSetSize as people report it: 10.67 GiB of 16 (M4, macOS 15.6,
exo-explore/exo pull request 1672), 96 of 128 (M1 Ultra), 48 of 64. Newer systems give more (11.84 of 16,
AlexsJones/llmfit pull request 754; 107.5 of 128 on macOS 26, antirez/ds4 pull request 893), so this is the
floor.
"""
ANV_SMALL_RAM_BYTES = 4 * GIB
SPARK_USABLE = (119, 128)
"""A DGX Spark sold with 128 GB shows its system 119 GiB; firmware and display keep the rest (whole GiB of
MemTotal, as owners report it)."""


def gpu_share_of_ram(vendor: str, ram_bytes: int) -> tuple[int, str]:
    """Bytes of ``ram_bytes`` that a GPU with unified memory may use by default, and a sentence that says
    why."""
    if vendor == "apple":
        small = ram_bytes <= APPLE_SMALL_MAC_BYTES
        share = ram_bytes * 2 // 3 if small else ram_bytes * 3 // 4
        part = "two thirds" if small else "three quarters"
        return (
            share,
            f"macOS lets the GPU use about {part} of RAM by default (sysctl iogpu.wired_limit_mb raises it).",
        )
    if vendor == "nvidia":
        usable, sold = SPARK_USABLE
        return (
            ram_bytes * usable // sold,
            "The GPU may use all RAM that the system sees, about 93 % of what is sold.",
        )
    if vendor == "intel":
        return intel_share_of_ram("xe", ram_bytes)
    # ttm_global_init (Linux, drivers/gpu/drm/ttm/ttm_device.c) limits buffers in system memory to half of it.
    return ram_bytes // 2, (
        "Linux lets an integrated GPU use half of RAM by default (the kernel parameter ttm.pages_limit "
        "or the firmware's graphics memory raises it)."
    )


def intel_share_of_ram(driver: str, ram_bytes: int) -> tuple[int, str]:
    """Bytes of RAM that llama.cpp's Vulkan backend may use on an integrated Intel GPU, and why.

    Mesa makes one heap of three quarters of RAM, of half where that is 4 GiB or less
    (anv_compute_sys_heap_size, src/intel/vulkan/anv_device.c). The driver i915 has no limit of its own; xe
    lends half of RAM (Linux, xe_ttm_sys_mgr_init; a later patch lifts that): half is the floor.
    """
    if driver == "xe" or ram_bytes <= ANV_SMALL_RAM_BYTES:
        return (
            ram_bytes // 2,
            "An integrated Intel GPU is taken to use half of RAM; newer kernels may lend it more.",
        )
    return ram_bytes * 3 // 4, "Mesa's Vulkan driver lets an integrated Intel GPU use three quarters of RAM."
