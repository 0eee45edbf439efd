"""The screens about hardware to buy and about marked models, driven through the real app."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from llmfit.advisor.errors import NotModelledError, UsageError
from llmfit.tui.cli.render_compare import comparison_lines
from llmfit.tui.screens.compare import CompareScreen
from llmfit.tui.screens.model import ModelScreen
from llmfit.tui.screens.plan import PlanScreen, lines_of
from llmfit.tui.widgets.too_small import TooSmall
from tests.tui.app.fake_advice import FakeAdvice, settled, until
from tests.tui.app.fake_hardware import comparison_of
from tests.tui.app.test_keys import headings_of, rows_of, text_of

SIZES = [(160, 45), (80, 24)]


def shown(pilot: Pilot[object]) -> str:
    return "\n".join(str(part.content) for part in pilot.app.screen.query("#page Static").results(Static))


async def plan_of(pilot: Pilot[object], *keys: str) -> PlanScreen:
    await settled(pilot)
    await pilot.press("p", *keys)
    await settled(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, PlanScreen)
    return screen


# ---------------------------------------------------------------- plan


@pytest.mark.parametrize("size", SIZES)
async def test_plan_shows_what_the_command_line_prints(advice: FakeAdvice, size: tuple[int, int]) -> None:
    async with advice.app.run_test(size=size) as pilot:
        screen = await plan_of(pilot)
        assert advice.asked_targets == [None]
        for number in (0, 1):
            await pilot.press(str(number + 1))
            answer = screen.answers[number]
            assert not isinstance(answer, str)
            lines = lines_of(answer)
            text = shown(pilot)
            for line in lines[lines.index("") + 1 :]:
                assert line.strip() in text
        assert "Some Card" in shown(pilot)
        assert "qwen3-32b" in str(screen.query_one("#model-heading", Static).content)


async def test_the_speed_can_be_typed_and_nonsense_is_explained(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        screen = await plan_of(pilot, "s")
        field = screen.query_one("#target", Input)
        assert field.has_focus
        await pilot.press(*"fast", "enter")
        assert "fast" in text_of(screen, "#target-unit") and advice.asked_targets == [None]  # type: ignore[arg-type]
        await pilot.press("escape")
        assert pilot.app.screen is screen and not field.has_focus and field.value == ""
        await pilot.press("s", *"20", "enter")
        await settled(pilot)
        assert advice.asked_targets == [None, 20.0]
        assert "Wanted: 20 tok/s" in shown(pilot) and not field.has_focus
        await pilot.press("s", "backspace", "backspace", "enter")
        await settled(pilot)
        assert advice.asked_targets == [None, 20.0, None]


async def test_an_answer_to_an_older_speed_is_dropped(advice: FakeAdvice) -> None:
    gate = advice.hold(("plan", None))
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("p")
        screen = pilot.app.screen
        assert isinstance(screen, PlanScreen)
        assert "Judging cards" in shown(pilot)
        await until(pilot, lambda: advice.asked_targets == [None])
        await pilot.press("s", *"20", "enter")
        gate.set()
        await settled(pilot)
        assert advice.asked_targets == [None, 20.0]
        answer = screen.answers[0]
        assert not isinstance(answer, str) and answer.target_is_given


async def test_nothing_that_runs_it_is_one_sentence(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"mimo", "enter")
        await settled(pilot)
        await pilot.press("p")
        await settled(pilot)
        assert "Nothing in the catalogue runs it" in shown(pilot)


async def test_an_error_is_one_sentence_and_the_other_section_answers(advice: FakeAdvice) -> None:
    advice.plan_failure = NotModelledError("qwen3", "its rules are not known")
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await plan_of(pilot)
        assert shown(pilot).strip() == str(advice.plan_failure)
        await pilot.press("right")
        assert "Some Card" in shown(pilot)
        advice.plan_failure = KeyError("a fault")
        await pilot.press("s", "9", "enter", "1")
        await settled(pilot)
        assert "KeyError" in shown(pilot)


async def test_escape_goes_back_the_way_one_came(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        first = await settled(pilot)
        await pilot.press("enter")
        model = pilot.app.screen
        assert isinstance(model, ModelScreen)
        await pilot.press("p")
        assert isinstance(pilot.app.screen, PlanScreen)
        await pilot.press("escape")
        assert pilot.app.screen is model
        await pilot.press("escape")
        assert pilot.app.screen is first
        for _ in range(3):
            await pilot.press("p", "s", "1", "escape", "2", "right", "left", "escape", "escape")
        assert pilot.app.screen is first and pilot.app.is_running


async def test_too_small_is_a_sentence(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for keys in (("p",), ("space", "down", "space", "v")):
            # what was too small has lost the focus, and gets it back a refresh after it was resized
            await until(pilot, lambda: pilot.app.screen.focused is not None)
            await pilot.press(*keys)
            await settled(pilot)
            screen = pilot.app.screen
            assert isinstance(screen, PlanScreen | CompareScreen)
            await pilot.resize_terminal(40, 24)
            await until(pilot, lambda screen=screen: screen.query_one(TooSmall).display)
            assert not screen.query_one("#main").display
            await pilot.resize_terminal(80, 24)
            await until(pilot, lambda screen=screen: screen.query_one("#main").display)
            await pilot.press("escape")
            await settled(pilot)


# ---------------------------------------------------------------- compare


@pytest.mark.parametrize("size", SIZES)
async def test_marked_rows_are_compared(advice: FakeAdvice, size: tuple[int, int]) -> None:
    async with advice.app.run_test(size=size) as pilot:
        first = await settled(pilot)
        await pilot.press("v")
        assert pilot.app.screen is first  # nothing is marked
        await pilot.press("space")
        assert rows_of(first)[0][0] == "+" and "1 marked" in text_of(first, "#question")
        await pilot.press("v")
        assert pilot.app.screen is first  # one alone
        await pilot.press("down", "down", "space")
        assert [row[0] for row in rows_of(first)] == ["+", "", "+", ""]
        assert "2 marked: v compares" in text_of(first, "#question")
        await pilot.press("v")
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, CompareScreen)
        assert advice.compared == [("someone/qwen3-32b", "someone/gemma3-27b")]
        lines = list(comparison_lines(comparison_of(screen.picks)))
        assert all(line.strip() in shown(pilot) for line in lines[lines.index("") + 1 :])
        await pilot.press("escape")
        await pilot.press("space")
        assert [row[0] for row in rows_of(first)] == ["+", "", "", ""]


async def test_marks_stay_through_a_search_and_are_four_at_most(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        first = await settled(pilot)
        await pilot.press("slash", *"mimo", "enter")
        await settled(pilot)
        await pilot.press("space", "escape")
        await settled(pilot)
        assert "1 marked" in text_of(first, "#question")
        await pilot.press("space", "down", "space", "down", "space", "down", "space")
        assert [row[0] for row in rows_of(first)] == ["+", "+", "+", ""]
        await pilot.press("v")
        await settled(pilot)
        assert len(advice.compared[0]) == 4 and "mimo" in advice.compared[0][0]


async def test_without_marks_no_column_is_there_for_them(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        first = await settled(pilot)
        before = headings_of(first)
        await pilot.press("space")
        assert len(headings_of(first)) == len(before) + 1
        await pilot.press("space")
        assert headings_of(first) == before


async def test_a_comparison_that_fails_is_one_sentence(advice: FakeAdvice) -> None:
    advice.compare_failure = UsageError("compare", "they cannot be compared")
    async with advice.app.run_test(size=(80, 24)) as pilot:
        first = await settled(pilot)
        await pilot.press("space", "down", "space", "v")
        await settled(pilot)
        assert shown(pilot).strip() == str(advice.compare_failure)
        await pilot.press("q")
        assert pilot.app.screen is first and pilot.app.is_running
