"""What was measured on this machine, as the commands tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.hardware import probe
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.measurements.store import MeasurementStore
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.measurement import Measurement, machine_key
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui import llama_servers
from llmfit.tui.session import machine_from
from tests.tui.cli.conftest import Run
from tests.tui.cli.test_contract import CARD
from tests.tui.cli.test_speed_answers import QWEN, speed_of

Here = Callable[..., Machine]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """This computer has an RTX 3090, and on it some speeds were measured: decode and prefill of Qwen3 8B."""
    described = machine_from({"gpu": ["RTX 3090"], "ram": "64GiB", "ram_bandwidth": "50"})
    machine = replace(described, simulated=False, described_by=None, notes=())
    monkeypatch.setattr(probe, "detect_machine", lambda **_: machine)
    monkeypatch.setattr(llama_servers, "with_llama_servers", lambda found: found)

    def measured(*rows: tuple[str, int, int, float]) -> Machine:
        model = build_model(find_model(QWEN[0]), "Q4_K_M")
        settings = LaunchSettings(4096, devices=(0,))
        MeasurementStore().add(
            [
                Measurement(
                    machine_key(machine), "cuda", model.id, "Q4_K_M", model.file_bytes, "qwen3", settings,
                    kind, depth, prompt, tok_s, "2026-11-22T10:00:00Z", "llama-bench",
                )
                for kind, depth, prompt, tok_s in rows
            ]
        )  # fmt: skip
        return machine

    return measured


def test_a_measured_speed_is_shown_as_measured(run: Run, here: Here) -> None:
    here(("decode", 0, 0, 101.0), ("prefill", 0, 512, 2222.0))
    speed = speed_of(run, *QWEN)
    assert speed["basis"] == speed["prefill_basis"] == "measured"
    assert speed["decode_tok_s"]["expected"] == 101.0 and speed["prefill_tok_s"]["expected"] == 2222.0
    out = " ".join(run("estimate", *QWEN, "--explain").out.split())
    assert "measured here at 100 tok/s (1 measurement, the last of 2026-11-22T10:00:00Z)" in out
    listed = run("recommend", "--limit", "1")
    assert listed.code == 0 and listed.err == ""


def test_another_file_is_calibrated_and_says_on_what(run: Run, here: Here) -> None:
    formula = speed_of(run, "Qwen/Qwen3-14B", "--quant", "Q4_K_M", *CARD)
    here(("decode", 0, 0, 80.0), ("decode", 4096, 0, 76.0), ("decode", 16384, 0, 63.0))
    arguments = ("Qwen/Qwen3-14B", "--quant", "Q4_K_M")
    speed = speed_of(run, *arguments)
    assert speed["basis"] == "calibrated" and speed["calibrated_on"] == 3
    assert speed["prefill_basis"] == "formula"
    assert speed["decode_tok_s"]["expected"] < formula["decode_tok_s"]["expected"]
    out = run("estimate", *arguments, "--explain").out
    assert "calibrated on 3 configurations" in out
    assert "how far its measurements agree" in " ".join(out.split())


def test_a_described_machine_never_shows_what_was_measured_here(run: Run, here: Here, tmp_path: Path) -> None:
    here(("decode", 0, 0, 101.0))
    assert speed_of(run, *QWEN)["basis"] == "measured"
    assert speed_of(run, *QWEN, *CARD)["basis"] == "formula"
    file = tmp_path / "machine.json"
    file.write_text(run("hardware", "--json").out)
    assert speed_of(run, *QWEN, "--machine", file)["basis"] == "formula"
    lines = [{"model": QWEN[0], "quant": "Q4_K_M"}, {"model": QWEN[0], "quant": "Q4_K_M", "gpu": "RTX 3090"}]
    answer = run("estimate", "--jsonl", stdin="\n".join(map(json.dumps, lines)))
    assert [document["speed"]["basis"] for document in answer.documents] == ["measured", "formula"]


def test_measurements_that_cannot_be_read_are_a_note(run: Run, here: Here) -> None:
    here(("decode", 0, 0, 101.0))
    store = MeasurementStore()
    store.path.write_bytes(b"nothing of the kind" * 100)
    answer = run("estimate", *QWEN)
    assert answer.code == 0 and "formula" in answer.out
    assert (
        answer.err == f"llmfit: note: {store.path}: not a file of measurements. Estimates go on without it.\n"
    )
    document = run("estimate", *QWEN, "--json")
    assert document.err == "" and document.document["speed"]["basis"] == "formula"
    lines = "\n".join([json.dumps({"model": QWEN[0], "quant": "Q4_K_M"})] * 3)
    assert run("estimate", "--jsonl", stdin=lines).err.count("llmfit: note: ") == 1
    assert run("recommend", "--limit", "1").err.count("llmfit: note: ") == 1
