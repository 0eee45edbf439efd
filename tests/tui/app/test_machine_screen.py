"""The machine from near: programs by card, what if they were closed, probing again, measuring the RAM."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import LlamaServer, Machine, VramProcess
from llmfit.advisor.units import GB, GIB
from llmfit.tui.screens.advisor import AdvisorScreen
from llmfit.tui.screens.help import HelpScreen
from llmfit.tui.screens.machine import MachineScreen
from llmfit.tui.widgets.cards_view import CardsView
from llmfit.tui.widgets.facts_view import FactsView
from llmfit.tui.widgets.machine_panel import MachinePanel
from tests.tui.app.fake_advice import FakeAdvice, busy, judged, screen_of, settled, two_cards, until
from tests.tui.app.test_keys import SMALL, WIDE, footer_of, rows_of, text_of

FREE_GIB = 22


def real(machine: Machine) -> Machine:
    return replace(machine, simulated=False, described_by=None)


def machine_screen(pilot: Pilot[object]) -> MachineScreen:
    assert isinstance(pilot.app.screen, MachineScreen)
    return pilot.app.screen


def cards_of(pilot: Pilot[object]) -> str:
    return str(machine_screen(pilot).query_one(CardsView).content)


def facts_of(pilot: Pilot[object]) -> str:
    view = machine_screen(pilot).query_one(FactsView)
    return "\n".join(view.render_line(row).text for row in range(view.size.height))


def status_of(pilot: Pilot[object]) -> str:
    return str(machine_screen(pilot).query_one("#machine-status", Static).content)


def free_bytes(screen: AdvisorScreen) -> int:
    assert screen.machine is not None
    return screen.machine.gpus[0].vram_free_bytes or 0


@asynccontextmanager
async def measuring(advice: FakeAdvice) -> AsyncIterator[tuple[Pilot[object], threading.Event]]:
    """The machine's screen in the middle of a measurement, which ends when the event is set."""
    advice.known_machine = real(two_cards())
    gate = advice.hold("measure")
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("m", "b")
        await until(pilot, lambda: "round 2 of 2, 52.0 GB/s" in status_of(pilot))
        yield pilot, gate


