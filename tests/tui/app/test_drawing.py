"""What is drawn fits its place, whatever the names are and however many cards there are."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from rich.cells import cell_len

from llmfit.advisor.hardware.machine import VramProcess
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.recommend.command import server_argv, shell_command
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.catalog.gpus import lookup_gpu
from llmfit.tui.flag_texts import explained_flags, split_flags
from llmfit.tui.messages import Pick
from llmfit.tui.screens.help import HELP, help_text
from llmfit.tui.widgets.machine_panel import machine_text
from llmfit.tui.widgets.memory_bar import estimate_bar
from llmfit.tui.widgets.memory_view import memory_text, missing_by_device
from llmfit.tui.widgets.pick_columns import pick_cells, planned_columns
from llmfit.tui.widgets.picks_table import PicksTable
from llmfit.tui.widgets.why_panel import why_text
from tests.tui.app.fake_advice import MODELS, QUALITY, TOO_LARGE, FakeAdvice, busy, judged, settled, two_cards
from tests.tui.app.test_keys import SMALL, WIDE, headings_of, rows_of, text_of

HOSTILE = "evil/[bold red]x[/] \x1b[2J\u202e 模型模型"
EIGHT = ("8x H100 80GB",)


def picks() -> list[Pick]:
    found = [Pick(purpose, (), judged(name, two_cards()), QUALITY) for name, purpose in MODELS.items()]
    return [*found, Pick("alternative", (), judged(TOO_LARGE, two_cards()))]


@pytest.mark.parametrize("width", [78, 84, 98, 120, 158])
def test_no_cell_is_cut(width: int) -> None:
    columns = planned_columns(picks(), width)
    assert sum(cells for _, cells in columns) + 2 * len(columns) <= width
    for pick in picks():
        for (column, cells), cell in zip(columns, pick_cells(pick, columns), strict=True):
            assert cell.plain == column.text(pick)
            assert cell_len(cell.plain) <= cells


def test_columns_go_whole_and_the_answer_stays() -> None:
    labels = [column.label for column, _ in planned_columns(picks(), 60)]
    assert {"", "model", "quant", "ctx", "VRAM GiB", "tok/s"} <= set(labels)
    assert "purpose" in [column.label for column, _ in planned_columns(picks(), 158)]


def test_a_name_without_room_ends_in_an_ellipsis() -> None:
    judgement = judged("qwen3-32b.Q4_K_M", two_cards())
    long = replace(judgement, model=replace(judgement.model, id="someone/" + "x" * 200))
    columns = planned_columns([Pick("", (), long)], 78)
    cells = pick_cells(Pick("", (), long), columns)
    assert cells[1].plain.endswith("…")
    assert sum(width for _, width in columns) + 2 * len(columns) <= 78


@pytest.mark.parametrize("width", [34, 42, 46, 60, 77, 120])
@pytest.mark.parametrize("name", [*MODELS, TOO_LARGE])
def test_the_bytes_stay_on_their_lines(width: int, name: str) -> None:
    judgement = judged(name, two_cards())
    lines = memory_text(judgement, width).plain.splitlines()
    labels = ["RAM" if d.kind == "host" else f"GPU{d.gpu_index}" for d in judgement.memory.devices]
    assert [line.split()[0] for line in lines[1 : 1 + len(labels)]] == labels
    assert all(cell_len(line) <= width for line in lines[: 1 + len(labels)])
    assert all("GiB" not in line for line in lines)


def test_what_is_missing_is_what_the_verdict_says() -> None:
    judgement = judged(TOO_LARGE, two_cards())
    assert sum(missing_by_device(judgement).values()) == judgement.shortfall_bytes > 0
    assert missing_by_device(judged("qwen3-32b.Q4_K_M", two_cards())) == {}


@pytest.mark.parametrize("width", [6, 19, 40])
@pytest.mark.parametrize("name", ["qwen3-32b.Q4_K_M", TOO_LARGE])
def test_bars_have_their_width(width: int, name: str) -> None:
    judgement = judged(name, two_cards())
    missing = missing_by_device(judgement)
    for device in judgement.memory.devices:
        label = "RAM" if device.kind == "host" else f"GPU{device.gpu_index}"
        bar = estimate_bar(device, missing.get(label, 0), width)
        assert bar.cell_len == width
        assert ("!" in bar.plain) == (label in missing)


@pytest.mark.parametrize("width", [58, 78, 158])
def test_a_busy_card_stays_on_one_line(width: int) -> None:
    lines = machine_text(busy(two_cards()), width, 3).plain.splitlines()
    assert len(lines) == 3
    assert all(cell_len(line) <= width for line in lines)
    assert "2.0 of 24.0 GiB used" in lines[0] and "936 GB/s" in lines[0]
    if width == 158:
        assert "█ firefox 1.5, ▓ Xorg 0.6" in lines[0]


def test_many_cards_are_summed_up() -> None:
    eight = simulate_machine(EIGHT, "512GiB", None, None, lookup_gpu)
    lines = machine_text(eight, 78, 3).plain.splitlines()
    assert lines[0].startswith("GPU0-7 8x H100") and lines[1].startswith("RAM ")
    uneven = replace(
        eight,
        gpus=tuple(replace(gpu, vram_free_bytes=(40 + gpu.index) * 2**30) for gpu in eight.gpus),
    )
    lines = machine_text(uneven, 78, 3).plain.splitlines()
    assert len(lines) == 3 and "… and 7 more cards: " in lines[1]


def test_a_gpu_that_could_not_be_read_stands_in_its_place_once() -> None:
    silent = "NVIDIA cards could not be read: the driver did not answer within 2 s."
    bare = replace(two_cards(), gpus=(), notes=(silent, "Another note."), unseen_gpus=(silent,))
    lines = machine_text(bare, 120, 10).plain.splitlines()
    assert lines[0] == f"✗ {silent}"
    assert lines[2:] == ["Note: Another note."]


async def test_eight_cards_leave_room_for_the_answer() -> None:
    machine = simulate_machine(EIGHT, "512GiB", None, None, lookup_gpu)
    for size in (WIDE, SMALL):
        advice = FakeAdvice(machine)
        async with advice.app.run_test(size=size) as pilot:
            screen = await settled(pilot)
            table = screen.query_one(PicksTable)
            assert table.row_count == 4 and table.size.height >= 4
            assert screen.query_one("#command").region.bottom <= size[1] - 1
            assert screen.query_one("#why-box").size.height >= 4


async def test_hostile_names_are_only_text(advice: FakeAdvice) -> None:
    first, second = two_cards().gpus
    held = (VramProcess(1, HOSTILE, 2**30),)
    gpus = (replace(first, name=HOSTILE, processes=held), replace(second, name=HOSTILE))
    advice.known_machine = replace(two_cards(), gpus=gpus)
    advice.change = lambda judgement: replace(
        judgement,
        model=replace(judgement.model, id=HOSTILE, quantization="[link]\x07"),
        reasons=(HOSTILE,),
        argv=("llama-server", "-m", HOSTILE),
    )
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        drawn = " ".join(text_of(screen, box) for box in ("#title", "#machine", "#why", "#command"))
        drawn += " ".join(cell for row in rows_of(screen) for cell in row)
        assert r"[bold red]x[/] \x1b[2J\u202e" in drawn
        assert "\x1b" not in drawn and "\u202e" not in drawn and "\x07" not in drawn
        await pilot.press("enter")
        await pilot.pause()
        assert "\x1b" not in pilot.app.export_screenshot()
        await pilot.press("escape", "y")
        assert pilot.app.clipboard == shell_command(("llama-server", "-m", HOSTILE))


async def test_a_tiny_terminal_gets_one_sentence(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(40, 12)) as pilot:
        screen = await settled(pilot)
        assert screen.query_one("#too-small").display and not screen.query_one("#main").display
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert screen.query_one("#main").display and not screen.query_one("#too-small").display
        assert len(rows_of(screen)) == 4


async def test_the_smallest_terminal_shows_every_part(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=(60, 18)) as pilot:
        screen = await settled(pilot)
        for part, height in (("#picks", 5), ("#why-box", 3), ("#bytes-box", 3), ("#command", 2)):
            box = screen.query_one(part)
            assert box.region.bottom <= 17 and box.region.height >= height, part


async def test_a_resize_brings_other_columns_and_keeps_the_cursor(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("down")
        assert "purpose" in headings_of(screen)
        await pilot.resize_terminal(*SMALL)
        await settled(pilot)
        assert "purpose" not in headings_of(screen)
        assert screen.query_one(PicksTable).cursor_row == 1
        assert "fastest" in text_of(screen, "#why")


EVERYTHING = LaunchSettings(
    32768, (0, 1), "q8_0", "q8_0", True, 2048, 512, 4, True, True, 20, 7, (3.0, 1.0), "none",
    ("blk.1.=CPU",), False, False, "draft-mtp", 3, "server", False, False, 0, "mmproj.gguf",
)  # fmt: skip


def test_every_flag_is_explained() -> None:
    """Each setting that the command can spell out has words for what it does."""
    judgement = judged("qwen3-30b-a3b.Q4_K_M", two_cards())
    told: set[str] = set()
    for settings in (EVERYTHING, replace(EVERYTHING, n_cpu_moe=999, devices=(0,)), LaunchSettings(512)):
        argv = server_argv(settings, ("-hf", "a/b:Q4_K_M"), two_cards())
        shown = list(explained_flags(replace(judgement, settings=settings, argv=argv)))
        assert all(meaning for _, meaning in shown), shown
        words = " ".join(flag for flag, _ in shown).split()
        assert words == list(argv[1:])
        told |= {name for name, _ in split_flags(argv)}
    assert {"-cmoe", "-ncmoe", "-ts", "-sm", "--device", "-kvu", "--swa-full", "-nkvo", "--mmproj"} <= told
    assert len(fields(LaunchSettings)) == 25, "a new setting needs a line in flag_texts.py"


def test_offload_says_what_is_in_ram() -> None:
    judgement = judged("llama4-scout.Q4_K_M", two_cards())
    assert why_text(Pick("", (), judgement)).plain.startswith("~ runs with weights in system RAM")


def with_unknowns(judgement: Judgement) -> Judgement:
    return replace(judgement, speed=None)


def test_unknown_is_a_question_mark_not_a_number() -> None:
    unknown = Pick("", (), with_unknowns(judged("qwen3-32b.Q4_K_M", two_cards())))
    cells = {c.label: c.text(unknown) for c, _ in planned_columns([unknown], 158)}
    assert cells["tok/s"] == "?" and "range" not in cells


def test_the_first_paint_imports_nothing_heavy() -> None:
    code = (
        "import json, sys, llmfit.tui.app;"
        "heavy = ('pydantic', 'httpx', 'psutil', 'pynvml', 'llmfit.catalog', 'llmfit.advisor.memory');"
        "print(json.dumps([name for name in sys.modules if name.startswith(heavy)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("width", [40, 54, 60])
def test_the_help_keeps_its_columns_in_a_narrow_terminal(width: int) -> None:
    lines = help_text(width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert sorted(" ".join(lines).split()) == sorted(HELP.split())
    assert "  enter      everything about it" in lines and "  y          copy the command" in lines
    first = next(number for number, line in enumerate(lines) if line.startswith("  ✗          does not run"))
    assert lines[first + 1].startswith(" " * 13) and lines[first + 1][13] != " "
    assert help_text(max(map(len, HELP.splitlines()))) == HELP
