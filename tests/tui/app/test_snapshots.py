"""How the screens look. The figures are written down, so that only a change of the app changes a picture.

Look at the report before accepting new pictures: pytest tests/tui/app/test_snapshots.py --snapshot-update
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from llmfit.advisor.hardware.machine import Disk, LlamaServer, Machine, VramProcess
from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement, Remedy
from llmfit.advisor.speed.estimate import PrefillSpeed, SpeedEstimate, SpeedRange
from llmfit.advisor.speed.terms import Cause, StepTime, Term
from llmfit.advisor.units import GIB
from llmfit.catalog.local.local_model import LocalModels
from tests.tui.app.fake_advice import FakeAdvice, busy, settled, two_cards
from tests.tui.app.test_disk_marks import on_disk

WIDE, SMALL = (160, 45), (80, 24)
TOKEN = StepTime(
    (
        Term("dense weights", "GPU 0", Cause.GPU_MEMORY, 0.030, 20e9, 20e9 / 0.030),
        Term("kernels", "GPU 0", Cause.LAUNCH, 0.005, 1000, 200_000, "kernels"),
        Term("KV cache", "RAM", Cause.SYSTEM_MEMORY, 0.020, 1e9, 50e9),
        Term("step", "GPU 0", Cause.LAUNCH, 0.0005),
    ),
    0.043,
)
PROMPT = StepTime((Term("dense weights", "GPU 0", Cause.COMPUTE, 0.5, 25e12, 50e12, "FLOP"),), 0.1)
PREFILL = PrefillSpeed(SpeedRange(700.0, 1024.0, 1600.0), 512, 0.556, 5120.0, "compute", "formula", PROMPT)
SPEED = SpeedEstimate(SpeedRange(15.0, 18.0, 21.0), PREFILL, 0, 23.0, "gpu memory", "formula", TOKEN)
SHORT_BYTES = 68 * GIB


def device(index: int | None, weights_gib: float, cache_gib: float, free_gib: float) -> DeviceMemory:
    kind, capacity = ("host", 64) if index is None else ("gpu", 24)
    sizes = (round(weights_gib * GIB), round(cache_gib * GIB), GIB // 3, GIB // 2, GIB // 5)
    return DeviceMemory("RTX 3090", kind, index, *sizes, capacity * GIB, round(free_gib * GIB))


def written_down(judgement: Judgement) -> Judgement:
    """The judgement with figures that no change of the arithmetic moves."""
    runs = judgement.fits
    cards = (device(0, 16.0, 4.0, 22.0), device(1, 15.5, 4.2, 24.0))
    memory = MemoryEstimate((*cards, device(None, 0.4 if runs else 130.0, 0.0, 64.0)))
    split = judgement.verdict == FITS_GPU
    reason = "Split over both cards, by what is free." if split else "It is larger than both cards."
    helps = Remedy(
        "file type IQ2_XXS saves 60.0 GiB: still too large, 7.0 GiB short", (), 1, "does_not_fit", None
    )
    return replace(
        judgement,
        memory=memory,
        speed=SPEED if runs else None,
        speed_plan=None,
        shortfall_bytes=0 if runs else SHORT_BYTES,
        reasons=(reason,),
        remedies=() if runs else (helps,),
        warnings=(),
        argv=("llama-server", "-m", "model.gguf", "-ngl", "all", "-c", "32768", "-fit", "off")
        if runs
        else None,
    )


@pytest.fixture
def advice() -> FakeAdvice:
    advice = FakeAdvice()
    advice.change = written_down
    return advice


def after(*keys: str) -> Callable[[Pilot[object]], object]:
    async def press(pilot: Pilot[object]) -> None:
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)

    return press


Compare = Callable[..., bool]


def test_advisor_wide(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=WIDE, run_before=after())


def test_advisor_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after())


def test_busy_card_in_the_light_theme(snap_compare: Compare, advice: FakeAdvice) -> None:
    advice.known_machine = busy(two_cards())
    assert snap_compare(advice.app, terminal_size=(110, 34), run_before=after("t"))


def test_what_does_not_fit(snap_compare: Compare, advice: FakeAdvice) -> None:
    keys = ("slash", *"mimo", "enter")
    assert snap_compare(advice.app, terminal_size=(120, 34), run_before=after(*keys))


def test_details_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after("enter"))


def test_model_files_wide(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=WIDE, run_before=after("enter", "3"))


def test_model_goals_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after("enter", "2", "down"))


def test_model_context_at_the_smallest_width(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=(60, 20), run_before=after("enter", "4"))


def test_plan_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after("p"))


def test_compare_wide(snap_compare: Compare, advice: FakeAdvice) -> None:
    keys = ("space", "down", "down", "space", "v")
    assert snap_compare(advice.app, terminal_size=WIDE, run_before=after(*keys))


def test_marked_rows_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    keys = ("space", "down", "down", "space")
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after(*keys))


def test_help_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after("question_mark"))


def two_busy_cards() -> Machine:
    """Every kind of part in a bar: three programs, memory that nobody is known to hold, the driver's own."""
    first, second = busy(two_cards()).gpus
    held = (
        *first.processes,
        VramProcess(3, "llama-server", 9 * GIB),
        VramProcess(4, "program of another user", None),
    )
    told = {"vram_free_bytes": "nvml", "vram_reserved_bytes": "nvml", "power_limit_w": "nvml"}
    first = replace(
        first,
        vram_free_bytes=11 * GIB,
        vram_reserved_bytes=GIB,
        processes=held,
        driver="580.65.06",
        uuid="GPU-00000000-aaaa-bbbb-cccc-000000000000",
        power_draw_w=31.0,
        sources={**first.sources, **told},
    )
    second = replace(second, vram_free_bytes=4 * GIB, processes=(VramProcess(3, "llama-server", 19 * GIB),))
    notes = ("The memory clock of card 1 is not told: not supported.",)
    server = LlamaServer("/opt/llama/llama-server", "b11434", 11434, ("cpu",))
    return replace(
        two_cards(), gpus=(first, second), notes=notes, simulated=False, described_by=None,
        llama_server=server, llama_servers=(server,), disks=(Disk("/data/models", 2000 * GIB, 700 * GIB),),
    )  # fmt: skip


def test_machine_wide(snap_compare: Compare, advice: FakeAdvice) -> None:
    advice.known_machine = two_busy_cards()
    assert snap_compare(advice.app, terminal_size=WIDE, run_before=looking_at_it("down", "space"))


def test_machine_small(snap_compare: Compare, advice: FakeAdvice) -> None:
    advice.known_machine = two_busy_cards()
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=looking_at_it("space"))


def test_two_busy_cards_with_one_program_closed(snap_compare: Compare, advice: FakeAdvice) -> None:
    advice.known_machine = two_busy_cards()
    assert snap_compare(advice.app, terminal_size=SMALL, run_before=after("m", "space", "escape"))


def test_models_on_this_disk(snap_compare: Compare, advice: FakeAdvice) -> None:
    files = [on_disk("qwen3-32b", path=Path("/data/models/qwen3-32b.gguf")), on_disk("gemma3-27b", "Q8_0")]
    advice.found = LocalModels(tuple(files))
    assert snap_compare(advice.app, terminal_size=(120, 34), run_before=after())


def looking_at_it(*keys: str) -> Callable[[Pilot[object]], object]:
    async def press(pilot: Pilot[object]) -> None:
        await settled(pilot)
        await pilot.press("m", *keys)
        await pilot.pause()

    return press
