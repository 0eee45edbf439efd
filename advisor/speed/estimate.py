"""The speed of one placement of a model: decode and prefill with doubt, bound, cause and basis.

``plan_speed`` lays a placement out once; the SpeedPlan answers for any depth, prompt and cache type in
microseconds. ``estimate_speed`` is both in one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.calibration.factors import DECODE, PREFILL, Subject
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.host import Host
from llmfit.advisor.speed.decode.plan import SAMPLING, DecodePlan, plan_decode
from llmfit.advisor.speed.doubt import decode_range
from llmfit.advisor.speed.prefill.plan import PrefillPlan, plan_prefill, prefill_range
from llmfit.advisor.speed.reads import DecodeReads, Role, decode_reads
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import StepTime

if TYPE_CHECKING:  # most machines have measured nothing, and go without the modules for it
    from llmfit.advisor.speed.calibration.fit import Calibration
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.advisor.speed.calibration.measurement import MeasuredSpeed, Wanted

FORMULA, CALIBRATED, MEASURED = "formula", "calibrated", "measured"
DEVIATIONS_OF_80_PERCENT = 1.28
"""Four of five of a normal distribution lie within so many standard deviations."""

__all__ = ["PrefillSpeed", "SpeedEstimate", "SpeedPlan", "SpeedRange", "estimate_speed", "plan_speed"]


@dataclass(frozen=True, slots=True)
class PrefillSpeed:
    """How fast a prompt of ``prompt_tokens`` is read after those that are in the cache already.

    ``step`` is the whole prompt. ``first_token_s`` is the prompt and the output head of its last token.
    """

    tok_s: SpeedRange
    prompt_tokens: int
    first_token_s: float
    bound_tok_s: float
    limited_by: str
    basis: str
    step: StepTime


@dataclass(frozen=True, slots=True)
class SpeedEstimate:
    """``bound_tok_s`` is bytes per token over bandwidth: nothing without speculation can be faster.

    ``prefill`` is ``None`` where nothing is known of what computes. ``basis`` is ``formula``, ``calibrated``
    or ``measured``. ``step`` is one token, term by term (of what was measured, too, as it is calculated).
    """

    decode_tok_s: SpeedRange
    prefill: PrefillSpeed | None
    depth_tokens: int
    bound_tok_s: float
    limited_by: str
    basis: str
    step: StepTime
    measured: MeasuredSpeed | None = None
    """What the decode speed rests on where its basis is ``measured``."""

    @property
    def prefill_tok_s(self) -> SpeedRange | None:
        return None if self.prefill is None else self.prefill.tok_s


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """One placement of one model on one machine.

    ``formula`` is decode as the constants have it, ``decode`` the same with this machine's calibration.
    """

    subject: Subject
    settings: LaunchSettings
    gpus: tuple[Gpu, ...]
    reads: DecodeReads
    cards: tuple[Card, ...]
    host: Host | None
    formula: DecodePlan
    decode: DecodePlan
    prefill: PrefillPlan | None
    calibration: Calibration | None
    speeds: MachineSpeeds | None
    wanted: Wanted | None

    def expected_tok_s(self, depth_tokens: int, cache_type_k: str, cache_type_v: str) -> float:
        """The expected decode speed by formula and calibration alone, many times faster than ``estimate``."""
        return 1 / self.decode.total_s(depth_tokens, cache_type_k, cache_type_v)

    def calibrated(self, plan: DecodePlan) -> DecodePlan:
        """Another plan on the same devices (that of a draft), as this machine has been measured."""
        return _calibrated(plan, self.calibration, self.subject)

    def estimate(self, depth_tokens: int, prompt_tokens: int | None = None) -> SpeedEstimate:
        """Everything about one depth; ``prompt_tokens`` are one ubatch where nobody says."""
        step = self._step(depth_tokens)
        bound = 1 / step.bound_s
        measured = self._measured(DECODE, depth_tokens, 0)
        calibrated = self.calibration is not None
        if measured is not None:
            expected, factors = measured.tok_s, _factors(measured)
        else:
            expected, factors = 1 / step.total_s, self._decode_factors(depth_tokens)
        return SpeedEstimate(
            decode_tok_s=SpeedRange.around(expected, factors, bound),
            prefill=self._prefill(depth_tokens, prompt_tokens),
            depth_tokens=depth_tokens,
            bound_tok_s=bound,
            limited_by=step.limited_by.value,
            basis=MEASURED if measured is not None else CALIBRATED if calibrated else FORMULA,
            step=step,
            measured=measured,
        )

    def _step(self, depth_tokens: int, *, formula: bool = False) -> StepTime:
        plan = self.formula if formula else self.decode
        return plan.step(depth_tokens, self.settings.cache_type_k, self.settings.cache_type_v)

    def _decode_factors(self, depth_tokens: int) -> tuple[float, float]:
        if self.calibration is None:
            return decode_range(self.reads, self.gpus, depth_tokens)
        return _calibrated_factors(self.calibration, self._step(depth_tokens, formula=True), self.subject)

    def _prefill(self, depth_tokens: int, asked_tokens: int | None) -> PrefillSpeed | None:
        if self.prefill is None:
            return None
        prompt_tokens = asked_tokens or self.prefill.ubatch_tokens
        raw = step = self.prefill.prompt(prompt_tokens, depth_tokens)
        subject = replace(self.subject, kind=PREFILL)
        factors, basis = prefill_range(self.prefill), FORMULA
        known = None if self.speeds is None else self.speeds.calibration
        if known is not None and known.concerns(raw, subject):
            from llmfit.advisor.speed.calibration.fit import apply

            step = apply(raw, known, subject)
            factors, basis = _calibrated_factors(known, raw, subject), CALIBRATED
        token = self._step(depth_tokens + prompt_tokens)
        short = prompt_tokens * token.total_s < step.total_s
        if short:  # a batch of few tokens runs the graph that decodes: no slower than one by one
            terms = tuple(term.repeated(prompt_tokens) for term in token.terms)
            step = StepTime(terms, min(step.bound_s, prompt_tokens * token.bound_s))
        bound = prompt_tokens / step.bound_s
        expected = prompt_tokens / step.total_s
        measured = self._measured(PREFILL, depth_tokens, prompt_tokens)
        if measured is not None:
            expected, factors, basis = measured.tok_s, _factors(measured), MEASURED
        tok_s = SpeedRange.around(expected, factors, bound)
        return PrefillSpeed(
            tok_s=tok_s,
            prompt_tokens=prompt_tokens,
            first_token_s=prompt_tokens / tok_s.expected + (0.0 if short else _head_s(token)),
            bound_tok_s=bound,
            limited_by=step.limited_by.value,
            basis=basis,
            step=step,
        )

    def _measured(self, kind: str, depth_tokens: int, prompt_tokens: int) -> MeasuredSpeed | None:
        if self.speeds is None or self.wanted is None:
            return None
        return self.speeds.measured(
            replace(self.wanted, kind=kind, depth_tokens=depth_tokens, prompt_tokens=prompt_tokens)
        )


def estimate_speed(
    model: Model,
    weights: WeightTable,
    machine: Machine,
    settings: LaunchSettings,
    depth_tokens: int = 0,
    prompt_tokens: int | None = None,
    speeds: MachineSpeeds | None = None,
) -> SpeedEstimate | None:
    """Speed of one stream at a depth; ``None`` where a bandwidth that matters is not known.

    ``speeds`` is what was measured on this machine. Raises as ``assign_layers``.
    """
    plan = plan_speed(model, weights, machine, settings, speeds)
    return None if plan is None else plan.estimate(depth_tokens, prompt_tokens)


def plan_speed(
    model: Model,
    weights: WeightTable,
    machine: Machine,
    settings: LaunchSettings,
    speeds: MachineSpeeds | None = None,
) -> SpeedPlan | None:
    """One placement, laid out; ``None`` and errors as ``estimate_speed``."""
    gpus = machine.gpus_of(settings.devices)
    assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    gpus = gpus[: assignment.n_devices]
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    cards = [card for gpu in gpus if (card := Card.of(gpu)) is not None]
    host = Host.of(machine)
    formula = plan_decode(reads, cards, host) if len(cards) == len(gpus) else None
    if formula is None:
        return None
    subject = Subject(DECODE, model.quantization, model.shape.architecture)
    calibration = None if speeds is None else speeds.calibration
    if calibration is not None and not calibration.concerns(formula.step(0), subject):
        calibration = None
    return SpeedPlan(
        subject=subject,
        settings=settings,
        gpus=tuple(gpus),
        reads=reads,
        cards=tuple(cards),
        host=host,
        formula=formula,
        decode=_calibrated(formula, calibration, subject),
        prefill=plan_prefill(model.shape, reads, gpus, machine, settings),
        calibration=calibration,
        speeds=speeds,
        wanted=None if speeds is None else _wanted(model, machine, settings),
    )


def _head_s(token: StepTime) -> float:
    """What the first token takes after its prompt: the output head, and the sampling. The layers have run:
    the last token of the prompt gives the first of the answer."""
    return sum(term.time_s for term in token.terms if term.what in (Role.OUTPUT.value, SAMPLING))


def _calibrated(plan: DecodePlan, calibration: Calibration | None, subject: Subject) -> DecodePlan:
    if calibration is None:
        return plan
    return plan.scaled(lambda term: calibration.factor_of(term, subject))


def _calibrated_factors(calibration: Calibration, raw: StepTime, subject: Subject) -> tuple[float, float]:
    doubt = DEVIATIONS_OF_80_PERCENT * calibration.doubt_share(raw, subject)
    return exp(-doubt), exp(doubt)


def _factors(measured: MeasuredSpeed) -> tuple[float, float]:
    return measured.low_tok_s / measured.tok_s, measured.high_tok_s / measured.tok_s


def _wanted(model: Model, machine: Machine, settings: LaunchSettings) -> Wanted:
    from llmfit.advisor.speed.calibration.measurement import Wanted, machine_key, planned_backend, whole_model

    path = model.launch_args[1] if model.launch_args[:1] == ("-m",) and model.source == "gguf" else None
    return Wanted(
        machine_key=machine_key(machine),
        backend=planned_backend(machine, settings),
        model_id=model.id,
        quantization=model.quantization,
        file_bytes=model.file_bytes,
        family=model.shape.architecture,
        settings=whole_model(settings, model.shape.n_layer_all),
        model_path=path,
    )
