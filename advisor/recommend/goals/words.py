"""How a search says what it found: figures as they are shown everywhere else, sentences that stand alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmfit.advisor.recommend.goals.objectives import TIE_LOSS_POINTS, Criterion, Question
from llmfit.advisor.recommend.goals.values import Configuration, Tried
from llmfit.advisor.recommend.judgement import FITS_GPU, FITS_OFFLOAD, VERDICT_PHRASE, Judgement
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.recommend.outlook import ROUGH_RAM_BYTES_PER_S
from llmfit.advisor.recommend.quality import Loss
from llmfit.advisor.units import GB, format_context, format_gib, two_figures

_READING = f"{COMFORTABLE_TOK_S:.0f}"


UNKNOWN_SPEED = (
    "The bandwidth of the RAM is not known, so this order rests on that of a usual one "
    f"({ROUGH_RAM_BYTES_PER_S / GB:.0f} GB/s)."
)


def decode_text(tried: Tried) -> str:
    """``24 tok/s``."""
    speed = tried.decode_tok_s
    return "speed not known" if speed is None else f"{two_figures(speed)} tok/s"


def pair_text(one: float, other: float) -> tuple[str, str]:
    """Both to two figures; to three where they would look the same and are not."""
    first, second = two_figures(one), two_figures(other)
    if first != second or abs(one - other) < 0.01 * one:
        return first, second
    return f"{one:.3g}", f"{other:.3g}"


def decode_pair(one: Tried, other: Tried) -> tuple[str, str]:
    """``24 tok/s`` of each."""
    if one.decode_tok_s is None or other.decode_tok_s is None:
        return decode_text(one), decode_text(other)
    first, second = pair_text(one.decode_tok_s, other.decode_tok_s)
    return f"{first} tok/s", f"{second} tok/s"


def loss_text(loss: Loss | None) -> str:
    return "an unknown amount" if loss is None else loss.band_text


def whole_loss(tried: Tried) -> Loss | None:
    """Of file type and cache type together; None where one of them was not measured."""
    if tried.file_loss is None or tried.cache_loss is None:
        return None
    parts = (tried.file_loss, tried.cache_loss)
    return Loss(
        sum(part.points for part in parts),
        sum(part.low_points for part in parts),
        sum(part.high_points for part in parts),
        "; ".join(part.basis for part in parts),
    )


def verdict_phrase(judgement: Judgement) -> str:
    if judgement.verdict == FITS_GPU and len(judgement.settings.devices) > 1:
        return f"fits on {len(judgement.settings.devices)} GPUs"
    return VERDICT_PHRASE[judgement.verdict]


def differences(one: Configuration, other: Configuration) -> str:
    """What ``other`` has otherwise than ``one``: ``Q5_K_M with its KV cache in q8_0``."""
    parts = []
    if other.cache_type != one.cache_type:
        parts.append(f"KV cache in {other.cache_type}")
    if other.context_tokens != one.context_tokens:
        parts.append(f"context {format_context(other.context_tokens)}")
    if other.ubatch != one.ubatch:
        parts.append(f"micro-batch {other.ubatch}")
    if other.n_slots != one.n_slots:
        parts.append(f"{other.n_slots} slots")
    if other.file_type == one.file_type:
        return ", ".join(parts) or "the same"
    return f"{other.file_type} ({', '.join(parts)})" if parts else other.file_type


def figures_text(other: Tried, chosen: Tried) -> str:
    """``24 tok/s, prompts 920, loses up to 2 points, 33.6 GiB in all``; its verdict where that differs."""
    parts = [decode_text(other)]
    speed = other.judgement.speed
    if speed is not None and speed.prefill is not None:
        parts.append(f"prompts {two_figures(other.prefill_tok_s)}")
    parts.append(f"loses {loss_text(whole_loss(other))}")
    parts.append(f"{format_gib(other.judgement.memory.total_bytes)} in all")
    text, verdict = ", ".join(parts), verdict_phrase(other.judgement)
    return text if verdict == verdict_phrase(chosen.judgement) else f"{text}; {verdict}"


Sentence = Callable[[Question, Tried, Tried, str, str], str]
"""(question, the chosen one, the other, their names)"""


def _excess(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    return (
        f"{other_name} loses {loss_text(other.file_loss)}: more than is worth it while a better file fits "
        f"({name}: {loss_text(one.file_loss)})."
    )


def _readable(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    if _is_unknown(one, other):
        return _fewer_bytes(one, other, name, other_name)
    mine, its = decode_pair(one, other)
    if one.order_tok_s >= COMFORTABLE_TOK_S:
        return f"{name} gives {mine}, {other_name} {its}: less than the {_READING} that a person reads."
    return (
        f"Nothing of acceptable quality reaches the {_READING} tok/s that a person reads; {name} comes "
        f"nearest with {mine} ({other_name}: {its})."
    )


def _is_unknown(one: Tried, other: Tried) -> bool:
    return one.decode_tok_s is None or other.decode_tok_s is None


def _fewer_bytes(one: Tried, other: Tried, name: str, other_name: str) -> str:
    mine, its = (_placed_text(tried.judgement) for tried in (one, other))
    return f"{name} {mine}, {other_name} {its}. {UNKNOWN_SPEED}"


def _placed_text(judgement: Judgement) -> str:
    """How much of the weights has to be read from RAM. What fits on the GPU leaves its token embeddings
    there, of which a row a token is read: that is none."""
    if judgement.verdict == FITS_GPU:
        return verdict_phrase(judgement)
    in_ram = format_gib(judgement.memory.host.weights_bytes)
    if judgement.verdict == FITS_OFFLOAD:
        return f"leaves {in_ram} of weights in RAM"
    return f"has all its weights, {in_ram}, in RAM"


def _planned(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    return (
        f"It leaves room for {format_context(one.configuration.context_tokens)} of context; {other_name} "
        f"would have {format_context(other.configuration.context_tokens)}."
    )


def _loss(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    text = (
        f"{name} loses {loss_text(whole_loss(one))} against the full weights, {other_name} "
        f"{loss_text(whole_loss(other))}"
    )
    return f"{text}; {decode_text(one)} are enough to read." if _reads(one) else f"{text}."


def _reads(one: Tried) -> bool:
    return one.decode_tok_s is not None and one.decode_tok_s >= COMFORTABLE_TOK_S


def _decode(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    if _is_unknown(one, other):
        return _fewer_bytes(one, other, name, other_name)
    mine, its = decode_pair(one, other)
    text = f"{name} decodes at {mine}, {other_name} at {its}"
    same = abs(one.worst_loss_points - other.worst_loss_points) <= TIE_LOSS_POINTS
    return f"{text}; what they may lose differs by less than half a point." if same else f"{text}."


def _prefill(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    mine, its = pair_text(one.prefill_tok_s, other.prefill_tok_s)
    text = (
        f"A prompt of {format_context(one.prompt_tokens)} is read at {mine} tok/s, with {other_name} at {its}"
    )
    if one.decode_tok_s is None or other.decode_tok_s is None:
        return f"{text}."
    decode, its_decode = pair_text(one.decode_tok_s, other.decode_tok_s)
    if decode == its_decode:
        return f"{text}; decode stays at {decode} tok/s."
    return f"{text}; decode is {decode} and {its_decode} tok/s."


def _verdict(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    return f"{name} {verdict_phrase(one.judgement)}; {other_name} {verdict_phrase(other.judgement)}."


def _length(_: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    tokens = format_context(one.configuration.context_tokens)
    return (
        f"It has room for {tokens} of context; {other_name} for "
        f"{format_context(other.configuration.context_tokens)}."
    )


def _weighed(question: Question, one: Tried, other: Tried, name: str, other_name: str) -> str:
    mine, its = question.weighed_points(one), question.weighed_points(other)
    text = f"Loss, speed and waiting weigh {mine:.1f} points against {name}, {its:.1f} against {other_name}"
    if _is_unknown(one, other):
        return f"{text}. {UNKNOWN_SPEED}"
    speed, its_speed = decode_pair(one, other)
    return f"{text} ({speed} and {its_speed})."


_SENTENCES: Mapping[str, Sentence] = {
    "excess": _excess,
    "readable": _readable,
    "planned": _planned,
    "loss": _loss,
    "decode": _decode,
    "prefill": _prefill,
    "verdict": _verdict,
    "length": _length,
    "weighed": _weighed,
}


def reason_text(
    question: Question, criterion: Criterion | None, one: Tried, other: Tried, name: str, other_name: str
) -> str:
    """Why ``one`` and not ``other``: the criterion that told them apart, with both figures."""
    if criterion is not None:
        return _SENTENCES[criterion.name](question, one, other, name, other_name)
    change = _memory_change(one, other)
    if one.decode_tok_s is None or other.decode_tok_s is None:
        return f"{other_name} wins nothing that counts here: it takes {change}."
    mine, its = decode_pair(one, other)
    speed = f"{mine} as well" if mine == its else f"{its} instead of {mine}"
    return f"{other_name} wins nothing that counts here: {speed}, {change}."


def _memory_change(one: Tried, other: Tried) -> str:
    change = other.judgement.memory.total_bytes - one.judgement.memory.total_bytes
    if not change:
        return "the same memory"
    return f"{format_gib(abs(change))} {'more' if change > 0 else 'less'}"


__all__ = [
    "decode_pair",
    "decode_text",
    "differences",
    "figures_text",
    "loss_text",
    "reason_text",
    "verdict_phrase",
    "whole_loss",
]
