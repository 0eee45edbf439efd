"""check(): every part of a claim held against physics, and one verdict for all.

The one function behind ``llmfit check``, ``--claims`` and any screen that checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from llmfit.advisor.errors import NotModelledError, UsageError
from llmfit.advisor.hardware.machine import MAX_GPUS, GpuFacts
from llmfit.advisor.model.quantization import FILE_TYPES, TENSOR_TYPES
from llmfit.advisor.recommend.claims.claim import (
    BYTES,
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    UNKNOWN,
    CheckedClaim,
    Claim,
    Reason,
    together,
)
from llmfit.advisor.recommend.claims.others import cost_reason, ratio_reason
from llmfit.advisor.recommend.claims.placing import fit_reason
from llmfit.advisor.recommend.claims.sizes import kv_reason, least_gpu_bytes, vram_reason, weights_reason
from llmfit.advisor.recommend.claims.speeds import running, speed_reason
from llmfit.advisor.recommend.claims.subject import Evidence, Subject
from llmfit.advisor.recommend.claims.words import gb, gpu_bytes, machine_text, tok_s
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy, energy_per_million
from llmfit.advisor.recommend.cost.power import stated_power
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement


def check_claim(
    claim: Claim,
    subject: Subject | None = None,
    cards: tuple[GpuFacts, GpuFacts] | None = None,
    advice: bool = True,
) -> CheckedClaim:
    """Every part of ``claim`` with its verdict. ``cards`` are the two of a claim about their bandwidth.

    ``advice``: also what would help, what is true instead and the configuration that was judged, which takes
    most of the time. The verdict and the figures do not depend on it.

    Raises UsageError where nothing is claimed, and for settings that llama.cpp would refuse.
    """
    evidence = None if subject is None else Evidence(subject, claim.is_negated)
    reasons: list[Reason] = []
    if evidence is not None:
        reasons += _model_reasons(claim, evidence, advice)
    if claim.bandwidth_factor is not None and cards is not None:
        reasons.append(ratio_reason(claim.bandwidth_factor, *cards))
    if claim.usd_per_million_tokens is not None:
        reasons.append(cost_reason(claim, _expected_energy(claim, evidence)))
    if not reasons:
        hint = "Name a machine (--gpu), or a figure (--claim-vram, --claim-tps, ...)."
        raise UsageError("check", "nothing is claimed", hint)
    verdict = together(reasons)
    if subject is None or evidence is None:
        return CheckedClaim(claim, verdict, tuple(reasons))
    return CheckedClaim(
        claim,
        verdict,
        tuple(reasons),
        (*subject.notes, *evidence.left_out),
        tuple(_instead(claim, evidence, verdict)) if advice else (),
        _judged(evidence, verdict) if advice else None,
        subject.model.id,
        subject.model.quantization,
        None if subject.machine is None else machine_text(subject.machine),
    )


def _model_reasons(claim: Claim, evidence: Evidence, advice: bool) -> Iterator[Reason]:
    machine = evidence.subject.machine
    if claim.weights_bytes is not None:
        yield weights_reason(claim.weights_bytes, evidence)
    try:
        if claim.vram_bytes is not None:
            yield vram_reason(claim, evidence)
        if claim.kv_bytes is not None:
            yield kv_reason(claim.kv_bytes, evidence)
        if machine is not None:
            yield fit_reason(evidence, machine, advice)
        if claim.decode_tok_s is not None and (machine is not None or claim.usd_per_million_tokens is None):
            yield speed_reason(claim, evidence)
    except NotModelledError as error:
        yield Reason("model", UNKNOWN, f"{error.what}: {error.why}.", None, None, BYTES)


def _expected_energy(claim: Claim, evidence: Evidence | None) -> TokenEnergy | None:
    """What the machine of the claim is reckoned to draw and expected to do, as ``llmfit cost`` has it; asked
    only where the claim leaves one of both out."""
    machine = None if evidence is None else evidence.subject.machine
    if evidence is None or machine is None or (claim.watts is not None and claim.decode_tok_s is not None):
        return None
    try:
        judged = running(evidence, machine)
    except NotModelledError:
        return None
    power = None if claim.watts is None else stated_power(claim.watts)
    return None if judged is None else energy_per_million(judged, power).output


def _judged(evidence: Evidence, verdict: str) -> Judgement | None:
    """What the estimate of the answer shows. Linked boxes have no command line that starts them."""
    subject = evidence.subject
    if subject.machine is None:
        return None
    try:
        on_gpus = None if subject.offload_is_stated else evidence.on_gpus
        elsewhere = evidence.anywhere if verdict in (SUPPORTED, UNKNOWN) else evidence.advised
        shown = on_gpus if on_gpus is not None and verdict != NEEDS_OFFLOAD else elsewhere
    except NotModelledError:
        return None
    return replace(shown, argv=None) if subject.n_boxes > 1 else shown


def _instead(claim: Claim, evidence: Evidence, verdict: str) -> Iterator[str]:
    """What is true in place of a claim that is not, or under which condition it is."""
    if verdict in (SUPPORTED, UNKNOWN):
        return
    try:
        yield from _smaller_file(claim, evidence)
        if evidence.subject.machine is not None and not evidence.is_negated:
            yield from _where_it_runs(evidence, verdict)
            yield from _speed_there(claim, evidence)
    except NotModelledError:
        return


def _smaller_file(claim: Claim, evidence: Evidence) -> Iterator[str]:
    """Which file type has the claimed size, if any has."""
    model = evidence.subject.model
    wanted = claim.weights_bytes or claim.vram_bytes
    if wanted is None or model.n_parameters <= 0:
        return
    bits = wanted * 8 / model.n_parameters
    sizes = {kind.name: TENSOR_TYPES[kind.base_type].bits_per_weight for kind in FILE_TYPES.values()}
    smallest = min(sizes, key=lambda name: sizes[name])
    if bits < sizes[smallest]:
        yield (
            f"{gb(wanted)} would be {bits:.2f} bits for each of {model.n_parameters / 1e9:.1f}e9 parameters; "
            f"no file type has so few ({smallest}: {sizes[smallest]:.2f})."
        )
    elif claim.weights_bytes is not None:
        nearest = min(sizes, key=lambda name: abs(sizes[name] - bits))
        yield f"{gb(wanted)} are {bits:.1f} bits for each parameter, about those of {nearest}."


def _where_it_runs(evidence: Evidence, verdict: str) -> Iterator[str]:
    machine = evidence.subject.machine
    if machine is None or evidence.on_gpus is not None:
        return
    if machine.gpus and verdict == CONTRADICTED:
        each = gpu_bytes(machine) / len(machine.gpus)
        count = ceil(least_gpu_bytes(evidence) / each) if each else 0
        if len(machine.gpus) < count <= MAX_GPUS and not machine.gpus[0].unified_memory:
            yield f"About {count} such cards would hold it."
    if evidence.subject.n_boxes == 1:
        judged = evidence.advised
        for remedy in judged.remedies[:3]:
            if remedy.verdict == FITS_GPU or not judged.fits:
                yield f"{remedy.text[0].upper()}{remedy.text[1:]}."


def _speed_there(claim: Claim, evidence: Evidence) -> Iterator[str]:
    """What to expect where it runs after all."""
    machine = evidence.subject.machine
    judged = None if machine is None or claim.decode_tok_s is None else running(evidence, machine)
    if judged is not None and judged.speed is not None:
        decode = judged.speed.decode_tok_s
        yield (
            f"Expected there: {tok_s(decode.expected)} ({decode.low:.3g} to {decode.high:.3g}), "
            f"{judged.settings.context_tokens} tokens of context reserved."
        )


__all__ = ["check_claim"]
