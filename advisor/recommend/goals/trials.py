"""Judges configurations of one model, each once, and keeps what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import largest_context
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.goals.space import Ledger
from llmfit.advisor.recommend.goals.values import Configuration, Tried
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.needs import Need
from llmfit.advisor.recommend.outlook import ROUGH_RAM_BYTES_PER_S
from llmfit.advisor.recommend.quality import QualityFacts
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge, judge_on_gpus
from llmfit.advisor.speed.estimate import SpeedPlan, plan_speed

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

PROMPT_TOKENS = 8192
"""The prompt that prefill is compared at where the user names none: a few source files or pages, and several
micro-batches of every size that is tried."""


@dataclass(slots=True)
class Trials:
    """One question: a model, a machine, and what the user fixed. ``build`` lays out a file type."""

    build: Callable[[str], Model]
    facts: QualityFacts
    machine: Machine
    request: Request
    need: Need
    speeds: MachineSpeeds | None
    ledger: Ledger
    missed: list[Judgement] = field(default_factory=list)
    """What was judged and does not fit."""
    _models: dict[str, Model] = field(default_factory=dict)
    _tried: dict[Configuration, Tried | None] = field(default_factory=dict)

    def model(self, file_type: str) -> Model:
        if file_type not in self._models:
            self._models[file_type] = self.build(file_type)
        return self._models[file_type]

    def weights(self, file_type: str) -> WeightTable:
        model = self.model(file_type)
        return weight_table(model.shape, model.tensors, load_mtp=self.request.loads_mtp)

    def weights_bytes(self, file_type: str) -> int:
        return sum(tensor.n_bytes for tensor in self.model(file_type).tensors)

    def gpu_weights_bytes(self, file_type: str) -> int:
        """What must lie on the GPUs for all of it to be there."""
        table = self.weights(file_type)
        return sum(table.layer_gpu_bytes) + table.output_gpu_bytes + table.tied_copy_gpu_bytes

    def known(self, configuration: Configuration) -> Tried | None:
        """What ``attempt`` found, if it was asked."""
        return self._tried.get(configuration)

    def request_of(self, configuration: Configuration) -> Request:
        """The user's request with this configuration filled in where it is open."""
        filled: dict[str, object] = {"context_tokens": configuration.context_tokens}
        if self.request.cache_type_k is None and self.request.cache_type_v is None:
            filled["cache_type_k"] = configuration.cache_type
        if self.request.ubatch is None:
            filled["ubatch"] = configuration.ubatch
        if self.request.parallel is None:
            filled["parallel"] = configuration.n_slots
        return replace(self.request, **filled)  # type: ignore[arg-type]

    def attempt(self, configuration: Configuration, on_gpus_only: bool = False) -> Tried | None:
        """The configuration judged; None where it does not fit (or, if asked so, not on the GPUs).

        A configuration that llama.cpp refuses where the plain one works does not fit either. Raises as
        ``judge`` for the first one of all.
        """
        if configuration not in self._tried:
            first = not self._tried
            self.ledger.judge(configuration)
            try:
                self._tried[configuration] = self._attempt(configuration, on_gpus_only)
            except LlmfitError:
                if first:
                    raise
                self._tried[configuration] = None
        return self._tried[configuration]

    def _attempt(self, configuration: Configuration, on_gpus_only: bool) -> Tried | None:
        model, request = self.model(configuration.file_type), self.request_of(configuration)
        judgement: Judgement | None
        if on_gpus_only:
            judgement = judge_on_gpus(model, self.machine, request, self.speeds)
        else:
            judgement = judge(model, self.machine, request, remedies=False, speeds=self.speeds)
        if judgement is None:
            return None
        if not judgement.fits:
            self.missed.append(judgement)
            return None
        return self.tried(configuration, judgement)

    def tried(self, configuration: Configuration, judgement: Judgement) -> Tried:
        """A judgement that fits, with the figures that goals weigh."""
        depth_tokens, asked_tokens = self.request.speed_question
        settings = judgement.settings
        prompt_tokens = asked_tokens or PROMPT_TOKENS
        plan = judgement.speed_plan or self._rough_plan(judgement)
        decode_tok_s = prefill_tok_s = wait_s = 0.0
        if plan is not None:
            speed = judgement.speed or plan.estimate(depth_tokens)
            decode_tok_s = speed.decode_tok_s.expected
            prefill = plan.estimate(depth_tokens, prompt_tokens).prefill
            usual = plan.estimate(depth_tokens, asked_tokens or self.need.prompt_tokens).prefill
            prefill_tok_s = 0.0 if prefill is None else prefill.tok_s.expected
            wait_s = 0.0 if usual is None else usual.first_token_s
        return Tried(
            configuration=configuration,
            judgement=judgement,
            file_loss=self.facts.file_type_loss(configuration.file_type),
            cache_loss=self.facts.cache_loss(settings.cache_type_k, settings.cache_type_v),
            order_tok_s=decode_tok_s,
            prefill_tok_s=prefill_tok_s,
            prompt_tokens=prompt_tokens,
            wait_s=wait_s,
        )

    def prefill_with(self, tried: Tried, ubatch: int) -> float:
        """What prompts would be read at with another micro-batch in the same placement, tok/s; 0: unknown.

        More than ``judge`` gives where the larger compute buffer has no room there: a bound, to skip by.
        """
        judgement = tried.judgement
        settings = judgement.settings
        changed = replace(settings, ubatch=ubatch, batch=max(settings.batch, ubatch))
        weights = self.weights(tried.configuration.file_type)
        plan = plan_speed(judgement.model, weights, judgement.machine, changed, self.speeds)
        if plan is None:
            return 0.0
        prefill = plan.estimate(self.request.depth_tokens, tried.prompt_tokens).prefill
        return 0.0 if prefill is None else prefill.tok_s.expected

    def longest_context(self, configuration: Configuration, verdicts: tuple[str, ...]) -> int:
        """The most tokens, up to the trained context, with one of these verdicts; 0 where none gets it."""
        request = self.request_of(configuration)
        base = request.base_settings(configuration.context_tokens)
        weights = self.weights(configuration.file_type)
        shape = self.model(configuration.file_type).shape
        try:
            return largest_context(shape, weights, self.machine, base, request.fixed, verdicts)
        except LlmfitError:
            return 0

    def _rough_plan(self, judgement: Judgement) -> SpeedPlan | None:
        """With a usual bandwidth for RAM of which none is known: to order by, never to show."""
        machine = judgement.machine
        if machine.memory.bandwidth_bytes_per_s is not None:
            return None
        memory = replace(machine.memory, bandwidth_bytes_per_s=int(ROUGH_RAM_BYTES_PER_S))
        model = judgement.model
        weights = weight_table(model.shape, model.tensors, load_mtp=self.request.loads_mtp)
        return plan_speed(model, weights, replace(machine, memory=memory), judgement.settings)
