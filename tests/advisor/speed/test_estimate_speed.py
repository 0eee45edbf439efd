"""Decode speed: what a step reads, what bounds it, and how it answers to depth, bandwidth and placement."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import WeightBytes, everything_on_gpus, weight_bytes
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.tensor_names import active_parameters
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.speed.estimate import SpeedEstimate, SpeedPlan, estimate_speed, plan_speed
from llmfit.advisor.speed.reads import DecodeReads, PlaceReads, Role, decode_reads
from llmfit.advisor.units import GB, GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model

MODELS = (
    "Llama-3.1-8B-Instruct", "Qwen3-30B-A3B", "gemma-3-27b-it", "gpt-oss-20b", "Qwen3-Next-80B-A3B-Instruct",
    "DeepSeek-V2-Lite-Chat", "Llama-3.2-1B-Instruct",
)  # fmt: skip
CARD_BYTES_PER_S = 936 * GB
RAM_BYTES_PER_S = 50 * GB


@cache
def model(name: str) -> Model:
    return build_model(find_model(name), "MXFP4_MOE" if name.startswith("gpt-oss") else "Q4_K_M")


def machine(
    n_gpus: int = 1, gpu: int | None = CARD_BYTES_PER_S, ram: int | None = RAM_BYTES_PER_S
) -> Machine:
    cards = tuple(
        Gpu(
            index=index,
            name="card",
            vendor="nvidia",
            backend="cuda",
            vram_total_bytes=96 * GIB,
            vram_free_bytes=96 * GIB,
            bandwidth_bytes_per_s=gpu,
        )
        for index in range(n_gpus)
    )
    memory = Memory(256 * GIB, 256 * GIB, bandwidth_bytes_per_s=ram)
    return Machine("linux", Cpu(None, None, None), memory, cards)


def speed(name: str, computer: Machine, depth_tokens: int = 0, **launch: object) -> SpeedEstimate | None:
    devices = tuple(gpu.index for gpu in computer.gpus)
    asked = replace(LaunchSettings(131072, devices=devices), **launch)  # type: ignore[arg-type]
    found = model(name)
    return estimate_speed(found, weight_table(found.shape, found.tensors), computer, asked, depth_tokens)


def plan_of(name: str, computer: Machine, **launch: object) -> SpeedPlan:
    devices = tuple(gpu.index for gpu in computer.gpus)
    asked = replace(LaunchSettings(131072, devices=devices), **launch)  # type: ignore[arg-type]
    found = model(name)
    plan = plan_speed(found, weight_table(found.shape, found.tensors), computer, asked)
    assert plan is not None
    return plan


def expected(name: str, computer: Machine, depth_tokens: int = 0, **launch: object) -> float:
    found = speed(name, computer, depth_tokens, **launch)
    assert found is not None
    return found.decode_tok_s.expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("depth_tokens", [0, 1000, 100_000])
@pytest.mark.parametrize(
    "launch", [{}, {"gpu_layers": 8}, {"n_cpu_moe": 10}, {"gpu_layers": 0, "devices": ()}]
)
def test_nothing_is_above_the_bound(name: str, depth_tokens: int, launch: dict[str, object]) -> None:
    found = speed(name, machine(), depth_tokens, **launch)
    assert found is not None
    low, middle, high = found.decode_tok_s.low, found.decode_tok_s.expected, found.decode_tok_s.high
    assert 0 < low < middle <= high <= found.bound_tok_s
    assert found.depth_tokens == depth_tokens


@pytest.mark.parametrize("name", MODELS)
def test_the_bound_is_bytes_over_bandwidth(name: str) -> None:
    found = speed(name, machine())
    assert found is not None
    (card,), host, _ = places(name, machine())
    read = card.weight_bytes() + card.cache.n_bytes(0, "f16", "f16")
    assert found.bound_tok_s == pytest.approx(CARD_BYTES_PER_S / read) and not host.is_used


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None)
@given(shallow=st.integers(0, 130_000), more=st.integers(1, 100_000))
def test_deeper_is_never_faster(name: str, shallow: int, more: int) -> None:
    assert expected(name, machine(), shallow + more) <= expected(name, machine(), shallow)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None)
@given(slow=st.integers(10, 3000), more=st.integers(1, 3000))
def test_more_bandwidth_is_never_slower(name: str, slow: int, more: int) -> None:
    for launch in ({}, {"gpu_layers": 10}):
        card = (machine(gpu=rate * GB) for rate in (slow, slow + more))
        first, second = (expected(name, computer, 5000, **launch) for computer in card)
        assert second >= first
        ram = (machine(ram=rate * GB) for rate in (slow, slow + more))
        first, second = (expected(name, computer, 5000, **launch) for computer in ram)
        assert second >= first


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from((*MODELS, "Qwen3-0.6B", "Falcon-H1-0.5B-Instruct")),
    fewer=st.integers(0, 80),
    more=st.integers(1, 80),
    depth=st.sampled_from((0, 20_000)),
    ram=st.integers(20, 120),
)
def test_more_layers_or_experts_in_ram_are_never_faster(
    name: str, fewer: int, more: int, depth: int, ram: int
) -> None:
    computer = machine(ram=ram * GB)
    few, many = (expected(name, computer, depth, gpu_layers=n) for n in (fewer + 1, fewer + 1 + more))
    assert few <= many * 1.000001
    if model(name).shape.n_expert:
        few, many = (expected(name, computer, depth, n_cpu_moe=n) for n in (fewer, fewer + more))
        assert many <= few * 1.000001


def test_layers_in_ram_are_slower() -> None:
    speeds = [expected("Llama-3.1-8B-Instruct", machine(), gpu_layers=n) for n in (999, 24, 16, 8)]
    assert speeds == sorted(speeds, reverse=True) and speeds[0] > 3 * speeds[-1]


@pytest.mark.parametrize(
    "launch", [{}, {"gpu_layers": 8}, {"n_cpu_moe": 20}, {"gpu_layers": 0, "devices": ()}]
)
@pytest.mark.parametrize("name", ["Llama-3.1-8B-Instruct", "Qwen3-30B-A3B"])
def test_a_short_prompt_takes_no_longer_than_decoding_it(name: str, launch: dict[str, object]) -> None:
    """And the first token comes after the prompt and the output head, not after a whole further token."""
    plan = plan_of(name, machine(), **launch)
    times = []
    for prompt_tokens in (1, 2, 3, 5, 8, 16, 31, 32, 33, 64, 512):
        found = plan.estimate(1000, prompt_tokens)
        assert found.prefill is not None
        prompt_s = prompt_tokens / found.prefill.tok_s.expected
        assert prompt_s <= prompt_tokens / plan.expected_tok_s(1000 + prompt_tokens, "f16", "f16") * 1.000001
        assert prompt_s <= found.prefill.first_token_s < prompt_s + 1 / found.decode_tok_s.expected
        times.append(prompt_s)
    assert times == sorted(times)


def test_limits_are_named() -> None:
    on_card, spilled = speed("gemma-3-27b-it", machine()), speed("gemma-3-27b-it", machine(), gpu_layers=20)
    assert on_card is not None and on_card.limited_by == "gpu memory"
    assert spilled is not None and spilled.limited_by == "system memory"
    tiny = speed("Llama-3.2-1B-Instruct", machine(gpu=20_000 * GB))
    assert tiny is not None and tiny.limited_by == "launch overhead"


def test_an_unknown_bandwidth_that_matters_gives_no_speed() -> None:
    assert speed("Llama-3.1-8B-Instruct", machine(gpu=None)) is None
    assert speed("Llama-3.1-8B-Instruct", machine(ram=None), gpu_layers=10) is None
    assert speed("Llama-3.1-8B-Instruct", machine(ram=None)) is not None
    assert speed("Llama-3.1-8B-Instruct", machine(0, ram=None), gpu_layers=0) is None


def all_reads(found: Model) -> DecodeReads:
    """Of a model that lies wholly on one GPU."""
    weights = weight_table(found.shape, found.tensors)
    assignment = assign_layers(found.shape, LaunchSettings(4096, devices=(0,)), [1], weights)
    return decode_reads(found.shape, found.tensors, weights, assignment)


def test_only_the_used_experts_are_read() -> None:
    moe = model("Qwen3-30B-A3B")
    (card,) = all_reads(moe).gpus
    experts = sum(tensor.n_bytes for tensor in moe.tensors if "_exps." in tensor.name)
    assert card.weight_bytes(Role.EXPERT) == experts * 8 // 128
    rest = sum(tensor.n_bytes for tensor in moe.tensors if "_exps." not in tensor.name)
    embedding = next(tensor.n_bytes for tensor in moe.tensors if tensor.name == "token_embd.weight")
    assert card.weight_bytes(Role.DENSE, Role.OUTPUT) == rest - embedding
    assert card.n_layers == card.n_expert_layers == moe.shape.n_layer and not card.n_expert_only_layers


def places(
    name: str, computer: Machine, **launch: object
) -> tuple[tuple[PlaceReads, ...], PlaceReads, WeightBytes]:
    """What is read where, and the weights that memory counts there."""
    found = model(name)
    devices = tuple(gpu.index for gpu in computer.gpus)
    asked = replace(LaunchSettings(4096, devices=devices), **launch)  # type: ignore[arg-type]
    weights = weight_table(found.shape, found.tensors)
    assignment = assign_layers(found.shape, asked, [1] * len(devices), weights)
    reads = decode_reads(found.shape, found.tensors, weights, assignment)
    return reads.gpus, reads.host, weight_bytes(weights, assignment)


@pytest.mark.parametrize("name", ["Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct", "DeepSeek-V2-Lite-Chat"])
@pytest.mark.parametrize(
    "launch",
    [
        {},
        {"gpu_layers": 7},
        {"n_cpu_moe": 5},
        {"override_tensor": (r"blk\.[2-4]\.attn_q=CUDA1", "^output=CPU", "token_embd=CPU")},
    ],
)
def test_what_is_read_of_a_device_lies_there(name: str, launch: dict[str, object]) -> None:
    """Memory and speed ask the same rule: all that a dense model has on a card is read there, no more."""
    gpus, host, weights = places(name, machine(2), **launch)
    for reads, n_bytes in zip(gpus, weights.gpu_bytes, strict=True):
        read = reads.weight_bytes()
        dense = not name.startswith("DeepSeek")
        assert read <= n_bytes and (not dense or read >= 0.999 * n_bytes)
    assert host.weight_bytes() <= weights.host_bytes


def test_what_no_gpu_can_multiply_with_is_read_from_ram() -> None:
    found = model("Llama-3.1-8B-Instruct")
    ternary = tuple(
        replace(one, type_name="TQ2_0", n_bytes=tensor_bytes("TQ2_0", one.dims))
        if ".ffn_" in one.name and len(one.dims) > 1
        else one
        for one in found.tensors
    )
    weights = weight_table(found.shape, ternary)
    asked = LaunchSettings(4096, devices=(0,))
    assignment = assign_layers(found.shape, asked, [1], weights)
    host = decode_reads(found.shape, ternary, weights, assignment).host
    assert host.weight_bytes() == sum(one.n_bytes for one in ternary if one.type_name == "TQ2_0") > 0
    assert not everything_on_gpus(weights, assignment)


def test_parameters_are_counted_and_not_guessed_from_bytes() -> None:
    """The same parameters in twice the bytes: a CPU computes as long, and only reads longer."""
    found = model("Llama-3.1-8B-Instruct")
    _, host, _ = places("Llama-3.1-8B-Instruct", machine(0), gpu_layers=0)
    assert host.n_parameters() == active_parameters(found.shape, found.tensors)


def test_an_input_embedding_is_looked_up_and_a_tied_one_read_as_the_output() -> None:
    for name, read in (
        ("Llama-3.1-8B-Instruct", "output.weight"),
        ("Llama-3.2-1B-Instruct", "token_embd.weight"),
    ):
        (card,) = all_reads(model(name)).gpus
        head = next(tensor for tensor in model(name).tensors if tensor.name == read)
        norm = next(tensor for tensor in model(name).tensors if tensor.name == "output_norm.weight")
        assert card.weight_bytes(Role.OUTPUT) == head.n_bytes + norm.n_bytes
    assert not any(tensor.name == "output.weight" for tensor in model("Llama-3.2-1B-Instruct").tensors)


def test_mtp_blocks_are_not_read() -> None:
    found = build_model(find_model("GLM-4.5-Air"), "Q4_K_M")
    mtp = [tensor for tensor in found.tensors if tensor.name.startswith(f"blk.{found.shape.n_layer}.")]
    assert mtp, "this model has an MTP block"
    without = tuple(tensor for tensor in found.tensors if tensor not in mtp)
    weights = weight_table(found.shape, found.tensors)
    assignment = assign_layers(found.shape, LaunchSettings(4096, devices=(0,)), [1], weights)
    both = [decode_reads(found.shape, tensors, weights, assignment) for tensors in (found.tensors, without)]
    assert both[0] == both[1]


def test_a_sliding_window_is_read_up_to_the_window() -> None:
    found = model("gemma-3-27b-it")
    (card,) = all_reads(found).gpus
    at = {depth: card.cache.n_bytes(depth, "f16", "f16") for depth in (1024, 10**4, 10**5)}
    assert card.cache.window_tokens == found.shape.window_tokens == 1024
    each = 2 * (card.cache.full_k_elements + card.cache.full_v_elements)
    assert at[10**5] - at[10**4] == each * 9 * 10**4
    assert at[1024] > 5 * each * 1024, "five of six layers have a window"


def test_the_deepest_state_is_read_whatever_the_depth() -> None:
    (card,) = all_reads(model("Qwen3.5-9B")).gpus
    assert card.cache.n_bytes(0, "f16", "f16") == card.cache.state_bytes > 0


def test_a_quantised_cache_saves_memory_and_no_time() -> None:
    """Measured: slopes with depth are those of f16. Only the bound knows its bytes."""
    name = "Llama-3.1-8B-Instruct"
    f16, q8_0 = (
        speed(name, machine(), 100_000),
        speed(name, machine(), 100_000, cache_type_k="q8_0", cache_type_v="q8_0"),
    )
    assert f16 is not None and q8_0 is not None
    assert q8_0.decode_tok_s.expected == pytest.approx(f16.decode_tok_s.expected)
    assert q8_0.bound_tok_s > f16.bound_tok_s


def test_a_cache_in_ram_crosses_in_every_layer_with_attention() -> None:
    on_card, in_ram = (
        speed("Llama-3.1-8B-Instruct", machine(), 0, kv_offload=offload) for offload in (True, False)
    )
    assert on_card is not None and in_ram is not None
    crossings = next(term for term in in_ram.step.terms if term.what == "crossings")
    assert crossings.amount == 32 and "crossings" not in {term.what for term in on_card.step.terms}
    assert in_ram.decode_tok_s.expected < on_card.decode_tok_s.expected


def test_layers_split_over_cards_are_read_one_after_the_other() -> None:
    one, two = speed("gemma-3-27b-it", machine(1)), speed("gemma-3-27b-it", machine(2))
    assert one is not None and two is not None
    assert two.bound_tok_s == pytest.approx(one.bound_tok_s)
    assert two.decode_tok_s.expected < one.decode_tok_s.expected


def test_layers_are_placed_as_for_memory_where_free_memory_is_not_known() -> None:
    """All 24 of 24 and 8 GiB are said, nothing of what is free: three quarters of the bytes on the first."""
    found, computer = model("Llama-3.1-8B-Instruct"), machine(2)
    sizes = [24 * GIB, 8 * GIB]
    gpus = tuple(
        replace(gpu, vram_total_bytes=size, vram_free_bytes=free, bandwidth_bytes_per_s=rate)
        for gpu, size, free, rate in zip(
            computer.gpus, sizes, (None, None), (900 * GB, 300 * GB), strict=True
        )
    )
    known = tuple(replace(gpu, vram_free_bytes=gpu.vram_total_bytes) for gpu in gpus)
    unknown_speed, known_speed = (
        expected("Llama-3.1-8B-Instruct", replace(computer, gpus=cards)) for cards in (gpus, known)
    )
    assert unknown_speed == known_speed
    weights = weight_table(found.shape, found.tensors)
    launch = LaunchSettings(4096, devices=(0, 1))
    first, second = estimate_memory(found.shape, weights, launch, replace(computer, gpus=gpus)).gpus
    assert first.weights_bytes > 2 * second.weights_bytes


def test_an_old_card_is_slower_than_its_bandwidth_says() -> None:
    """A GTX 1080 Ti (484 GB/s) against a card of today's kind with the same bandwidth."""
    model = build_model(find_model("Llama-3.1-8B"), "Q4_K_M")
    old = simulate_machine(["GTX 1080 Ti"], "64GiB", None, None, lookup_gpu)
    assert old.gpus[0].architecture == "Pascal"
    like_the_rest = replace(old, gpus=(replace(old.gpus[0], architecture=None),))
    speeds = []
    for machine in (old, like_the_rest):
        speed = judge(model, machine, Request()).speed
        assert speed is not None
        assert speed.decode_tok_s.high <= speed.bound_tok_s
        speeds.append(speed.decode_tok_s.expected)
    assert 0.6 < speeds[0] / speeds[1] < 0.9


