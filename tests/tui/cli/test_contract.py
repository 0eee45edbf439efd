"""The JSON documents and exit codes that other programs rely on: every name, every type."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.tui.cli.conftest import Run

CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "50")

Shape = dict[str, Any]
"""Key → type, tuple of types, nested shape, or [shape] for a list."""
NONE = type(None)
SIZE = (int, NONE)

HARDWARE: Shape = {
    "os": str,
    "cpu": {"name": (str, NONE), "physical_cores": SIZE, "logical_cores": SIZE, "features": [str]},
    "ram": {
        "total_bytes": SIZE,
        "available_bytes": SIZE,
        "limit_bytes": SIZE,
        "bandwidth_bytes_per_s": SIZE,
        "bandwidth_source": (str, NONE),
    },
    "gpus": [
        {
            "index": int,
            "name": str,
            "vendor": str,
            "backend": str,
            "uuid": (str, NONE),
            "unified_memory": bool,
            "vram_total_bytes": SIZE,
            "vram_free_bytes": SIZE,
            "bandwidth_bytes_per_s": SIZE,
            "fp16_flops": SIZE,
            "compute_capability": (str, NONE),
            "driver": (str, NONE),
            "pcie": {"generation": SIZE, "width": SIZE},
            "power_limit_w": (int, float, NONE),
            "processes": [{"pid": int, "name": str, "vram_bytes": SIZE}],
            "sources": dict,
        }
    ],
    "llama_server": (dict, NONE),
    "notes": [str],
}
RANGE: Shape = {"low": float, "expected": float, "high": float}
ESTIMATE: Shape = {
    "model": {
        "id": str,
        "architecture": str,
        "parameters": int,
        "active_parameters": SIZE,
        "quantization": str,
        "weights_bytes": int,
        "source": str,
    },
    "settings": {
        "context": int,
        "cache_type_k": str,
        "cache_type_v": str,
        "flash_attn": bool,
        "batch": int,
        "ubatch": int,
        "parallel": int,
        "kv_unified": bool,
        "swa_full": bool,
        "gpu_layers": int,
        "n_cpu_moe": int,
        "tensor_split": (list, NONE),
        "split_mode": str,
        "override_tensor": [str],
        "spec_type": (str, NONE),
    },
    "memory": {
        "devices": [
            {
                "name": str,
                "kind": str,
                "weights_bytes": int,
                "kv_cache_bytes": int,
                "compute_bytes": int,
                "overhead_bytes": int,
                "total_bytes": int,
                "capacity_bytes": SIZE,
                "free_bytes": SIZE,
            }
        ],
        "weights_bytes": int,
        "kv_cache_bytes": int,
        "compute_bytes": int,
        "overhead_bytes": int,
        "total_bytes": int,
    },
    "verdict": str,
    "shortfall_bytes": int,
    "remedies": [
        {
            "change": dict,
            "text": str,
            "saves_bytes": int,
            "decode_tok_s": (float, NONE),
            "verdict": str,
        }
    ],
    "warnings": [{"code": str, "text": str}],
}
SPEED: Shape = {
    "decode_tok_s": RANGE,
    "prefill_tok_s": (dict, NONE),
    "depth": int,
    "bound_tok_s": float,
    "limited_by": str,
    "basis": str,
}


def check(value: object, shape: object, where: str = "$") -> None:
    """Every key of ``shape`` is there with a value of its type; more keys are welcome."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, inner in shape.items():
            assert key in value, f"{where}.{key} is missing"
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for number, entry in enumerate(value):
            check(entry, shape[0], f"{where}[{number}]")
    else:
        types = shape if isinstance(shape, tuple) else (shape,)
        assert type(value) in types, f"{where} is {value!r}"


def test_hardware_of_a_simulated_machine(run: Run) -> None:
    answer = run("hardware", *CARD, "--json")
    assert answer.code == 0 and answer.err == ""
    document = answer.document
    assert next(iter(document)) == "schema" and document["schema"] == "llmfit.hardware/1"
    check(document, HARDWARE)
    card = document["gpus"][0]
    assert card["vram_total_bytes"] == card["vram_free_bytes"] == 24 * 2**30
    assert 930e9 < card["bandwidth_bytes_per_s"] < 940e9
    assert document["ram"]["total_bytes"] == 64 * 2**30
    assert document["ram"]["bandwidth_bytes_per_s"] == 50_000_000_000


def test_hardware_of_this_machine(run: Run) -> None:
    answer = run("hardware", "--json")
    assert answer.code == 0
    check(answer.document, HARDWARE)
    assert answer.document["ram"]["total_bytes"] > 0


