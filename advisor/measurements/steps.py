"""The step that a measurement took, as the formula sees it, uncalibrated."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.calibration.factors import DECODE
from llmfit.advisor.speed.calibration.measurement import Measurement
from llmfit.advisor.speed.estimate import SpeedPlan, plan_speed
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
    _plans: dict[Hashable, SpeedPlan | None] = field(default_factory=dict)

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
        key = (model.id, model.quantization, model.file_bytes, settings)
        if key not in self._plans:
            weights = weight_table(model.shape, model.tensors)
            self._plans[key] = plan_speed(model, weights, self.machine, settings)
        plan = self._plans[key]
        if plan is None:
            return self._no_bandwidth()
        if measurement.kind == DECODE:
            return plan.formula.step(depth, settings.cache_type_k, settings.cache_type_v)
        prompts = plan.prefill
        return self._no_bandwidth() if prompts is None else prompts.prompt(measurement.prompt_tokens, depth)

    def _no_bandwidth(self) -> str:
        known = self.machine.memory.bandwidth_bytes_per_s is not None
        return NO_BANDWIDTH if known else f"{NO_BANDWIDTH}; {ASK_FOR_BANDWIDTH}"


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
