"""``llmfit hardware --measure``: one document on stdout, progress on stderr, and only of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.hardware.bandwidth import measure as ram_bandwidth
from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement
from llmfit.advisor.units import GB
from tests.tui.cli.conftest import Run

MEASURED = BandwidthMeasurement(50 * GB, 0.03, 2, 2**28, 3.0)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def measures(monkeypatch: pytest.MonkeyPatch, answer: BandwidthMeasurement) -> None:
    monkeypatch.setattr(ram_bandwidth, "measure_ram_bandwidth", lambda *_: answer)


def test_the_figure_is_printed_and_remembered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, MEASURED)
    now = run("hardware", "--measure", "--json")
    assert now.code == 0 and now.err.startswith("Measuring the RAM's bandwidth with ")
    ram = now.document["ram"]
    assert ram["bandwidth_bytes_per_s"] == 50 * GB
    assert ram["bandwidth_source"].startswith("measured 20")
    later = run("hardware", "--json")
    assert later.err == "" and later.document["ram"]["bandwidth_bytes_per_s"] == 50 * GB
    given_one = run("hardware", "--ram-bandwidth", "70GB/s", "--json")
    assert given_one.document["ram"]["bandwidth_bytes_per_s"] == 70 * GB


def test_a_figure_that_is_not_kept_says_why(
    run: Run, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    why = "other programs or the host took 40% of the CPU"
    measures(monkeypatch, replace(MEASURED, kept=False, why_not=why))
    answer = run("hardware", "--measure", "--json")
    assert answer.code == 0
    assert f"The RAM was measured at 50.0 GB/s with 2 threads, not kept: {why}." in answer.document["notes"]
    assert not data_folder.exists()


def test_nothing_is_remembered_of_a_simulated_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, MEASURED)
    run("hardware", "--measure")
    assert run("hardware", "--gpu", "RTX 3090", "--json").document["ram"]["bandwidth_bytes_per_s"] is None


@pytest.mark.parametrize(
    "option", [("--gpu", "RTX 3090"), ("--ram", "64GiB"), ("--ram-bandwidth", "50GB/s"), ("--machine", "x")]
)
def test_only_this_machine_can_be_measured(run: Run, option: tuple[str, str]) -> None:
    answer = run("hardware", "--measure", *option)
    assert answer.code == 2 and answer.out == ""
    assert answer.err == (
        f"llmfit: error: --measure: contradicts {option[0]}. It measures this machine as it is.\n"
    )
