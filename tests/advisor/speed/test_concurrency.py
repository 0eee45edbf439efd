"""Several streams at once: one is the plain step, more are faster together and slower each."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.kv_cache import cache_geometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.estimate import SpeedPlan, plan_speed
from llmfit.advisor.speed.further.batch import BatchPlan, Tokens, plan_batches
from llmfit.advisor.speed.further.concurrency import (
    ConcurrentSpeed,
    cache_pool,
    concurrency_table,
    concurrent_speed,
    growth_range,
)
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model
from tests.bench.concurrency_accuracy import samples

DENSE, MOE = "Llama-3.1-8B-Instruct", "Qwen3-30B-A3B"
MODELS = (DENSE, MOE, "gpt-oss-20b", "Qwen3.6-27B", "DeepSeek-V2-Lite-Chat", "gemma-3-27b-it")
CARDS = ("RTX 3090", "GB10", "M2 Ultra", "RX 7900 XTX", "Tesla P40")
SETTINGS = LaunchSettings(context_tokens=65536, devices=(0,), parallel=4)
STREAMS = st.integers(1, 256)
DEPTHS = st.sampled_from((0, 500, 8000, 60_000))


@cache
def model(name: str) -> Model:
    return build_model(find_model(name), "MXFP4_MOE" if name.startswith("gpt-oss") else "Q4_K_M")


@cache
def laid_out(
    name: str, card: str = "RTX 3090", asked: LaunchSettings = SETTINGS
) -> tuple[SpeedPlan, BatchPlan]:
    machine = simulate_machine([card], None, None, None, lookup_gpu)
    gpu = replace(machine.gpus[0], vram_total_bytes=2**37, vram_free_bytes=2**37)
    machine = replace(machine, gpus=(gpu,), memory=replace(machine.memory, bandwidth_bytes_per_s=60 * 10**9))
    found = model(name)
    plan = plan_speed(found, weight_table(found.shape, found.tensors), machine, asked)
    assert plan is not None
    return plan, plan_batches(found.shape, plan.reads, plan.cards, plan.host, plan.gpus)


def speed(
    name: str, n: int, depth: int = 0, card: str = "RTX 3090", asked: LaunchSettings = SETTINGS
) -> ConcurrentSpeed:
    plan, batches = laid_out(name, card, asked)
    one = plan.decode.step(depth)
    return concurrent_speed(batches, one, plan.estimate(depth).decode_tok_s, asked, n, depth)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("card", CARDS)
def test_one_stream_is_the_plain_step(name: str, card: str) -> None:
    plan, _ = laid_out(name, card)
    alone = speed(name, 1, 3000, card)
    assert alone.step == plan.decode.step(3000)
    assert alone.aggregate_tok_s == alone.stream_tok_s == plan.estimate(3000).decode_tok_s


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("placed", [{}, {"n_cpu_moe": 999}, {"gpu_layers": 9}])
@given(
    name=st.sampled_from(MODELS),
    card=st.sampled_from(CARDS),
    n=STREAMS,
    more=st.integers(1, 64),
    depth=DEPTHS,
)
@settings(max_examples=40, deadline=None)
def test_more_streams_are_slower_each(
    placed: dict[str, int], unified: bool, name: str, card: str, n: int, more: int, depth: int
) -> None:
    asked = replace(SETTINGS, kv_unified=unified, **placed)  # type: ignore[arg-type]
    few, many = (speed(name, streams, depth, card, asked) for streams in (n, n + more))
    assert many.stream_tok_s.expected <= few.stream_tok_s.expected * (1 + 1e-9)
    assert many.aggregate_tok_s.expected <= many.bound_tok_s * (1 + 1e-9)
    assert many.aggregate_tok_s.low <= many.aggregate_tok_s.expected <= many.aggregate_tok_s.high
    if not unified:  # in one cache each token is multiplied with the cells of all streams
        assert many.aggregate_tok_s.expected >= few.aggregate_tok_s.expected * (1 - 1e-9)


def test_streams_of_a_dense_model_share_the_reading_of_its_weights() -> None:
    assert speed(DENSE, 4).aggregate_tok_s.expected > 2.5 * speed(DENSE, 1).aggregate_tok_s.expected


def test_streams_of_a_moe_model_touch_more_experts() -> None:
    _, batches = laid_out(MOE)
    assert batches.touched(1) == pytest.approx(1)
    assert 1.5 < batches.touched(2) < 2
    assert batches.touched(256) <= model(MOE).shape.n_expert / model(MOE).shape.n_expert_used
    gain = {name: speed(name, 4).aggregate_tok_s.expected / speed(name, 1).aggregate_tok_s.expected
            for name in (DENSE, MOE)}  # fmt: skip
    assert gain[MOE] < gain[DENSE]


def test_streams_read_their_own_caches_and_drafted_tokens_share_one() -> None:
    plan, batches = laid_out(DENSE)
    one = plan.decode.step(30_000)
    cache_s = {
        kind: sum(term.time_s for term in batches.step(one, 4, kind, 30_000).terms if term.what == "KV cache")
        for kind in Tokens
    }
    alone = sum(term.time_s for term in one.terms if term.what == "KV cache")
    assert cache_s[Tokens.DRAFTED] == pytest.approx(alone)
    assert cache_s[Tokens.STREAMS] == pytest.approx(4 * alone)
    assert cache_s[Tokens.UNIFIED] >= cache_s[Tokens.STREAMS]


def test_terms_say_what_is_read_and_how_fast() -> None:
    plan, batches = laid_out(MOE)
    one = plan.decode.step(4000)
    for term in batches.step(one, 4, Tokens.STREAMS, 4000).terms:
        if term.amount is not None and term.rate_per_s is not None:
            assert term.amount / term.rate_per_s == pytest.approx(term.time_s)


def test_a_table_and_more_streams_than_a_ubatch() -> None:
    plan, batches = laid_out(DENSE)
    asked, plain = replace(SETTINGS, ubatch=8), plan.estimate(0).decode_tok_s
    table = concurrency_table(batches, plan.decode.step(0), plain, asked, 0, (1, 8, 16, 20))
    assert [one.n_streams for one in table] == [1, 8, 16, 20]
    assert table[2].step.total_s == pytest.approx(2 * table[1].step.total_s)
    assert 2 * table[1].step.total_s < table[3].step.total_s < 3 * table[1].step.total_s


def test_terms_of_several_steps_add_up_too() -> None:
    plan, batches = laid_out(DENSE, "RTX 3090", replace(SETTINGS, gpu_layers=9))
    asked, plain = replace(SETTINGS, ubatch=8), plan.estimate(0).decode_tok_s
    found = concurrent_speed(batches, plan.decode.step(4000), plain, asked, 20, 4000)
    for term in found.step.terms:
        if term.amount is not None and term.rate_per_s is not None:
            assert term.amount / term.rate_per_s == pytest.approx(term.time_s)


@pytest.mark.parametrize("kind", [Tokens.STREAMS, Tokens.DRAFTED])
def test_multiplying_one_token_takes_no_longer_than_the_plain_step_says(kind: Tokens) -> None:
    """Where the rate of prompts makes attention (here latent, on a slow unit) dearer than decode takes."""
    plan, batches = laid_out("DeepSeek-V2-Lite-Chat")
    slow = replace(batches, attention={
        where: replace(cost, cell_s=100 * cost.cell_s) for where, cost in batches.attention.items()
    })  # fmt: skip
    one = plan.decode.step(60_000)
    cache_s = [
        sum(term.time_s for term in slow.step(one, n, kind, 60_000).terms if term.what == "KV cache")
        for n in (1, 2, 4)
    ]
    assert cache_s[0] < cache_s[1] <= 2 * cache_s[0] * (1 + 1e-9) and cache_s[2] <= 2 * cache_s[1] * (
        1 + 1e-9
    )


def test_the_pool() -> None:
    shape = model(DENSE).shape
    own = cache_pool(shape, replace(SETTINGS, context_tokens=40_000, parallel=4))
    assert (own.pool_tokens, own.slot_tokens) == (40_960, 10_240)
    assert own.depth_tokens(1) == own.depth_tokens(4) == 10_240
    shared = cache_pool(shape, replace(SETTINGS, context_tokens=40_000, parallel=4, kv_unified=True))
    assert (shared.depth_tokens(1), shared.depth_tokens(4)) == (shared.pool_tokens, shared.pool_tokens // 4)
    geometry = cache_geometry(shape, replace(SETTINGS, context_tokens=40_000, kv_unified=True))
    assert shared.slot_tokens == geometry.n_ctx_seq


def test_doubt_grows_with_streams_and_where_nobody_measured() -> None:
    assert growth_range(1) == (1, 1)
    assert growth_range(8)[0] < growth_range(2)[0] < 1 < growth_range(2)[1] < growth_range(8)[1]
    assert growth_range(4, frozenset(("vulkan",)))[0] < growth_range(4)[0]


def test_near_what_was_measured() -> None:
    errors = sorted(abs(error) for one in samples() if (error := one.growth_error()) is not None)
    assert len(errors) > 200
    assert errors[len(errors) // 2] < 0.12
    inside = sum(
        growth_range(one.n)[0] <= 2.718281828459045**-error <= growth_range(one.n)[1]
        for one in samples()
        if (error := one.growth_error()) is not None
    )
    assert inside / len(errors) > 0.75
