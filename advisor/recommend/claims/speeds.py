"""A decode speed against what bytes over bandwidth allow.

A speed above the bound is contradicted: no program reads a weight without reading it. Below it a claim stays
possible, however far from what this project expects; the reason says how far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.claims.claim import CONTRADICTED, SUPPORTED, TOK_S, UNKNOWN, Claim, Reason
from llmfit.advisor.recommend.claims.subject import Evidence, Subject
from llmfit.advisor.recommend.claims.words import gb, number, tok_s
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import SAVING_CACHE_TYPE
from llmfit.advisor.recommend.other_speeds import concurrency_of, speculation_of
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.speed.estimate import SpeedEstimate, SpeedPlan
from llmfit.advisor.units import GB

FASTEST_RAM_BYTES_PER_S = 844_800_000_000
"""12 channels of MRDIMM-8800, the most that one socket has (Intel Xeon 6900P). RAM of unknown bandwidth is no
faster."""
DEFAULT_DRAFTED_TOKENS = 3
"""``--spec-draft-n-max`` of llama.cpp b11434 where nobody says."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that physics allows, and how it comes about."""

    tok_s: float
    how: str


def speed_reason(claim: Claim, evidence: Evidence) -> Reason:
    """The claimed decode speed on the claim's machine."""
    claimed, machine = claim.decode_tok_s or 0.0, evidence.subject.machine
    if machine is None:
        text = f"Decode: {tok_s(claimed)} claimed, but on no machine that is named."
        return Reason("decode", UNKNOWN, text, claimed, None, TOK_S)
    judged = running(evidence, machine)
    if judged is None:
        return _nowhere(claimed, evidence)
    if judged.speed is None or judged.speed_plan is None:
        return _unknown_bandwidth(claimed, claim, evidence, judged)
    ceiling = _ceiling(claim, evidence.subject, judged, judged.speed, judged.speed_plan)
    if claimed > ceiling.tok_s:
        text = f"Decode: {tok_s(claimed)} claimed, at most {tok_s(ceiling.tok_s)} computed: {ceiling.how}."
        if not claim.is_tensor_parallel:
            types = _cache_types(evidence.subject, judged.speed_plan)
            shared = _all_at_once(judged.speed, judged.speed_plan, judged.machine, types)
            text += _with_all_cards(claimed, shared)
        return Reason("decode", CONTRADICTED, text, claimed, ceiling.tok_s, TOK_S)
    text = (
        f"Decode: {tok_s(claimed)} claimed, at most {tok_s(ceiling.tok_s)} computed: {ceiling.how}. "
        f"{_against_estimate(claimed, judged, judged.speed)}"
    )
    return Reason("decode", SUPPORTED, text, claimed, ceiling.tok_s, TOK_S)


def running(evidence: Evidence, machine: Machine) -> Judgement | None:
    """The placement that a speed is judged with: wholly on the GPUs where it fits so."""
    on_gpus = None if evidence.is_negated else evidence.on_gpus
    if on_gpus is not None and not evidence.subject.offload_is_stated:
        return on_gpus
    if evidence.subject.n_boxes > 1:
        return None
    allowed = evidence.subject.ram_is_known or evidence.subject.offload_is_stated or not machine.gpus
    return evidence.anywhere if allowed and evidence.anywhere.fits else None


def _ceiling(
    claim: Claim, subject: Subject, judged: Judgement, speed: SpeedEstimate, plan: SpeedPlan
) -> Ceiling:
    types = _cache_types(subject, plan)
    bound = 1 / plan.formula.step(speed.depth_tokens, *types).bound_s
    how = _bytes_text(speed, plan, types)
    if claim.is_tensor_parallel or subject.n_boxes > 1:
        bound, how = _all_at_once(speed, plan, judged.machine, types) or (bound, how)
    elif len(plan.cards) > 1:
        how += ", one card after the other"
    if claim.is_speculative or judged.settings.spec_type is not None:
        drafted = judged.settings.spec_draft_max or DEFAULT_DRAFTED_TOKENS
        bound *= drafted + 1
        how += f", times {drafted + 1} if every one of {drafted} drafted tokens is accepted"
    slots = judged.settings.parallel
    if slots > 1:
        bound *= slots
        how += f", times {slots} for all slots together"
    return Ceiling(bound, how)


def _cache_types(subject: Subject, plan: SpeedPlan) -> tuple[str, str]:
    """Those of the claim; where it names none, the smaller one that is usual counts in its favour."""
    chosen = plan.settings.cache_type_k, plan.settings.cache_type_v
    is_open = subject.request.cache_type_k is None and subject.request.cache_type_v is None
    return (SAVING_CACHE_TYPE, SAVING_CACHE_TYPE) if is_open and plan.settings.flash_attn else chosen


def _bytes_text(speed: SpeedEstimate, plan: SpeedPlan, types: tuple[str, str]) -> str:
    """``17.0 GB a token over 936 GB/s``, by kind of memory."""
    peaks = [(reads, card.peak_bytes_per_s) for reads, card in zip(plan.reads.gpus, plan.cards, strict=True)]
    by_rate: dict[float, float] = {}
    for reads, peak in peaks:
        read = reads.weight_bytes() + reads.cache.n_bytes(speed.depth_tokens, *types)
        by_rate[peak] = by_rate.get(peak, 0.0) + read
    parts = [f"{gb(read)} a token over {peak / GB:,.0f} GB/s" for peak, read in by_rate.items() if read]
    if plan.reads.host.is_used and plan.host is not None:
        read = plan.reads.host.weight_bytes() + plan.reads.host.cache.n_bytes(speed.depth_tokens, *types)
        parts.append(f"{gb(read)} over the RAM's {plan.host.peak_bytes_per_s / GB:,.0f} GB/s")
    return " and ".join(parts)


