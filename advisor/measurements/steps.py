"""The step that a measurement took, as the formula sees it, uncalibrated."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.calibration import PREFILL
from llmfit.advisor.speed.decode import Card, plan_decode
from llmfit.advisor.speed.host import Host
from llmfit.advisor.speed.measurement import Measurement
from llmfit.advisor.speed.reads import decode_reads
from llmfit.advisor.speed.terms import StepTime


def predicted_step(measurement: Measurement, model: Model, machine: Machine) -> StepTime | str:
    """What the formula says, or why nothing. Raises LlmfitError for settings that are not modelled."""
    if measurement.kind == PREFILL:
        return "prefill is not estimated yet"
    settings = measurement.settings
    gpus = [gpu for index in settings.devices for gpu in machine.gpus if gpu.index == index]
    if len(gpus) < len(settings.devices):
        return "on a GPU that is not here now"
    weights = weight_table(model.shape, model.tensors)
    assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    cards = [Card.of(gpu, machine.os) for gpu in gpus[: assignment.n_devices]]
    known = [card for card in cards if card is not None]
    if len(known) < len(cards):
        return "the bandwidth of its GPU is not known"
    plan = plan_decode(model.shape, reads, known, Host.of(machine))
    if plan is None:
        return "the bandwidth of the RAM is not known (llmfit hardware --measure finds it)"
    return plan.step(measurement.depth_tokens, settings.cache_type_k, settings.cache_type_v)
