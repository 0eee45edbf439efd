"""Larger micro-batches where weights lie in RAM: taken where they pay, and only there."""

from __future__ import annotations

import pytest

from llmfit.advisor.recommend.judgement import FITS_OFFLOAD
from llmfit.advisor.recommend.ladders import DEFAULTS
from llmfit.advisor.recommend.micro_batch import SPILLED_UBATCH, in_larger_steps
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.session import machine_from

REQUEST = Request(context_tokens=32768)
EXPERTS = build_model(find_model("Qwen3.6-35B-A3B"), "Q4_K_M")
CARD = machine_from({"gpu": "RTX 4070", "ram": "64GiB", "ram_bandwidth": "60"})


def test_experts_in_ram_are_read_less_often() -> None:
    larger, usual = in_larger_steps(EXPERTS, CARD, REQUEST), judge(EXPERTS, CARD, REQUEST, remedies=False)
    assert larger is not None and larger.speed_plan is not None and usual.speed_plan is not None
    assert larger.verdict == FITS_OFFLOAD and larger.settings.ubatch == SPILLED_UBATCH
    prompts = [plan.estimate(0, 8192).prefill for plan in (larger.speed_plan, usual.speed_plan)]
    assert prompts[0] is not None and prompts[1] is not None
    assert prompts[0].tok_s.expected > 2 * prompts[1].tok_s.expected
    assert larger.speed is not None and usual.speed is not None
    assert larger.speed.decode_tok_s.expected > 0.95 * usual.speed.decode_tok_s.expected
    assert larger.argv is not None and "-ub" in larger.argv
    assert larger.argv[larger.argv.index("-ub") + 1] == str(SPILLED_UBATCH)
    assert any(f"Micro-batch {SPILLED_UBATCH}" in reason for reason in larger.reasons)


@pytest.mark.parametrize(
    ("machine", "request_"),
    [
        ({"gpu": "RTX 5090", "ram": "64GiB"}, REQUEST),  # nothing is in RAM
        ({"gpu": "none", "ram": "64GiB", "ram_bandwidth": "60"}, REQUEST),  # nothing crosses a bus
        ({"gpu": "RTX 4070", "ram": "64GiB"}, REQUEST),  # nobody knows what it brings
        ({"gpu": "RTX 4070", "ram": "8GiB"}, REQUEST),  # does not run
        ({"gpu": "RTX 4070", "ram": "64GiB", "ram_bandwidth": "60"}, Request(ubatch=256)),  # the user chose
    ],
)
def test_elsewhere_the_usual_one_stays(machine: dict[str, object], request_: Request) -> None:
    assert in_larger_steps(EXPERTS, machine_from(machine), request_) is None


def test_a_card_that_just_holds_a_model_keeps_it() -> None:
    """The larger buffers would push experts into RAM and cost more decode than they bring."""
    model = build_model(find_model("gpt-oss-20b"), "MXFP4_MOE")
    card = machine_from({"gpu": "Arc B580", "ram": "64GiB", "ram_bandwidth": "60"})
    usual = judge(model, card, REQUEST, remedies=False)
    assert usual.settings.ubatch == DEFAULTS.ubatch
    larger = judge(model, card, Request(context_tokens=32768, ubatch=SPILLED_UBATCH), remedies=False)
    assert larger.verdict == FITS_OFFLOAD != usual.verdict
    assert in_larger_steps(model, card, REQUEST) is None
