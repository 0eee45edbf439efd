"""Which measurement is believed, and which is exactly what is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.speed.calibration.measurement import (
    Measurement,
    Wanted,
    find_measured,
    machine_key,
    of_one_configuration,
    planned_backend,
    usual_threads,
    whole_model,
    why_not_used,
)
from llmfit.advisor.units import GB, GIB

SETTINGS = LaunchSettings(4096, devices=(0,))
GOOD = Measurement(
    machine_key="here",
    backend="cuda",
    model_id="Qwen/Qwen3-8B",
    quantization="Q4_K_M",
    file_bytes=5 * GB,
    family="qwen3",
    settings=SETTINGS,
    kind="decode",
    depth_tokens=64,
    prompt_tokens=0,
    tok_s=100.0,
    measured_at="2026-11-22T11:26:19Z",
    source="llama-bench",
    n_repeats=5,
    spread_share=0.01,
    n_threads=8,
)
WANTED = Wanted("here", "cuda", "Qwen/Qwen3-8B", "Q4_K_M", 5 * GB, "qwen3", SETTINGS)
CARD = Gpu(0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", bandwidth_bytes_per_s=936 * GB, driver="570.1")
MACHINE = Machine("linux", Cpu("AMD Ryzen 9 7950X", 16, 32), Memory(64 * GIB, 60 * GIB), (CARD,))


def test_a_good_one_is_used() -> None:
    assert why_not_used(GOOD, 150.0, 8) is None
    assert why_not_used(GOOD, None) is None
    assert why_not_used(replace(GOOD, n_repeats=1, spread_share=None, other_load=False), 150.0) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tok_s": 0.0}, "not a speed"),
        ({"tok_s": float("nan")}, "not a speed"),
        ({"tok_s": float("inf")}, "not a speed"),
        (
            {"file_bytes": 2**20},
            "the model is so small (1 MiB, 128 MiB at least) that it lies in",
        ),
        ({"speculative": True}, "with speculation"),
        ({"other_load": True}, "another program used the card"),
        ({"n_streams": 4}, "4 slots were answering at once"),
        ({"spread_share": 0.2}, "its repeats differ too much (20% of the mean, 15% at most)"),
        ({"spread_share": float("nan")}, "its repeats differ too much (? of the mean"),
        ({"tok_s": 154.0}, "faster than this machine's memory allows (150 tok/s at most)"),
        ({"n_threads": 1}, "with 1 threads; llama.cpp takes 8 here"),
        ({"n_threads": 32}, "with 32 threads"),
        ({"kind": "prefill"}, "the length of the prompt is not known"),
    ],
)
def test_why_another_is_not(change: dict[str, object], why: str) -> None:
    found = why_not_used(replace(GOOD, **change), 150.0, 8)  # type: ignore[arg-type]
    assert found is not None and found.startswith(why)


def test_a_clock_may_run_two_percent_fast() -> None:
    assert why_not_used(replace(GOOD, tok_s=152.9), 150.0) is None


def test_threads_matter_only_where_the_cpu_takes_part() -> None:
    assert why_not_used(replace(GOOD, n_threads=1), 150.0, None) is None


def test_the_step_of_a_prompt_is_the_whole_prompt() -> None:
    assert GOOD.measured_s == pytest.approx(0.01)
    assert replace(GOOD, kind="prefill", prompt_tokens=512, tok_s=1024.0).measured_s == pytest.approx(0.5)


def test_the_machine_is_what_decides_speed_and_nothing_private() -> None:
    key = machine_key(MACHINE)
    assert key.startswith("NVIDIA GeForce RTX 3090 936 GB/s; linux, AMD Ryzen 9 7950X, 16 cores, 32 threads")
    updated = replace(CARD, driver="580.9", vram_free_bytes=1, uuid="GPU-1", pci_bus="0000:09:00.0", index=1)
    assert machine_key(replace(MACHINE, gpus=(updated,))) == key
    others = (replace(CARD, name="NVIDIA GeForce RTX 3080"), replace(CARD, bandwidth_bytes_per_s=760 * GB))
    keys = {
        machine_key(replace(MACHINE, gpus=gpus)) for gpus in ((), (CARD, CARD), *((one,) for one in others))
    }
    assert len(keys | {key}) == 5
    hostile = replace(CARD, name="card\x1b[2J\u202e")
    assert machine_key(replace(MACHINE, gpus=(hostile,))).isprintable()


def test_backend_and_threads_of_a_launch() -> None:
    assert planned_backend(MACHINE, SETTINGS) == "cuda"
    assert planned_backend(MACHINE, replace(SETTINGS, devices=())) == "cpu"
    assert usual_threads(MACHINE) == 16
    assert usual_threads(replace(MACHINE, cpu=Cpu("i9", 24, 32, performance_cores=8))) == 8


def test_exactly_this_is_the_median_of_the_runs() -> None:
    runs = [
        replace(GOOD, tok_s=tok_s, measured_at=f"2026-11-2{i}")
        for i, tok_s in enumerate((98.0, 100.0, 130.0))
    ]
    found = find_measured(runs, WANTED)
    assert found is not None
    assert (found.tok_s, found.n_measurements, found.measured_at) == (100.0, 3, "2026-11-22")
    assert found.low_tok_s == pytest.approx(85.0) and found.high_tok_s == pytest.approx(130.0)
    one = find_measured(runs[1:2], WANTED)
    assert one is not None and (one.low_tok_s, one.high_tok_s) == (96.0, 104.0)
    assert find_measured([], WANTED) is None


SAME: list[dict[str, object]] = [
    {"depth_tokens": 128},
    {"settings": replace(SETTINGS, context_tokens=32768, batch=512, ubatch=256, mmap=False)},
    {"settings": replace(SETTINGS, outputs="tool", parallel=4)},
    {"file_bytes": round(5.05 * GB)},
    {"model_id": "someone/Qwen3-8B-tuned"},
    {"model_id": "my-file", "file_bytes": 5 * GB, "model_path": "models/my-file.gguf"},
]
OTHERS: list[dict[str, object]] = [
    {"machine_key": "there"},
    {"backend": "vulkan"},
    {"quantization": "Q8_0"},
    {"file_bytes": 6 * GB},
    {"model_id": "other", "file_bytes": 5 * GB + 1},
    {"family": "llama"},
    {"depth_tokens": 200},
    {"kind": "prefill", "prompt_tokens": 512},
    {"settings": replace(SETTINGS, devices=())},
    {"settings": replace(SETTINGS, gpu_layers=20)},
    {"settings": replace(SETTINGS, n_cpu_moe=4)},
    {"settings": replace(SETTINGS, cache_type_k="q8_0")},
    {"settings": replace(SETTINGS, flash_attn=False)},
    {"settings": replace(SETTINGS, kv_offload=False)},
    {"settings": replace(SETTINGS, override_tensor=("a=CPU",))},
]


@pytest.mark.parametrize("change", SAME)
def test_what_moves_no_decode_is_the_same(change: dict[str, object]) -> None:
    wanted = replace(WANTED, depth_tokens=64)
    assert find_measured([replace(GOOD, **change)], wanted) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("change", OTHERS)
def test_what_moves_speed_is_another_question(change: dict[str, object]) -> None:
    assert find_measured([replace(GOOD, **change)], WANTED) is None  # type: ignore[arg-type]


def test_prompts_depend_on_the_ubatch_and_their_length() -> None:
    measured = replace(GOOD, kind="prefill", prompt_tokens=512, depth_tokens=0)
    wanted = replace(WANTED, kind="prefill", prompt_tokens=520)
    assert find_measured([measured], wanted) is not None
    assert find_measured([measured], replace(wanted, prompt_tokens=4096)) is None
    assert find_measured([measured], replace(wanted, settings=replace(SETTINGS, ubatch=2048))) is None


def test_deep_contexts_may_differ_by_a_twentieth() -> None:
    deep = replace(GOOD, depth_tokens=32000)
    assert find_measured([deep], replace(WANTED, depth_tokens=33000)) is not None
    assert find_measured([deep], replace(WANTED, depth_tokens=35000)) is None


def test_repeats_of_one_configuration_are_one_group() -> None:
    runs = [
        GOOD,
        replace(GOOD, tok_s=90),
        replace(GOOD, depth_tokens=9000),
        replace(GOOD, quantization="Q8_0"),
    ]
    assert [len(group) for group in of_one_configuration(runs)] == [2, 1, 1]


def test_all_layers_are_written_in_one_way() -> None:
    for layers in (-1, 37, 99, ALL_LAYERS):
        assert whole_model(replace(SETTINGS, gpu_layers=layers), 36).gpu_layers == ALL_LAYERS
    partly = replace(SETTINGS, gpu_layers=36, n_cpu_moe=5)
    assert whole_model(partly, 36) == partly
    assert whole_model(replace(SETTINGS, n_cpu_moe=36), 36).n_cpu_moe == ALL_LAYERS


def test_without_a_gpu_the_number_of_layers_on_it_says_nothing() -> None:
    """-1 is llama-bench's default, and measurements of earlier versions say 999."""
    cpu = replace(SETTINGS, devices=())
    for layers in (-1, 0, 20, ALL_LAYERS):
        told = replace(cpu, gpu_layers=layers, n_cpu_moe=3)
        assert (whole_model(told, 36).gpu_layers, whole_model(told, 36).n_cpu_moe) == (0, 0)
        one = replace(GOOD, backend="cpu", settings=told)
        wanted = replace(WANTED, backend="cpu", settings=replace(cpu, gpu_layers=0), depth_tokens=64)
        assert find_measured([one], wanted) is not None
    assert find_measured([GOOD], replace(WANTED, settings=replace(SETTINGS, gpu_layers=0))) is None
