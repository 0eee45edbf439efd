"""Speculation: tokens a round, what a round costs, and that the gain is a figure of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.estimate import plan_speed
from llmfit.advisor.speed.further.acceptance import (
    DRAFT_MODEL,
    MTP,
    MTP_ELSEWHERE,
    Acceptance,
    mtp_acceptance,
    per_token,
    tokens_a_round,
)
from llmfit.advisor.speed.further.batch import Tokens, plan_batches
from llmfit.advisor.speed.further.speculation import (
    COST_RANGE,
    MTP_ARCHITECTURES,
    DraftPlan,
    SpeculativeSpeed,
    best_draft,
    plan_draft_model,
    plan_mtp,
    speculative_speed,
    state_snapshot_s,
)
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model
from tests.bench.speculation_accuracy import scored

DENSE, MOE, CHAINED = "Qwen3.6-27B", "Qwen3.6-35B-A3B", "Step-3.5-Flash"
SETTINGS = LaunchSettings(context_tokens=32768, devices=(0,), spec_type="draft-mtp")
SHARES = st.floats(0.0, 1.0)
DRAFTS = st.integers(1, 16)


@cache
def model(name: str) -> Model:
    return build_model(find_model(name), "Q4_K_M")


def sure(share: float) -> Acceptance:
    return Acceptance(share, share, share, "assumed")


def speed(
    name: str,
    n_draft: int,
    acceptance: Acceptance,
    card: str = "RTX 5090",
    small: str = "",
    asked: LaunchSettings = SETTINGS,
) -> SpeculativeSpeed:
    machine = simulate_machine([card], None, None, None, lookup_gpu)
    gpu = replace(machine.gpus[0], vram_total_bytes=2**38, vram_free_bytes=2**38)
    machine = replace(machine, gpus=(gpu,), memory=replace(machine.memory, bandwidth_bytes_per_s=60 * 10**9))
    found = model(name)
    plan = plan_speed(found, weight_table(found.shape, found.tensors), machine, asked)
    assert plan is not None
    draft: DraftPlan | None
    if small:
        second = model(small)
        table = weight_table(second.shape, second.tensors)
        other = plan_speed(second, table, machine, replace(asked, spec_type=None, n_cpu_moe=0))
        assert other is not None
        draft = plan_draft_model(other.decode)
    else:
        assignment = assign_layers(found.shape, asked, [gpu.usable_bytes])
        draft = plan_mtp(found.shape, found.tensors, assignment, plan.cards, plan.host)
    assert draft is not None
    return speculative_speed(
        plan_batches(found.shape, plan.reads, plan.cards, plan.host, plan.gpus),
        draft,
        plan.decode.step(1000),
        plan.estimate(1000).decode_tok_s,
        acceptance,
        n_draft,
        1000,
        snapshot_s=state_snapshot_s(plan.reads, plan.cards),
    )


@given(share=SHARES, n_draft=DRAFTS)
def test_tokens_of_a_round(share: float, n_draft: int) -> None:
    tokens = tokens_a_round(share, n_draft)
    assert 1 <= tokens <= n_draft + 1
    if share < 0.999:
        assert tokens == pytest.approx((1 - share ** (n_draft + 1)) / (1 - share))
    assert per_token((tokens - 1) / n_draft, n_draft) == pytest.approx(share, abs=1e-3)


def test_what_servers_report_is_another_figure() -> None:
    assert per_token(0.8, 1) == pytest.approx(0.8)
    assert per_token(0.6474, 4) == pytest.approx(0.833, abs=0.005)


def test_the_evidence_is_in_order_and_has_sources() -> None:
    for one in (*MTP.values(), MTP_ELSEWHERE, DRAFT_MODEL):
        assert 0 < one.low_share < one.expected_share < one.high_share < 1
        assert one.source
    assert mtp_acceptance("qwen35") is MTP["qwen35"]
    assert mtp_acceptance("hy_v3") is MTP_ELSEWHERE
    assert set(MTP) <= MTP_ARCHITECTURES


def test_a_dense_model_gains_and_one_with_experts_gains_less() -> None:
    dense, moe = (speed(name, 2, mtp_acceptance(model(name).shape.architecture)) for name in (DENSE, MOE))
    assert 1.5 < dense.gain_factor[1] < 2.3
    assert dense.pays is True
    assert 1 < moe.gain_factor[1] < dense.gain_factor[1]


def test_a_bad_guesser_is_slower_than_none() -> None:
    found = speed(MOE, 4, sure(0.1))
    assert found.gain_factor[1] < 1
    assert found.pays is False
    assert speed(MOE, 4, Acceptance(0.1, 0.6, 0.99, "")).pays is None


def test_experts_in_ram_make_verifying_dear() -> None:
    gpu, ram = (speed(MOE, 3, sure(0.85), asked=replace(SETTINGS, n_cpu_moe=n)) for n in (0, 999))
    assert ram.gain_factor[1] < gpu.gain_factor[1]


@given(low=SHARES, more=st.floats(0.0, 0.3), n_draft=st.integers(1, 6))
def test_accepting_more_is_never_slower(low: float, more: float, n_draft: int) -> None:
    assert tokens_a_round(min(1.0, low + more), n_draft) >= tokens_a_round(low, n_draft)


def test_the_range_holds_everything_and_stays_apart_from_the_plain_figure() -> None:
    found = speed(DENSE, 3, mtp_acceptance("qwen35"))
    low, expected, high = found.gain_factor
    assert low < expected < high
    assert found.tok_s.low < found.tok_s.expected < found.tok_s.high
    exact = speed(DENSE, 3, sure(0.85))
    assert found.tok_s.low < exact.tok_s.low
    assert exact.tokens_a_round == tokens_a_round(0.85, 3)


def test_a_round_is_verifying_and_drafting() -> None:
    found = speed(DENSE, 3, sure(1.0))
    assert any(term.what == "state snapshots" for term in found.verify.terms)
    one_s = 4 / found.gain_factor[1] - 0  # a round in units of the plain step
    plain = speed(DENSE, 1, sure(0.0))
    plain_s = (plain.verify.total_s + plain.draft_s) * plain.gain_factor[1]
    assert one_s * plain_s == pytest.approx(found.verify.total_s + found.draft_s)


def test_drafts_of_several_blocks_are_no_longer_than_they_are_many() -> None:
    assert speed(CHAINED, 8, sure(0.9)).n_draft == 3
    assert speed(DENSE, 8, sure(0.9)).n_draft == 8


def test_the_best_draft_is_longer_for_code() -> None:
    lengths = {}
    for share in (0.64, 0.95):
        best = best_draft(speed(DENSE, n_draft, sure(share)) for n_draft in range(1, 9))
        assert best is not None
        lengths[share] = best.n_draft
    assert lengths[0.64] < lengths[0.95]
    assert best_draft(()) is None


def test_a_draft_model_costs_its_own_step() -> None:
    small, large = (
        speed("Qwen2.5-Coder-32B-Instruct", 4, DRAFT_MODEL, small=f"Qwen2.5-Coder-{size}-Instruct")
        for size in ("0.5B", "7B")
    )
    assert small.draft_s < large.draft_s
    assert small.gain_factor[1] > 1 and small.gain_factor[1] > large.gain_factor[1]


def test_models_without_blocks_or_without_a_graph_for_them() -> None:
    for name in ("Llama-3.1-8B-Instruct", "Qwen3-8B"):
        found = model(name)
        assignment = assign_layers(found.shape, SETTINGS, [2**35])
        assert plan_mtp(found.shape, found.tensors, assignment, (), None) is None
    strange = replace(model(DENSE).shape, architecture="exaone4")
    assignment = assign_layers(strange, SETTINGS, [2**35])
    assert plan_mtp(strange, model(DENSE).tensors, assignment, (), None) is None


def test_drafted_tokens_cost_less_than_streams() -> None:
    machine = simulate_machine(["RTX 5090"], None, None, None, lookup_gpu)
    found = model(DENSE)
    plan = plan_speed(found, weight_table(found.shape, found.tensors), machine, SETTINGS)
    assert plan is not None
    batches = plan_batches(found.shape, plan.reads, plan.cards, plan.host, plan.gpus)
    one = plan.decode.step(30_000)
    times = [batches.step(one, 4, kind, 30_000).total_s for kind in (Tokens.DRAFTED, Tokens.STREAMS)]
    assert one.total_s < times[0] < times[1]


def test_near_what_was_measured() -> None:
    ratios = [one.measured_over_expected for one in scored()]
    assert len(ratios) > 25
    assert median(abs(1 / ratio - 1) for ratio in ratios) < 0.1
    inside = sum(COST_RANGE[0] <= ratio <= COST_RANGE[1] for ratio in ratios)
    assert inside / len(ratios) > 0.75