def _all_at_once(
    speed: SpeedEstimate, plan: SpeedPlan, machine: Machine, types: tuple[str, str]
) -> tuple[float, str] | None:
    """(tok/s, how) if all cards of the machine read their part of every layer at the same time.

    None with one card, with weights in RAM, or where a bandwidth is not known.
    """
    peaks = [gpu.bandwidth_bytes_per_s for gpu in machine.gpus if gpu.bandwidth_bytes_per_s is not None]
    if len(peaks) < 2 or len(peaks) < len(machine.gpus) or plan.reads.host.is_used:
        return None
    read = sum(
        reads.weight_bytes() + reads.cache.n_bytes(speed.depth_tokens, *types) for reads in plan.reads.gpus
    )
    how = f"{gb(read)} a token over {sum(peaks) / GB:,.0f} GB/s, {len(peaks)} memories read at the same time"
    return sum(peaks) / read, how


def _with_all_cards(claimed: float, found: tuple[float, str] | None) -> str:
    """What a program that shares every layer out over the cards could reach, where that is enough."""
    if found is None or claimed > found[0]:
        return ""
    return (
        f" Only with every layer shared out over all cards (tensor parallel, which the claim does not say) "
        f"would {tok_s(found[0])} be the limit."
    )


def _against_estimate(claimed: float, judged: Judgement, speed: SpeedEstimate) -> str:
    """How the claim lies against what is expected; with drafting or several slots, against that."""
    drafted = speculation_of(judged) if judged.settings.spec_type is not None else None
    slots = concurrency_of(judged)
    decode, with_what = speed.decode_tok_s, ""
    if drafted is not None:
        decode, with_what = drafted.tok_s, " with drafting"
    elif slots is not None and claimed > decode.high:
        decode = slots.all_slots.aggregate_tok_s
        with_what = f" of {judged.settings.parallel} slots together"
    if len(judged.settings.devices) > 1:
        with_what += ", layer after layer"
    expected = f"{number(decode.expected)} ({number(decode.low)} to {number(decode.high)})"
    if claimed > decode.high:
        return f"Possible, but {claimed / decode.expected:.1f} times the {expected} expected{with_what}."
    if claimed < decode.low:
        return f"Slower than the {expected} expected{with_what}."
    return f"Expected{with_what}: {expected}."


def _nowhere(claimed: float, evidence: Evidence) -> Reason:
    """It does not run there as claimed; the bound that it would have says more than nothing."""
    speed = evidence.alone_short.speed
    if evidence.is_negated or speed is None:
        text = f"Decode: {tok_s(claimed)} claimed, but it does not run there."
        return Reason("decode", CONTRADICTED, text, claimed, None, TOK_S)
    text = (
        f"Decode: {tok_s(claimed)} claimed, none computed: it does not run there. With the memory for it, at "
        f"most {tok_s(speed.bound_tok_s)}."
    )
    return Reason("decode", CONTRADICTED, text, claimed, None, TOK_S)


def _unknown_bandwidth(claimed: float, claim: Claim, evidence: Evidence, judged: Judgement) -> Reason:
    """Weights lie in RAM of a bandwidth that nobody named: what it would have to be."""
    machine = replace(
        judged.machine,
        memory=replace(judged.machine.memory, bandwidth_bytes_per_s=FASTEST_RAM_BYTES_PER_S),
    )
    subject = evidence.subject
    fastest = judge(subject.model, machine, subject.request, remedies=False)
    if fastest.speed is None or fastest.speed_plan is None:
        text = f"Decode: {tok_s(claimed)} claimed; the bandwidth of its memory is not known."
        return Reason("decode", UNKNOWN, text, claimed, None, TOK_S)
    plan, speed = fastest.speed_plan, fastest.speed
    ceiling = _ceiling(claim, subject, fastest, speed, plan)
    if claimed > ceiling.tok_s:
        text = (
            f"Decode: {tok_s(claimed)} claimed, at most {tok_s(ceiling.tok_s)} computed even with the "
            f"fastest RAM there is: {ceiling.how}."
        )
        return Reason("decode", CONTRADICTED, text, claimed, ceiling.tok_s, TOK_S)
    gain = ceiling.tok_s / speed.bound_tok_s
    host_bytes = plan.reads.host.weight_bytes()
    gpu_s = 1 / speed.bound_tok_s - host_bytes / FASTEST_RAM_BYTES_PER_S
    needed = host_bytes / (gain / claimed - gpu_s)
    text = (
        f"Decode: {tok_s(claimed)} claimed; {gb(host_bytes)} a token lie in RAM, whose bandwidth is not "
        f"named: at least {needed / GB:,.0f} GB/s would be needed (--ram-bandwidth)."
    )
    return Reason("decode", UNKNOWN, text, claimed, None, TOK_S)


__all__ = ["FASTEST_RAM_BYTES_PER_S", "Ceiling", "running", "speed_reason"]
