"""The screen about one model: its sections, its goals, and what stands there when there is no answer."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmfit.advisor.errors import NotModelledError
from llmfit.tui.cli.render_article import article_sections
from llmfit.tui.screens.help import HelpScreen
from llmfit.tui.screens.model import ModelScreen
from llmfit.tui.widgets.article_blocks import SECTIONS, blocks_of
from llmfit.tui.widgets.blocks_view import Block, blocks_text
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.section_bar import section_text
from llmfit.tui.widgets.too_small import TooSmall
from tests.tui.app.fake_advice import FakeAdvice, judged, settled, two_cards, until
from tests.tui.app.fake_article import article_about

SIZES = [(160, 45), (80, 24)]


def shown(pilot: Pilot[object]) -> str:
    """Every text of the open section."""
    page = pilot.app.screen.query_one("#page")
    parts = [part for part in page.query(Static) if _is_open(part)]
    return "\n".join(str(part.content) for part in parts)


def _is_open(part: Static) -> bool:
    return all(node.display for node in part.ancestors_with_self if hasattr(node, "display"))


async def opened(pilot: Pilot[object], *keys: str) -> ModelScreen:
    await settled(pilot)
    await pilot.press("enter", *keys)
    await settled(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, ModelScreen)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_every_section_shows_what_the_command_line_prints(
    advice: FakeAdvice, size: tuple[int, int]
) -> None:
    async with advice.app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        article = screen.article
        assert article is not None
        assert "What the model is" in shown(pilot)
        texts = {}
        for number, name in enumerate(SECTIONS, 1):
            await pilot.press(str(number))
            await settled(pilot)
            assert screen.section == name
            texts[name] = shown(pilot)
        printed = {key: list(lines) for key, _, lines in article_sections(article, with_scores=True)}
        for name, key in (
            ("Files", "quants"),
            ("Context", "ladder"),
            ("Context", "depths"),
            ("Speed", "prompts"),
            ("Cards", "cards"),
            ("Cost", "energy"),
            ("Evidence", "evidence"),
            ("Pitfalls", "pitfalls"),
        ):
            assert printed[key], key
            for line in printed[key]:
                assert line.strip() in texts[name], (name, line)


async def test_left_and_right_leaf_through_the_sections_and_round(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        seen = []
        for _ in SECTIONS:
            seen.append(screen.section)
            await pilot.press("right")
        assert tuple(seen) == SECTIONS and screen.section == SECTIONS[0]
        await pilot.press("left")
        assert screen.section == SECTIONS[-1]


async def test_the_article_comes_from_the_background_and_escape_does_not_wait(advice: FakeAdvice) -> None:
    gate = advice.hold("article")
    async with advice.app.run_test(size=(80, 24)) as pilot:
        first = await settled(pilot)
        await pilot.press("enter", "3")
        assert "Judging every file type" in shown(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is first
        gate.set()
        await pilot.press("enter", "3")
        await settled(pilot)
        assert "Q4_K_M" in shown(pilot)


async def test_a_model_that_is_not_modelled_ends_in_one_sentence(advice: FakeAdvice) -> None:
    advice.article_failure = NotModelledError("someone/qwen3-32b", "its memory rules are not known", "Wait.")
    async with advice.app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, "3")
        assert shown(pilot).strip() == str(advice.article_failure)
        assert screen.article is None
        await pilot.press("1")
        assert "fits on 2 GPUs" in shown(pilot)  # the pick itself was judged before


async def test_a_fault_of_ours_is_a_sentence_too(advice: FakeAdvice) -> None:
    advice.article_failure = ZeroDivisionError("[bold]division")
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "3")
        assert "ZeroDivisionError: [bold]division" in shown(pilot)


async def test_goals_are_searched_when_they_are_looked_at_and_y_copies_the_shown_one(
    advice: FakeAdvice,
) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        await opened(pilot)
        assert not [one for one in advice.asked if one[0] == "goal"]
        await pilot.press("2")
        await settled(pilot)
        asked = [one[1] for one in advice.asked if one[0] == "goal"]
        assert asked == ["quality", "speed", "context", "balance"]
        assert "It suits quality." in shown(pilot) and "or Q6_K: 15 tok/s" in shown(pilot)
        await pilot.press("y")
        assert pilot.app.clipboard == "llama-server -m quality.gguf"
        await pilot.press("down", "y")
        assert pilot.app.clipboard == "llama-server -m speed.gguf"
        assert "It suits speed." in shown(pilot) and "IQ4_XS" in shown(pilot)
        await pilot.press("down", "down", "down", "down", "up", "y")
        assert pilot.app.clipboard == "llama-server -m context.gguf"
        await pilot.press("1", "2")
        await settled(pilot)
        assert len([one for one in advice.asked if one[0] == "goal"]) == 4  # not again


async def test_a_goal_that_fails_does_not_take_the_others_with_it(advice: FakeAdvice) -> None:
    advice.goal_failures = {"quality": NotModelledError("qwen3", "no rule for it")}
    async with advice.app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "2")
        await settled(pilot)
        assert "not found" in shown(pilot) and "no rule for it" in shown(pilot)
        await pilot.press("y")
        assert pilot.app.clipboard == ""
        await pilot.press("down")
        assert "It suits speed." in shown(pilot)


async def test_what_does_not_fit_shows_what_runs_instead_with_its_command(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(160, 45)) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"mimo", "enter")
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        command = pilot.app.screen.query_one("#details-command", CommandPreview)
        assert "Q2_K, which runs instead" in str(command.border_title)
        await pilot.press("y")
        assert pilot.app.clipboard == "llama-server -m model.Q2_K.gguf"


async def test_too_small_is_a_sentence_and_the_section_stays(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, "4")
        await pilot.resize_terminal(40, 24)
        await until(pilot, lambda: screen.query_one(TooSmall).display)
        assert not screen.query_one("#main").display
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: screen.query_one("#main").display)
        await pilot.pause()
        assert screen.section == "Context" and "context" in shown(pilot)
        await pilot.press("right")
        assert screen.section == "Speed"


async def test_many_keys_at_once_break_nothing(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        first = await settled(pilot)
        for _ in range(4):
            await pilot.press("enter", "2", "right", "9", "y", "left", "down", "2", "down", "escape", "down")
        await pilot.press("escape", "escape")
        await settled(pilot)
        assert pilot.app.screen is first and pilot.app.is_running


async def test_keys_that_were_pressed_before_a_page_came_up_open_no_second_one(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        first = await settled(pilot)
        for _ in range(3):
            first.action_details()
            first.action_plan()
            first.action_machine()
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ModelScreen) and len(pilot.app.screen_stack) == 2
        screen.action_close()
        screen.action_close()
        await settled(pilot)
        assert pilot.app.screen is first and pilot.app.is_running


async def test_help_opens_over_it_and_escape_comes_back(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, "2")
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape")
        assert pilot.app.screen is screen
        await pilot.press("q")
        assert pilot.app.is_running and len(pilot.app.screen_stack) == 1


@pytest.mark.parametrize("width", [58, 78, 98, 158])
@pytest.mark.parametrize("current", range(len(SECTIONS)))
def test_the_bar_of_sections_cuts_no_name(width: int, current: int) -> None:
    lines = section_text(SECTIONS, current, width).plain.splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 1 or width < 78
    assert f"▸{current + 1} {SECTIONS[current]}" in "\n".join(lines)
    assert all(f"{n} {name}" in "\n".join(lines) for n, name in enumerate(SECTIONS, 1))


def test_no_section_is_wider_than_a_terminal_of_80_columns(advice: FakeAdvice) -> None:
    from llmfit.tui.messages import Pick

    article = article_about(Pick("", (), judged("qwen3-32b.Q4_K_M", two_cards())))
    for name in SECTIONS[2:]:
        for column in blocks_of(name, article):
            assert all(len(line) <= 78 for line in blocks_text(column).plain.splitlines()), name


def test_a_long_list_is_halved_at_an_empty_line() -> None:
    block = Block("Scores", ("a", "b", "", "c", "", "d", "e", "f"))
    first, second = block.halves()
    assert (first.lines, second.lines) == (("a", "b", "", "c"), ("d", "e", "f"))
    whole = Block("Scores", ("a", "b"))
    assert whole.halves() == (whole, Block("", ()))
