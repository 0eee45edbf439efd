"""Placement on cards that others use, and on memory that GPU and host share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.hardware.machine import Machine, Memory, VramProcess
from llmfit.advisor.memory.fitting import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
)
from llmfit.advisor.memory.fitting_budget import RAM_RESERVE_BYTES, machine_budgets
from llmfit.advisor.units import GIB, MIB
from tests.advisor.memory.layout_cases import (
    GEMMA_27B,
    LLAMA_8B,
    MIMO,
    QWEN_32B,
    layout_on,
)
from tests.llama_cpp.placement_models import cards_named, machine_with

# -- cards that others use


def busy_machine(*processes: VramProcess, free_mib: int = 9216) -> Machine:
    machine = machine_with(*cards_named(f"24576:{free_mib}"))
    return replace(machine, gpus=(replace(machine.gpus[0], processes=processes),))


def test_a_card_with_9_of_24_gib_free_is_not_told_to_hold_18() -> None:
    layout = layout_on(GEMMA_27B, busy_machine(), 8192)
    assert layout.verdict == FITS_OFFLOAD
    assert layout.memory.gpus[0].required_bytes <= 9 * GIB
    assert any(reason.startswith("After closing what holds 15.0 GiB of GPU0") for reason in layout.reasons)


def test_the_programs_to_close_are_named() -> None:
    machine = busy_machine(
        VramProcess(1, "Xorg", 600 * MIB),
        VramProcess(2, "game", 12 * GIB),
        VramProcess(3, "firefox", 1536 * MIB),
    )
    layout = layout_on(GEMMA_27B, machine, 8192)
    assert any(reason.startswith("After closing game (12.0 GiB) it would fit") for reason in layout.reasons)


def test_nothing_is_said_of_closing_where_it_would_not_help() -> None:
    layout = layout_on(MIMO, busy_machine(VramProcess(2, "game", 12 * GIB)))
    assert not any("After closing" in reason for reason in layout.reasons)


def test_a_card_of_unknown_room_is_planned_with_all_of_it_and_said() -> None:
    machine = machine_with(*cards_named("24564:23900"))
    unknown = replace(machine, gpus=(replace(machine.gpus[0], vram_free_bytes=None),))
    layout = layout_on(LLAMA_8B, unknown)
    assert layout.verdict == FITS_GPU
    assert any("is free is not known" in reason for reason in layout.reasons)


def test_a_card_of_unknown_size_is_left_out_and_said() -> None:
    machine = machine_with(*cards_named("24564:23900"))
    unknown = replace(machine, gpus=(replace(machine.gpus[0], vram_free_bytes=None, vram_total_bytes=None),))
    layout = layout_on(LLAMA_8B, unknown)
    assert layout.verdict == FITS_CPU
    assert any("its memory is not known" in reason for reason in layout.reasons)


def test_unknown_ram_is_not_taken_for_enough_silently() -> None:
    machine = replace(machine_with(), memory=Memory(None, None))
    layout = layout_on(LLAMA_8B, machine)
    assert layout.verdict == FITS_CPU
    assert any("RAM" in reason and "not known" in reason for reason in layout.reasons)


@pytest.mark.parametrize(
    "order", [("cuda", "rocm"), ("rocm", "cuda"), ("vulkan", "sycl"), ("sycl", "vulkan")]
)
def test_of_two_backends_with_equal_memory_the_first_cards_is_taken(order: tuple[str, str]) -> None:
    """Whatever order a set of their names has in this run of Python."""
    machine = machine_with(*cards_named("24564:23900,24564:23900"))
    cards = tuple(replace(gpu, backend=name) for gpu, name in zip(machine.gpus, order, strict=True))
    budgets = machine_budgets(replace(machine, gpus=cards))
    assert [card.gpu.backend for card in budgets.cards] == [order[0]]


def test_cards_of_another_backend_are_left_out() -> None:
    machine = machine_with(*cards_named("24564:23900,16384:15900"))
    mixed = replace(machine, gpus=(machine.gpus[0], replace(machine.gpus[1], backend="rocm", vendor="amd")))
    layout = layout_on(QWEN_32B, mixed)
    assert layout.settings.devices == (0,)
    assert any("another llama.cpp backend" in reason for reason in layout.reasons)


# -- memory that GPU and host share


def unified(total_gib: int, gpu_gib: int) -> Machine:
    machine = machine_with(*cards_named(f"{gpu_gib * 1024}"), ram_bytes=total_gib * GIB)
    gpu = replace(machine.gpus[0], unified_memory=True, backend="metal", vendor="apple")
    return replace(machine, gpus=(gpu,))


def test_unified_memory_is_counted_once() -> None:
    machine = unified(24, 24)
    layout = layout_on(QWEN_32B, machine)
    assert layout.verdict == DOES_NOT_FIT
    assert layout.shortfall_bytes > 0
    needed = sum(device.required_bytes for device in layout.memory.devices)
    assert layout.shortfall_bytes == pytest.approx(needed - (24 * GIB - RAM_RESERVE_BYTES), abs=MIB)
    assert layout_on(QWEN_32B, unified(40, 40)).verdict == FITS_GPU


def test_unified_memory_beyond_the_gpus_share_is_ram() -> None:
    layout = layout_on(QWEN_32B, unified(48, 16))
    assert layout.verdict == FITS_OFFLOAD
    assert layout.memory.gpus[0].required_bytes <= 16 * GIB
