"""How much memory llama.cpp can use on an AMD GPU that shares the system's RAM (APU). Pure.

Two pools: the carve-out that the firmware keeps for the GPU (``mem_info_vram_*``), and GTT, ordinary RAM that
the driver may lend it (``mem_info_gtt_*``), by default half of RAM.

* Vulkan sees both: ggml_backend_vk_get_device_memory (llama.cpp, ggml-vulkan.cpp) adds up all heaps of an
  integrated GPU, and Mesa's RADV makes its heaps of carve-out plus GTT (radv_physical_device_init_mem_types).
* ROCm sees one: the kernel puts every hipMalloc into GTT where the carve-out is smaller than GTT
  (``apu_prefer_gtt``: Linux, amdgpu_ttm_init, amdgpu_amdkfd_get_local_mem_info), else into the carve-out.
  llama.cpp takes hipMemGetInfo as it is (ggml_backend_cuda_device_get_memory). Seen with llama.cpp: carve-out
  4 GiB, GTT 96 GiB, "Total VRAM: 98304 MiB" (noamsto/nix-amd-ai issue 42). Kernels before 6.16.9 take GTT
  always (ROCm/ROCm issue 5444: 15.5 GB of a carve-out of 96 GB); what the kernel tells ROCm is therefore read
  where it can be (``kfd_bytes``).
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.units import GIB, format_gib

SYSTEM_RESERVE_BYTES = 8 * GIB
"""What the advice about GTT leaves to the system and its programs: a choice, said in the sentence."""
PAGE_BYTES = 4096
"""ttm.pages_limit counts pages of x86."""
WORTH_SAYING = 1.1
LARGE_CARVE_OUT = 0.25
_UNUSED_WORTH_SAYING_BYTES = GIB


@dataclass(frozen=True, slots=True)
class Pools:
    """Sizes as the driver tells them, ``None`` where it does not."""

    carve_out_bytes: int | None
    carve_out_free_bytes: int | None
    gtt_bytes: int | None
    gtt_free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Usable:
    """What llama.cpp may use; ``carve_out_bytes`` is the part of the total that RAM lacks."""

    total_bytes: int | None
    free_bytes: int | None
    carve_out_bytes: int | None
    from_kfd: bool = False


def usable_memory(
    pools: Pools,
    backend: str,
    ram_bytes: int | None,
    available_bytes: int | None,
    kfd_bytes: int | None = None,
) -> Usable:
    """What a GPU with these pools gives llama.cpp's ``backend``.

    GTT is no more than RAM, and its free part no more than the RAM that is available.
    """
    carve_out, carve_out_free = pools.carve_out_bytes, pools.carve_out_free_bytes
    gtt = _least(pools.gtt_bytes, ram_bytes) if pools.gtt_bytes is not None else None
    gtt_free = pools.gtt_free_bytes
    if gtt_free is not None:
        gtt_free = _least(_least(gtt_free, gtt), available_bytes)
    if backend != "rocm":
        frees = [free for size, free in ((carve_out, carve_out_free), (gtt, gtt_free)) if size is not None]
        known = [free for free in frees if free is not None]
        return Usable(_sum(carve_out, gtt), sum(known) if known and known == frees else None, carve_out)
    if _prefers_gtt(carve_out, gtt, kfd_bytes):
        pool, size, size_free = Usable(gtt, gtt_free, 0), pools.gtt_bytes, pools.gtt_free_bytes
    else:
        pool, size, size_free = Usable(carve_out, carve_out_free, carve_out), carve_out, carve_out_free
    if kfd_bytes is None or pool.total_bytes is None:
        return pool
    total, free = min(kfd_bytes, pool.total_bytes), pool.free_bytes
    if free is not None and size is not None and size_free is not None:
        free = min(free, max(0, total - (size - size_free)))
    return Usable(total, free, _least(pool.carve_out_bytes, total), from_kfd=True)


def _prefers_gtt(carve_out: int | None, gtt: int | None, kfd_bytes: int | None) -> bool:
    if carve_out is None or gtt is None:
        return carve_out is None
    if kfd_bytes is not None:
        return abs(kfd_bytes - gtt) <= abs(kfd_bytes - carve_out)
    return carve_out < gtt


def pool_notes(
    name: str, pools: Pools, backend: str, usable: Usable, ram_bytes: int | None, module: str = "ttm"
) -> tuple[str, ...]:
    """What would give the GPU more, one sentence each. ``module`` is the kernel module that has the limit."""
    carve_out, gtt = pools.carve_out_bytes or 0, pools.gtt_bytes or 0
    notes = []
    unused = carve_out + gtt - (usable.total_bytes or 0)
    if backend == "rocm" and min(carve_out, gtt, unused) >= _UNUSED_WORTH_SAYING_BYTES:
        notes.append(
            f"{name}: ROCm can use {format_gib(usable.total_bytes or 0)} of the {format_gib(carve_out)} that "
            f"the firmware keeps for the GPU and the {format_gib(gtt)} of RAM that the kernel lends it; "
            "a Vulkan build of llama.cpp sees both."
        )
    if ram_bytes is None:
        return tuple(notes)
    if carve_out > LARGE_CARVE_OUT * (carve_out + ram_bytes):
        notes.append(
            f"{name}: the firmware keeps {format_gib(carve_out)} for the GPU alone and leaves the system "
            f"{format_gib(ram_bytes)}; the smallest graphics memory in the firmware's setup and a larger "
            f"{module}.pages_limit would let both use all of it."
        )
        return tuple(notes)
    wanted = ram_bytes - SYSTEM_RESERVE_BYTES
    if wanted > WORTH_SAYING * gtt:
        notes.append(
            f"{name}: the kernel lends the GPU {format_gib(gtt)} of {format_gib(ram_bytes)} RAM; the kernel "
            f"parameter {module}.pages_limit={wanted // PAGE_BYTES} (pages of 4 KiB) makes it "
            f"{format_gib(wanted)} and leaves the system {format_gib(SYSTEM_RESERVE_BYTES)}."
        )
    return tuple(notes)


def _least(first: int | None, second: int | None) -> int | None:
    known = [size for size in (first, second) if size is not None]
    return min(known) if known else None


def _sum(first: int | None, second: int | None) -> int | None:
    known = [size for size in (first, second) if size is not None]
    return sum(known) if known else None
