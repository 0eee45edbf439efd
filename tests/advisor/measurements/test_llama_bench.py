"""llama-bench's own output, and rows that say something else than a speed of this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.measurements import llama_bench
from llmfit.advisor.measurements.llama_bench import (
    BenchRow,
    KnownModel,
    NotUnderstoodError,
    measurement_of,
    read_output,
)
from llmfit.advisor.measurements.record import from_document, to_document
from llmfit.advisor.units import GB, GIB

DATA = Path(__file__).parents[2] / "data"
JSON = (DATA / "llama_bench_output.json").read_text()
JSONL = (DATA / "llama_bench_output.jsonl").read_text()
EPYC = Machine("linux", Cpu("AMD EPYC", 2, 2), Memory(24 * GIB, 20 * GIB))
CARD = Gpu(0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", bandwidth_bytes_per_s=936 * GB)
RIG = Machine("linux", Cpu(None, 16, 32), Memory(64 * GIB, 60 * GIB), (CARD, replace(CARD, index=1)))
TINY = KnownModel("tiny", "F16", 1141088, "llama", 2)
GPU_ROW: dict[str, object] = {
    **json.loads(JSON)[1],
    "cpu_info": "AMD Ryzen 9 7950X 16-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 3090",
    "backends": "CUDA",
    "build_number": 11434,
}


def rows_of(text: str) -> tuple[BenchRow, ...]:
    return read_output(text).rows


def row(**changes: object) -> BenchRow:
    return BenchRow(1, {**GPU_ROW, **changes})


def test_what_llama_bench_printed() -> None:
    rows = rows_of(JSON)
    assert [one.number for one in rows] == [1, 2, 3, 4]
    prompt, answer, deep_prompt, deep_answer = (measurement_of(one, TINY, EPYC) for one in rows)
    assert (prompt.kind, prompt.prompt_tokens, prompt.depth_tokens) == ("prefill", 64, 0)
    assert (answer.kind, answer.prompt_tokens, answer.depth_tokens) == ("decode", 0, 8)
    assert (deep_prompt.depth_tokens, deep_answer.depth_tokens) == (128, 136)
    assert prompt.tok_s == pytest.approx(60321.623)
    assert prompt.spread_share == pytest.approx(2826.461488 / 60321.623)
    assert (answer.backend, answer.build, answer.n_repeats, answer.n_threads) == ("cpu", None, 3, 1)
    assert answer.settings.devices == () and answer.settings.gpu_layers == 0
    assert answer.measured_at == "2026-11-22T11:26:19Z"


def test_lines_say_the_same_as_the_array() -> None:
    kinds = [(m.kind, m.depth_tokens) for m in (measurement_of(one, TINY, EPYC) for one in rows_of(JSONL))]
    assert kinds == [("prefill", 0), ("decode", 8), ("prefill", 128), ("decode", 136)]


def test_an_output_that_was_cut_off_or_mixed_with_warnings() -> None:
    assert len(list(rows_of(JSON[: len(JSON) * 5 // 8]))) == 2
    assert (
        len(list(rows_of("ggml_cuda_init: found 1 device {\n" + JSONL.replace("\n", "\nwarning }\n")))) == 4
    )


def test_rows_that_are_broken_are_counted() -> None:
    assert read_output(JSON).n_broken == read_output(JSONL).n_broken == 0
    assert read_output(JSON[: len(JSON) * 5 // 8]).n_broken == 1
    lines = JSONL.splitlines()
    for broken in (lines[1][:200], lines[1][:10], lines[1].replace('"avg_ts": ', '"avg_ts": nan')):
        found = read_output("\n".join([lines[0], broken, *lines[2:]]))
        assert (len(found.rows), found.n_broken) == (3, 1)
    assert read_output("found 1 device {\n" + JSONL).n_broken == 0


def test_more_rows_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_bench, "MAX_ROWS", 4)
    assert not read_output(JSON).has_more
    monkeypatch.setattr(llama_bench, "MAX_ROWS", 3)
    assert read_output(JSON).has_more and len(rows_of(JSON)) == 3


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '[{"a": 1}]', "{" * 50_000, "[" * 200_000, "\0\0", '{"n_prompt": 1'],
    ids=["empty", "list", "object", "other", "braces", "brackets", "bytes", "cut"],
)
def test_what_is_no_output_has_no_rows(text: str) -> None:
    assert rows_of(text) == ()


def test_a_number_beyond_all_bounds_is_not_told() -> None:
    endless = "1" + "0" * 400
    for text in (endless, f"-{endless}", "1" + "0" * 5000):
        rows = list(rows_of(JSON.replace('"avg_ts": 60321.623000', f'"avg_ts": {text}')))
        assert len(rows) == 4
        with pytest.raises(NotUnderstoodError, match="no speed"):
            measurement_of(rows[0], TINY, EPYC)


def test_hostile_text_is_passed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nests deeply, or breaks off deep inside, is not begun again at each of its brackets."""
    begun = 0
    plain = json.JSONDecoder.raw_decode

    def counted(self: json.JSONDecoder, text: str, at: int = 0) -> tuple[object, int]:
        nonlocal begun
        begun += 1
        return plain(self, text, at)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    assert rows_of('{"a":' * 100_000) == ()
    assert rows_of('{"x":[' * 900 + '{"n":1},' * 5000) == ()
    assert begun < 10
    assert len(list(rows_of("{ggml: {" + JSON))) == 4


