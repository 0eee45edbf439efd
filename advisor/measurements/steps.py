"""The step that a measurement took, as the formula sees it, uncalibrated."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.calibration.factors import PREFILL
from llmfit.advisor.speed.calibration.measurement import Measurement
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.host import Host
from llmfit.advisor.speed.decode.plan import DecodePlan, plan_decode
from llmfit.advisor.speed.prefill.plan import PrefillPlan, plan_prefill
from llmfit.advisor.speed.reads import decode_reads
from llmfit.advisor.speed.terms import StepTime

NO_BANDWIDTH = "the bandwidth of what it ran on is not known"
ASK_FOR_BANDWIDTH = "RAM's can be measured (llmfit hardware --measure) or told (--ram-bandwidth GB/S)"
LONG_NAME = 40
"""Characters: most names of tensors are shorter."""
MAX_WAYS = 1e5
"""In which one pattern may match one name: some milliseconds for the names of a model."""


@dataclass(slots=True)
class StepMaker:
    """Steps of measurements on one machine; the same model placed in the same way is laid out once."""

    machine: Machine
    _decode: dict[Hashable, DecodePlan | None] = field(default_factory=dict)
    _prefill: dict[Hashable, PrefillPlan | None] = field(default_factory=dict)

    def step(self, measurement: Measurement, model: Model) -> StepTime | str:
        """One token, or the whole prompt; or why the formula says nothing of it.

        Raises LlmfitError for settings that are not modelled.
        """
        settings, depth = measurement.settings, measurement.depth_tokens
        if not all(is_quick(rule) for rule in settings.override_tensor):
            return "a pattern of its -ot could take forever to match"
        here = {gpu.index for gpu in self.machine.gpus}
        if not here.issuperset(settings.devices):
            return "on a GPU that is not here now"
        plans = self._prefill if measurement.kind == PREFILL else self._decode
        key = (model.id, model.quantization, model.file_bytes, settings)
        if key not in plans:
            self._plan(key, model, settings)
        if measurement.kind == PREFILL:
            prompts = self._prefill[key]
            return (
                self._no_bandwidth() if prompts is None else prompts.prompt(measurement.prompt_tokens, depth)
            )
        plan = self._decode[key]
        if plan is None:
            return self._no_bandwidth()
        return plan.step(depth, settings.cache_type_k, settings.cache_type_v)

    def _no_bandwidth(self) -> str:
        known = self.machine.memory.bandwidth_bytes_per_s is not None
        return NO_BANDWIDTH if known else f"{NO_BANDWIDTH}; {ASK_FOR_BANDWIDTH}"

    def _plan(self, key: Hashable, model: Model, settings: LaunchSettings) -> None:
        machine = self.machine
        gpus = machine.gpus_of(settings.devices)
        weights = weight_table(model.shape, model.tensors)
        assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
        reads = decode_reads(model.shape, model.tensors, weights, assignment)
        gpus = gpus[: assignment.n_devices]
        cards = [card for gpu in gpus if (card := Card.of(gpu)) is not None]
        known = len(cards) == len(gpus)
        self._decode[key] = plan_decode(reads, cards, Host.of(machine)) if known else None
        self._prefill[key] = plan_prefill(model.shape, reads, gpus, machine, settings)


def is_quick(pattern: str) -> bool:
    """Whether Python matches a regular expression of somebody's file in no time: an upper bound of the ways,
    without groups that repeat. A few patterns that would be quick are refused, too."""
    if re.search(r"\)[*+{]", pattern):
        return False
    n_repeats, n_optional = sum(pattern.count(sign) for sign in "*+{"), pattern.count("?")
    n_groups = max(1, pattern.count("("))
    if max(n_repeats, n_optional, n_groups) > LONG_NAME:
        return False
    choices = (1 + pattern.count("|") / n_groups) ** n_groups
    n_ways: float = LONG_NAME**n_repeats * 2.0**n_optional * choices
    return n_ways <= MAX_WAYS
