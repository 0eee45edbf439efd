"""The file of measured bandwidths: what is kept, and that it never stops or loses anything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.bandwidth import measure as ram_bandwidth
from llmfit.advisor.hardware.bandwidth import remembered as remembered_bandwidth
from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement
from llmfit.advisor.hardware.bandwidth.remembered import (
    FILE_NAME,
    MAX_FILE_BYTES,
    MAX_MACHINES,
    MAX_REMEMBERED,
    SCHEMA,
    data_folder,
    measure_and_remember,
    read_store,
    remember,
    with_measurement,
    with_remembered_bandwidth,
)
from llmfit.advisor.hardware.fingerprint import machine_fingerprint
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.units import GB, GIB

DAY = "2026-11-22"
MACHINE = Machine("linux", Cpu("a CPU", 8, 16), Memory(32 * GIB, 20 * GIB))
MEASURED = BandwidthMeasurement(50 * GB, 0.031, 8, 512 * 2**20, 3.1)


def rate(gb_s: float) -> BandwidthMeasurement:
    return replace(MEASURED, bytes_per_s=round(gb_s * GB))


def test_what_was_measured_counts_in_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    assert with_remembered_bandwidth(MACHINE, folder) == MACHINE
    assert remember(MACHINE, MEASURED, folder, DAY) == MEASURED
    memory = with_remembered_bandwidth(MACHINE, folder).memory
    assert memory.bandwidth_bytes_per_s == 50 * GB
    assert memory.bandwidth_source == f"measured {DAY}"
    other = replace(MACHINE, cpu=replace(MACHINE.cpu, physical_cores=2))
    assert with_remembered_bandwidth(other, folder) == other


def test_the_file_is_small_and_private(tmp_path: Path) -> None:
    remember(MACHINE, MEASURED, tmp_path, DAY)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {
        "schema": SCHEMA,
        "machines": {
            machine_fingerprint(MACHINE): [
                {
                    "date": DAY,
                    "bytes_per_s": 50 * GB,
                    "spread": 0.031,
                    "n_threads": 8,
                    "buffer_bytes": 512 * 2**20,
                }
            ]
        },
    }


def test_the_newest_counts_and_the_last_few_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        assert remember(MACHINE, rate(50 + number), tmp_path, f"2026-11-0{number + 1}").kept
    known = read_store(tmp_path / FILE_NAME).machines[machine_fingerprint(MACHINE)]
    assert [one.bytes_per_s for one in known] == [(53 + number) * GB for number in range(MAX_REMEMBERED)]
    memory = with_remembered_bandwidth(MACHINE, tmp_path).memory
    assert (memory.bandwidth_bytes_per_s, memory.bandwidth_source) == (57 * GB, "measured 2026-11-08")


@pytest.mark.parametrize(("gb_s", "kept"), [(40.4, True), (40.3, False), (60, True)])
def test_a_figure_far_below_the_median_is_an_outlier(tmp_path: Path, gb_s: float, kept: bool) -> None:
    remember(MACHINE, MEASURED, tmp_path, DAY)
    remember(MACHINE, rate(45), tmp_path, DAY)
    found = remember(MACHINE, rate(gb_s), tmp_path, DAY)
    assert found.kept is kept and found.bytes_per_s == rate(gb_s).bytes_per_s
    why = "47.5 GB/s is usual here; if that has changed, measure some times more"
    assert found.why_not == (None if kept else why)
    now = with_remembered_bandwidth(MACHINE, tmp_path).memory.bandwidth_bytes_per_s
    assert now == rate(gb_s if kept else 45).bytes_per_s


@pytest.mark.parametrize(("before", "tries"), [((100,), 3), ((60, 60, 60, 100), 1), ((100,) * 5, 4)])
def test_a_level_that_stays_is_believed(tmp_path: Path, before: tuple[float, ...], tries: int) -> None:
    """One high outlier, and a virtual machine that went to a slower host."""
    for gb_s in before:
        remember(MACHINE, rate(gb_s), tmp_path, DAY)
    kept = [remember(MACHINE, rate(60), tmp_path, DAY).kept for _ in range(tries + 1)]
    assert kept == [False] * (tries - 1) + [True, True]
    assert with_remembered_bandwidth(MACHINE, tmp_path).memory.bandwidth_bytes_per_s == 60 * GB


def test_doubtful_figures_never_push_out_the_one_that_counts(tmp_path: Path) -> None:
    remember(MACHINE, rate(100), tmp_path, DAY)
    for gb_s in (80, 64, 51, 41, 33, 26):
        remember(MACHINE, rate(gb_s), tmp_path, DAY)
        known = read_store(tmp_path / FILE_NAME).machines[machine_fingerprint(MACHINE)]
        assert any(not one.doubtful for one in known) and len(known) <= MAX_REMEMBERED
    assert with_remembered_bandwidth(MACHINE, tmp_path).memory.bandwidth_bytes_per_s == 100 * GB


def test_what_measuring_would_not_keep_is_not_written(tmp_path: Path) -> None:
    bad = replace(MEASURED, kept=False, why_not="other programs or the host took 40% of the CPU")
    assert remember(MACHINE, bad, tmp_path, DAY) == bad
    assert not list(tmp_path.iterdir())


def test_several_computers_in_one_file(tmp_path: Path) -> None:
    """A home folder on a file server, or a container with fewer cores."""
    machines = [replace(MACHINE, cpu=Cpu("a CPU", cores, cores)) for cores in range(1, MAX_MACHINES + 3)]
    for number, machine in enumerate(machines):
        remember(machine, rate(20 + number), tmp_path, DAY)
    assert len(read_store(tmp_path / FILE_NAME).machines) == MAX_MACHINES
    assert with_remembered_bandwidth(machines[0], tmp_path) == machines[0], "the oldest went first"
    for number, machine in list(enumerate(machines))[2:]:
        assert with_remembered_bandwidth(machine, tmp_path).memory.bandwidth_bytes_per_s == (20 + number) * GB


# ---------------------------------------------------------------- what beats what


def test_it_beats_the_peak_of_the_modules_and_a_given_figure_beats_it(tmp_path: Path) -> None:
    from llmfit.advisor.hardware.simulate import override_machine

    memory = replace(
        MACHINE.memory,
        bandwidth_bytes_per_s=90 * GB,
        bandwidth_source="peak of DDR5-5600 x 2",
        peak_bandwidth_bytes_per_s=90 * GB,
    )
    machine = replace(MACHINE, memory=memory)
    remember(machine, MEASURED, tmp_path, DAY)
    found = with_remembered_bandwidth(machine, tmp_path)
    assert found.memory.bandwidth_bytes_per_s == 50 * GB
    assert found.memory.peak_bandwidth_bytes_per_s == 90 * GB
    given_one = override_machine(found, None, "70GB/s", None).memory
    assert (given_one.bandwidth_bytes_per_s, given_one.bandwidth_source) == (70 * GB, "--ram-bandwidth")


def test_shared_memory_the_gpu_keeps_its_own_figure(tmp_path: Path) -> None:
    gpu = Gpu(0, "Radeon 8060S", "amd", "vulkan", unified_memory=True, bandwidth_bytes_per_s=256 * GB)
    memory = replace(
        MACHINE.memory, bandwidth_bytes_per_s=256 * GB, bandwidth_source="catalog (shared with the GPU)"
    )
    machine = replace(MACHINE, gpus=(gpu,), memory=memory)
    remember(machine, rate(110), tmp_path, DAY)
    found = with_remembered_bandwidth(machine, tmp_path)
    assert found.gpus == (gpu,)
    assert found.memory.bandwidth_bytes_per_s == 110 * GB
    assert found.memory.bandwidth_source == f"measured {DAY} by the CPU"


def test_a_gpu_with_no_figure_of_its_own_has_the_one_of_its_ram_the_latest(tmp_path: Path) -> None:
    gpu = Gpu(0, "Radeon 780M", "amd", "vulkan", unified_memory=True)
    machine = with_measurement(replace(MACHINE, gpus=(gpu,)), MEASURED, DAY)
    assert machine.gpus[0].bandwidth_bytes_per_s == 50 * GB
    assert machine.gpus[0].sources["bandwidth_bytes_per_s"] == f"RAM (measured {DAY} by the CPU)"
    machine = with_measurement(machine, rate(60), DAY)
    assert machine.gpus[0].bandwidth_bytes_per_s == machine.memory.bandwidth_bytes_per_s == 60 * GB
    remember(machine, rate(60), tmp_path, DAY)
    assert with_remembered_bandwidth(replace(MACHINE, gpus=(gpu,)), tmp_path).gpus == machine.gpus


@pytest.mark.parametrize("described_by", ["--gpu", "--machine"])
def test_a_machine_that_is_not_here_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, described_by: str
) -> None:
    monkeypatch.setattr(ram_bandwidth, "measure_ram_bandwidth", lambda *_: pytest.fail("measured"))
    with pytest.raises(LlmfitError, match=described_by):
        measure_and_remember(replace(MACHINE, described_by=described_by))


def test_a_figure_just_measured_counts_at_once_or_says_why_not() -> None:
    found = with_measurement(MACHINE, MEASURED, DAY)
    assert found.memory.bandwidth_source == f"measured {DAY}" and found.notes == ()
    bad = replace(MEASURED, kept=False, why_not="the rounds differ by 22%")
    found = with_measurement(MACHINE, bad)
    assert found.memory == MACHINE.memory
    assert found.notes == (
        "The RAM was measured at 50.0 GB/s with 8 threads, not kept: the rounds differ by 22%.",
    )


def test_speed_of_models_on_the_cpu_is_known_once_it_was_measured(tmp_path: Path) -> None:
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.recommend.search import judge
    from llmfit.catalog.build import build_model
    from llmfit.catalog.models import find_model

    model = build_model(find_model("Llama-3.1-8B"), "Q4_K_M")
    assert judge(model, MACHINE, Request(context_tokens=4096), remedies=False).speed is None
    remember(MACHINE, MEASURED, tmp_path, DAY)
    machine = with_remembered_bandwidth(MACHINE, tmp_path)
    speed = judge(model, machine, Request(context_tokens=4096), remedies=False).speed
    assert speed is not None and 0 < speed.decode_tok_s.expected < speed.bound_tok_s


# ---------------------------------------------------------------- bad files

ROW = {"date": DAY, "bytes_per_s": 50 * GB, "spread": 0.03, "n_threads": 8, "buffer_bytes": 2**29}


def _file(**changes: object) -> bytes:
    document = {"schema": SCHEMA, "machines": {machine_fingerprint(MACHINE): [{**ROW, **changes}]}}
    return json.dumps(document).encode()


BAD_FILES = {
    "empty": b"",
    "cut off": _file()[:-20],
    "no text": b"\xff\xfe\x00",
    "another document": b"[1, 2]",
    "another version": json.dumps({"schema": "llmfit.ram-bandwidth/2", "machines": {}}).encode(),
    "no machines": json.dumps({"schema": SCHEMA, "machines": 3}).encode(),
    "no rows": json.dumps({"schema": SCHEMA, "machines": {"x": 3}}).encode(),
    "a row that is none": json.dumps({"schema": SCHEMA, "machines": {"x": [3]}}).encode(),
    "many rows": json.dumps({"schema": SCHEMA, "machines": {"x": [ROW] * 6}}).encode(),
    "nested": b"[" * 100_000,
    "endless number": b'{"schema": ' + b"9" * 10_000 + b"}",
    "huge": b" " * (MAX_FILE_BYTES + 1),
    "no rate": _file(bytes_per_s=None),
    "a rate of text": _file(bytes_per_s="50"),
    "true": _file(bytes_per_s=True),
    "nothing": _file(bytes_per_s=0),
    "negative": _file(bytes_per_s=-50 * GB),
    "absurd": _file(bytes_per_s=10**30),
    "a fraction": _file(bytes_per_s=5e10),
    "no number": _file(spread=float("nan")),
    "infinite": _file(spread=float("inf")),
    "not a day": _file(date="22.11.2026"),
    "escape": _file(date="\x1b[31m"),
    "no threads": _file(n_threads=[]),
    "doubt in words": _file(doubtful="no"),
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_a_note_and_is_put_aside_before_anything_is_written(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    found = with_remembered_bandwidth(MACHINE, tmp_path)
    assert found.memory == MACHINE.memory
    assert len(found.notes) == 1 and found.notes[0].isprintable()
    assert found.notes[0].startswith(f"The remembered RAM bandwidth could not be read: {path}: ")
    assert "the next measurement that is kept puts" in found.notes[0]
    assert path.read_bytes() == content, "reading changes nothing"

    assert remember(MACHINE, MEASURED, tmp_path, DAY).kept
    assert with_remembered_bandwidth(MACHINE, tmp_path).memory.bandwidth_bytes_per_s == 50 * GB
    assert (tmp_path / f"{FILE_NAME}.aside-1").read_bytes() == content


def test_what_was_put_aside_stays_there(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for number, content in enumerate((b"first", b"second"), start=1):
        path.write_bytes(content)
        remember(MACHINE, MEASURED, tmp_path, DAY)
        assert (tmp_path / f"{FILE_NAME}.aside-{number}").read_bytes() == content
    assert (tmp_path / f"{FILE_NAME}.aside-1").read_bytes() == b"first"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(ANY_JSON)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)
def test_no_document_stops_anything(tmp_path: Path, value: object) -> None:
    for document in (
        value,
        {"schema": SCHEMA, "machines": value},
        {"schema": SCHEMA, "machines": {"x": value}},
    ):
        (tmp_path / FILE_NAME).write_text(json.dumps(document))
        found = with_remembered_bandwidth(MACHINE, tmp_path)
        assert found.memory == MACHINE.memory


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("make", [_folder, _loop, _pipe, _endless])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / FILE_NAME)
    found = with_remembered_bandwidth(MACHINE, tmp_path)
    assert found.memory == MACHINE.memory and len(found.notes) == 1
    assert remember(MACHINE, MEASURED, tmp_path, DAY).kept
    assert os.path.lexists(tmp_path / f"{FILE_NAME}.aside-1")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    found = remember(MACHINE, MEASURED, blocked, DAY)
    assert not found.kept and found.why_not is not None and str(blocked) in found.why_not
    assert len(with_remembered_bandwidth(MACHINE, blocked).notes) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(MACHINE, MEASURED, tmp_path, DAY)
    before = (tmp_path / FILE_NAME).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = remember(MACHINE, rate(51), tmp_path, DAY)
    assert not found.kept and found.why_not is not None and found.why_not.endswith("no space left on device")
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_where_the_file_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("LLMFIT_DATA", "~nobody-of-this-name/x")
    assert with_remembered_bandwidth(MACHINE) == MACHINE
    monkeypatch.delenv("LLMFIT_DATA")
    assert data_folder().name == "llmfit"


def test_measuring_and_remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path))
    answers = [MEASURED, None]
    monkeypatch.setattr(ram_bandwidth, "measure_ram_bandwidth", lambda *_: answers.pop(0))
    assert measure_and_remember(MACHINE) == MEASURED
    assert remembered_bandwidth.with_remembered_bandwidth(MACHINE).memory.bandwidth_bytes_per_s == 50 * GB
    assert measure_and_remember(MACHINE) is None, "stopped"
