"""What was measured on a machine reaches every judgement of it; figures beside the plain speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.other_speeds import concurrency_of, speculation_of, tensor_split_of
from llmfit.advisor.recommend.remedies import find_remedies
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge, judge_on_gpus
from llmfit.advisor.speed.calibration.fit import Calibration
from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
from llmfit.advisor.speed.calibration.measurement import Measurement, machine_key
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.session import machine_from, recommendations_for

Judge = Callable[..., Judgement | None]


@cache
def model(name: str, quant: str = "Q4_K_M") -> Model:
    return build_model(find_model(name), quant)


@cache
def machine(gpu: str = "RTX 3090") -> Machine:
    return machine_from({"gpu": gpu, "ram": "64GiB", "ram_bandwidth": "50"})


def measured(of: Model, tok_s: float, computer: Machine, depth_tokens: int = 0) -> MachineSpeeds:
    """One decode speed of ``of``, wholly on the first card."""
    one = Measurement(
        machine_key(computer), "cuda", of.id, of.quantization, of.file_bytes, of.shape.architecture,
        LaunchSettings(4096, devices=(0,)), "decode", depth_tokens, 0, tok_s, "2026-11-22", "llama-bench",
    )  # fmt: skip
    return MachineSpeeds(None, (one,))


HALF_AS_FAST = MachineSpeeds(
    Calibration((("gpu_memory", ""), ("launch", "")), (0.7, 0.7), ((0.01, 0.0), (0.0, 0.01)), n_used=4)
)


def basis_of(judgement: Judgement | None) -> str | None:
    return None if judgement is None or judgement.speed is None else judgement.speed.basis


def test_a_judgement_shows_what_was_measured() -> None:
    qwen = model("Qwen/Qwen3-8B")
    speeds = measured(qwen, 101.0, machine())
    found = judge(qwen, machine(), Request(), speeds=speeds)
    assert found.speed is not None and found.speed.decode_tok_s.expected == 101.0
    assert basis_of(found) == basis_of(judge_on_gpus(qwen, machine(), Request(), speeds)) == "measured"
    assert basis_of(judge(qwen, machine(), Request())) == "formula"
    deeper = judge(qwen, machine(), Request(depth_tokens=20_000), speeds=speeds)
    assert basis_of(deeper) == "formula", "another depth was not measured"


def test_recommendations_are_calibrated() -> None:
    plain = recommendations_for(machine(), "general", limit=3)
    picks = recommendations_for(machine(), "general", limit=3, speeds=HALF_AS_FAST)
    on_card = [pick.judgement for pick in picks if pick.judgement.verdict == "fits_gpu"]
    assert on_card and all(basis_of(judgement) == "calibrated" for judgement in on_card)
    speeds = {
        pick.judgement.model.id: pick.judgement.speed.decode_tok_s.expected
        for pick in plain
        if pick.judgement.speed is not None and pick.judgement.verdict == "fits_gpu"
    }
    both = [judgement for judgement in on_card if judgement.model.id in speeds]
    assert both
    for judgement in both:
        assert judgement.speed is not None
        assert judgement.speed.decode_tok_s.expected < 0.6 * speeds[judgement.model.id]


def test_remedies_are_told_with_what_was_measured() -> None:
    qwen, request = model("Qwen3-30B-A3B", "Q8_0"), Request()
    found = judge(qwen, machine(), request, remedies=False)
    weights = weight_table(qwen.shape, qwen.tensors)

    def fastest(speeds: MachineSpeeds | None) -> float:
        remedies = find_remedies(found, weights, request, lambda quant: model("Qwen3-30B-A3B", quant), speeds)
        return max(remedy.decode_tok_s or 0.0 for remedy in remedies if remedy.verdict == "fits_gpu")

    assert fastest(HALF_AS_FAST) == pytest.approx(fastest(None) / 2.0137, rel=0.01)


def test_the_prompt_makes_room_for_itself() -> None:
    found = judge(model("Qwen/Qwen3-8B"), machine(), Request(prompt_tokens=33_000, depth_tokens=1000))
    assert 34_000 <= found.settings.context_tokens < 35_000
    assert found.speed is not None and found.speed.prefill is not None
    assert (found.speed.depth_tokens, found.speed.prefill.prompt_tokens) == (1000, 33_000)
    assert "prompt_tokens" not in Request(prompt_tokens=512).fixed
    with pytest.raises(UsageError, match="prompt 0: must be 1 to"):
        Request(prompt_tokens=0)
    with pytest.raises(UsageError, match="prompt 600 after depth 500: more than the context of 1024"):
        Request(prompt_tokens=600, depth_tokens=500, context_tokens=1024)


def test_the_plan_of_a_judgement_answers_for_other_prompts() -> None:
    found = judge(model("Qwen/Qwen3-8B"), machine(), Request())
    assert found.speed is not None and found.speed_plan is not None
    assert found.speed_plan.estimate(0) == found.speed
    again = judge(model("Qwen/Qwen3-8B"), machine(), Request())
    assert again == found, "two judgements are equal whatever plan they hold"
    nothing = judge(model("DeepSeek-V3.2"), machine(), Request(), remedies=False)
    assert nothing.verdict == "does_not_fit" and nothing.speed is nothing.speed_plan is None


def test_one_slot_has_no_concurrency() -> None:
    one = judge(model("Qwen/Qwen3-8B"), machine(), Request(parallel=1))
    assert concurrency_of(one) is None and speculation_of(one) is None and tensor_split_of(one) is None


@pytest.mark.parametrize("request_", [Request(parallel=5, context_tokens=40960), Request(parallel=0)])
def test_streams_together_outrun_one_and_stay_below_the_bound(request_: Request) -> None:
    found = judge(model("Qwen/Qwen3-8B"), machine(), request_)
    together = concurrency_of(found)
    assert together is not None and found.speed is not None
    assert together.all_slots.n_streams == found.settings.parallel == together.pool.n_slots
    assert together.pool.unified == (request_.parallel == 0)
    assert together.by_streams[0].aggregate_tok_s == found.speed.decode_tok_s
    speeds = [one.aggregate_tok_s.expected for one in together.by_streams]
    assert speeds == sorted(speeds)
    assert all(one.aggregate_tok_s.high <= one.bound_tok_s for one in together.by_streams)


def test_calibration_and_measurement_reach_several_streams() -> None:
    qwen = model("Qwen/Qwen3-8B")
    found = judge(qwen, machine(), Request(parallel=2), speeds=measured(qwen, 50.0, machine()))
    together = concurrency_of(found)
    assert together is not None and together.by_streams[0].aggregate_tok_s.expected == 50.0
    assert 50.0 < together.all_slots.aggregate_tok_s.expected < 100.0


def test_speculation_with_the_models_own_blocks() -> None:
    mtp = judge(model("Qwen3.6-27B"), machine(), Request(spec_type="draft-mtp", context_tokens=16384))
    found = speculation_of(mtp)
    assert found is not None and mtp.speed is not None and found.n_draft == mtp.settings.spec_draft_max
    assert found.tok_s.expected == pytest.approx(mtp.speed.decode_tok_s.expected * found.gain_factor[1])


@pytest.mark.parametrize("judged", [judge, judge_on_gpus])
def test_speculation_that_llama_server_refuses_is_left_out_and_told(judged: Judge) -> None:
    found = judged(model("Qwen/Qwen3-8B"), machine(), Request(spec_type="draft-mtp"))
    plain = judged(model("Qwen/Qwen3-8B"), machine(), Request())
    assert found is not None and plain is not None and speculation_of(found) is None
    assert found.argv == plain.argv and found.argv is not None and "--spec-type" not in found.argv
    assert found.settings.spec_type is None and found.memory == plain.memory
    assert [warning.code for warning in found.warnings if warning not in plain.warnings] == ["no_mtp"]
    assert "left out" in found.warnings[-1].text


def test_a_calibration_slows_the_draft_as_it_slows_the_model() -> None:
    """All of a card twice as slow gains as much by speculation, but for the snapshots of its states."""
    asked = Request(spec_type="draft-mtp", context_tokens=16384)
    gains = []
    for speeds in (None, HALF_AS_FAST):
        found = speculation_of(judge(model("Qwen3.6-27B"), machine(), asked, speeds=speeds))
        assert found is not None
        gains.append(found.gain_factor[1])
    assert gains[1] == pytest.approx(gains[0], rel=0.02)


def test_a_tensor_split_is_told_or_refused_with_the_reason() -> None:
    two = judge(model("Llama-3.3-70B"), machine("2x RTX 3090"), Request())
    found = tensor_split_of(two)
    assert found is not None and not isinstance(found, str)
    assert two.speed is not None and found.tok_s.expected > two.speed.decode_tok_s.expected
    spilled = judge(model("gpt-oss-120b", "MXFP4_MOE"), machine("2x RTX 3090"), Request(), remedies=False)
    assert isinstance(tensor_split_of(spilled), str)
