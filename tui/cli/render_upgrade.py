"""What to add to this computer, as sentences: what is bought, from which speed to which, at which price."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.recommend.judgement import FITS_CPU, FITS_GPU, FITS_OFFLOAD, Judgement
from llmfit.advisor.recommend.plan.upgrade import (
    ADD,
    ADD_BOTH,
    ADD_RAM,
    ADD_SAME,
    REPLACE,
    Gain,
    Upgrade,
    decode_tok_s,
)
from llmfit.advisor.recommend.plan.values import Option, Question
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context, format_gib
from llmfit.tui.cli.render import machine_line, two_figures, verdict_text, wrapped

_TITLES = (
    (ADD_SAME, "More of the same card"),
    (ADD, "Cards to add"),
    (REPLACE, "Cards in place of what is there"),
    (ADD_RAM, "More RAM"),
    (ADD_BOTH, "Cards and RAM together"),
)
_WHERE = {FITS_GPU: "on the GPU", FITS_OFFLOAD: "partly in RAM", FITS_CPU: "on the CPU"}


def upgrade_lines(
    question: Question, upgrade: Upgrade, instead: Option | None, target_is_given: bool, limit: int
) -> Iterator[str]:
    """The machine today, then each change that reaches the target, by kind and price."""
    now = upgrade.now
    name = printable(question.model.id.rpartition("/")[2] or question.model.id, 50)
    context = format_context(question.request.context_tokens or 0)
    yield f"{name} {printable(question.model.quantization, 20)} at {context} of context"
    yield printable(machine_line(now.machine))
    yield ""
    yield from wrapped(f"Today it {_today(now)}.")
    target = f"{two_figures(question.target_tok_s)} tok/s"
    if upgrade.is_enough:
        said = (
            f"That is enough for the {target} you want: nothing to buy."
            if target_is_given
            else (f"That is faster than a person reads ({target}): nothing to buy. --tps asks for more.")
        )
        yield from wrapped(said)
        return
    if not upgrade.gains:
        budget = "" if question.budget_usd is None else f" for at most USD {question.budget_usd:,.0f}"
        nearest = " Nearest:" if upgrade.nearest else ""
        yield from wrapped(f"No single change{budget} brings {target}.{nearest}")
    yield from _gains(upgrade, limit)
    yield from _instead(instead)
    yield from _rests_on(question, upgrade)


def _today(now: Judgement) -> str:
    tok_s = decode_tok_s(now)
    if not now.fits:
        return f"does not fit ({format_gib(now.shortfall_bytes)} short)"
    speed = "at a speed that is not known" if tok_s is None else f"at {two_figures(tok_s)} tok/s"
    return f"runs {_WHERE[now.verdict]} {speed}"


def _gains(upgrade: Upgrade, limit: int) -> Iterator[str]:
    shown = (upgrade.gains or upgrade.nearest)[:limit]
    for kind, title in _TITLES:
        of_kind = [gain for gain in shown if gain.change.kind == kind]
        if of_kind:
            yield ""
            yield title
        for gain in of_kind:
            yield from wrapped(gain_sentence(gain), start="  - ")


def gain_sentence(gain: Gain) -> str:
    """``Add a second RTX 3090: from 2.1 (partly in RAM) to 17 tok/s on the GPU; +350 W; USD 1,499 (…).``"""
    change, before = gain.change, decode_tok_s(gain.before)
    parts = [f"{_speeds(gain, before)}"]
    if change.watts_more is not None:
        parts.append(f"{change.watts_more:+.0f} W")
    if change.price_usd is None:
        parts.append("price not known")
    else:
        dated = ""
        if change.kind != ADD_BOTH and change.card is not None and change.card.price is not None:
            dated = f" (list price of {change.card.price.date[:7]})"
        parts.append(f"USD {change.price_usd:,.0f}{dated}")
    text = f"{change.text[0].upper()}{change.text[1:]}: {'; '.join(parts)}."
    return " ".join((text, *(f"{caution[0].upper()}{caution[1:]}." for caution in gain.cautions)))


def _speeds(gain: Gain, before: float | None) -> str:
    after = f"{two_figures(gain.tok_s)} tok/s {_WHERE[gain.after.verdict]}"
    cache = gain.after.settings.cache_type_k
    if cache != gain.before.settings.cache_type_k:
        after += f" with the KV cache in {cache}"
    if not gain.before.fits:
        return f"from not at all to {after}"
    if before is None:
        return f"from an unknown speed {_WHERE[gain.before.verdict]} to {after}"
    return f"from {two_figures(before)} ({_WHERE[gain.before.verdict]}) to {after}"


def _instead(option: Option | None) -> Iterator[str]:
    if option is None or option.candidate.price_usd is None:
        return
    candidate = option.candidate
    date = "" if candidate.price is None else f" (list price of {candidate.price.date[:7]})"
    gone = ""
    if candidate.box is not None and candidate.box.withdrawn is not None:
        gone = " Its maker has withdrawn it: only used ones are left."
    yield ""
    yield "Another computer"
    yield from wrapped(
        f"{candidate.name}, {verdict_text(option.judgement)}: {two_figures(option.decode_tok_s)} tok/s; "
        f"USD {candidate.price_usd:,.0f}{date}.{gone}",
        start="  - ",
    )


def _rests_on(question: Question, upgrade: Upgrade) -> Iterator[str]:
    shown = upgrade.gains or upgrade.nearest
    lines = [
        "Prices are makers' list prices from the date beside them, for what is bought new; shops ask others. "
        "What the old parts would bring is not counted.",
        "Whether slots, space, power supply and cooling allow it, nobody looked at.",
        *upgrade.now.assumed,
    ]
    if upgrade.now.verdict != FITS_GPU and upgrade.now.machine.memory.bandwidth_bytes_per_s is None:
        lines.append(
            "How fast its RAM is, is not known (--ram-bandwidth GB/S): what weights in RAM do, today or with "
            "more of it, is left out."
        )
    if any(gain.change.ram_bytes is not None for gain in shown):
        lines.append(
            f"RAM is taken as fast as today's and counts USD {question.costs.ram_usd_per_gb:g} a GB in all "
            "(--ram-usd-per-gb)."
        )
    yield ""
    yield "To know"
    for line in lines:
        yield from wrapped(printable(line), start="  - ")


__all__ = ["gain_sentence", "upgrade_lines"]
