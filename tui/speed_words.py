"""Speeds in words: figures rounded to what they are worth, what a speed rests on, a sum as rows of texts.

The command line and the app say it alike, because both take it from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmfit.advisor.units import two_figures as two_figures

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.speed.estimate import PrefillSpeed, SpeedRange
    from llmfit.advisor.speed.terms import StepTime, Term

MEASURED, CALIBRATED = "measured", "calibrated"
DETAILED_STEP_S = 0.1
"""A shorter step is shown to the microsecond."""
_SCALED = frozenset({"B", "FLOP"})
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def range_text(speed: SpeedRange) -> str:
    """``15-21``."""
    return f"{two_figures(speed.low)}-{two_figures(speed.high)}"


def speed_text(speed: SpeedRange) -> str:
    """``18 (15-21)``."""
    return f"{two_figures(speed.expected)} ({range_text(speed)})"


def seconds_text(seconds: float) -> str:
    """``12 ms``, ``0.49 s``, ``3.2 s``, ``2 min 10 s``."""
    if seconds < 0.1:
        return f"{two_figures(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{two_figures(seconds)} s"
    minutes, rest = divmod(round(seconds, -1), 60)
    return f"{minutes:.0f} min {rest:.0f} s"


def basis_text(basis: str, judgement: Judgement) -> str:
    """``formula``, ``calibrated on 5 configurations``, ``measured here``."""
    if basis == MEASURED:
        return "measured here"
    calibration = None
    plan = judgement.speed_plan
    if plan is not None and plan.speeds is not None:
        calibration = plan.speeds.calibration
    if basis == CALIBRATED and calibration is not None:
        count = calibration.n_used
        return f"calibrated on {count} configuration{'s' * (count != 1)}"
    return basis


def depth_text(depth_tokens: int) -> str:
    """`` with 8192 tokens in the context``; nothing for an empty one."""
    return f" with {depth_tokens} tokens in the context" if depth_tokens else ""


def speed_sentences(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """(what, a sentence) of decode and prefill: figures, what they rest on, what limits them."""
    speed = judgement.speed
    if speed is None:
        return
    decode, prefill = speed.decode_tok_s, speed.prefill
    if not judgement.model.is_embedding:
        yield (
            "Decode",
            f"{speed_text(decode)} tok/s{depth_text(speed.depth_tokens)}, "
            f"{basis_text(speed.basis, judgement)}: at most {two_figures(speed.bound_tok_s)} by bandwidth, "
            f"limited by {speed.limited_by}.",
        )
    if prefill is not None:
        yield (
            "Prefill",
            f"{speed_text(prefill.tok_s)} tok/s, {basis_text(prefill.basis, judgement)}: "
            f"{_read_text(judgement, prefill)}, "
            f"limited by {prefill.limited_by}.",
        )


def _read_text(judgement: Judgement, prefill: PrefillSpeed) -> str:
    took = seconds_text(prefill.first_token_s)
    if judgement.model.is_embedding:
        return f"an input of {prefill.prompt_tokens} tokens takes {took}"
    return f"first token {took} after a prompt of {prefill.prompt_tokens}"


# ---------------------------------------------------------------- sums


@dataclass(frozen=True, slots=True)
class TermRow:
    """One summand as texts: ``4.61 GB`` at ``712 GB/s`` takes ``6.478`` ms, ``81 %`` of all."""

    what: str
    where: str
    amount: str
    rate: str
    milliseconds: str
    share: str

    @property
    def cells(self) -> tuple[str, ...]:
        return self.what, self.where, self.amount, self.rate, self.milliseconds, self.share


HEAD = TermRow("what", "where", "amount", "rate", "ms", "share")


def term_rows(step: StepTime) -> list[TermRow]:
    """The summands in their order, what the bound adds where they are below it, and the total."""
    total_s = step.total_s
    rows = [
        TermRow(
            term.what,
            place_text(term.where),
            amount_text(term),
            rate_text(term),
            milliseconds_text(term.time_s, total_s),
            _share_text(term.time_s / total_s),
        )
        for term in step.terms
    ]
    missing_s = total_s - sum(term.time_s for term in step.terms)
    if missing_s > 1e-9 * total_s:
        missing = milliseconds_text(missing_s, total_s)
        rows.append(TermRow("up to the bound", "", "", "", missing, _share_text(missing_s / total_s)))
    rows.append(TermRow("together", "", "", "", milliseconds_text(total_s, total_s), "100 %"))
    return rows


def place_text(where: str) -> str:
    """``GPU0``, as devices are called wherever they are shown."""
    return where.replace("GPU ", "GPU")


def amount_text(term: Term) -> str:
    """``4.61 GB``, ``8.3 TFLOP``, ``612 kernels``."""
    if term.amount is None:
        return ""
    if term.unit in _SCALED:
        return scaled_text(term.amount, term.unit)
    return f"{term.amount:.0f} {term.unit}"


def rate_text(term: Term) -> str:
    """``712 GB/s``, ``54 TFLOP/s``, ``282,000/s`` of what is counted."""
    if term.rate_per_s is None:
        return ""
    if term.unit in _SCALED:
        return f"{scaled_text(term.rate_per_s, term.unit)}/s"
    return f"{float(f'{term.rate_per_s:.3g}'):,.0f}/s"


def milliseconds_text(time_s: float, total_s: float) -> str:
    """In milliseconds, so that the rows of one sum add up."""
    return f"{time_s * 1e3:,.{3 if total_s < DETAILED_STEP_S else 1}f}"


def causes_text(step: StepTime) -> str:
    """``gpu memory 81 %, launch overhead 19 %``, the largest first."""
    from llmfit.advisor.speed.terms import seconds_by_cause

    by_cause = seconds_by_cause(step.terms)
    total_s = sum(by_cause.values())
    ordered = sorted(by_cause, key=lambda cause: -by_cause[cause])
    return ", ".join(f"{cause.value} {_share_text(by_cause[cause] / total_s)}" for cause in ordered)


def _share_text(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


def scaled_text(number: float, unit: str) -> str:
    """Three figures: ``4.61 GB``, ``1,790 GB`` never as TB, which nobody says of a bandwidth."""
    scales = _SCALES[1:] if unit == "B" else _SCALES
    for scale, letter in scales:
        if number >= scale:
            shown = number / scale
            text = f"{shown:,.0f}" if shown >= 100 else f"{shown:.1f}" if shown >= 10 else f"{shown:.2f}"
            return f"{text} {letter}{unit}"
    return f"{number:.0f} {unit}"
