"""Keys that come faster than screens: held keys, slow lines, a process that stood still."""

from __future__ import annotations

import pytest

from llmfit.tui.screens.base import FullScreen
from llmfit.tui.screens.choose import ChooseScreen
from llmfit.tui.screens.help import HelpScreen
from tests.tui.app.fake_advice import FakeAdvice, settled


@pytest.mark.parametrize("opened", ["action_plan", "action_machine", "action_details"])
async def test_a_page_that_is_closed_before_it_came_up_goes_quietly(advice: FakeAdvice, opened: str) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        first = await settled(pilot)
        if not hasattr(first, opened):
            await pilot.press("enter")
        else:
            getattr(first, opened)()
        page = pilot.app.screen
        assert isinstance(page, FullScreen) and page is not first
        page.action_close()
        page.action_close()
        assert await settled(pilot) is first
        assert pilot.app.screen is first


async def test_a_dialog_takes_one_answer(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        first = await settled(pilot)
        await pilot.press("u")
        dialog = pilot.app.screen
        assert isinstance(dialog, ChooseScreen)
        dialog.answer("coding")
        dialog.answer("chat")
        await settled(pilot)
        assert pilot.app.screen is first and first.question.use_case == "coding"


async def test_help_closes_once(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        first = await settled(pilot)
        await pilot.press("question_mark")
        page = pilot.app.screen
        assert isinstance(page, HelpScreen)
        page.action_close()
        page.action_close()
        await settled(pilot)
        assert pilot.app.screen is first
