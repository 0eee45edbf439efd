"""What pyamdgpuinfo tells, and which of an APU's pools a program may use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.drm.amd_library import LibraryCard, read_library
from llmfit.advisor.hardware.drm.amd_pools import Pools, pool_notes, usable_memory
from llmfit.advisor.units import GIB, MIB


def test_pyamdgpuinfo_without_dev_dri_is_no_error() -> None:
    if Path("/dev/dri").exists():
        pytest.skip("this computer has /dev/dri")
    assert read_library() == {}


def test_pyamdgpuinfo_by_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second card cannot be opened, a query of the first fails: the rest counts."""

    class Card:
        name = "AMD Radeon\x1b[31m Red"
        pci_slot = "0000:0B:00.0"
        memory_info: Mapping[str, int] = {"vram_size": 8 * GIB, "gtt_size": 0}

        def query_vram_usage(self) -> int:
            return GIB

        def query_gtt_usage(self) -> int:
            raise RuntimeError("no")

    def get_gpu(index: int) -> Card:
        if index == 1:
            raise OSError("cannot open")
        return Card()

    library = ModuleType("pyamdgpuinfo")
    library.detect_gpus = lambda: 2  # type: ignore[attr-defined]
    library.get_gpu = get_gpu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyamdgpuinfo", library)
    card = LibraryCard("AMD Radeon [31m Red", 8 * GIB, GIB, None, None)
    assert read_library() == {"0000:0b:00.0": card}


sizes = st.none() | st.integers(0, 2**45)


@given(sizes, sizes, sizes, sizes, sizes, sizes, sizes, st.sampled_from(["rocm", "vulkan"]))
def test_never_more_than_there_is(
    carve_out: int | None,
    carve_out_used: int | None,
    gtt: int | None,
    gtt_used: int | None,
    ram: int | None,
    available: int | None,
    kfd: int | None,
    backend: str,
) -> None:
    def free(total: int | None, used: int | None) -> int | None:
        return None if total is None or used is None else max(0, total - used)

    pools = Pools(carve_out, free(carve_out, carve_out_used), gtt, free(gtt, gtt_used))
    usable = usable_memory(pools, backend, ram, available, kfd)
    if usable.total_bytes is None:
        assert carve_out is None or (gtt is None and backend == "rocm")
        return
    lent = min(size for size in (gtt or 0, ram) if size is not None)
    assert usable.total_bytes <= (carve_out or 0) + lent
    assert 0 <= (usable.carve_out_bytes or 0) <= usable.total_bytes
    if usable.free_bytes is not None:
        assert 0 <= usable.free_bytes <= usable.total_bytes
        if available is not None:
            assert usable.free_bytes <= (usable.carve_out_bytes or 0) + available
    assert all(note.endswith(".") for note in pool_notes("X", pools, backend, usable, ram))


def test_small_machines_are_not_told_to_starve_the_system() -> None:
    pools = Pools(512 * MIB, 500 * MIB, 8 * GIB, 8 * GIB)
    usable = usable_memory(pools, "vulkan", 16 * GIB, 12 * GIB)
    assert pool_notes("X", pools, "vulkan", usable, 16 * GIB) == ()
