"""``llmfit calibration``: rows of llama-bench in, the list with its reasons out, and how to forget them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.measurements import llama_bench
from llmfit.tui.cli import calibration
from llmfit.tui.session import machine_from
from tests.tui.cli.conftest import Run

DATA = Path(__file__).parents[2] / "data"
CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "50")
TEMPLATE = json.loads((DATA / "llama_bench_output.json").read_text())[1]
Write = Callable[..., Path]


def bench_row(path: object, tok_s: float, **changes: object) -> dict[str, object]:
    """A row of llama-bench on an RTX 3090, decode unless told otherwise."""
    return {
        **TEMPLATE,
        "gpu_info": "NVIDIA GeForce RTX 3090",
        "backends": "CUDA",
        "build_number": 11434,
        "model_filename": str(path),
        "model_type": "llama 8B Q4_K - Medium",
        "model_size": 4912898304,
        "model_n_params": 8030261312,
        "n_gen": 128,
        "avg_ts": tok_s,
        "stddev_ts": tok_s / 100,
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(*rows: dict[str, object]) -> Path:
        path = tmp_path / "bench.json"
        path.write_text(json.dumps(rows))
        return path

    return call


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What --gpu describes is taken for the machine that the tests run on."""
    described = calibration.machine_from
    monkeypatch.setattr(
        calibration, "machine_from", lambda values: replace(described(values), described_by=None)
    )


@pytest.fixture
def several(llama: Path, write: Write) -> Path:
    """Three runs of Llama 3.1 8B, slower than the formula says."""
    return write(
        *(bench_row(llama, tok_s, n_depth=depth) for depth, tok_s in ((0, 110), (4096, 104), (16384, 90)))
    )


def test_nothing_was_measured_yet(run: Run, tmp_path: Path) -> None:
    answer = run(*CARD, "calibration")
    assert answer.code == 0 and answer.err == ""
    assert answer.out.startswith("Nothing has been measured on this machine.\nAdd what llama-bench printed")
    document = run(*CARD, "calibration", "--json").document
    assert document["schema"] == "llmfit.calibration/1"
    assert document["measurements"] == [] and document["calibration"] is None
    assert not (tmp_path / "own data").exists()


def test_runs_are_kept_used_and_explained(run: Run, several: Path) -> None:
    added = run(*CARD, "calibration", "add", several)
    assert added.code == 0 and added.err == ""
    assert added.out.startswith("Kept 3 in ") and added.out.endswith("3 of them will be used.\n")
    listed = run(*CARD, "calibration")
    assert listed.code == 0
    head, *rows = listed.out.splitlines()[:4]
    assert head.split() == ["id", "model", "file", "test", "tok/s", "formula", "calibrated"]
    assert [line.split()[0] for line in rows] == ["1", "2", "3"]
    assert all(line.endswith("✓ used") for line in rows)
    assert "Calibrated on 3 configurations. Against the formula, on this machine:" in listed.out
    assert run(*CARD, "calibration", "add", several).out.endswith(
        ", 3 more had been kept before; 0 of them will be used.\n"
    )


def test_the_document(run: Run, llama: Path, write: Write) -> None:
    """Runs that take a fifth longer than the formula says, whatever its constants are."""
    depths = (0, 4096, 16384)
    run(*CARD, "calibration", "add", write(*(bench_row(llama, 20.0, n_depth=depth) for depth in depths)))
    formula = [one["formula_tok_s"] for one in run(*CARD, "calibration", "--json").document["measurements"]]
    assert formula == sorted(formula, reverse=True)
    run("calibration", "forget", "--all", "--yes")
    slow = (
        bench_row(llama, tok_s / 1.2, n_depth=depth) for depth, tok_s in zip(depths, formula, strict=True)
    )
    run(*CARD, "calibration", "add", write(*slow))
    document = run(*CARD, "calibration", "--json").document
    first = document["measurements"][0]
    assert first["id"] == 4 and first["used"] is True and first["why_not_used"] is None
    assert (first["model"], first["quantization"]) == ("llama3.1-8b.Q4_K_M", "Q4_K_M")
    assert (first["kind"], first["depth"], first["formula_tok_s"]) == ("decode", 64, formula[0])
    assert (first["backend"], first["build"], first["source"]) == ("cuda", 11434, "llama-bench")
    assert first["calibrated_tok_s"] == pytest.approx(formula[0] / 1.2, rel=0.03)
    told = document["calibration"]
    assert told["configurations_used"] == 3 and 0 < told["effective_parameters"] < 3
    assert set(told["residual_shares"]) == {"on_gpus", "with_weights_in_ram", "prefill"}
    factors = {factor["scope"]: factor["time_factor"] for factor in told["factors"]}
    assert 1.02 < factors["gpu_memory"] < 1.2 and factors["launch"] > 1
    assert all(0.4 <= factor <= 2.5 for factor in factors.values())