def test_a_measured_bandwidth_is_no_bound_where_the_peak_is_known() -> None:
    model = build_model(find_model("Llama-3.1-8B"), "Q4_K_M")
    measured = simulate_machine(["none"], "64GiB", "40", None, lookup_gpu)
    measured = replace(measured, cpu=Cpu(None, 8, 16))
    peak = replace(measured, memory=replace(measured.memory, peak_bandwidth_bytes_per_s=64 * 10**9))
    first, second = (judge(model, machine, Request()).speed for machine in (measured, peak))
    assert first is not None and second is not None
    assert second.bound_tok_s == pytest.approx(first.bound_tok_s * 64 / 40)
    assert second.decode_tok_s.expected == first.decode_tok_s.expected


def test_a_card_that_got_nothing_adds_no_doubt() -> None:
    """``--tensor-split 1,0``: one card reads everything, and the other's class matters to nothing."""
    card = simulate_machine(["RTX 3090"], "64GiB", None, None, lookup_gpu).gpus[0]
    strange = replace(card, index=1, architecture="Nobody's", fp16_flops=None)
    two = replace(machine(2), gpus=(card, strange))
    alone = speed("Llama-3.1-8B-Instruct", replace(two, gpus=(card,)))
    split = speed("Llama-3.1-8B-Instruct", two, tensor_split=(1.0, 0.0))
    assert alone is not None and split is not None
    assert split.decode_tok_s == alone.decode_tok_s
    assert split.prefill_tok_s == alone.prefill_tok_s


def test_an_open_prompt_is_one_micro_batch_as_llama_cpp_cuts_it() -> None:
    found = speed("Llama-3.1-8B-Instruct", machine(), ubatch=2048, batch=128)
    assert found is not None and found.prefill is not None and found.prefill.prompt_tokens == 128