def test_a_machine_file_is_what_hardware_wrote(run: Run, llama: Path, tmp_path: Path) -> None:
    written = run("hardware", "--gpu", "2x RTX 3090", "--ram", "64GiB", "--json")
    file = tmp_path / "machine.json"
    file.write_text(written.out)
    again = run("hardware", "--machine", file, "--json")
    assert again.document == written.document
    direct = run("estimate", llama, "--gpu", "2x RTX 3090", "--ram", "64GiB", "--json").document
    by_file = run("estimate", llama, "--machine", file, "--json").document
    assert by_file == direct


def test_estimate(run: Run, llama: Path) -> None:
    answer = run("estimate", llama, *CARD, "--json")
    assert answer.code == 0 and answer.err == ""
    document = answer.document
    assert next(iter(document)) == "schema" and document["schema"] == "llmfit.estimate/1"
    check(document, ESTIMATE | {"machine": HARDWARE, "speed": SPEED, "argv": [str]})
    assert document["verdict"] == "fits_gpu"
    assert document["shortfall_bytes"] == 0
    assert document["model"]["source"] == "gguf"
    assert document["model"]["quantization"] == "Q4_K_M"
    assert document["argv"][0] == "llama-server"
    assert [device["kind"] for device in document["memory"]["devices"]] == ["gpu", "host"]


def test_totals_are_sums(run: Run, moe: Path) -> None:
    memory = run("estimate", moe, "--gpu", "RTX 3060 12GB", *CARD[2:], "--json").document["memory"]
    parts = ("weights_bytes", "kv_cache_bytes", "compute_bytes", "overhead_bytes")
    for device in memory["devices"]:
        assert device["total_bytes"] == sum(device[part] for part in parts)
    for part in (*parts, "total_bytes"):
        assert memory[part] == sum(device[part] for device in memory["devices"])


def test_what_does_not_fit_has_no_speed_and_no_command(run: Run, llama: Path) -> None:
    answer = run("estimate", llama, "--gpu", "none", "--ram", "2GiB", "--json")
    document = answer.document
    check(document, ESTIMATE)
    assert answer.code == 0
    assert document["verdict"] == "does_not_fit"
    assert document["shortfall_bytes"] > 2**30
    assert document["speed"] is None and document["argv"] is None


def test_unknown_is_null_not_zero(run: Run, llama: Path) -> None:
    document = run("estimate", llama, "--gpu", "none", "--ram", "64GiB", "--json").document
    assert document["machine"]["ram"]["bandwidth_bytes_per_s"] is None
    assert document["verdict"] == "fits_cpu" and document["speed"] is None
    assert document["argv"] is not None


def test_command(run: Run, llama: Path) -> None:
    answer = run("command", llama, *CARD)
    assert answer.code == 0 and answer.err == ""
    argv = shlex.split(answer.out)
    assert argv[:3] == ["llama-server", "-m", str(llama)]
    assert argv[-2:] == ["-fit", "off"]
    document = run("command", llama, *CARD, "--json").document
    assert document["schema"] == "llmfit.command/1"
    assert document["argv"] == argv == run("estimate", llama, *CARD, "--json").document["argv"]


def test_command_of_what_does_not_fit_is_an_error(run: Run, llama: Path) -> None:
    answer = run("command", llama, "--gpu", "none", "--ram", "2GiB")
    assert answer.code == 1 and answer.out == ""
    assert "does not fit" in answer.err and "GiB short" in answer.err


def test_command_quotes_for_the_shell(run: Run, llama: Path, tmp_path: Path) -> None:
    odd = tmp_path / "it's a; model $HOME.gguf"
    odd.symlink_to(llama)
    assert shlex.split(run("command", odd, *CARD).out)[2] == str(odd)


def test_recommend(run: Run) -> None:
    answer = run("recommend", *CARD, "--json", "--limit", "2")
    document = answer.document
    assert answer.code == 0 and document["schema"] == "llmfit.recommend/1"
    check(
        document,
        {
            "machine": HARDWARE,
            "use_case": str,
            "recommendations": [
                ESTIMATE
                | {
                    "purpose": str,
                    "why": [str],
                    "quality": {"score": (int, float), "basis": str, "sources": [str]},
                    "argv": [str],
                }
            ],
        },
    )
    assert len(document["recommendations"]) == 2
    assert all("machine" not in entry and "schema" not in entry for entry in document["recommendations"])


