"""What each key does, driven through the real app with advice from fixtures."""

from __future__ import annotations

from textual.widgets import Input, OptionList, Static
from textual.widgets._footer import FooterKey

from llmfit.advisor.recommend.command import shell_command
from llmfit.tui.screens.advisor import AdvisorScreen
from llmfit.tui.screens.choose import ChooseScreen
from llmfit.tui.screens.help import HelpScreen
from llmfit.tui.screens.model import ModelScreen
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.memory_view import MemoryView
from llmfit.tui.widgets.picks_table import PicksTable
from llmfit.tui.widgets.section_page import SectionPage
from llmfit.tui.widgets.why_panel import WhyPanel
from tests.tui.app.fake_advice import TOO_LARGE, FakeAdvice, busy, judged, settled, two_cards, until

WIDE = (160, 45)
SMALL = (80, 24)


def text_of(screen: AdvisorScreen | ModelScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).content)


def rows_of(screen: AdvisorScreen) -> list[list[str]]:
    table = screen.query_one(PicksTable)
    return [[cell.plain for cell in table.get_row_at(row)] for row in range(table.row_count)]


def headings_of(screen: AdvisorScreen) -> list[str]:
    return [column.label.plain for column in screen.query_one(PicksTable).ordered_columns]


async def test_the_first_answer(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and pick.judgement.argv is not None
        assert [row[1] for row in rows_of(screen)] == [
            "best quality", "fastest", "longest context", "alternative",
        ]  # fmt: skip
        assert text_of(screen, "#command") == shell_command(pick.judgement.argv)
        assert "fits on 2 GPUs · best quality" in text_of(screen, "#why")
        assert "32K context (automatic)" in text_of(screen, "#question")
        assert "2x RTX 3090 · 64 GiB RAM" in text_of(screen, "#title")
        assert "GPU0" in text_of(screen, "#bytes") and "GPU1" in text_of(screen, "#bytes")


async def test_the_cursor_chooses_what_is_explained(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("down", "j", "down", "k")
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and "gemma3" in pick.key
        assert screen.query_one(WhyPanel).pick is pick
        assert screen.query_one(MemoryView).judgement is pick.judgement
        assert "gemma3" in text_of(screen, "#command")
        for key in ("g", "home"):
            await pilot.press("end")
            assert screen.query_one(PicksTable).cursor_row == 3
            await pilot.press(key)
            assert screen.query_one(PicksTable).cursor_row == 0


async def test_enter_opens_details_and_escape_goes_back(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("enter")
        details = pilot.app.screen
        assert isinstance(details, ModelScreen)
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and pick.judgement.argv is not None
        assert text_of(details, "#details-command") == shell_command(pick.judgement.argv)
        for wanted in ("-fit off", "-ngl all"):
            assert any(wanted in str(line.text) for line in _lines(details)), wanted
        await pilot.press("y")
        assert pilot.app.clipboard == shell_command(pick.judgement.argv)
        await pilot.press("escape")
        assert pilot.app.screen is screen


def _lines(details: ModelScreen) -> list[object]:
    """Every line that scrolling would show."""
    box = details.query_one(SectionPage)
    strips = []
    for child in details.query("#why-section Static"):
        strips += [child.render_line(row) for row in range(child.size.height)]
    assert all(strip.cell_length <= box.size.width for strip in strips)
    return strips


async def test_y_copies_and_the_text_stays(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        shown = text_of(screen, "#command")
        await pilot.press("y")
        assert pilot.app.clipboard == shown == text_of(screen, "#command")
        assert "clipboard" in str(screen.query_one(CommandPreview).border_title)
        await pilot.press("down")
        assert "clipboard" not in str(screen.query_one(CommandPreview).border_title)


async def test_y_says_when_there_is_nothing_to_copy(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await _search(pilot, "mimo")
        await pilot.press("y")
        assert pilot.app.clipboard == ""
        assert "nothing to copy" in str(screen.query_one(CommandPreview).border_title)


async def _search(pilot, text: str) -> AdvisorScreen:  # type: ignore[no-untyped-def]
    await pilot.press("slash", *text, "enter")
    return await settled(pilot)


async def test_context_is_recomputed_and_the_cursor_stays(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("down", "down")
        await pilot.press("c")
        assert isinstance(pilot.app.screen, ChooseScreen)
        await pilot.press("end", "up", "up", "enter")  # 256K, 128K, 64K
        await settled(pilot)
        assert advice.asked[-1] == ("picks", "general", 65536)
        assert "64K context" in text_of(screen, "#question")
        assert "automatic" not in text_of(screen, "#question")
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and "gemma3" in pick.key
        assert pick.judgement.settings.context_tokens == 65536
        assert "-c 65536" in text_of(screen, "#command")
        await pilot.press("c", "home", "enter")
        await settled(pilot)
        assert advice.asked[-1] == ("picks", "general", None)


async def test_context_can_be_typed_and_nonsense_is_explained(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("c", "tab", *"banana", "enter")
        assert isinstance(pilot.app.screen, ChooseScreen)
        assert "not a number of tokens" in str(pilot.app.screen.query_one("#problem", Static).content)
        pilot.app.screen.query_one(Input).value = "48k"
        await pilot.press("enter")
        await settled(pilot)
        assert advice.asked[-1] == ("picks", "general", 49152)


async def test_escape_in_a_dialog_changes_nothing(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        for key in ("c", "u", "question_mark"):
            await pilot.press(key)
            assert pilot.app.screen is not screen
            await pilot.press("escape")
            assert pilot.app.screen is screen
        await pilot.press("escape")
        assert pilot.app.is_running
        assert len(advice.asked) == 1


async def test_use_case(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("u")
        assert pilot.app.screen.query_one(OptionList).option_count > 3
        await pilot.press("down", "enter")
        await settled(pilot)
        assert advice.asked[-1] == ("picks", "coding", None)
        assert "coding use" in text_of(screen, "#question")


async def test_help_is_everywhere_and_q_quits(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        for opened in ((), ("enter",), ("c",), ("u",)):
            await pilot.press(*opened, "question_mark")
            assert isinstance(pilot.app.screen, HelpScreen), opened
            await pilot.press("q")
            assert not isinstance(pilot.app.screen, HelpScreen)
            if opened:
                await pilot.press("escape")
        assert pilot.app.is_running
        await pilot.press("q")
    assert advice.app.return_code == 0


async def test_search_waits_for_the_typing_to_end(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("slash", *"qwen3")
        await until(pilot, lambda: advice.asked[-1][0] == "search")
        await settled(pilot)
        assert [asked for asked in advice.asked if asked[0] == "search"] == [("search", "qwen3", None)]
        assert len(rows_of(screen)) == 2
        assert "Search “qwen3” · 2 found" in text_of(screen, "#question")
        await pilot.press("escape")
        await settled(pilot)
        assert advice.asked[-1] == ("picks", "general", None)
        assert not screen.query_one("#search").display
        assert len(rows_of(screen)) == 4


async def test_what_does_not_fit_shows_what_is_missing_and_no_speed(advice: FakeAdvice) -> None:
    judgement = judged(TOO_LARGE, two_cards())
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await _search(pilot, "mimo")
        row = dict(zip(headings_of(screen), rows_of(screen)[0], strict=True))
        missing = f"{judgement.shortfall_bytes / 2**30:.1f}"
        assert row[""] == "✗" and row["VRAM GiB"] == f"{missing} short"
        assert row["tok/s"] == "–" and "range" not in row
        assert "does not fit" in text_of(screen, "#command")
        assert "llama-server" not in text_of(screen, "#command")
        assert f"RAM {missing}" in text_of(screen, "#bytes")
        assert "tok/s" not in text_of(screen, "#why")
        assert "more memory, or another model" in text_of(screen, "#why")


async def test_a_search_that_finds_nothing_says_so(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await _search(pilot, "strange")
        assert rows_of(screen) == []
        assert "1 not modelled" in text_of(screen, "#question")
        assert "its memory rules are not known" in text_of(screen, "#why")
        await pilot.press("enter", "y")
        assert pilot.app.screen is screen


async def test_down_leaves_the_search_field(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("slash", "g", "down")
        assert pilot.app.focused is screen.query_one(PicksTable)


async def test_the_theme_can_be_changed(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("t")
        assert not pilot.app.current_theme.dark
        await pilot.press("t")
        assert pilot.app.current_theme.dark


async def test_f5_reads_the_machine_again(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        advice.known_machine = busy(two_cards())
        await pilot.press("f5")
        await until(pilot, lambda: len(advice.asked) == 2)
        await settled(pilot)
        assert len(rows_of(screen)) == 4


def footer_of(pilot) -> list[str]:  # type: ignore[no-untyped-def]
    """What the footer offers now."""
    bindings = pilot.app.screen.active_bindings.values()
    return [bound.binding.description for bound in bindings if bound.binding.show]


def drawn_footer(pilot) -> list[str]:  # type: ignore[no-untyped-def]
    return [str(key.render()) for key in pilot.app.screen.query(FooterKey)]


async def test_the_footer_shortens_then_drops_and_the_keys_still_work(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "r probe again" in drawn_footer(pilot) and "y copy" in drawn_footer(pilot)
        for width, gone in ((80, {"y copy"}), (60, {"y copy", "u use", "enter details"})):
            await pilot.resize_terminal(width, 24)
            await until(pilot, lambda: "r probe" in drawn_footer(pilot) and len(drawn_footer(pilot)) < 10)
            await until(pilot, lambda gone=gone: not gone & set(drawn_footer(pilot)))
            shown = drawn_footer(pilot)
            assert len(" ".join(shown)) <= width
            assert {"/ search", "d disk", "m machine", "? help", "q quit"} <= set(shown)
        await pilot.press("y")
        assert pilot.app.clipboard
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: "y copy" in drawn_footer(pilot))


async def test_the_footer_offers_what_the_keys_do_now(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        usual = [
            "details", "copy", "context", "use", "search",
            "on disk", "plan", "mark", "machine", "probe again", "help", "quit",
        ]  # fmt: skip
        assert footer_of(pilot) == usual
        await pilot.press("slash")
        await pilot.pause()
        assert footer_of(pilot) == ["to the list", "back"]
        await pilot.press("question_mark")
        assert pilot.app.screen.query_one("#search", Input).value == "?"
        await pilot.press("f1")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape", "escape")
        await settled(pilot)
        assert footer_of(pilot) == usual
        await pilot.resize_terminal(40, 10)
        await settled(pilot)
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: footer_of(pilot) == usual)
