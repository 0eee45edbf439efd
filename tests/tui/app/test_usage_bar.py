"""Bars by process: every byte in use has its cells, whoever holds it, and no bar is longer than its room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from llmfit.advisor.diagnosis.diagnose import diagnose
from llmfit.advisor.diagnosis.findings import Surroundings
from llmfit.advisor.hardware.machine import (
    UNKNOWN_SIZE,
    Cpu,
    Disk,
    Gpu,
    Machine,
    Memory,
    Partition,
    VramProcess,
)
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.hardware.what_if import closing_text
from llmfit.advisor.units import GIB, MIB
from llmfit.catalog.gpus import lookup_gpu
from llmfit.tui.cli.render_machine import hardware_lines
from llmfit.tui.known_machine import KnownMachine
from llmfit.tui.machine_facts import card_facts, machine_sections, ram_facts, remarks
from llmfit.tui.question import Question
from llmfit.tui.widgets import cards_view
from llmfit.tui.widgets.facts_view import facts_of
from llmfit.tui.widgets.heading import question_line, question_text, title_text
from llmfit.tui.widgets.machine_panel import machine_text
from llmfit.tui.widgets.usage_bar import holder_marks, usage_bar, usage_parts, used_bytes
from tests.tui.app.fake_advice import busy, two_cards


def card(**more: object) -> Gpu:
    values: dict[str, object] = {"vram_total_bytes": 24 * GIB, "vram_free_bytes": 24 * GIB, **more}
    return Gpu(0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", **values)  # type: ignore[arg-type]


def machine(*gpus: Gpu, memory: Memory | None = None, **more: object) -> Machine:
    memory = memory or Memory(64 * GIB, 60 * GIB)
    return Machine("linux", Cpu(None, None, None), memory, gpus, **more)  # type: ignore[arg-type]


def held(*sizes: int | None) -> tuple[VramProcess, ...]:
    return tuple(VramProcess(pid, f"p{pid}", size) for pid, size in enumerate(sizes, 1))


def test_each_holder_has_its_glyph_and_the_rest_is_told() -> None:
    gpu = card(vram_free_bytes=8 * GIB, vram_reserved_bytes=GIB, processes=held(2 * GIB, 8 * GIB, 3 * GIB))
    assert usage_bar(gpu, 24).plain == "████████▓▓▓▒▒╳╳≡········"
    assert {pid: mark[0] for pid, mark in holder_marks(gpu).items()} == {1: "▒", 2: "█", 3: "▓"}


def test_holders_come_largest_first_everywhere_and_an_unknown_size_reads_alike() -> None:
    gpu = card(vram_free_bytes=8 * GIB, processes=held(None, GIB, 8 * GIB, GIB, None))
    assert [one.pid for one in gpu.holders] == [3, 2, 4, 1, 5]
    assert list(holder_marks(gpu)) == [3, 2, 4, 1, 5]
    one_card = machine(gpu)
    in_facts = "\n".join(hardware_lines(one_card))
    in_panel = machine_text(one_card, 200, 10).plain
    told = (line.text.plain for line in cards_view._lines(KnownMachine(one_card), 120))
    in_cards = "\n".join(line for line in told if " pid " in line)
    doctor = next(text for _, text in held_by(one_card))
    for shown in (in_facts, in_panel, in_cards, doctor):
        places = [shown.index(f"p{pid} ") for pid in (3, 2, 4, 1, 5)]
        assert places == sorted(places), shown
        assert shown.count(UNKNOWN_SIZE) == 2 and "?" not in shown, shown
    assert closing_text(one_card, {1}) == f"after closing p1 ({UNKNOWN_SIZE})"


def held_by(one: Machine) -> Iterator[tuple[str, str]]:
    nothing = Surroundings(llmfit_version="", system="", architecture="", python="")
    return ((found.subject, found.text) for found in diagnose(one, nothing) if "held by" in found.text)


def test_the_fifth_program_and_all_after_it_share_a_glyph() -> None:
    gpu = card(vram_free_bytes=0, processes=held(*(4 * GIB for _ in range(6))))
    assert usage_bar(gpu, 24).plain == "████▓▓▓▓▒▒▒▒░░░░▪▪▪▪▪▪▪▪"


def test_something_in_use_always_shows_and_the_largest_wins_the_cell() -> None:
    assert usage_bar(card(vram_free_bytes=24 * GIB - MIB), 8).plain == "╳·······"
    gpu = card(vram_free_bytes=22 * GIB, processes=held(600 * MIB, 1400 * MIB))
    assert usage_bar(gpu, 8).plain == "█·······"
    assert usage_bar(gpu, 8).spans[0].style == "yellow"


def test_programs_that_share_pages_never_hold_more_than_is_used() -> None:
    gpu = card(vram_free_bytes=20 * GIB, processes=held(3 * GIB, 3 * GIB))
    assert [part.size_bytes for part in usage_parts(gpu)] == [3 * GIB, GIB, 0, 0]
    assert usage_bar(gpu, 24).plain == "███▓" + "·" * 20


@pytest.mark.parametrize(
    "gpu", [card(vram_free_bytes=None), card(vram_total_bytes=None), card(vram_total_bytes=0)]
)
def test_unknown_is_not_drawn_as_empty_or_full(gpu: Gpu) -> None:
    assert usage_bar(gpu, 8).plain == "????????"


def test_a_glyph_stays_with_its_program_when_another_is_closed() -> None:
    before = KnownMachine(busy(two_cards()), frozenset({2}))
    gpu = before.planned.gpus[0]
    marks = holder_marks(before.probed.gpus[0])
    assert usage_bar(gpu, 48, marks=marks).plain.startswith("▓·")


def test_unified_memory_shows_the_share_of_the_gpu_and_its_carve_out() -> None:
    """A Strix Halo: 128 GiB, of which the firmware keeps 32; of the other 96 the GPU may have half."""
    gpu = card(
        unified_memory=True, vram_total_bytes=80 * GIB, vram_free_bytes=72 * GIB, carve_out_bytes=32 * GIB
    )
    memory = Memory(96 * GIB, 90 * GIB)
    assert usage_bar(gpu, 32, memory).plain == "╳╳·····|············╌╌╌╌╌╌╌╌╌╌╌╌"
    line = machine_text(machine(gpu, memory=memory), 158, 10).plain.splitlines()[0]
    assert "8.0 of 80.0 GiB used" in line and "╳ in RAM 8.0, carve-out 32.0 GiB" in line
    whole = replace(gpu, vram_total_bytes=96 * GIB, carve_out_bytes=None, vram_free_bytes=96 * GIB)
    assert usage_bar(whole, 32, memory).plain == "·" * 32


SIZES = st.one_of(st.none(), st.integers(0, 30 * GIB))


@given(
    st.builds(
        lambda total, free, reserved, sizes, unified, carve: card(
            vram_total_bytes=total,
            vram_free_bytes=free,
            vram_reserved_bytes=reserved,
            processes=held(*sizes),
            unified_memory=unified,
            carve_out_bytes=carve,
        ),
        SIZES, SIZES, SIZES, st.lists(SIZES, max_size=7), st.booleans(), SIZES,
    ),
    st.integers(1, 96),
    SIZES,
)  # fmt: skip
def test_a_bar_is_as_long_as_its_room_and_its_parts_are_what_is_used(
    gpu: Gpu, width: int, ram: int | None
) -> None:
    assert usage_bar(gpu, width, Memory(ram, ram)).cell_len == width
    used = used_bytes(gpu)
    assert sum(part.size_bytes for part in usage_parts(gpu)) == (used or 0)
    for lines in (3, 10):
        text = machine_text(machine(gpu, memory=Memory(ram, ram)), 78, lines).plain
        assert len(text.splitlines()) <= lines and all(cell_len(line) <= 78 for line in text.splitlines())


# ---------------------------------------------------------------- the panel


def test_a_line_of_the_panel_names_the_holders_with_their_glyphs() -> None:
    gpu = card(vram_free_bytes=20 * GIB, processes=held(2 * GIB, None), bandwidth_bytes_per_s=936 * 10**9)
    line = machine_text(machine(gpu), 158, 10).plain.splitlines()[0]
    assert line.endswith("█ p1 2.0, ▓ p2 size not known, ╳ other 2.0")
    assert machine_text(machine(gpu), 72, 3).plain.splitlines()[0].endswith("█ p1 2.0, +2")
    assert machine_text(machine(gpu), 66, 3).plain.splitlines()[0].endswith("2 programs")
    assert machine_text(machine(gpu), 60, 3).plain.splitlines()[0].rstrip().endswith("936 GB/s")


def test_notes_that_find_no_room_are_counted() -> None:
    notes = tuple(f"Note number {number} of some length." for number in range(4))
    noted = machine(card(), card(), notes=notes)
    small = machine_text(noted, 78, 3).plain.splitlines()
    assert len(small) == 3 and small[-1].endswith("+4 notes: m")
    large = machine_text(noted, 158, 5).plain.splitlines()
    assert large[-1] == "Note: Note number 1 of some length.   +2 notes: m"
    assert machine_text(replace(noted, notes=notes[:1]), 78, 3).plain.endswith("+1 note: m")
    assert ": m" not in machine_text(noted, 158, 10).plain


def test_slices_of_a_card_have_a_line_each() -> None:
    part = Partition("NVIDIA H100 80GB HBM3", "GPU-1", 0.5, 3 / 7)
    slices = tuple(
        card(vram_total_bytes=40 * GIB, vram_free_bytes=free * GIB, partition=part, uuid=f"MIG-{free}")
        for free in (40, 30)
    )
    lines = machine_text(machine(*slices), 158, 10).plain.splitlines()
    assert "0.0 of 40.0 GiB used" in lines[0] and "10.0 of 40.0 GiB used" in lines[1]
    facts = {fact.what: fact.value for fact in card_facts(slices[1])}
    assert facts["slice of"] == "NVIDIA H100 80GB HBM3: 50% of its memory, 43% of its processors"
    assert facts["UUID"] == "MIG-30"


# ---------------------------------------------------------------- the facts


def test_what_is_not_known_is_said_and_every_source_is_told() -> None:
    facts = {fact.what: fact for fact in card_facts(card(vram_free_bytes=None, sources={"name": "nvml"}))}
    assert facts["bandwidth"].value == facts["free now"].value == facts["driver"].value == "not known"
    assert facts["name"].source == "nvml"
    known = card(
        pcie_generation=4, pcie_width=8, pcie_max_width=16, power_limit_w=350.0, power_draw_w=31.6,
        vram_reserved_bytes=400 * MIB, sources={"pcie_generation": "nvml", "power_limit_w": "nvml"},
    )  # fmt: skip
    facts = {fact.what: fact for fact in card_facts(known)}
    assert (facts["PCIe"].value, facts["PCIe"].source) == ("4.0 x8 (x16 possible)", "nvml")
    assert facts["power"].value == "350 W at most, 32 W now"


def test_ram_facts() -> None:
    memory = Memory(
        64 * GIB,
        60 * GIB,
        16 * GIB,
        80 * 10**9,
        "measured 2026-11-22",
        96 * 10**9,
        "DDR5",
        2,
        6000,
        8 * GIB,
        GIB,
        sources={"available_bytes": "control group", "memory_type": "udev", "swap_total_bytes": "psutil"},
    )
    facts = {fact.what: fact for fact in ram_facts(memory)}
    assert facts["limit"].value == "16.00 GiB"
    assert (facts["bandwidth"].value, facts["bandwidth"].source) == ("80 GB/s", "measured 2026-11-22")
    assert facts["type"].value == "DDR5, 2 channels of 64 bits, 6000 MT/s"
    told = {what: facts[what].source for what in ("total", "available", "type", "swap")}
    assert told == {"total": "", "available": "control group", "type": "udev", "swap": "psutil"}
    assert facts["swap"].value == "8.0 GiB, 1.0 GiB free"


def test_cpu_and_disk_facts_say_where_they_were_read() -> None:
    cpu = Cpu("a CPU", 4, 8, ("avx2",), sources={"physical_cores": "sysfs", "features": "/proc/cpuinfo"})
    here = Machine("linux", cpu, Memory(None, None), disks=(Disk("/data", 9 * GIB, GIB),))
    for one, folder in ((here, "file system"), (replace(here, described_by="--machine"), "")):
        told = {fact.what: fact.source for section in machine_sections(one) for fact in section.facts}
        assert (told["cores for us"], told["instructions"], told["threads for us"]) == (
            "sysfs",
            "/proc/cpuinfo",
            "",
        )
        assert told["folder"] == folder


def test_nothing_known_at_all_is_still_a_page() -> None:
    nothing = machine(memory=Memory(None, None))
    told = {section.title for section in machine_sections(nothing)}
    assert told == {"RAM", "Processor", "llama-server"}
    assert any("size is not known" in text for _, text in remarks(nothing))
    assert facts_of(nothing) is not None


def test_remarks_come_with_their_fixes_and_all_notes() -> None:
    noted = replace(machine(card(), notes=("one", "two")), simulated=False, described_by=None)
    told = list(remarks(noted))
    assert ("·", "one") in told and ("·", "two") in told
    servers = [text for glyph, text in told if glyph == "!" and text.startswith("llama-server")]
    assert servers and "Install llama.cpp" in servers[0]


@pytest.mark.parametrize("described_by", ["--gpu", "--machine"])
def test_nothing_of_this_computer_is_said_of_a_machine_that_is_only_described(described_by: str) -> None:
    """Its processor is an ARM, this one perhaps not; nobody looked for a llama-server there."""
    arm = Machine("linux", Cpu("Neoverse N1", 4, 4, ("neon",)), Memory(GIB * 16, GIB * 8))
    told = " ".join(text for _, text in remarks(replace(arm, described_by=described_by)))
    assert "AVX2" not in told and "--measure" not in told and "llama-server" not in told
    assert "bandwidth is not known" in told and "--ram-bandwidth" in told
    described = replace(arm, described_by=described_by)
    assert "llama-server" not in {section.title for section in machine_sections(described)}
    assert "llama-server" not in machine_text(described, 120, 3).plain
    here = " ".join(text for _, text in remarks(arm))
    assert "--measure" in here and "llama-server: none was found" in here
    assert "no llama-server found" in machine_text(arm, 120, 3).plain


# ---------------------------------------------------------------- the headings


@pytest.mark.parametrize("width", [60, 80, 120])
def test_headings_are_cut_to_their_line(width: int) -> None:
    known = KnownMachine(busy(two_cards()), frozenset({1, 2}))
    title = title_text(known, True, width)
    assert title.cell_len <= width - 2 and "probing" in title.plain
    text = question_text(Question(search_text="q" * 40, context_tokens=32768), 12, 3)
    for marks in ({"●"}, {"●", "○", ""}, {""}):
        assert question_line(text, "thinking…", marks, width).cell_len <= width - 2


def test_the_legend_is_shortened_before_it_is_left_out() -> None:
    text = Text("What to run: general use · 32K context (automatic)")
    assert question_line(text, "", {"●", "○"}, 120).plain.endswith(
        "● on this disk  ○ other file type on this disk"
    )
    assert question_line(text, "", {"●", "○"}, 80).plain.endswith("● on disk  ○ other type")
    assert question_line(text, "", {"●", "○"}, 64).plain == text.plain


def test_eight_equal_cards_share_a_line_and_a_busy_one_is_told_alone() -> None:
    eight = simulate_machine(("8x H100 80GB",), "512GiB", None, None, lookup_gpu)
    gpus = list(eight.gpus)
    gpus[3] = replace(gpus[3], vram_free_bytes=40 * GIB, processes=held(39 * GIB))
    lines = machine_text(replace(eight, gpus=tuple(gpus)), 158, 10).plain.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["GPU0-2", "GPU3", "GPU4-7"]
    assert "█ p1 39.0, ╳ other" in lines[1]
