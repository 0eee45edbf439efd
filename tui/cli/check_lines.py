"""A checked claim for people: what is claimed, the verdict, the numbers, and what is true instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.recommend.claims.claim import (
    BYTES,
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    TIMES,
    TOK_S,
    UNKNOWN,
    CheckedClaim,
    Claim,
    Reason,
)
from llmfit.advisor.recommend.claims.words import dollars, gb, number, tok_s
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context
from llmfit.tui.cli.render import table, verdict_text, wrapped
from llmfit.tui.speed_words import speed_text

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.tui.cli.claim_rows import ClaimRow

GLYPH = {SUPPORTED: "✓", CONTRADICTED: "✗", NEEDS_OFFLOAD: "~", UNKNOWN: "?"}
WORDS = {
    SUPPORTED: "supported: physics allows it",
    CONTRADICTED: "contradicted: not as claimed",
    NEEDS_OFFLOAD: "needs offload: only with weights in system RAM",
    UNKNOWN: "unknown: a figure is missing",
}
MAX_ID_CHARACTERS = 26


def check_lines(checked: CheckedClaim, values: Mapping[str, object]) -> Iterator[str]:
    """The whole answer of one ``llmfit check``."""
    yield from wrapped(f"Claim: {printable(claim_sentence(checked, values))}")
    yield f"{GLYPH[checked.verdict]} {WORDS[checked.verdict]}"
    yield ""
    for reason in checked.reasons:
        yield from wrapped(printable(reason.text), start=f"  {GLYPH[reason.verdict]} ")
    for title, lines in (("Mind", checked.notes), ("What is true", checked.instead)):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from wrapped(printable(line), start="  - ")
    if checked.judgement is not None:
        yield ""
        yield from _estimate_lines(checked.judgement)


def claim_sentence(checked: CheckedClaim, values: Mapping[str, object]) -> str:
    """What is claimed in one sentence, from its parts: what was understood, not what was written."""
    claim = checked.claim
    if checked.model_id is None:
        return f"{_capital(' and '.join(_figures(claim, values)))}."
    subject = " ".join(part for part in (checked.model_id, checked.quantization) if part)
    where = f" on {checked.machine_text}" if checked.machine_text else ""
    ram = f" with {values['ram']} of RAM" if values.get("ram") is not None else ""
    context = values.get("context")
    at = f" at {format_context(context)} of context" if isinstance(context, int) else ""
    does = _figures(claim, values)
    if checked.machine_text is not None:
        does.insert(0, "does not fit" if claim.is_negated else "runs")
    elif claim.is_negated:
        does.insert(0, "does not fit")
    return f"{subject}{where}{ram}{at}: {', '.join(does)}."


def _figures(claim: Claim, values: Mapping[str, object]) -> list[str]:
    parts = []
    if claim.weights_bytes is not None:
        parts.append(f"weights {gb(claim.weights_bytes)}")
    if claim.vram_bytes is not None:
        parts.append(f"GPU memory {gb(claim.vram_bytes)}")
    if claim.kv_bytes is not None:
        parts.append(f"KV cache {gb(claim.kv_bytes)}")
    if claim.decode_tok_s is not None:
        drafted = " with drafting" if claim.is_speculative or values.get("spec_type") else ""
        parts.append(f"{tok_s(claim.decode_tok_s)}{drafted}")
    if claim.usd_per_million_tokens is not None:
        power = f" at {number(claim.watts)} W" if claim.watts is not None else ""
        parts.append(f"{dollars(claim.usd_per_million_tokens)} of electricity for 1e6 tokens{power}")
    if claim.bandwidth_factor is not None:
        parts.append(f"{claim.bandwidth_factor:g} times the bandwidth")
    return parts


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _estimate_lines(judged: Judgement) -> Iterator[str]:
    """The configuration that was judged, in three lines."""
    settings = judged.settings
    yield "Judged as"
    context = format_context(settings.context_tokens)
    cache = f"K {settings.cache_type_k}, V {settings.cache_type_v}"
    if settings.cache_type_k == settings.cache_type_v:
        cache = settings.cache_type_k
    yield f"  {verdict_text(judged)}; context {context}, KV cache in {cache}"
    for device in judged.memory.devices:
        free = "?" if device.free_bytes is None else gb(device.free_bytes)
        name = printable(device.name, 30) if device.kind == "gpu" else "system RAM"
        yield f"  {name}: {gb(device.total_bytes)} of {free}"
    if judged.speed is not None:
        speed = judged.speed
        yield (
            f"  decode {speed_text(speed.decode_tok_s)} tok/s expected, "
            f"at most {number(speed.bound_tok_s)} ({speed.basis})"
        )
    for line in judged.assumed:
        yield from wrapped(printable(line), start="  ")


def claims_table(answers: Sequence[tuple[ClaimRow, CheckedClaim | LlmfitError]]) -> Iterator[str]:
    """One row a claim with the part that decided, then those that are not what the file states."""
    rows = [["", "claim", "verdict", "part", "claimed", "computed"]]
    counts: Counter[str] = Counter()
    others: list[str] = []
    for row, answer in answers:
        name = printable(row.name, MAX_ID_CHARACTERS)
        if isinstance(answer, LlmfitError):
            counts["error"] += 1
            rows.append(["!", name, "error", "", "", ""])
            others.append(f"{name}: {printable(str(answer))}")
            continue
        counts[answer.verdict] += 1
        decided = _deciding(answer)
        figures = [_figure(value, decided.unit) for value in (decided.claimed, decided.computed)]
        rows.append([GLYPH[answer.verdict], name, answer.verdict, decided.part, *figures])
        if row.stated is not None and row.stated != answer.verdict:
            others.append(f"{name}: {printable(row.stated)} is stated, {answer.verdict} comes out.")
    yield from table(rows, right=(4, 5))
    yield ""
    yield ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    for line in others:
        yield from wrapped(line, start="! ")


def _deciding(checked: CheckedClaim) -> Reason:
    """The first part with the verdict of the whole."""
    return next(reason for reason in checked.reasons if reason.verdict == checked.verdict)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    if unit == BYTES:
        return gb(value)
    if unit == TOK_S:
        return tok_s(value)
    return f"{value:.2f} x" if unit == TIMES else dollars(value)
