"""``estimate --jsonl``: one answer a line, in order, whatever the other lines are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmfit.tui.cli.estimate import KNOWN_KEYS
from tests.tui.cli.conftest import Answer, Run

CARD = {"gpu": "RTX 3090", "ram": "64GiB"}
TWO = {"gpu": "2x RTX 3090"}
SPEC = {
    "architecture": "llama", "n_layer": 16, "n_embd": 2048, "n_head": 32, "n_head_kv": 8, "n_ff": 8192,
    "n_vocab": 32000, "context_length": 8192,
}  # fmt: skip


def ask(run: Run, *lines: object) -> Answer:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    return run("estimate", "--jsonl", stdin="\n".join(texts) + "\n")


def test_order_is_kept_and_bad_lines_stop_nothing(run: Run, llama: Path) -> None:
    good = {"model": str(llama), **CARD}
    answer = ask(
        run,
        good | {"context": 4096},
        "not json",
        good | {"contxt": 4096},
        "[1, 2]",
        good | {"model": "no such model"},
        "",
        '{"model": NaN}',
        good | {"context": 8192},
    )
    assert answer.code == 0 and answer.err == ""
    documents = answer.documents
    assert len(documents) == 7
    assert [document.get("schema") for document in documents] == [
        "llmfit.estimate/1", None, None, None, None, None, "llmfit.estimate/1",
    ]  # fmt: skip
    assert documents[0]["settings"]["context"] == 4096 and documents[-1]["settings"]["context"] == 8192
    assert "contxt" in documents[2]["error"]["message"] and "context" in documents[2]["error"]["hint"]


def test_a_line_answers_what_the_command_answers(run: Run, llama: Path) -> None:
    line = ask(run, {"model": str(llama), **CARD, "context": "32k", "cache_type_k": "q8_0"}).documents[0]
    options = ("--gpu", "RTX 3090", "--ram", "64GiB", "--context", "32k", "--cache-type-k", "q8_0")
    assert line == run("estimate", llama, *options, "--json").document


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ({"context": "32k"}, {"context": 32768}),
        ({"ubatch": "256", "batch": "1024"}, {"ubatch": 256, "batch": 1024}),
        ({"gpu": "2x RTX 3090", "tensor_split": "3,1"}, {"gpu": ["RTX 3090"] * 2, "tensor_split": [3, 1]}),
        ({"parallel": "3"}, {"parallel": 3}),
        ({"gpu_layers": "all"}, {"gpu_layers": 999}),
        ({"vram_free": "9GiB"}, {"vram_free": 9 * 2**30}),
        (TWO | {"vram_free": "9GiB,8GiB"}, TWO | {"vram_free": ["9GiB", 8 * 2**30]}),
        ({"ram": "64GiB"}, {"ram": 64 * 2**30}),
        ({"ram_bandwidth": "51.2"}, {"ram_bandwidth": 51.2}),
        ({"depth": "2k"}, {"depth": 2048}),
        ({"depth": "1.5k"}, {"depth": 1536}),
        ({"depth": "00"}, {"depth": 0}),
        ({"flash_attn": "on"}, {"flash_attn": True}),
        ({"override_tensor": r"blk\.0\.=CPU"}, {"override_tensor": [r"blk\.0\.=CPU"]}),
        ({"n_cpu_moe": "auto"}, {"n_cpu_moe": None}),
    ],
)  # fmt: skip
def test_values_are_texts_or_numbers(
    run: Run, llama: Path, text: dict[str, object], number: dict[str, object]
) -> None:
    first, second = ask(run, *({"model": str(llama), **CARD} | values for values in (text, number))).documents
    assert "error" not in first, first
    assert first["memory"] == second["memory"] and first["settings"] == second["settings"]
    assert first["machine"]["gpus"] == second["machine"]["gpus"] and first["speed"] == second["speed"]


def test_every_key_of_the_contract_is_known() -> None:
    settings = (
        "context cache_type_k cache_type_v flash_attn ubatch batch parallel kv_unified swa_full gpu_layers "
        "n_cpu_moe cpu_moe tensor_split split_mode no_kv_offload no_op_offload spec_type mmproj outputs depth"
    )
    assert set(settings.split()) <= KNOWN_KEYS
    assert {"model", "quant", "spec", "gpu", "ram", "ram_bandwidth", "vram_free", "machine"} <= KNOWN_KEYS


def test_settings_reach_the_estimate(run: Run, moe: Path) -> None:
    values = {
        "model": str(moe), "gpu": ["RTX 3090", "RTX 3060 12GB"], "ram": "64GiB", "context": 8192,
        "cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attn": "on", "ubatch": 256, "batch": 1024,
        "parallel": 2, "kv_unified": True, "swa_full": True, "gpu_layers": 40, "n_cpu_moe": 3,
        "tensor_split": "2,1", "no_kv_offload": True, "no_op_offload": True, "outputs": "tool",
    }  # fmt: skip
    settings = ask(run, values).documents[0]["settings"]
    expected = {
        "context": 8192, "cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attn": True, "ubatch": 256,
        "batch": 1024, "parallel": 2, "kv_unified": True, "swa_full": True, "gpu_layers": 40, "n_cpu_moe": 3,
        "tensor_split": [2.0, 1.0], "kv_offload": False, "op_offload": False, "outputs": "tool",
    }  # fmt: skip
    assert {key: settings[key] for key in expected} == expected


def test_a_spec_object_and_a_machine_object(run: Run, tmp_path: Path) -> None:
    machine = run("hardware", "--gpu", "RTX 3060", "--json").document
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(machine))
    spec_file = tmp_path / "spec.json"
    spec_file.write_text(json.dumps(SPEC))
    by_object, by_path, spec_by_path = ask(
        run,
        {"spec": SPEC, "quant": "Q8_0", "machine": machine},
        {"spec": SPEC, "quant": "Q8_0", "machine": str(path)},
        {"spec": str(spec_file), "quant": "Q8_0", "machine": machine},
    ).documents
    assert by_object["model"]["source"] == "spec" and by_object["model"]["quantization"] == "Q8_0"
    assert by_object == by_path == spec_by_path


def test_options_of_the_command_hold_for_lines_that_say_nothing_else(run: Run, llama: Path) -> None:
    lines = "\n".join(json.dumps(line) for line in ({}, {"context": 4096}, {"gpu": "RTX 3060"}))
    answer = run("estimate", llama, "--jsonl", "--gpu", "RTX 3090", "--context", "8k", stdin=lines)
    contexts = [document["settings"]["context"] for document in answer.documents]
    assert contexts == [8192, 4096, 8192]
    assert answer.documents[2]["machine"]["gpus"][0]["vram_total_bytes"] == 12 * 2**30


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"context": True}, "context"),
        ({"context": -5}, "context"),
        ({"context": 2.5}, "context"),
        ({"ubatch": "many"}, "ubatch"),
        ({"tensor_split": "nan,1"}, "tensor-split"),
        ({"tensor_split": [True, 1]}, "tensor-split"),
        ({"kv_unified": "yes"}, "kv-unified"),
        ({"cpu_moe": "no"}, "cpu-moe"),
        ({"gpu": {"name": "RTX 3090"}}, "gpu"),
        ({"gpu": ["RTX 3090", 5]}, "gpu"),
        ({"vram_free": {}}, "vram_free"),
        ({"machine": 5, "gpu": None}, "machine"),
        ({"machine": [], "gpu": None, "ram": None}, "machine"),
        ({"quant": 4}, "quant"),
        ({"model": ["x"]}, "MODEL"),
        ({"spec": 5, "model": None}, "spec"),
        ({"spec": {}, "model": None}, "spec"),
        ({"cache_type_k": 8}, "cache-type-k"),
        ({"override_tensor": [1]}, "override-tensor"),
        ({"spec_type": "eagle"}, "spec-type"),
        ({"outputs": ["server"]}, "outputs"),
    ],
)
def test_wrong_types_name_their_key(run: Run, llama: Path, values: dict[str, object], said: str) -> None:
    document = ask(run, {"model": str(llama), **CARD} | values).documents[0]
    assert document["error"]["code"] == "usage", document
    assert said in document["error"]["message"]


def test_bytes_that_are_no_text_and_endless_lines(run: Run, llama: Path) -> None:
    good = json.dumps({"model": str(llama), **CARD}).encode()
    stdin = b"\xff\xfe{\n" + b"[" * 100_000 + b"\n" + b'{"model": "' + b"x" * (17 * 2**20) + b'"}\n' + good
    documents = run("estimate", "--jsonl", stdin=stdin).documents
    assert ["error" in document for document in documents] == [True, True, True, False]


def test_a_bug_in_one_line_costs_only_that_line(
    run: Run, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmfit.tui.cli import estimate

    honest = estimate.judge

    def broken(model: object, machine: object, request: object, **rest: object) -> object:
        if getattr(request, "context_tokens", None) == 4096:
            raise ZeroDivisionError("oops")
        return honest(model, machine, request, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(estimate, "judge", broken)
    good = {"model": str(llama), **CARD}
    first, second = ask(run, good | {"context": 4096}, good).documents
    assert first["error"]["code"] == "internal" and second["verdict"] == "fits_gpu"