async def test_m_shows_programs_and_facts_and_escape_goes_back(advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("m")
        await pilot.pause()
        lines = cards_of(pilot).splitlines()
        assert lines[0].startswith("GPU0 RTX 3090") and "2.0 of 24.0 GiB used" in lines[0]
        assert lines[2].startswith("▸ [ ] █ firefox") and "1.5 GiB" in lines[2] and "pid 2" in lines[2]
        assert lines[3].startswith("  [ ] ▓ Xorg")
        told = facts_of(pilot)
        for wanted in ("bandwidth", "936 GB/s", "catalog", "PCIe", "350 W", "RAM", "--ram-bandwidth"):
            assert wanted in told, wanted
        assert footer_of(pilot) == ["as if closed", "back", "probe again", "measure RAM", "help"]
        await pilot.press("escape")
        assert pilot.app.screen is screen
        assert len(advice.asked) == 1, "nothing has changed, nothing is computed anew"


async def test_a_ticked_program_is_planned_as_closed(advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        assert free_bytes(screen) == FREE_GIB * GIB
        await pilot.press("m", "space")
        await pilot.pause()
        assert "▸ [x] █ firefox" in cards_of(pilot) and "as if closed" in cards_of(pilot)
        assert "22.0 GiB free → 23.5 GiB free" in cards_of(pilot)
        assert "after closing firefox (1.5 GiB)" in text_of(screen, "#title")
        assert len(advice.asked) == 1, "nothing is computed while the ticks are set"
        await pilot.press("escape")
        await settled(pilot)
        assert len(advice.asked) == 2
        assert free_bytes(screen) == FREE_GIB * GIB + 1500 * 2**20
        shown = str(screen.query_one(MachinePanel).content)
        assert "firefox" not in shown and "Xorg" in shown and "0.5 of 24.0 GiB used" in shown
        assert "after closing firefox (1.5 GiB)" in text_of(screen, "#title")
        await pilot.press("m", "space", "escape")
        await settled(pilot)
        assert free_bytes(screen) == FREE_GIB * GIB
        assert "closing" not in text_of(screen, "#title")


async def test_the_keys_move_between_programs_of_all_cards_and_tick_a_program_everywhere(
    advice: FakeAdvice,
) -> None:
    first, second = busy(two_cards()).gpus
    held = (VramProcess(2, "firefox", GIB), VramProcess(7, "blender", 2 * GIB))
    second = replace(second, processes=held, vram_free_bytes=21 * GIB)
    advice.known_machine = replace(two_cards(), gpus=(first, second))
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("m", "down", "j", "down")
        await pilot.pause()
        assert "▸ [ ] ▓ firefox" in cards_of(pilot)
        await pilot.press("space", "up", "up", "enter")
        await pilot.pause()
        assert cards_of(pilot).count("[x]") == 3
        assert "▸ [x] ▓ Xorg" in cards_of(pilot)
        assert text_of(screen, "#title").endswith("after closing firefox (2.5 GiB), Xorg (0.6 GiB)")
        await pilot.press("q")
        await settled(pilot)
        assert screen.machine is not None
        assert screen.machine.gpus[1].vram_free_bytes == 22 * GIB


async def test_a_click_ticks(advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("m")
        await pilot.pause()
        await pilot.click(CardsView, offset=(8, 3))
        await pilot.pause()
        assert "▸ [x] ▓ Xorg" in cards_of(pilot)
        await pilot.click(CardsView, offset=(8, 0))
        await pilot.pause()
        assert cards_of(pilot).count("[x]") == 1


async def test_probing_again_keeps_the_ticks_of_programs_that_still_run(advice: FakeAdvice) -> None:
    before = busy(two_cards())
    advice.known_machine = before
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("m", "space", "down", "space")
        held = (VramProcess(2, "firefox", 2 * GIB), VramProcess(1, "kwin", GIB))
        first = replace(before.gpus[0], processes=held, vram_free_bytes=21 * GIB)
        advice.known_machine = replace(before, gpus=(first, before.gpus[1]))
        await pilot.press("r")
        await until(pilot, lambda: "kwin" in cards_of(pilot))
        assert "[x] █ firefox" in cards_of(pilot)
        assert "[ ] ▓ kwin" in cards_of(pilot), "another program with a number that was given away"
        await pilot.press("escape")
        await settled(pilot)
        assert free_bytes(screen) == 23 * GIB
        assert "after closing firefox (2.0 GiB)" in text_of(screen, "#title")


async def test_the_machine_changes_and_loses_its_cards_while_it_is_looked_at(advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("m", "down", "space")
        advice.known_machine = replace(two_cards(), gpus=())
        await pilot.press("r")
        await until(pilot, lambda: "No GPU found" in cards_of(pilot))
        await pilot.press("down", "space", "up", "end", "home", "pagedown", "pageup")
        await pilot.pause()
        assert "closing" not in text_of(screen, "#title")
        await pilot.press("escape")
        await settled(pilot)
        assert screen.machine is not None and screen.machine.gpus == ()
        assert len(rows_of(screen)) == 4


async def test_probing_fails_while_the_machine_is_known(advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("m", "space")
        advice.machine_failure = LlmfitError("NVML", "the driver does not answer")
        await pilot.press("r")
        await until(pilot, lambda: "does not answer" in text_of(machine_screen(pilot), "#machine-problem"))
        assert "[x] █ firefox" in cards_of(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert "could not be read again: NVML" in str(screen.query_one(MachinePanel).content)
        assert "firefox" in text_of(screen, "#title") and len(rows_of(screen)) == 4
        advice.machine_failure = None
        await pilot.press("r")
        await until(pilot, lambda: "could not" not in str(screen.query_one(MachinePanel).content))


async def test_keys_work_while_the_machine_is_probed_and_one_probe_runs_at_a_time(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        gate = advice.hold("machine")
        await pilot.press("r", "r", "f5", "down")
        await until(pilot, lambda: "probing…" in text_of(screen, "#title"))
        assert advice.asked_machine == 2
        await pilot.press("m")
        assert "probing…" in text_of(machine_screen(pilot), "#title")
        await pilot.press("r", "escape")
        gate.set()
        await settled(pilot)
        assert "probing" not in text_of(screen, "#title")
        assert advice.asked_machine == 2 and len(advice.asked) == 1


async def test_the_first_paint_does_not_wait_for_the_probes(advice: FakeAdvice) -> None:
    gate = advice.hold("machine")
    async with advice.app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: advice.asked_machine == 1)
        screen = screen_of(pilot)
        assert "Looking at this machine" in str(screen.query_one(MachinePanel).content)
        assert "probing" in text_of(screen, "#title")
        await pilot.press("m", "d", "slash", *"abc", "escape", "escape")
        assert pilot.app.screen is screen and advice.asked == []
        gate.set()
        await settled(pilot)
        assert len(rows_of(screen)) == 4


async def test_the_page_scrolls_in_a_small_terminal_and_the_cursor_stays_in_sight(advice: FakeAdvice) -> None:
    held = tuple(VramProcess(pid, f"program-{pid}", pid * 2**20) for pid in range(1, 31))
    first, second = two_cards().gpus
    advice.known_machine = replace(two_cards(), gpus=(replace(first, processes=held), second))
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("m")
        page = machine_screen(pilot).query_one("#machine-page", VerticalScroll)
        await pilot.press(*["down"] * 25)
        await pilot.pause()
        cards = machine_screen(pilot).query_one(CardsView)
        assert cards.cursor_region is not None and page.scroll_y > 0
        row = cards.region.y + cards.cursor_region.y
        assert page.region.y <= row < page.region.bottom
        assert "▸ [ ] ▪ program-5 " in cards_of(pilot)
        at_program = page.scroll_y
        await pilot.press(*["down"] * 12)
        await pilot.pause()
        assert page.scroll_y > at_program
        await pilot.press("end")
        await pilot.pause()
        assert page.scroll_y == page.max_scroll_y > 30
        await pilot.press("home", "space")
        await pilot.pause()
        assert page.scroll_y == 0 and cards_of(pilot).count("[x]") == 1


async def test_a_terminal_that_is_too_small_gets_one_sentence(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("m")
        await pilot.resize_terminal(40, 12)
        await pilot.pause()
        screen = machine_screen(pilot)
        assert screen.query_one("#too-small").display and not screen.query_one("#main").display
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: screen.focused is screen.query_one(CardsView))
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape", "escape")
        await settled(pilot)


async def test_the_ram_is_measured_and_the_answer_computed_anew(advice: FakeAdvice) -> None:
    async with measuring(advice) as (pilot, gate):
        screen = screen_of(pilot)
        await pilot.press("down", "pagedown")
        gate.set()
        await until(pilot, lambda: "kept for later" in status_of(pilot))
        assert "measured" in facts_of(pilot) and "52 GB/s" in facts_of(pilot)
        assert len(advice.asked) == 1
        await pilot.press("escape")
        await settled(pilot)
        assert len(advice.asked) == 2
        assert screen.machine is not None
        assert screen.machine.memory.bandwidth_bytes_per_s == 52 * GB


async def test_a_figure_that_is_not_kept_is_not_used(advice: FakeAdvice) -> None:
    advice.known_machine = real(two_cards())
    advice.measured = replace(advice.measured, kept=False, why_not="other programs were busy")
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("m", "b")
        await until(pilot, lambda: "not kept: other programs were busy" in status_of(pilot))
        await pilot.press("escape")
        await settled(pilot)
        assert len(advice.asked) == 1


async def test_measuring_can_be_stopped_and_started_again(advice: FakeAdvice) -> None:
    async with measuring(advice) as (pilot, gate):
        await pilot.press("b")
        gate.set()
        await until(pilot, lambda: "was stopped" in status_of(pilot))
        assert advice.stopped == [True]
        await pilot.press("b")
        await until(pilot, lambda: "kept for later" in status_of(pilot))
        assert advice.stopped == [True, False]


async def test_leaving_stops_the_measurement(advice: FakeAdvice) -> None:
    async with measuring(advice) as (pilot, gate):
        await pilot.press("escape")
        await settled(pilot)
        gate.set()
        await until(pilot, lambda: advice.stopped == [True])
        await pilot.press("m")
        assert status_of(pilot) == ""


async def test_a_measurement_that_fails_says_why(advice: FakeAdvice) -> None:
    advice.known_machine = real(two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        advice.failure = LlmfitError("RAM bandwidth", "there is too little free RAM")
        await pilot.press("m", "b")
        await until(pilot, lambda: "too little free RAM" in status_of(pilot))


@pytest.mark.parametrize(("described_by", "title"), [("--gpu", "simulated"), ("--machine", "from a file")])
async def test_the_ram_of_a_described_machine_is_not_measured(
    advice: FakeAdvice, described_by: str, title: str
) -> None:
    simulated = described_by == "--gpu"
    advice.known_machine = replace(two_cards(), simulated=simulated, described_by=described_by)
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert title in text_of(screen_of(pilot), "#title")
        await pilot.press("m", "b")
        await pilot.pause()
        assert "only described" in status_of(pilot) and advice.stopped == []
        assert "llama-server" not in facts_of(pilot) and "--measure" not in facts_of(pilot)


async def test_a_server_without_a_gpu_is_loud_on_both_screens(advice: FakeAdvice) -> None:
    server = LlamaServer("/opt/llama-server", "b1", 11434, backends=("cpu",))
    advice.known_machine = replace(real(two_cards()), llama_server=server, llama_servers=(server,))
    for size, told in ((WIDE, "is a CPU-only build"), (SMALL, "does not use this machine's GPU: m")):
        fresh = FakeAdvice(advice.known_machine)
        async with fresh.app.run_test(size=size) as pilot:
            screen = await settled(pilot)
            first = str(screen.query_one(MachinePanel).content).splitlines()[0]
            assert first.startswith("✗ ") and told in first and len(first) <= size[0] - 2
            assert screen.query_one("#picks").region.height >= 5
            await pilot.press("m")
            await pilot.pause()
            shown = text_of(machine_screen(pilot), "#machine-problem")
            assert all(part in shown for part in ("CPU-only build", "/opt/llama-server", "GGML_CUDA=ON"))
            assert "also there" not in facts_of(pilot) and "sees no GPU" in facts_of(pilot)


def test_the_judgements_of_the_tests_are_for_the_machine_that_is_asked_for() -> None:
    assert judged("qwen3-32b.Q4_K_M", busy(two_cards())).machine == busy(two_cards())