def test_another_machine_does_not_see_them(run: Run, several: Path) -> None:
    run(*CARD, "calibration", "add", several)
    other = ("--gpu", "RTX 4090", "--ram", "64GiB")
    assert run(*other, "calibration").out.startswith("Nothing has been measured on this machine.")
    everything = run(*other, "calibration", "--all")
    assert everything.out.count("✗ not used") == 3
    assert "3 (1, 2, 3) are not used: of another machine, or of this one before its parts" in everything.out
    assert "None of them is used" in everything.out


def test_what_is_kept_and_not_used_says_why(run: Run, llama: Path, write: Write) -> None:
    rows = write(bench_row(llama, 900.0), bench_row(llama, 100.0, stddev_ts=40.0))
    added = run(*CARD, "calibration", "add", rows)
    assert added.code == 0 and "0 of them will be used." in added.out
    text = " ".join(added.out.split())
    assert "1: llama3.1-8b.Q4_K_M decode at 64 is not used: faster than this machine's memory allows" in text
    assert "2: llama3.1-8b.Q4_K_M decode at 64 is not used: its repeats differ too much (40% of" in text


def test_runs_of_the_same_that_disagree(run: Run, llama: Path, write: Write) -> None:
    """Also where one was kept before; a third run decides."""
    run(*CARD, "calibration", "add", write(bench_row(llama, 16.3)))
    added = run(*CARD, "calibration", "add", write(bench_row(llama, 110.0, test_time="2026-11-22T12:00:00Z")))
    assert "two runs of the same differ by 575%; measure once more" in " ".join(added.out.split())
    assert run(*CARD, "calibration", "--json").document["calibration"] is None
    run(*CARD, "calibration", "add", write(bench_row(llama, 111.0, test_time="2026-11-22T13:00:00Z")))
    document = run(*CARD, "calibration", "--json").document
    assert [one["used"] for one in document["measurements"]] == [False, True, True]
    assert document["calibration"]["configurations_used"] == 1


def test_rows_that_are_no_measurement_of_this_machine(run: Run, llama: Path, write: Write) -> None:
    rows = write(
        bench_row(llama, 110.0),
        bench_row(llama, 110.0, n_prompt=512),
        bench_row(llama, 110.0, gpu_info="NVIDIA GeForce RTX 4090"),
        bench_row("gone.gguf", 110.0, model_type="clip 1B F16"),
    )
    answer = run(*CARD, "calibration", "add", rows)
    text = " ".join(answer.out.split())
    assert answer.code == 0 and "Kept 1 in" in text
    assert "pp512+tg128 is not kept: prompt and answer timed together." in text
    assert "is not kept: measured on NVIDIA GeForce RTX 4090; this machine has" in text
    assert "row 4: gone.gguf tg128 is not kept: no such file here, and no clip 1B F16 of this size" in text
    document = run(*CARD, "calibration", "add", rows, "--json").document
    assert [row["row"] for row in document["not_kept"]] == [2, 3, 4] and document["known_before"] == 1


