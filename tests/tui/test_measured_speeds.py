"""What the estimates ask: nothing costs nothing, a fit is made once, a broken file stops nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.measurements.calibrate import speeds_of
from llmfit.advisor.measurements.store import MeasurementStore
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.measurement import Measurement, Wanted, machine_key
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui import measured_speeds
from llmfit.tui.measured_models import file_type_of_label, steps_on
from llmfit.tui.measured_speeds import speeds_here
from llmfit.tui.session import machine_from

MACHINE = machine_from({"gpu": ["RTX 3090"], "ram": "64GiB", "ram_bandwidth": "50"})
SETTINGS = LaunchSettings(4096, devices=(0,))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMFIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def measurement(tok_s: float, depth_tokens: int = 64) -> Measurement:
    model = build_model(find_model("Qwen/Qwen3-8B"), "Q4_K_M")
    return Measurement(
        machine_key(MACHINE), "cuda", model.id, "Q4_K_M", model.file_bytes, "qwen3", SETTINGS, "decode",
        depth_tokens, 0, tok_s, "2026-11-22", "llama-bench",
    )  # fmt: skip


def test_nothing_measured_loads_nothing(folders: Path) -> None:
    assert speeds_here(MACHINE) == (None, None)
    program = (
        "import sys; from llmfit.tui.measured_speeds import speeds_here; speeds_here(None)\n"
        "print([name for name in sys.modules if 'sqlite3' in name or 'llmfit.advisor.speed' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_measured_and_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    MeasurementStore().add([measurement(105.0), measurement(95.0, 8000)])
    first, note = speeds_here(MACHINE)
    assert note is None and first is not None and first.calibration is not None
    assert first.calibration.n_used == 2
    assert first == speeds_of(MACHINE, MeasurementStore(), steps_on(MACHINE))
    monkeypatch.setattr(measured_speeds, "_fitted", lambda *_: pytest.fail("fitted again"))
    assert speeds_here(MACHINE) == (first, None)
    one = measurement(1.0)
    wanted = Wanted(one.machine_key, "cuda", one.model_id, "Q4_K_M", one.file_bytes, "qwen3", SETTINGS)
    measured = first.measured(wanted)
    assert measured is not None and measured.tok_s == 105.0


def test_a_new_measurement_is_fitted_anew() -> None:
    MeasurementStore().add([measurement(105.0)])
    speeds_here(MACHINE)
    MeasurementStore().add([measurement(95.0, 8000)])
    speeds, _ = speeds_here(MACHINE)
    assert speeds is not None and len(speeds.used) == 2


def test_what_was_measured_elsewhere_is_nothing_here() -> None:
    MeasurementStore().add([measurement(105.0)])
    other = machine_from({"gpu": ["RTX 4090"], "ram": "64GiB"})
    assert speeds_here(other) == (None, None)


def test_a_file_that_cannot_be_read_is_a_note(folders: Path) -> None:
    path = folders / "data" / "measurements.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    speeds, note = speeds_here(MACHINE)
    assert speeds is None
    assert note == f"{path}: not a file of measurements. Estimates go on without it."


def test_a_model_that_is_gone_says_so() -> None:
    gone = replace(measurement(105.0), model_id="nobody/nothing", model_path="/nowhere/nothing.gguf")
    assert steps_on(MACHINE)(gone) == "its model is not known here any more"
    two = replace(measurement(105.0), settings=LaunchSettings(1, devices=(0, 1), split_mode="row"))
    assert steps_on(MACHINE)(two) == "on a GPU that is not here now"
    pair = machine_from({"gpu": ["2x RTX 3090"], "ram": "64GiB"})
    assert steps_on(pair)(two) == "split mode 'row': not modelled: only layer and none are"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Q4_K - Medium", "Q4_K_M"),
        ("(guessed) Q3_K - Small", "Q3_K_S"),
        ("Q2_K - Medium", "Q2_K"),
        ("IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
        ("IQ3_S mix - 3.66 bpw", "IQ3_M"),
        ("TQ1_0 - 1.69 bpw ternary", "TQ1_0"),
        ("MXFP4 MoE", "MXFP4_MOE"),
        ("all F32", "F32"),
        ("BF16", "BF16"),
        ("Q9_X", None),
        ("", None),
    ],
)
def test_file_types_as_llama_cpp_calls_them(label: str, name: str | None) -> None:
    assert file_type_of_label(label) == name
