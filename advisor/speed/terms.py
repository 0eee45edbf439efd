"""A time as a sum of named terms: what is added up, what ``--explain`` prints, what calibration scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum


class Cause(Enum):
    """What a term waits for; the values are those of ``limited_by`` in the JSON of the command line."""

    GPU_MEMORY = "gpu memory"
    SYSTEM_MEMORY = "system memory"
    COMPUTE = "compute"
    LAUNCH = "launch overhead"
    PCIE = "pcie"


@dataclass(frozen=True, slots=True)
class Term:
    """One summand. ``amount`` over ``rate_per_s`` is ``time_s`` where both are known.

    ``amount`` is bytes where ``unit`` is ``B``, floating-point operations where it is ``FLOP``, a count of
    kernels, layers or hops where it says so; ``rate_per_s`` is that a second.
    """

    what: str
    """``dense weights``, ``experts``, ``KV cache``, ``layers`` …: for people."""
    where: str
    """``GPU 0``, ``RAM``, ``GPU 0 to GPU 1``."""
    cause: Cause
    time_s: float
    amount: float | None = None
    rate_per_s: float | None = None
    unit: str = "B"

    def repeated(self, times: int) -> Term:
        """The same work so many times over."""
        amount = None if self.amount is None else self.amount * times
        return replace(self, time_s=self.time_s * times, amount=amount)

    def scaled(self, factor: float) -> Term:
        """The same work in ``factor`` times the time."""
        rate = None if self.rate_per_s is None else self.rate_per_s / factor
        return replace(self, time_s=self.time_s * factor, rate_per_s=rate)


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time of one step (a decoded token, a batch of a prompt) and the floor that physics sets.

    ``bound_s`` is bytes over peak bandwidth, device after device (or operations over peak rate): nothing is
    faster, whatever the terms say.
    """

    terms: tuple[Term, ...]
    bound_s: float

    @property
    def total_s(self) -> float:
        return max(self.bound_s, sum(term.time_s for term in self.terms))

    @property
    def limited_by(self) -> Cause:
        """The cause with the largest share of the time."""
        by_cause = seconds_by_cause(self.terms)
        return max(by_cause, key=lambda cause: by_cause[cause], default=Cause.GPU_MEMORY)


def seconds_by_cause(terms: Iterable[Term]) -> Mapping[Cause, float]:
    sums: dict[Cause, float] = {}
    for term in terms:
        sums[term.cause] = sums.get(term.cause, 0.0) + term.time_s
    return sums