def test_a_row_of_two_gpus() -> None:
    one = measurement_of(
        row(
            n_gpu_layers=20, n_cpu_moe=3, type_k="q8_0", type_v="q8_0", flash_attn=0, n_ubatch=1024,
            tensor_split="3.00/1.00", no_kv_offload=True, no_op_offload=1,
            tensor_buft_overrides="ffn=CPU;attn=CUDA1",
        ),
        replace(TINY, n_layer_all=40),
        RIG,
    )  # fmt: skip
    used = one.settings
    assert (one.backend, one.build, used.devices) == ("cuda", 11434, (0, 1))
    assert (used.gpu_layers, used.n_cpu_moe, used.tensor_split) == (20, 3, (3.0, 1.0))
    assert (used.cache_type_k, used.flash_attn, used.ubatch) == ("q8_0", False, 1024)
    assert (used.kv_offload, used.op_offload) == (False, False)
    assert used.override_tensor == ("ffn=CPU", "attn=CUDA1")


@pytest.mark.parametrize(
    ("changes", "devices", "backend"),
    [
        ({}, (0, 1), "cuda"),
        ({"devices": "CUDA1"}, (1,), "cuda"),
        ({"devices": "CUDA1/CUDA0"}, (1, 0), "cuda"),
        ({"devices": "none"}, (), "cpu"),
        ({"split_mode": "none", "main_gpu": 1}, (1,), "cuda"),
        ({"backends": "CPU", "gpu_info": ""}, (), "cpu"),
        ({"backends": "Vulkan"}, (0, 1), "vulkan"),
        ({"backends": "CUDA,BLAS"}, (0, 1), "cuda"),
    ],
)
def test_which_devices_took_part(changes: dict[str, object], devices: tuple[int, ...], backend: str) -> None:
    one = measurement_of(row(**changes), TINY, RIG)
    assert (one.settings.devices, one.backend) == (devices, backend)


def test_metal_has_a_name_of_its_own() -> None:
    chip = replace(CARD, name="Apple M4 Max", vendor="apple", backend="metal")
    machine = Machine("macos", Cpu("Apple M4 Max", 16, 16), Memory(64 * GIB, 60 * GIB), (chip,))
    one = row(cpu_info="Apple M4 Max, Accelerate", gpu_info="Apple M4 Max", backends="MTL,BLAS")
    assert measurement_of(one, TINY, machine).backend == "metal"


