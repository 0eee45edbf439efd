"""Which factors a calibration has: what each scales, how far it may stray, how well rows agree otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from llmfit.advisor.speed.terms import Cause, StepTime

DECODE = "decode"
PREFILL = "prefill"
REPEAT_NOISE_SHARE = 0.04
"""One user repeats a measurement within 3.8 % (median of the repeated rows in tests/data/speed_*.csv.gz)."""

Knob = tuple[str, str]
"""A factor: its scope (a field of PriorSpread without ``_share``), and of which file type or family."""


@dataclass(frozen=True, slots=True)
class PriorSpread:
    """How far machines of one class differ, as standard deviations of log(time).

    Found from tests/data/speed_*.csv.gz by tests/bench/calibration_accuracy.py: five rows of an installation
    predict its other rows best about here, and twice or half of any value costs little. Those of the RAM rest
    on four installations only.
    """

    gpu_memory_share: float = 0.12
    experts_share: float = 0.2
    """Of experts beyond ``gpu_memory_share``: how well a card reads scattered matrices."""
    kv_cache_share: float = 0.3
    """Of the cache beyond ``gpu_memory_share``: the attention kernels."""
    file_type_share: float = 0.1
    """Of the weights of one file type."""
    launch_share: float = 0.4
    family_share: float = 0.3
    """Of the launches of one architecture."""
    system_memory_share: float = 0.2
    """Of everything that the CPU reads and multiplies."""
    system_file_type_share: float = 0.1
    system_launch_share: float = 0.4
    prefill_share: float = 0.3
    prefill_experts_share: float = 0.3
    prefill_attention_share: float = 0.4
    prefill_file_type_share: float = 0.15
    prefill_family_share: float = 0.15
    prefill_system_share: float = 0.3
    prefill_pcie_share: float = 0.25

    def of(self, knob: Knob) -> float:
        """Standard deviation of the logarithm of one factor."""
        value: float = getattr(self, f"{knob[0]}_share")
        return value


USUAL_SPREAD = PriorSpread()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a step is a step of, as far as it has factors of its own.

    ``kind`` is DECODE (a step is one token) or PREFILL (the whole prompt); ``file_type`` the quantisation as
    ``Model.quantization`` has it, ``family`` the architecture.
    """

    kind: str = DECODE
    file_type: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the rows of one installation agree with a sum of its terms, by the kind of step.

    ``noise_share`` weighs a row against the priors; ``unexplained_share`` is the standard deviation of
    log(measured / predicted) with all factors known. As PriorSpread, and so that 80 % of the other rows lie
    inside the stated range.
    """

    name: str
    noise_share: float
    unexplained_share: float
    common_share: float = 0.0
    """What the rows of few models have wrong in common: one row alone cannot tell it from a factor."""

    def noise_of(self, n_rows: int) -> float:
        """Of each of so many rows of this kind."""
        return sqrt(self.noise_share**2 + self.common_share**2 / n_rows)


ON_GPUS = Agreement("on GPUs", REPEAT_NOISE_SHARE, 0.07)
WITH_RAM = Agreement("with weights in RAM", 0.08, 0.10, common_share=0.24)
OF_PROMPTS = Agreement("prompts", 0.08, 0.15, common_share=0.4)


def agreement_of(step: StepTime, subject: Subject) -> Agreement:
    """The kind of step that it is."""
    if subject.kind == PREFILL:
        return OF_PROMPTS
    return ON_GPUS if all(is_on_gpu(term.where) for term in step.terms) else WITH_RAM


def is_on_gpu(where: str) -> bool:
    """Whether a term's place is a GPU, or the way from one to the next."""
    return where.startswith("GPU")


@lru_cache(maxsize=8192)
def knobs_of(cause: Cause, what: str, where: str, subject: Subject) -> tuple[Knob, ...]:
    """The factors of a term, by what it waits for and where; the main one first."""
    if subject.kind == PREFILL:
        return _prefill_knobs(cause, what, where, subject)
    if not is_on_gpu(where):
        return _host_knobs(cause, what, subject)
    if cause is Cause.LAUNCH:
        launch: Knob = ("launch", "")
        return (launch,) if what in ("hop", "step") else (launch, ("family", subject.family))
    memory: Knob = ("gpu_memory", "")
    if what == "KV cache":
        return memory, ("kv_cache", "")
    weights: Knob = ("file_type", subject.file_type)
    return (memory, ("experts", ""), weights) if what == "experts" else (memory, weights)


def _host_knobs(cause: Cause, what: str, subject: Subject) -> tuple[Knob, ...]:
    if cause is Cause.LAUNCH:
        return (("system_launch", ""),)
    if what == "KV cache":
        return (("system_memory", ""),)
    return ("system_memory", ""), ("system_file_type", subject.file_type)


def _prefill_knobs(cause: Cause, what: str, where: str, subject: Subject) -> tuple[Knob, ...]:
    if cause is Cause.PCIE:
        return (("prefill_pcie", ""),)
    if not is_on_gpu(where):
        return (("prefill_system", ""),)
    common: tuple[Knob, ...] = (("prefill", ""), ("prefill_family", subject.family))
    if what == "attention":
        return (*common, ("prefill_attention", ""))
    if what == "experts":
        return (*common, ("prefill_experts", ""), ("prefill_file_type", subject.file_type))
    return (*common, ("prefill_file_type", subject.file_type)) if what == "dense weights" else common