def test_catalog(run: Run) -> None:
    document = run("catalog", "list", "--json").document
    assert document["schema"] == "llmfit.catalog/1"
    check(document["models"], [{"id": str, "architecture": str, "parameters": int}])
    assert len(document["models"]) > 150
    shown = run("catalog", "show", "Llama-3.3-70B", "--json").document
    assert shown["model"]["id"] == "meta-llama/Llama-3.3-70B-Instruct"
    assert shown["model"]["sources"]


def test_catalog_without_an_action_lists(run: Run) -> None:
    assert run("catalog", "--json").document == run("catalog", "list", "--json").document
    assert run("catalog").out == run("catalog", "list").out


def test_catalog_add_and_estimate(run: Run, llama: Path) -> None:
    added = run("catalog", "add", llama, "--id", "me/mine", "--json")
    assert added.code == 0 and added.document["added"] == "me/mine"
    from llmfit.catalog.overlay import overlay

    overlay.cache_clear()
    ours = run("estimate", "me/mine", "--quant", "Q4_K_M", *CARD, "--json").document
    theirs = run("estimate", llama, *CARD, "--json").document
    assert ours["memory"] == theirs["memory"] and ours["model"]["source"] == "catalog"


@pytest.mark.parametrize("place", ["before", "after", "mixed"])
def test_options_stand_before_or_after_the_command(run: Run, llama: Path, place: str) -> None:
    orders = {
        "before": (*CARD, "--json", "estimate", llama),
        "after": ("estimate", llama, *CARD, "--json"),
        "mixed": ("--json", *CARD[:2], "estimate", llama, *CARD[2:]),
    }
    expected = run("estimate", llama, *CARD, "--json").document
    assert run(*orders[place]).document == expected


def test_cards_before_and_after_the_command_add_up(run: Run) -> None:
    document = run("--gpu", "RTX 3090", "hardware", "--gpu", "RTX 3060", "--json").document
    names = [gpu["name"] for gpu in document["gpus"]]
    assert len(names) == 2 and "3090" in names[0] and "3060" in names[1]


def test_errors_are_one_line_or_one_document(run: Run) -> None:
    plain = run("estimate", "no such model at all")
    assert plain.code == 2 and plain.out == ""
    assert plain.err.startswith("llmfit: error: ") and plain.err.count("\n") == 1
    as_json = run("estimate", "no such model at all", "--json")
    assert as_json.code == 2 and as_json.err == ""
    check(as_json.document, {"error": {"code": str, "message": str, "hint": (str, NONE)}})


def test_an_interrupt_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmfit.tui.cli import hardware

    def interrupted(parsed: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(hardware, "run", interrupted)
    answer = run("hardware")
    assert (answer.code, answer.out, answer.err) == (130, "", "")


def test_a_bug_of_ours_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmfit.tui.cli import hardware

    def broken(parsed: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(hardware, "run", broken)
    monkeypatch.delenv("LLMFIT_DEBUG", raising=False)
    answer = run("hardware")
    assert answer.code == 1 and answer.out == ""
    assert answer.err == (
        "llmfit: error: internal: ZeroDivisionError: division by zero. "
        "This is a bug; LLMFIT_DEBUG=1 shows where.\n"
    )
    assert run("hardware", "--json").document["error"]["code"] == "internal"
    monkeypatch.setenv("LLMFIT_DEBUG", "1")
    assert "Traceback" in run("hardware").err


def test_json_is_ascii_and_nothing_else(run: Run, llama: Path, tmp_path: Path) -> None:
    named = tmp_path / "modèle ✓.gguf"
    named.symlink_to(llama)
    answer = run("estimate", named, *CARD, "--json")
    assert answer.out.isascii() and answer.out.count("\n") == 1
    assert json.loads(answer.out)["model"]["id"] == "modèle ✓"


def test_rows_of_the_user_that_cannot_be_read_are_named_on_stderr(run: Run, own_rows: Path) -> None:
    own_rows.mkdir()
    path = own_rows / "gpus-mine.jsonl"
    path.write_text("{}\n" * 5)
    question = ("estimate", "Qwen3-8B", *CARD)
    text = run(*question)
    lines = text.err.splitlines()
    assert text.code == 0 and len(lines) == 4
    assert all(
        line.startswith(f"llmfit: note: {path}:{number}: ") for number, line in enumerate(lines[:3], 1)
    )
    assert lines[3] == "llmfit: note: and 2 more in the catalogue folder"
    document = run(*question, "--json")
    assert document.err == "" and document.document["verdict"] == "fits_gpu"
    unknown = run("estimate", "Qwen3-8B", "--gpu", "RTX 9999")
    assert unknown.code == 2 and unknown.err.count("\n") == 1 and unknown.err.startswith("llmfit: error: ")