def test_none_that_could_be_kept_is_a_failure(run: Run, llama: Path, write: Write, tmp_path: Path) -> None:
    rows = write(bench_row(llama, 110.0, n_prompt=512))
    answer = run(*CARD, "calibration", "add", rows)
    assert answer.code == 1 and answer.out.startswith("Kept 0 in")
    assert not (tmp_path / "own data").exists()


def test_a_model_that_is_not_here_is_found_in_the_catalogue(run: Run, write: Write) -> None:
    rows = write(bench_row("/elsewhere/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 110.0))
    document = run(*CARD, "calibration", "add", rows, "--json").document
    (added,) = document["added"]
    assert added["model"] == "meta-llama/Llama-3.1-8B-Instruct" and added["used"] and added["path"] is None


def test_another_mix_of_a_model_that_is_not_here(run: Run, write: Write) -> None:
    rows = write(bench_row("x.gguf", 110.0, model_size=6_000_000_000))
    answer = run(*CARD, "calibration", "add", rows)
    assert answer.code == 1 and "it is another mix than" in " ".join(answer.out.split())


def test_from_standard_input(run: Run, llama: Path) -> None:
    lines = "\n".join(json.dumps(bench_row(llama, tok_s)) for tok_s in (100.0, 101.0))
    answer = run(*CARD, "calibration", "add", "-", stdin=lines)
    assert answer.code == 0 and answer.out.startswith("Kept 2 in")


def test_what_powershell_redirects(run: Run, llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.json"
    path.write_text(json.dumps([bench_row(llama, 100.0)]), encoding="utf-16")
    assert run(*CARD, "calibration", "add", path).code == 0


def test_names_in_a_file_move_no_cursor(run: Run, write: Write) -> None:
    rows = write(bench_row("evil\x1b[2J\u202e.gguf", 1.0, model_type="\x1b]0;owned\x07 8B Q4_K - Medium"))
    answer = run(*CARD, "calibration", "add", rows)
    assert answer.code == 1 and "\x1b" not in answer.out and "\u202e" not in answer.out


@pytest.mark.parametrize(
    "content",
    [b"", b"| model | size | params |\n", b"\x00\xff\xfe" * 100, b"[" * 200_000],
    ids=["empty", "a table", "bytes", "brackets"],
)
def test_a_file_of_something_else(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    answer = run(*CARD, "calibration", "add", path)
    assert answer.code == 2 and answer.out == ""
    assert answer.err == (
        f"llmfit: error: {path}: no output of llama-bench in it. "
        "Write one with: llama-bench -m MODEL.gguf -o json > FILE.\n"
    )


@pytest.mark.parametrize(
    ("name", "why"), [("none.json", "no such file or directory"), (".", "is a directory")]
)
def test_a_file_that_is_none(run: Run, tmp_path: Path, name: str, why: str) -> None:
    answer = run(*CARD, "calibration", "add", tmp_path / name)
    assert answer.code == 2 and f": {why}." in answer.err


@pytest.mark.parametrize("machine", [("--gpu", "RTX 3090", "--ram", "64GiB"), ("--machine", "rig.json")])
def test_nothing_is_kept_for_a_machine_that_is_described(
    run: Run, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: tuple[str, ...]
) -> None:
    rig = tmp_path / "rig.json"
    rig.write_text(run("hardware", "--gpu", "RTX 3090", "--ram", "64GiB", "--json").out)
    monkeypatch.setattr(calibration, "machine_from", machine_from)
    answer = run("calibration", "add", several, *(rig if word == rig.name else word for word in machine))
    assert answer.code == 2 and answer.out == ""
    assert answer.err == (
        "llmfit: error: calibration add: measurements are of this machine, not of one that is described. "
        "Leave --gpu and --machine away.\n"
    )
    assert not (tmp_path / "own data").exists()


def test_more_rows_than_are_read_are_refused(
    run: Run, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_bench, "MAX_ROWS", 2)
    answer = run(*CARD, "calibration", "add", several)
    assert answer.code == 2 and " rows. Add it in several parts; nothing is kept yet.\n" in answer.err
    assert not (tmp_path / "own data").exists()


def test_rows_that_are_broken_are_told(run: Run, several: Path) -> None:
    text = several.read_text()
    several.write_text(text[: len(text) * 5 // 6])
    answer = run(*CARD, "calibration", "add", several)
    assert answer.code == 0 and answer.out.startswith("Kept 2 in")
    assert answer.err == f"llmfit: note: {several}: 1 row could not be read: broken, or cut off\n"
    assert (
        "1 row could not be read" in run(*CARD, "calibration", "add", several, "--json").document["notes"][0]
    )
    several.write_text(text[: len(text) // 6])
    none = run(*CARD, "calibration", "add", several)
    assert none.code == 2 and f"{several}: 1 row could not be read: broken, or cut off." in none.err


def test_one_reason_is_told_once(run: Run, llama: Path, write: Write) -> None:
    rows = [bench_row(llama, 900.0 + i) for i in range(9)] + [bench_row(llama, 9.0, n_prompt=5)] * 3
    text = " ".join(run(*CARD, "calibration", "add", write(*rows)).out.split())
    assert text.count("faster than this machine's memory allows") == 1
    assert text.count("prompt and answer timed together") == 1
    assert "9 (1: llama3.1-8b.Q4_K_M decode at 64, 2: " in text and ", …) are not used: faster" in text
    assert "3 (row 10: " in text and ") are not kept: prompt" in text


def test_no_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    answer = run(*CARD, "calibration", "add", "-")
    assert answer.code == 2 and answer.err.startswith("llmfit: error: standard input: closed. Write one")


def test_a_data_folder_that_is_a_file(run: Run, several: Path, tmp_path: Path) -> None:
    (tmp_path / "own data").touch()
    answer = run(*CARD, "calibration", "add", several)
    assert answer.code == 1
    assert answer.err == (
        f"llmfit: error: {tmp_path / 'own data'}: no folder can be there: a file is in its way. "
        "Name another folder with LLMFIT_DATA.\n"
    )


def test_forgetting(run: Run, several: Path) -> None:
    run(*CARD, "calibration", "add", several)
    assert run("calibration", "forget", "2").out == "Forgot 1 measurement.\n"
    left = run(*CARD, "calibration", "--json").document
    assert [one["id"] for one in left["measurements"]] == [1, 3]
    refused = run("calibration", "forget", "--all")
    assert refused.code == 2 and "deletes all 2 measurements of every machine. Add --yes" in refused.err
    assert run("calibration", "forget", "--all", "--yes", "--json").document["forgotten"] == 2
    assert run(*CARD, "calibration", "--json").document["measurements"] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "forget: no measurement is named. Give"),
        (("7",), "measurement 7: there is none"),
        (("1", "7"), "measurement 7: there is none"),
        (("1", "--all", "--yes"), "--all: contradicts the numbers"),
        (("x",), "ID: 'x' is not a positive whole number"),
        (("0",), "ID: '0' is not a positive whole number"),
    ],
)
def test_what_cannot_be_forgotten(run: Run, several: Path, arguments: tuple[str, ...], why: str) -> None:
    run(*CARD, "calibration", "add", several)
    answer = run("calibration", "forget", *arguments)
    assert answer.code == 2 and answer.err.startswith(f"llmfit: error: {why}")
    assert len(run(*CARD, "calibration", "--json").document["measurements"]) == 3


def test_a_broken_file_of_measurements_is_one_sentence(run: Run, several: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own data"
    folder.mkdir()
    path = folder / "measurements.sqlite3"
    path.write_bytes(b"not a database at all" * 50)
    listed = run(*CARD, "calibration")
    assert listed.code == 1
    assert listed.err == (f"llmfit: error: {path}: not a file of measurements. Estimates go on without it.\n")
    assert run(*CARD, "calibration", "--json").document["error"]["code"] == "failed"
    assert run("estimate", "Qwen3-8B", *CARD).code == 0
    added = run(*CARD, "calibration", "add", several)
    assert added.code == 0 and "it is now measurements.sqlite3.aside-1" in added.err
    assert run(*CARD, "calibration", "--json").document["calibration"] is not None
