"""Larger micro-batches for models with weights in RAM: those cross the bus once for each of them.

A prompt is computed on the GPU, micro-batch by micro-batch, and what lies in RAM is copied there each time
(ggml_backend_sched_compute_splits, ggml/src/ggml-backend.cpp). Four times as many tokens a step read it a
quarter as often, for a larger compute buffer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import FITS_OFFLOAD, Judgement
from llmfit.advisor.recommend.ladders import DEFAULTS
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.speed.estimate import plan_speed
from llmfit.advisor.units import GIB, format_context, two_figures

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

SPILLED_UBATCH = DEFAULTS.batch
"""The largest that llama-server's own batch holds."""
LEAST_GAIN = 1.15
"""Less is within the doubt of every estimate."""
MUCH_BYTES = 4 * GIB
"""With less in RAM, the room that the larger buffers take may have been what the rest was missing."""
NOTICEABLY_FASTER = 1.05
_PROMPT_TOKENS = 8192


def in_larger_steps(
    model: Model, machine: Machine, request: Request, speeds: MachineSpeeds | None = None
) -> Judgement | None:
    """The model judged with a larger micro-batch, where weights in RAM make that pay; else None.

    Raises as ``judge`` does.
    """
    if not machine.gpus or request.ubatch is not None or request.batch is not None:
        return None
    larger = judge(model, machine, replace(request, ubatch=SPILLED_UBATCH), remedies=False, speeds=speeds)
    if larger.verdict != FITS_OFFLOAD or larger.speed_plan is None:
        return None
    weights = weight_table(model.shape, model.tensors, load_mtp=request.loads_mtp)
    usual = plan_speed(model, weights, machine, replace(larger.settings, ubatch=DEFAULTS.ubatch), speeds)
    plans = (larger.speed_plan, usual)
    prefills = [None if plan is None else plan.estimate(0, _PROMPT_TOKENS).prefill for plan in plans]
    rates = [0.0 if prefill is None else prefill.tok_s.expected for prefill in prefills]
    if rates[0] < LEAST_GAIN * rates[1] or not rates[1]:
        return None
    if larger.memory.host.weights_bytes < MUCH_BYTES:
        usually = judge(model, machine, request, remedies=False, speeds=speeds)
        if _decode_tok_s(usually) > NOTICEABLY_FASTER * _decode_tok_s(larger):
            return None
    reason = (
        f"Micro-batch {SPILLED_UBATCH} (-ub): what is in RAM is copied to the GPU once for each, so a "
        f"prompt of {format_context(_PROMPT_TOKENS)} is read at {two_figures(rates[0])} instead of "
        f"{two_figures(rates[1])} tok/s."
    )
    return replace(larger, reasons=(*larger.reasons, reason))


def _decode_tok_s(judgement: Judgement) -> float:
    return 0.0 if judgement.speed is None else judgement.speed.decode_tok_s.expected
