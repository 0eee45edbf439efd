"""Answers as a user reads them: known cases, 80 columns, no contradiction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmfit.tui.cli.render import two_figures
from tests.tui.cli.conftest import Run

TWO_3090 = ("--gpu", "2x RTX 3090", "--ram", "64GiB")
ONE_3090 = ("--gpu", "RTX 3090", "--ram", "64GiB")


def test_llama_70b_gets_a_plan_for_two_cards(run: Run) -> None:
    document = run("estimate", "Llama-3.3-70B", "--quant", "Q4_K_M", *TWO_3090, "--json").document
    assert document["verdict"] == "fits_gpu"
    cards = [device for device in document["memory"]["devices"] if device["kind"] == "gpu"]
    assert len(cards) == 2
    assert all(card["total_bytes"] < card["free_bytes"] for card in cards)
    assert len(document["settings"]["tensor_split"]) == 2 and "-ts" in document["argv"]
    assert 10 < document["speed"]["decode_tok_s"]["expected"] < 25


def test_mimo_does_not_fit_and_says_by_how_much(run: Run) -> None:
    answer = run("estimate", "MiMo-V2-Flash", "--quant", "Q4_K_M", *TWO_3090)
    document = run("estimate", "MiMo-V2-Flash", "--quant", "Q4_K_M", *TWO_3090, "--json").document
    assert document["verdict"] == "does_not_fit"
    assert document["speed"] is None and document["argv"] is None
    short_gib = document["shortfall_bytes"] / 2**30
    assert 60 < short_gib < 75
    assert f"✗ does not fit: {short_gib:.1f} GiB short" in answer.out
    assert "tok/s" not in answer.out and "llama-server -" not in answer.out
    assert run("command", "MiMo-V2-Flash", "--quant", "Q4_K_M", *TWO_3090).code == 1


@pytest.mark.parametrize(("cache_type", "gib"), [("f16", 10.6), ("q8_0", 5.6)])
def test_the_cache_of_gemma_3_27b_at_128k(run: Run, cache_type: str, gib: float) -> None:
    options = ("--quant", "Q4_K_M", "--context", "128k", "--cache-type-k", cache_type)
    document = run("estimate", "gemma-3-27b", *options, *ONE_3090, "--json").document
    assert round(document["memory"]["kv_cache_bytes"] / 2**30, 1) == gib


def test_a_busy_card_is_not_told_fits_without_closing_something(run: Run, tmp_path: Path) -> None:
    free = run("estimate", "gemma-3-12b", "--quant", "Q8_0", *ONE_3090, "--json").document
    assert free["verdict"] == "fits_gpu"
    busy = run(
        "estimate", "gemma-3-12b", "--quant", "Q8_0", *ONE_3090, "--vram-free", "9GiB", "--json"
    ).document
    assert busy["verdict"] != "fits_gpu"
    assert any(reason.startswith("After closing what holds 15.0 GiB of GPU0") for reason in busy["reasons"])


def test_a_busy_card_names_what_to_close(run: Run, tmp_path: Path) -> None:
    machine = run("hardware", *ONE_3090, "--json").document
    card = machine["gpus"][0]
    card["vram_free_bytes"] = 9 * 2**30
    card["processes"] = [
        {"pid": 1, "name": "blender", "vram_bytes": 14 * 2**30},
        {"pid": 2, "name": "Xorg", "vram_bytes": 2**30},
    ]
    path = tmp_path / "busy.json"
    path.write_text(json.dumps(machine))
    document = run("estimate", "gemma-3-12b", "--quant", "Q8_0", "--machine", path, "--json").document
    assert document["verdict"] != "fits_gpu"
    assert any(reason.startswith("After closing blender (14.0 GiB)") for reason in document["reasons"])
    first = document["remedies"][0]
    assert "closing blender" in first["text"] and first["verdict"] == "fits_gpu"
    assert first["change"] == {"vram_free": [23 * 2**30]}
    text = run("estimate", "gemma-3-12b", "--quant", "Q8_0", "--machine", path).out
    assert "After closing blender (14.0 GiB)" in text and "✓ fits" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("Llama-3.3-70B", "--quant", "Q4_K_M", *TWO_3090),
        ("MiMo-V2-Flash", "--quant", "Q4_K_M", *TWO_3090),
        ("gemma-3-12b", "--quant", "Q8_0", *ONE_3090, "--vram-free", "9GiB"),
        ("DeepSeek-V3.2", "--gpu", "8x H100", "--ram", "1000GiB"),
        ("gpt-oss-20b", "--gpu", "RTX PRO 6000 Blackwell"),
        ("Qwen3-30B-A3B", "--gpu", "none", "--ram", "32GiB", "--ram-bandwidth", "50"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_prose_and_tables_fit_80_columns(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run("estimate", *arguments)
    assert answer.code == 0
    for line in answer.out.splitlines():
        assert len(line) <= 80 or line.startswith("llama-server "), line


def test_every_device_is_named_and_units_are_said(run: Run) -> None:
    out = run("estimate", "Llama-3.3-70B", "--quant", "Q4_K_M", *TWO_3090).out
    for words in ("GPU0 RTX 3090", "GPU1 RTX 3090", "RAM", "GiB", "margin: how far", "tok/s"):
        assert words in out


def test_the_table_and_the_json_say_the_same(run: Run) -> None:
    arguments = ("estimate", "Llama-3.3-70B", "--quant", "Q4_K_M", *TWO_3090)
    device = run(*arguments, "--json").document["memory"]["devices"][0]
    row = next(line for line in run(*arguments).out.splitlines() if "GPU0 RTX 3090 " in line)
    names = ("weights_bytes", "kv_cache_bytes", "compute_bytes", "overhead_bytes", "total_bytes")
    assert row.split()[3:8] == [f"{device[name] / 2**30:.2f}" for name in names]


def test_an_unknown_bandwidth_says_which_and_how_to_give_it(run: Run) -> None:
    out = run("estimate", "Llama-3.1-8B", "--quant", "Q4_K_M", "--gpu", "none", "--ram", "32GiB").out
    assert "Decode not known" in out and "--ram-bandwidth" in out


def test_what_was_assumed_is_said(run: Run) -> None:
    out = run("estimate", "Llama-3.1-8B", "--quant", "Q4_K_M", "--gpu", "RTX 3090").out
    assert "System RAM is assumed to be 64 GiB" in out


def test_the_app_and_the_commands_have_no_help_traceback(run: Run) -> None:
    with pytest.raises(SystemExit) as ended:
        run("estimate", "--help")
    assert ended.value.code == 0


def test_a_projector_counts_with_its_file_and_says_so(run: Run, tmp_path: Path) -> None:
    projector = tmp_path / "mmproj.gguf"
    projector.write_bytes(bytes(5_000_000))
    without = run("estimate", "gemma-3-27b", "--quant", "Q4_K_M", *ONE_3090, "--json").document
    assert "--no-mmproj" in without["argv"], "llama-server -hf would fetch one unasked"
    options = ("--quant", "Q4_K_M", "--mmproj", projector, *ONE_3090, "--json")
    document = run("estimate", "gemma-3-27b", *options).document
    assert "projector" in [warning["code"] for warning in document["warnings"]]
    more = {
        key: document["memory"]["devices"][0][key] - without["memory"]["devices"][0][key]
        for key in ("overhead_bytes", "margin_bytes")
    }
    assert more == {"overhead_bytes": 5_000_000, "margin_bytes": 2**30}
    assert "--no-mmproj" not in document["argv"]
    assert document["argv"][document["argv"].index("--mmproj") + 1] == str(projector)


def test_without_a_file_type_the_largest_that_stays_on_the_card_is_taken(run: Run) -> None:
    small = run("estimate", "Llama-3.1-8B", "--gpu", "RTX 3060 8GB", "--json").document
    large = run("estimate", "Llama-3.1-8B", "--gpu", "RTX 3090", "--json").document
    assert small["verdict"] == large["verdict"] == "fits_gpu"
    assert large["model"]["quantization"] == "Q8_0"
    assert small["model"]["weights_bytes"] < large["model"]["weights_bytes"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.834, "0.83"), (4.21, "4.2"), (17.6, "18"), (99.9, "100"), (134.0, "130"), (1290.0, "1300")],
)
def test_two_significant_figures(number: float, shown: str) -> None:
    assert two_figures(number) == shown


def test_what_is_proposed_for_images_keeps_room_for_a_projector(run: Run) -> None:
    options = ("--use-case", "vision", "--gpu", "RTX 4060", "--min-tps", "30", "--json")
    picks = run("recommend", *options).document["recommendations"]
    assert "longest context" in [pick["purpose"] for pick in picks], "the purpose that is judged anew"
    for pick in picks:
        assert "--no-mmproj" not in pick["argv"]
        assert "projector" in [warning["code"] for warning in pick["warnings"]]


def test_an_embedding_model_is_started_as_one_and_decodes_nothing(run: Run) -> None:
    arguments = ("Qwen3-Embedding-0.6B", "--quant", "Q8_0", "--gpu", "RTX 3090")
    assert "--embedding --pooling last" in run("command", *arguments).out
    out = run("estimate", *arguments).out
    assert "--embedding" in out and "prefill" in out and "An input of 512 tokens takes" in out
    assert "decode" not in out.lower() and "first token" not in out
    speed = run("estimate", *arguments, "--json").document["speed"]
    assert [speed[key] for key in ("decode_tok_s", "bound_tok_s", "limited_by", "basis")] == [None] * 4
    assert speed["prefill_tok_s"]["expected"] > 0 and speed["prefill_limited_by"]