def test_an_older_build_tells_less() -> None:
    old = {
        name: GPU_ROW[name]
        for name in ("model_filename", "model_type", "n_prompt", "n_gen", "avg_ts", "stddev_ts", "gpu_info")
    }
    one = measurement_of(BenchRow(1, {**old, "backends": "CUDA", "flash_attn": True}), TINY, RIG)
    assert one.settings.flash_attn and one.settings.ubatch == 512 and one.spread_share is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_prompt": 512}, "prompt and answer timed together"),
        ({"n_gen": 0}, "neither prompt nor answer"),
        ({"n_gen": -3}, "n_gen is not a count"),
        ({"n_depth": -1}, "n_depth is not a count"),
        ({"embeddings": True}, "embeddings"),
        ({"fit_target": 512}, "with -fitt"),
        ({"avg_ts": None}, "no speed in it"),
        ({"avg_ts": 0.0}, "no speed in it"),
        ({"avg_ts": "fast"}, "no speed in it"),
        ({"backends": "CUDA,RPC"}, "a part of it ran on another computer"),
        ({"gpu_info": "NVIDIA GeForce RTX 3090"}, "measured with 1 GPU(s); this machine has 2"),
        (
            {"gpu_info": "RTX 3090, NVIDIA GeForce RTX 3090 Ti"},
            "measured on NVIDIA GeForce RTX 3090 Ti; this",
        ),
        ({"gpu_info": "NVIDIA GeForce RTX 4090, x"}, "measured on NVIDIA GeForce RTX 4090; this machine has"),
        ({"devices": "CUDA7"}, "device CUDA7 is not one of the 2 here"),
        ({"devices": "\x1b[31m"}, "device [31m is not one of the 2 here"),
        ({"split_mode": "none", "main_gpu": 9}, "main_gpu 9 of 2"),
        ({"type_k": "q3_9"}, "cache type q3_9 is not known"),
        ({"type_k": 3}, None),
        ({"tensor_split": "a/b"}, "tensor split a/b"),
        ({"tensor_split": "nan"}, "tensor split nan"),
        ({"n_batch": -1}, "n_batch is not a count"),
    ],
)
def test_why_a_row_is_no_measurement(changes: dict[str, object], why: str | None) -> None:
    if why is None:
        measurement_of(row(**changes), TINY, RIG)
        return
    with pytest.raises(NotUnderstoodError) as error:
        measurement_of(row(**changes), TINY, RIG)
    assert str(error.value).startswith(why) and str(error.value).isprintable()


def test_a_gpu_row_on_a_machine_without_one() -> None:
    with pytest.raises(NotUnderstoodError, match="this machine has none"):
        measurement_of(row(cpu_info="AMD EPYC"), TINY, EPYC)


@pytest.mark.parametrize(
    ("here", "told", "same"),
    [
        ("AMD Ryzen 9 7950X 16-Core Processor", "AMD Ryzen 9 7950X 16-Core Processor", True),
        ("Intel(R) Core(TM) i9-13900K CPU @ 3.00GHz", "13th Gen Intel(R) Core(TM) i9-13900K", True),
        ("AMD Ryzen 9 7950X", "AMD Ryzen 9 7900X", False),
        ("Apple M4 Max", "Apple M4 Pro", False),
        ("Apple M4 Max", "Apple M4 Max, Accelerate", True),
        ("AMD EPYC", "AMD EPYC", True),
        ("AMD EPYC", "", True),
    ],
)
def test_names_of_one_part(here: str, told: str, same: bool) -> None:
    machine = replace(RIG, cpu=Cpu(here, 16, 32))
    if same:
        measurement_of(row(cpu_info=told), TINY, machine)
    else:
        with pytest.raises(NotUnderstoodError, match="measured on"):
            measurement_of(row(cpu_info=told), TINY, machine)


def test_the_name_of_a_row_is_safe_to_show() -> None:
    one = row(model_filename="C:\\models\\evil\x1b[2J.gguf", n_depth=4096)
    assert one.name == "evil [2J.gguf tg16 @ d4096"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(GPU_ROW)), ANYTHING, max_size=4))
def test_whatever_stands_in_a_row(changes: dict[str, object]) -> None:
    """It is a measurement that can be kept, or there is a printable reason."""
    try:
        one = measurement_of(row(**changes), TINY, RIG)
    except NotUnderstoodError as error:
        assert str(error).isprintable()
    else:
        assert from_document(to_document(one)).tok_s == one.tok_s
    assert row(**changes).name.isprintable()
