"""Closing programs frees what they hold, never more than a card has, and nothing that is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory, VramProcess
from llmfit.advisor.hardware.what_if import closing_text, without_programs
from llmfit.advisor.units import GIB, MIB

FIREFOX, XORG, GAME = 11, 12, 13


def card(index: int = 0, free_gib: float | None = 10.0, **more: object) -> Gpu:
    held = (VramProcess(FIREFOX, "firefox", 3 * GIB // 2), VramProcess(XORG, "Xorg", 600 * MIB))
    values: dict[str, object] = {
        "vram_total_bytes": 24 * GIB,
        "vram_free_bytes": None if free_gib is None else round(free_gib * GIB),
        "vram_reserved_bytes": GIB // 2,
        "processes": held,
        "sources": {"vram_free_bytes": "nvml", "vram_total_bytes": "nvml"},
        **more,
    }
    return Gpu(index, "RTX 3090", "nvidia", "cuda", **values)  # type: ignore[arg-type]


def machine(*gpus: Gpu, memory: Memory | None = None) -> Machine:
    return Machine("linux", Cpu(None, None, None), memory or Memory(64 * GIB, 30 * GIB), gpus, notes=("a",))


def test_what_a_program_holds_becomes_free_on_each_card() -> None:
    other = card(1, 20.0, processes=(VramProcess(FIREFOX, "firefox", GIB),))
    after = without_programs(machine(card(), other), {FIREFOX})
    assert [gpu.vram_free_bytes for gpu in after.gpus] == [10 * GIB + 3 * GIB // 2, 21 * GIB]
    assert [process.name for process in after.gpus[0].processes] == ["Xorg"]
    assert after.gpus[0].sources == {
        "vram_free_bytes": "after closing firefox (1.5 GiB)",
        "vram_total_bytes": "nvml",
    }
    assert after.gpus[1].sources["vram_free_bytes"] == "after closing firefox (1.0 GiB)"
    assert after.notes == ("a", "Free memory is what it would be after closing firefox (2.5 GiB).")
    assert after.memory == machine().memory


def test_a_card_without_the_program_stays_as_it_is() -> None:
    idle = card(1, processes=())
    assert without_programs(machine(card(), idle), {XORG}).gpus[1] is idle


@pytest.mark.parametrize("pids", [set(), {99}])
def test_nothing_closed_is_the_same_machine(pids: set[int]) -> None:
    before = machine(card())
    assert without_programs(before, pids) is before
    assert closing_text(before, pids) == ""


def test_never_above_what_the_driver_leaves() -> None:
    after = without_programs(machine(card(free_gib=23.0)), {FIREFOX, XORG})
    assert after.gpus[0].vram_free_bytes == 24 * GIB - GIB // 2


def test_a_free_size_above_that_does_not_shrink() -> None:
    after = without_programs(machine(card(free_gib=23.9)), {FIREFOX})
    assert after.gpus[0].vram_free_bytes == round(23.9 * GIB)


def test_unknown_stays_unknown() -> None:
    assert without_programs(machine(card(free_gib=None)), {FIREFOX}).gpus[0].vram_free_bytes is None
    quiet = card(processes=(VramProcess(GAME, "game", None),))
    after = without_programs(machine(quiet), {GAME})
    assert after.gpus[0].vram_free_bytes == quiet.vram_free_bytes
    assert after.gpus[0].sources["vram_free_bytes"] == "nvml"
    assert after.notes[1:] == (
        "Free memory is what it would be after closing game (size not known).",
        "What game holds on GPU0 is not known: closing it is counted as nothing.",
    )


def test_the_text_names_the_largest_first_and_counts_the_rest() -> None:
    busy = machine(card())
    assert closing_text(busy, {FIREFOX, XORG}) == "after closing firefox (1.5 GiB), Xorg (0.6 GiB)"
    many = tuple(VramProcess(pid, f"p{pid}", pid * GIB) for pid in range(1, 7))
    text = closing_text(machine(card(processes=many)), range(1, 7))
    assert text == "after closing p6 (6.0 GiB), p5 (5.0 GiB), p4 (4.0 GiB), 3 more"
    small = machine(card(processes=(VramProcess(1, "tiny", 5 * MIB),)))
    assert closing_text(small, [1]) == "after closing tiny (5 MiB)"


def shared(**more: object) -> Gpu:
    return card(unified_memory=True, vram_reserved_bytes=None, vram_total_bytes=60 * GIB, **more)


def test_shared_memory_comes_back_to_ram() -> None:
    after = without_programs(machine(shared()), {FIREFOX})
    assert after.gpus[0].vram_free_bytes == 10 * GIB + 3 * GIB // 2
    assert after.memory.available_bytes == 30 * GIB + 3 * GIB // 2
    assert after.memory.sources["available_bytes"] == "after closing firefox (1.5 GiB)"
    full = Memory(64 * GIB, 64 * GIB - MIB)
    assert without_programs(machine(shared(), memory=full), {FIREFOX}).memory.available_bytes == 64 * GIB


def test_what_may_have_been_in_the_carve_out_is_not_counted_as_ram() -> None:
    after = without_programs(machine(shared(carve_out_bytes=GIB)), {FIREFOX})
    assert after.memory.available_bytes == 30 * GIB + GIB // 2
    after = without_programs(machine(shared(carve_out_bytes=8 * GIB)), {FIREFOX, XORG})
    assert after.memory.available_bytes == 30 * GIB


def test_under_a_limit_ram_gains_nothing_by_what_others_free() -> None:
    limited = Memory(64 * GIB, 10 * GIB, limit_bytes=16 * GIB)
    assert without_programs(machine(shared(), memory=limited), {FIREFOX}).memory == limited


SIZES = st.one_of(st.none(), st.integers(0, 40 * GIB))
PROCESSES = st.lists(
    st.builds(VramProcess, st.integers(1, 5), st.just("p"), SIZES), max_size=5, unique_by=lambda one: one.pid
).map(tuple)
CARDS = st.builds(
    lambda total, free, reserved, processes, unified, carve: card(
        vram_total_bytes=total,
        vram_free_bytes=free,
        vram_reserved_bytes=reserved,
        processes=processes,
        unified_memory=unified,
        carve_out_bytes=carve,
    ),
    SIZES, SIZES, SIZES, PROCESSES, st.booleans(), SIZES,
)  # fmt: skip
MACHINES = st.builds(
    lambda gpus, total, available, limit: machine(*gpus, memory=Memory(total, available, limit)),
    st.lists(CARDS, max_size=3), SIZES, SIZES, SIZES,
)  # fmt: skip
PIDS = st.frozensets(st.integers(1, 6))


@given(MACHINES, PIDS)
def test_closing_only_ever_frees_and_within_the_card(before: Machine, pids: frozenset[int]) -> None:
    after = without_programs(before, pids)
    hash(after)
    for old, new in zip(before.gpus, after.gpus, strict=True):
        assert {process.pid for process in new.processes} == {p.pid for p in old.processes} - pids
        if old.vram_free_bytes is None or new.vram_free_bytes is None:
            assert new.vram_free_bytes is old.vram_free_bytes
            continue
        gained = new.vram_free_bytes - old.vram_free_bytes
        assert 0 <= gained <= sum(p.vram_bytes or 0 for p in old.processes if p.pid in pids)
        if gained and old.vram_total_bytes is not None:
            assert new.vram_free_bytes <= old.vram_total_bytes - (old.vram_reserved_bytes or 0)
    old_ram, new_ram = before.memory.available_bytes, after.memory.available_bytes
    if old_ram is None or new_ram is None:
        assert new_ram is old_ram
    elif new_ram != old_ram:
        assert before.memory.limit_bytes is None and any(gpu.unified_memory for gpu in before.gpus)
        assert old_ram < new_ram
        assert before.memory.total_bytes is None or new_ram <= before.memory.total_bytes


@given(MACHINES, PIDS, PIDS)
def test_one_after_the_other_is_both_together_in_free_memory(
    before: Machine, first: frozenset[int], second: frozenset[int]
) -> None:
    both = without_programs(before, first | second)
    steps = without_programs(without_programs(before, first), second)
    assert [gpu.vram_free_bytes for gpu in steps.gpus] == [gpu.vram_free_bytes for gpu in both.gpus]
    assert [gpu.processes for gpu in steps.gpus] == [gpu.processes for gpu in both.gpus]


def test_a_machine_after_closing_is_another_machine() -> None:
    before = machine(card())
    after = without_programs(before, {XORG})
    assert after != before and hash(after) == hash(without_programs(replace(before), {XORG}))
