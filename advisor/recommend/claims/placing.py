"""That it runs on a machine, or does not: the part that every claim with a machine has."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.claims.claim import (
    BYTES,
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    UNKNOWN,
    Reason,
)
from llmfit.advisor.recommend.claims.sizes import gpu_total_bytes, parts_text
from llmfit.advisor.recommend.claims.subject import Evidence
from llmfit.advisor.recommend.claims.words import gb, gpu_bytes, machine_text
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement
from llmfit.advisor.units import format_context, format_gib


def fit_reason(evidence: Evidence, machine: Machine, advice: bool = True) -> Reason:
    """Wholly in GPU memory; with weights in RAM only where the claim says how much RAM there is.

    ``advice``: also what RAM would do that the claim does not name, which takes as long as all the rest.
    """
    if not machine.gpus:
        return _cpu_reason(evidence, machine)
    judged = evidence.on_gpus
    if judged is not None and not evidence.is_negated:
        remark = " That uses up what the estimate keeps in doubt." if evidence.is_tight else ""
        if evidence.needs_raised_share:
            default, machine = gb(gpu_bytes(machine)), judged.machine
            remark = f" The GPU gets {default} of it by default: the system's limit must be raised."
        return _reason(SUPPORTED, f"It fits: {_needs(judged, machine)}.{remark}", judged, machine)
    if judged is not None:
        return _reason(CONTRADICTED, f"It does fit: {_needs(judged, machine)}.", judged, machine)
    return _not_on_gpus(evidence, machine, advice)


def _not_on_gpus(evidence: Evidence, machine: Machine, advice: bool) -> Reason:
    subject = evidence.subject
    needed = evidence.alone if evidence.is_negated else evidence.alone_short
    text = f"It does not fit in GPU memory: {_needs(needed, machine)}."
    if needed.verdict != FITS_GPU:  # not even with a card without end
        text = (
            f"It does not stay in GPU memory, however much there is: llama.cpp has no GPU code for "
            f"{gb(needed.memory.host.weights_bytes)} of its weights on {machine_text(machine)}, so that only "
            f"{gb(gpu_total_bytes(needed.memory))} go there."
        )
    counts = subject.ram_is_known or subject.offload_is_stated
    offloaded = evidence.anywhere if subject.n_boxes == 1 and (counts or advice) else None
    if offloaded is not None and offloaded.fits:
        text += f" {_offload_text(offloaded, counts, subject.ram_is_known)}"
        if counts:
            return _reason(NEEDS_OFFLOAD, text, needed, machine)
    elif offloaded is not None and subject.ram_is_known:
        text += f" With the RAM as well {format_gib(offloaded.shortfall_bytes)} are missing."
    elif subject.offload_is_stated and not evidence.is_negated:
        text += " How much RAM there is for the rest is not said."
        return _reason(UNKNOWN, text, needed, machine)
    return _reason(SUPPORTED if evidence.is_negated else CONTRADICTED, text, needed, machine)


def _offload_text(judged: Judgement, counts: bool, ram_is_known: bool) -> str:
    ram = judged.machine.memory.capacity_bytes
    weights, needed = judged.memory.host.weights_bytes, judged.memory.host.required_bytes
    if counts and ram_is_known:
        return f"It runs with {gb(weights)} of weights in system RAM, which takes {gb(needed)} of it."
    if counts:
        return f"It runs with {gb(weights)} of weights in system RAM: at least {gb(needed)} must be there."
    usual = "" if ram is None else f" of, say, {format_gib(ram, 0)}"
    return (
        f"With weights in system RAM it would run ({gb(needed)}{usual}), but no RAM is named: "
        "a claim that names it (--ram) is judged with it."
    )


def _cpu_reason(evidence: Evidence, machine: Machine) -> Reason:
    """A computer without a GPU: all of it lies in RAM."""
    judged = evidence.anywhere if evidence.anywhere.fits else evidence.anywhere_short
    needed = judged.memory.host.required_bytes
    ram = machine.memory.available_bytes
    known = evidence.subject.ram_is_known and ram is not None
    context = format_context(judged.settings.context_tokens)
    text = f"Without a GPU it takes {gb(needed)} of RAM at {context} of context"
    if not known:
        return Reason("fit", UNKNOWN, f"{text}; how much there is, is not said.", None, needed, BYTES)
    verdict = SUPPORTED if judged.fits != evidence.is_negated else CONTRADICTED
    return Reason("fit", verdict, f"{text}, {gb(ram or 0)} are there.", ram, needed, BYTES)


def _needs(judged: Judgement, machine: Machine) -> str:
    return (
        f"{gb(gpu_total_bytes(judged.memory))} needed ({parts_text(judged)}), "
        f"{machine_text(machine)} {'have' if len(machine.gpus) > 1 else 'has'} {gb(gpu_bytes(machine))}"
    )


def _reason(verdict: str, text: str, judged: Judgement, machine: Machine) -> Reason:
    return Reason("fit", verdict, text, gpu_bytes(machine), gpu_total_bytes(judged.memory), BYTES)


__all__ = ["fit_reason"]
