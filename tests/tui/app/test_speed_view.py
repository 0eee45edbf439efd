"""Speeds in the app: columns, the details page, and measurements that are made or lost while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static

from llmfit.advisor.hardware import probe
from llmfit.advisor.measurements.store import MeasurementStore
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.fit import Calibration
from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
from llmfit.advisor.speed.calibration.measurement import Measurement, machine_key
from llmfit.tui import llama_servers, model_disks
from llmfit.tui.app import LlmfitApp
from llmfit.tui.live_advice import LiveAdvice
from llmfit.tui.messages import Pick
from llmfit.tui.session import machine_from
from llmfit.tui.widgets.pick_columns import planned_columns, prefill_text
from llmfit.tui.widgets.speed_view import SpeedView, shown_prompts, speed_view
from llmfit.tui.widgets.why_panel import evidence_text
from tests.tui.app.fake_advice import FakeAdvice, judged, settled, two_cards, until

WIDE, SMALL = (160, 45), (80, 24)


def test_prefill_has_a_column_where_there_is_room() -> None:
    picks = [Pick("best quality", (), judged("qwen3-32b.Q4_K_M", two_cards()))]
    assert "prefill" in [column.label for column, _ in planned_columns(picks, 158)]
    narrow = [column.label for column, _ in planned_columns(picks, 60)]
    assert "prefill" not in narrow and "tok/s" in narrow
    assert 100 < int(prefill_text(picks[0])) < 5000


def test_no_prefill_for_what_does_not_run_or_is_not_known() -> None:
    judgement = judged("qwen3-32b.Q4_K_M", two_cards())
    assert judgement.speed is not None
    unknown = replace(judgement, speed=replace(judgement.speed, prefill=None))
    assert prefill_text(Pick("", (), unknown)) == "?"
    assert prefill_text(Pick("", (), replace(judgement, speed=None))) == "?"
    assert prefill_text(Pick("", (), judged("mimo-v2-flash.Q4_K_M", two_cards()))) == "–"
    assert "first token" not in speed_view(unknown, 120).plain.split("what")[1]


@pytest.mark.parametrize("width", [54, 74, 120])
def test_the_view_keeps_to_its_width_and_shows_both_sums(width: int) -> None:
    for name in ("qwen3-32b.Q4_K_M", "llama4-scout.Q4_K_M"):
        lines = speed_view(judged(name, two_cards()), width).plain.splitlines()
        tables = [line for line in lines if not line.startswith(("One token:", "A prompt of 512 tokens:"))]
        assert all(len(line) <= width for line in tables), tables
        assert sum(line.startswith("together") for line in lines) == 2
        assert [line.split()[0] for line in lines[:4]] == ["prompt", "1K", "8K", "32K"]


def test_only_prompts_that_have_room_are_shown() -> None:
    judgement = judged("qwen3-32b.Q4_K_M", two_cards(), 8192)
    assert shown_prompts(judgement) == [1024, 8192]
    slots = replace(judgement, settings=replace(judgement.settings, parallel=4))
    assert shown_prompts(slots) == [1024]
    shared = replace(judgement, settings=replace(slots.settings, kv_unified=True))
    assert shown_prompts(shared) == [1024, 8192]
    tiny = replace(judgement, settings=replace(judgement.settings, context_tokens=512))
    assert shown_prompts(tiny) == [512]


def test_without_a_speed_one_sentence_says_why() -> None:
    judgement = judged("qwen3-32b.Q4_K_M", two_cards())
    assert "bandwidth" in speed_view(replace(judgement, speed=None), 80).plain
    assert "does not run" in speed_view(judged("mimo-v2-flash.Q4_K_M", two_cards()), 80).plain


def test_what_a_speed_rests_on_is_said_in_words() -> None:
    judgement = judged("qwen3-32b.Q4_K_M", two_cards())
    assert "tok/s, formula: at most" in evidence_text(Pick("", (), judgement)).plain
    assert judgement.speed is not None and judgement.speed_plan is not None
    speeds = MachineSpeeds(Calibration((("gpu_memory", ""),), (0.1,), ((0.01,),), n_used=5))
    plan = replace(judgement.speed_plan, speeds=speeds)
    calibrated = replace(judgement, speed=replace(judgement.speed, basis="calibrated"), speed_plan=plan)
    assert "calibrated on 5 configurations" in evidence_text(Pick("", (), calibrated)).plain
    measured = replace(judgement, speed=replace(judgement.speed, basis="measured"))
    assert "tok/s, measured here: at most" in evidence_text(Pick("", (), measured)).plain


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_the_details_show_prompts_and_sums(advice: FakeAdvice, size: tuple[int, int]) -> None:
    async with advice.app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        view = pilot.app.screen.query_one(SpeedView)
        await until(pilot, lambda: view.size.height > 10)
        text = speed_view(advice.picks(two_cards(), "general", None)[0].judgement, view.content_size.width)
        assert view.size.height == len(text.plain.splitlines()), "no line is wrapped"
        assert any("How fast" in str(one.render()) for one in pilot.app.screen.query(Static))


async def test_measurements_made_meanwhile_ask_anew(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        n_asked = len(advice.asked)
        await pilot.press("r")
        await settled(pilot)
        assert len(advice.asked) == n_asked, "nothing has changed"
        advice.known_speeds = MachineSpeeds(Calibration(n_used=1))
        await pilot.press("r")
        await until(pilot, lambda: len(advice.asked) == n_asked + 1)
        await settled(pilot)


# ---------------------------------------------------------------- of this computer


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeasurementStore:
    """This computer has an RTX 3090; its store of measurements is empty."""
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMFIT_CACHE", str(tmp_path / "cache"))
    described = machine_from({"gpu": ["RTX 3090"], "ram": "64GiB", "ram_bandwidth": "50"})
    machine = replace(described, simulated=False, described_by=None, notes=())
    monkeypatch.setattr(probe, "detect_machine", lambda **_: machine)
    monkeypatch.setattr(llama_servers, "with_llama_servers", lambda found: found)
    monkeypatch.setattr(model_disks, "with_model_disks", lambda found: found)
    return MeasurementStore()


def measurement(pick: Pick, tok_s: float) -> Measurement:
    model, machine = pick.judgement.model, pick.judgement.machine
    return Measurement(
        machine_key(machine), "cuda", model.id, model.quantization, model.file_bytes,
        model.shape.architecture, LaunchSettings(4096, devices=(0,)), "decode", 0, 0, tok_s, "2026-11-22",
        "llama-bench",
    )  # fmt: skip


def basis_of(pick: Pick) -> str | None:
    return None if pick.judgement.speed is None else pick.judgement.speed.basis


def test_live_advice_reads_measurements_with_the_machine(here: MeasurementStore) -> None:
    advice = LiveAdvice({})
    machine = advice.machine()
    first = next(p for p in advice.picks(machine, "general", None) if p.judgement.verdict == "fits_gpu")
    assert advice.speeds() is None and basis_of(first) == "formula"
    assert first.judgement.speed is not None
    tok_s = first.judgement.speed.decode_tok_s.expected * 0.9
    here.add([measurement(first, tok_s)])
    assert advice.machine() == machine and advice.speeds() is not None
    again = {pick.key: pick for pick in advice.picks(machine, "general", None)}
    assert basis_of(again[first.key]) == "measured"
    found = [p for p in advice.search(machine, first.key, None) if isinstance(p, Pick) and p.key == first.key]
    assert {basis_of(pick) for pick in found} <= {"measured", "calibrated"} and found
    simulated = LiveAdvice({"gpu": ["RTX 3090"], "ram": "64GiB", "ram_bandwidth": "50"})
    bases = {basis_of(pick) for pick in simulated.picks(simulated.machine(), "general", None)}
    assert simulated.speeds() is None and bases == {"formula"}


async def test_a_store_that_cannot_be_read_is_told_once(here: MeasurementStore) -> None:
    here.path.parent.mkdir(parents=True)
    here.path.write_bytes(b"nothing of the kind" * 100)

    class Quiet(LiveAdvice):
        def picks(self, *_: object) -> tuple[Pick, ...]:  # type: ignore[override]
            return ()

    app = LlmfitApp(Quiet({}))
    told: list[str] = []
    app.notify = lambda text, **_: told.append(text)  # type: ignore[method-assign,assignment]
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: told)
        await pilot.press("r")
        await until(pilot, lambda: not app.probing)
        assert len(told) == 1 and "not a file of measurements" in told[0]
