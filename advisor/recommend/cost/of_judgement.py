"""The energy of a million tokens of one judged configuration, generated and read."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.recommend.cost.energy import Spread, kwh_per_million_tokens
from llmfit.advisor.recommend.cost.power import DECODE, PREFILL, NoPower, Phase, PowerReading, rated_power
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import StepTime


@dataclass(frozen=True, slots=True)
class TokenEnergy:
    """Tokens of one kind, at this power and this speed."""

    power: PowerReading
    tok_s: SpeedRange

    @property
    def kwh_per_million(self) -> Spread:
        """Lowest: least power at the highest speed; highest: most power at the lowest speed."""
        watts, tok_s = self.power.watts, self.tok_s
        return Spread(
            kwh_per_million_tokens(watts.low, tok_s.high),
            kwh_per_million_tokens(watts.expected, tok_s.expected),
            kwh_per_million_tokens(watts.high, tok_s.low),
        )


@dataclass(frozen=True, slots=True)
class Energy:
    """Of generated tokens and of tokens of a prompt; ``None`` where not known, ``unknown`` says why."""

    output: TokenEnergy | None
    prompt: TokenEnergy | None
    unknown: tuple[str, ...] = ()


def energy_per_million(judgement: Judgement, power: PowerReading | None = None) -> Energy:
    """What a million tokens take, one request at a time, at the depth and prompt of the judgement's speed.

    ``power`` is the whole computer's, stated or measured; without it what is rated of its parts counts.
    Energy while nobody asks anything is not in it.
    """
    speed = judgement.speed
    if speed is None:
        return Energy(None, None, (_no_speed(judgement),))
    output = _token_energy(judgement, power, speed.decode_tok_s, speed.step, DECODE)
    prefill = speed.prefill
    prompt: TokenEnergy | NoPower = NoPower("How fast prompts are read here is not known.")
    if prefill is not None:
        prompt = _token_energy(judgement, power, prefill.tok_s, prefill.step, PREFILL)
    unknown = dict.fromkeys(one.why for one in (output, prompt) if isinstance(one, NoPower))
    return Energy(_known(output), _known(prompt), tuple(unknown))


def _token_energy(
    judgement: Judgement, power: PowerReading | None, tok_s: SpeedRange, step: StepTime, phase: Phase
) -> TokenEnergy | NoPower:
    if power is None:
        gpus = () if judgement.speed_plan is None else judgement.speed_plan.gpus
        found = rated_power(judgement.machine, gpus, step, phase)
        if isinstance(found, NoPower):
            return found
        power = found
    return TokenEnergy(power, tok_s)


def _known(found: TokenEnergy | NoPower) -> TokenEnergy | None:
    return None if isinstance(found, NoPower) else found


def _no_speed(judgement: Judgement) -> str:
    if not judgement.fits:
        return "It does not fit, so it generates nothing."
    return "No speed is known here: a memory bandwidth is missing (--ram-bandwidth GB/S)."


__all__ = ["Energy", "TokenEnergy", "energy_per_million"]
