"""How fast, for people: the figures with their doubt, and with ``--explain`` the sums they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmfit.advisor.speed.doubt import decode_doubt, prefill_doubt
from llmfit.advisor.text import printable
from llmfit.tui.cli.render import table, wrapped
from llmfit.tui.speed_words import (
    CALIBRATED,
    HEAD,
    MEASURED,
    basis_text,
    causes_text,
    depth_text,
    place_text,
    range_text,
    scaled_text,
    seconds_text,
    speed_text,
    term_rows,
    two_figures,
)

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.speed.estimate import PrefillSpeed, SpeedEstimate, SpeedPlan
    from llmfit.advisor.speed.terms import StepTime

_RIGHT = (2, 3, 4, 5)
_CONSTANTS = (
    "The rates are what hardware of these classes reached for others, with the rows behind each: "
    "docs/speed.md. llmfit calibration shows what was measured on this machine."
)


def speed_lines(judgement: Judgement) -> Iterator[str]:
    """Decode and prefill as a small table, and the wait for the first token."""
    speed = judgement.speed
    if speed is None:
        what = "Prefill" if judgement.model.is_embedding else "Decode"
        yield from wrapped(f"{what} not known: {_unknown_bandwidth(judgement)}.")
        return
    prefill = speed.prefill
    rows = [["", "tok/s", "range", "at most", "limited by", "basis"]]
    decode = speed.decode_tok_s
    if not judgement.model.is_embedding:
        rows.append(
            ["decode", two_figures(decode.expected), range_text(decode), two_figures(speed.bound_tok_s),
             speed.limited_by, basis_text(speed.basis, judgement)]
        )  # fmt: skip
    if prefill is None:
        rows.append(["prefill", "?", "", "", "", "not known"])
    else:
        rows.append(
            ["prefill", two_figures(prefill.tok_s.expected), range_text(prefill.tok_s),
             two_figures(prefill.bound_tok_s), prefill.limited_by, basis_text(prefill.basis, judgement)]
        )  # fmt: skip
    yield ""
    yield from wrapped(f"How fast{depth_text(speed.depth_tokens)}; four of five lie in the range")
    yield from (f"  {line}" for line in table(rows, right=(1, 2, 3)))
    if prefill is not None:
        yield _first_token_text(prefill, judgement.model.is_embedding)
    yield from _concurrency_lines(judgement)
    yield from _speculation_lines(judgement)


def _concurrency_lines(judgement: Judgement) -> Iterator[str]:
    """With several slots: how fast all of them are at once, and the tokens that they share."""
    if judgement.settings.parallel < 2:
        return
    from llmfit.advisor.recommend.other_speeds import concurrency_of

    found = concurrency_of(judgement)
    if found is None:
        return
    pool = found.pool
    depth = found.all_slots.depth_tokens
    each = f"; each with {depth} tokens in it" if depth else ""
    rows = [
        [str(one.n_streams), speed_text(one.aggregate_tok_s), speed_text(one.stream_tok_s)]
        for one in found.by_streams
    ]
    rows.insert(0, ["streams", "together", "each"])
    yield ""
    yield from wrapped(
        f"Several streams at once, tok/s: {pool.n_slots} slots over {pool.pool_tokens} tokens of cache, at "
        f"most {pool.slot_tokens} for one{each}"
    )
    yield from (f"  {line}" for line in table(rows, right=(0, 1, 2)))


def _speculation_lines(judgement: Judgement) -> Iterator[str]:
    """With MTP blocks in use: a figure of its own, with the acceptance that it assumes."""
    if judgement.settings.spec_type is None:
        return
    from llmfit.advisor.recommend.other_speeds import speculation_of

    found = speculation_of(judgement)
    yield ""
    if found is None:
        yield "With speculation: not known."
        return
    low, expected, high = found.gain_factor
    shares = found.acceptance
    yield from wrapped(
        f"With speculation {speed_text(found.tok_s)} tok/s, {expected:.1f} ({low:.1f}-{high:.1f}) times the "
        f"plain speed: {found.n_draft} tokens are drafted, each accepted with a chance of "
        f"{shares.expected_share:.0%} ({shares.low_share:.0%}-{shares.high_share:.0%}, prose to code; "
        f"{shares.source})."
    )


def _first_token_text(prefill: PrefillSpeed, is_embedding: bool) -> str:
    tokens = f"{prefill.prompt_tokens} token{'s' * (prefill.prompt_tokens != 1)}"
    if is_embedding:
        return f"  An input of {tokens} takes {seconds_text(prefill.first_token_s)}"
    return f"  A prompt of {tokens}: first token after {seconds_text(prefill.first_token_s)}"


def _unknown_bandwidth(judgement: Judgement) -> str:
    used = (gpu for gpu in judgement.machine.gpus if gpu.index in judgement.settings.devices)
    unknown = next((gpu for gpu in used if gpu.bandwidth_bytes_per_s is None), None)
    if unknown is not None:
        return f"the bandwidth of {printable(unknown.name)} is not known"
    return "the bandwidth of this RAM is not known (--ram-bandwidth GB/S says it)"


# ---------------------------------------------------------------- the sums


def explanation_lines(judgement: Judgement) -> Iterator[str]:
    """``--explain``: both sums term by term, their bounds, and why the ranges are as wide as they are."""
    speed, plan = judgement.speed, judgement.speed_plan
    if speed is None or plan is None:
        return
    yield ""
    yield f"Decode: one token{depth_text(speed.depth_tokens)}"
    yield from _sum_lines(speed.step, 1)
    yield from wrapped(_decode_bound_text(speed, plan), start="  ")
    yield from wrapped(_decode_doubt_text(judgement, speed, plan), start="  ")
    prefill = speed.prefill
    if prefill is not None:
        yield ""
        yield f"Prefill: a prompt of {prefill.prompt_tokens} tokens{depth_text(speed.depth_tokens)}"
        yield from _sum_lines(prefill.step, prefill.prompt_tokens)
        yield from wrapped(_prefill_bound_text(prefill), start="  ")
        yield from wrapped(_prefill_doubt_text(judgement, prefill, plan), start="  ")
    yield from _tensor_split_lines(judgement)
    yield ""
    yield from wrapped(_CONSTANTS)


def _tensor_split_lines(judgement: Judgement) -> Iterator[str]:
    """With several cards: what ``-sm tensor`` would make of them."""
    from llmfit.advisor.recommend.other_speeds import tensor_split_of

    found = tensor_split_of(judgement)
    if found is None:
        return
    yield ""
    if isinstance(found, str):
        yield from wrapped(f"With -sm tensor: {found}")
        return
    yield from wrapped(
        f"With -sm tensor {speed_text(found.tok_s)} tok/s, {found.speedup_factor:.2f} times the layer split: "
        "a what-if, its memory is not modelled and llama.cpp calls it experimental."
    )


def _sum_lines(step: StepTime, n_tokens: int) -> Iterator[str]:
    rows = [row.cells for row in (HEAD, *term_rows(step))]
    yield from (f"  {line}" for line in table(rows, right=_RIGHT))
    count = "" if n_tokens == 1 else f"{n_tokens} tokens / "
    unit = "1 / " if n_tokens == 1 else ""
    rate = two_figures(n_tokens / step.total_s)
    said = f"{count}{unit}{step.total_s * 1e3:,.1f} ms = {rate} tok/s; {causes_text(step)}"
    yield from wrapped(said, start="  ")


def _decode_bound_text(speed: SpeedEstimate, plan: SpeedPlan) -> str:
    parts = [
        f"{scaled_text(n_bytes, 'B')} / {scaled_text(peak, 'B')}/s ({place_text(label)})"
        for label, n_bytes, peak in bound_parts(speed, plan)
    ]
    return (
        f"At most {two_figures(speed.bound_tok_s)} tok/s: bytes over peak bandwidth, "
        f"{' + '.join(parts)} = {1e3 / speed.bound_tok_s:,.3f} ms."
    )


def bound_parts(speed: SpeedEstimate, plan: SpeedPlan) -> Iterator[tuple[str, float, float]]:
    """(device, bytes of a token, peak bytes a second) of which the bound is the sum."""
    peaks = {card.label: card.peak_bytes_per_s for card in plan.cards}
    if plan.host is not None:
        peaks["RAM"] = plan.host.peak_bytes_per_s
    for label, peak in peaks.items():
        terms = (term for term in speed.step.terms if term.where == label and term.unit == "B")
        n_bytes = sum(term.amount or 0.0 for term in terms)
        if n_bytes:
            yield label, n_bytes, peak


def _prefill_bound_text(prefill: PrefillSpeed) -> str:
    return (
        f"At most {two_figures(prefill.bound_tok_s)} tok/s: on each device the matrices' operations over its "
        "peak (for a CPU none is known), or the weights over the peak of its memory or link, whichever takes "
        "longer; attention is not counted."
    )


def _decode_doubt_text(judgement: Judgement, speed: SpeedEstimate, plan: SpeedPlan) -> str:
    why = decode_doubt(plan.reads, plan.gpus, speed.depth_tokens).why
    measured = speed.measured
    if measured is not None:
        count = measured.n_measurements
        said = f"{count} measurement{'s' * (count != 1)}, the last of {printable(measured.measured_at)}"
        return (
            f"Range {range_text(speed.decode_tok_s)}: measured here at "
            f"{two_figures(measured.tok_s)} tok/s ({said}); the sum above is what the terms make of it."
        )
    return f"Range {range_text(speed.decode_tok_s)}: {_doubt_text(judgement, speed.basis, why)}."


def _prefill_doubt_text(judgement: Judgement, prefill: PrefillSpeed, plan: SpeedPlan) -> str:
    why = "" if plan.prefill is None else prefill_doubt(plan.prefill).why
    return f"Range {range_text(prefill.tok_s)}: {_doubt_text(judgement, prefill.basis, why)}."


def _doubt_text(judgement: Judgement, basis: str, why: str) -> str:
    """Why low and high are what they are."""
    if basis == MEASURED:
        return "measured here; how far the runs differ"
    if basis == CALIBRATED:
        return (
            f"{basis_text(basis, judgement)} of this machine; how far its measurements agree, and what of "
            "this was never measured here"
        )
    return f"by formula, not measured here; {why}"
