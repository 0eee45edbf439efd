"""Answers come late, out of order or not at all: the screen stays usable and never shows the wrong one."""

from __future__ import annotations

import threading

import pytest

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.tui.widgets.machine_panel import MachinePanel
from llmfit.tui.widgets.picks_table import PicksTable
from tests.tui.app.fake_advice import FakeAdvice, screen_of, settled, until
from tests.tui.app.test_keys import SMALL, WIDE, rows_of, text_of


async def test_the_old_answer_stays_while_the_new_one_is_computed(advice: FakeAdvice) -> None:
    gate = advice.hold(65536)
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        before = rows_of(screen)
        screen.change(context_tokens=65536)
        await until(pilot, lambda: advice.asked[-1][2] == 65536)
        assert rows_of(screen) == before
        assert "thinking" in text_of(screen, "#question")
        await pilot.press("down", "y")
        assert pilot.app.clipboard == text_of(screen, "#command")
        gate.set()
        await settled(pilot)
        assert "thinking" not in text_of(screen, "#question")
        assert all("64K" in row for row in rows_of(screen))


async def test_an_answer_to_an_older_question_is_dropped(advice: FakeAdvice) -> None:
    gate = advice.hold(65536)
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        screen.change(context_tokens=65536)
        await until(pilot, lambda: advice.asked[-1][2] == 65536)
        screen.change(context_tokens=8192)
        await settled(pilot)
        late = [
            thread for thread in threading.enumerate() if thread.daemon and thread.name.startswith("llmfit")
        ]
        gate.set()
        for thread in late:
            thread.join(30)
        await pilot.pause()
        assert all("8K" in row for row in rows_of(screen))


async def test_a_search_nobody_wants_any_more_stops(advice: FakeAdvice) -> None:
    gate = advice.hold("q")
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("slash", "q")
        await until(pilot, lambda: advice.asked[-1][1] == "q")
        await pilot.press("escape")
        await settled(pilot)
        gate.set()
        await pilot.pause()
        assert rows_of(screen)[0][1] == "best quality"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (LlmfitError("model x", "cannot be read", "Try another."), "model x: cannot be read. Try another."),
        (ValueError("[bold]odd[/] \x1b[31m"), r"ValueError: [bold]odd[/] \x1b[31m"),
    ],
)
async def test_an_exception_becomes_a_sentence(advice: FakeAdvice, failure: Exception, said: str) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        advice.failure = failure
        screen.ask()
        await settled(pilot)
        assert said in text_of(screen, "#why")
        assert rows_of(screen) == []
        await pilot.press("enter", "y")
        advice.failure = None
        screen.ask()
        await settled(pilot)
        assert len(rows_of(screen)) == 4


async def test_a_machine_that_cannot_be_read(advice: FakeAdvice) -> None:
    advice.machine_failure = LlmfitError("NVML", "the driver does not answer")
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        assert "the driver does not answer" in str(screen.query_one(MachinePanel).content)
        assert "r tries again" in text_of(screen, "#why")
        advice.machine_failure = None
        await pilot.press("f5")
        await until(pilot, lambda: len(rows_of(screen)) == 4)


async def test_a_machine_that_cannot_be_understood_closes_the_app_with_the_reason(advice: FakeAdvice) -> None:
    advice.machine_failure = UsageError("--gpu 'RTX 9999'", "unknown")
    async with advice.app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: not pilot.app.is_running)
    assert advice.app.return_value is advice.machine_failure


async def test_what_would_help_is_looked_for_once(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("end")
        await settled(pilot)
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and "scout" in pick.key and pick.looked_for_help
        assert screen.query_one(PicksTable).cursor_row == 3


async def test_quitting_does_not_wait_for_an_answer(advice: FakeAdvice) -> None:
    gate = advice.hold(None)
    async with advice.app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: advice.asked)
        assert not screen_of(pilot).is_settled
        await pilot.press("q")
    assert not gate.is_set()
    gate.set()


async def test_a_part_of_a_search_is_shown_before_it_ends(advice: FakeAdvice) -> None:
    gate = advice.hold(("qwen", "qwen3-30b-a3b.Q4_K_M"))
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("slash", *"qwen", "enter")
        await until(pilot, lambda: len(rows_of(screen)) == 1)
        assert not screen.is_settled and "1 found" in text_of(screen, "#question")
        gate.set()
        await settled(pilot)
        assert "2 found" in text_of(screen, "#question")


async def test_a_row_of_the_user_that_cannot_be_read_is_told_once(advice: FakeAdvice) -> None:
    advice.known_notes = ("models.jsonl:2: [b]id[/b]: it is missing",)
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: advice.asked_machine == 2)
        await settled(pilot)
        told = [(note.message, note.severity) for note in pilot.app._notifications]
        assert told == [(advice.known_notes[0], "warning")]
