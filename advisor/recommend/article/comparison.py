"""Two to four configurations side by side, and the differences that follow from their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.architecture import architecture_of
from llmfit.advisor.recommend.article.tables import depth_points, loss_of, prompt_rows, quality_after_losses
from llmfit.advisor.recommend.article.values import About, Architecture, DepthPoint, Known, PromptRow
from llmfit.advisor.recommend.cost.of_judgement import Energy, energy_per_million
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import TIE_POINTS, Loss, Quality, ReducedQuality
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import Variants, judge
from llmfit.advisor.units import format_gib, two_figures

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

DEPTH_TOKENS = 32768
PROMPT_TOKENS = 8192
CLEARLY_FASTER = 1.15
"""Less is within the doubt of every estimate."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One configuration. What depends on a speed is ``None`` where it does not run or no speed is known."""

    name: str
    about: About
    architecture: Architecture
    judgement: Judgement
    weights_bytes: int
    loss: Loss | None
    quality: Quality | None
    reduced: ReducedQuality | None
    """Ability less the losses of file type and cache."""
    deep: DepthPoint | None
    prompt: PromptRow | None
    energy: Energy


@dataclass(frozen=True, slots=True)
class Comparison:
    """``depth_tokens`` and ``prompt_tokens`` are the same for all: what every context has room for."""

    contenders: tuple[Contender, ...]
    depth_tokens: int
    prompt_tokens: int
    differences: tuple[str, ...]
    """Whole sentences, each of figures that stand in the columns."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is asked of one column."""

    model: Model
    machine: Machine
    request: Request
    known: Known
    build: Variants | None = None
    speeds: MachineSpeeds | None = None


def compare(entries: Sequence[Entry]) -> Comparison:
    """Judges each entry. Raises as ``judge``."""
    judged = [judge(one.model, one.machine, one.request, one.build, speeds=one.speeds) for one in entries]
    smallest = min(judgement.settings.context_tokens for judgement in judged)
    depth_tokens, prompt_tokens = min(DEPTH_TOKENS, smallest), min(PROMPT_TOKENS, smallest)
    names = _names(judged)
    contenders = tuple(
        _contender(name, entry.known, judgement, depth_tokens, prompt_tokens)
        for name, entry, judgement in zip(names, entries, judged, strict=True)
    )
    return Comparison(contenders, depth_tokens, prompt_tokens, tuple(_differences(contenders)))


def _names(judgements: Sequence[Judgement]) -> list[str]:
    """What tells the columns apart: the model, the file type with it where one model stands there twice, a
    number where that is not enough either."""
    names = [judgement.model.id.split("/")[-1] for judgement in judgements]
    twice = Counter(names)
    names = [
        f"{name} {one.model.quantization}" if twice[name] > 1 else name
        for name, one in zip(names, judgements, strict=True)
    ]
    twice = Counter(names)
    return [f"{name} ({number})" if twice[name] > 1 else name for number, name in enumerate(names, 1)]


def _contender(
    name: str, known: Known, judgement: Judgement, depth_tokens: int, prompt_tokens: int
) -> Contender:
    model = judgement.model
    deep = [point for point in depth_points(judgement, (depth_tokens,)) if point.depth_tokens == depth_tokens]
    return Contender(
        name=name,
        about=known.about,
        architecture=architecture_of(model),
        judgement=judgement,
        weights_bytes=judgement.memory.weights_bytes,
        loss=loss_of(judgement, known.facts),
        quality=known.facts.quality,
        reduced=quality_after_losses(judgement, known.facts),
        deep=next(iter(deep), None),
        prompt=next(iter(prompt_rows(judgement, (prompt_tokens,))), None),
        energy=energy_per_million(judgement),
    )


# ---------------------------------------------------------------- what follows from the figures


def _differences(contenders: Sequence[Contender]) -> Iterator[str]:
    running = [one for one in contenders if one.judgement.fits]
    for one in contenders:
        if one not in running:
            short = format_gib(one.judgement.shortfall_bytes)
            yield f"{one.name} does not run: {short} are missing."
    if len(running) > 1:
        yield from _ability_differences(running)
        yield from _speed_differences(running)


def _ability_differences(contenders: Sequence[Contender]) -> Iterator[str]:
    """By the lower bound after losses, as models are ranked everywhere; gaps under TIE_POINTS are none."""
    known = [(one.name, one.reduced.low) for one in contenders if one.reduced is not None]
    unknown = [one.name for one in contenders if one.reduced is None]
    known.sort(key=lambda pair: -pair[1])
    if len(known) > 1:
        best, best_low = known[0]
        ties = [name for name, low in known[1:] if best_low - low < TIE_POINTS]
        behind = [(name, low) for name, low in known[1:] if best_low - low >= TIE_POINTS]
        if ties:
            yield f"{_listed([best, *ties])} are a tie in ability: less than {TIE_POINTS:.0f} points apart."
        for name, low in behind:
            bounds = f"the lower bounds of their ability are {best_low:.0f} and {low:.0f} of 100"
            yield f"{best} is abler than {name}: {bounds}."
    if unknown:
        yield f"How able {_listed(unknown)} {'is' if len(unknown) == 1 else 'are'} here is not known."


def _speed_differences(contenders: Sequence[Contender]) -> Iterator[str]:
    known = [
        (one.name, one.judgement.speed.decode_tok_s) for one in contenders if one.judgement.speed is not None
    ]
    known.sort(key=lambda pair: -pair[1].expected)
    unknown = [one.name for one in contenders if one.judgement.speed is None]
    if unknown:
        yield f"How fast {_listed(unknown)} would write is not known: a bandwidth is missing."
    if len(known) < 2:
        return
    quick = known[0][1]
    alike = [name for name, speed in known if quick.expected / speed.expected < CLEARLY_FASTER]
    slower = [(name, speed) for name, speed in known if name not in alike]
    if len(alike) > 1:
        figures = _listed([two_figures(speed.expected) for _, speed in known[: len(alike)]])
        yield f"{_listed(alike)} write about as fast: {figures} tok/s."
    if not slower:
        return
    times = (
        f"{two_figures(quick.expected / speed.expected)} times as fast as {name} "
        f"({two_figures(speed.expected)}{'' if quick.low > speed.high else ', their ranges overlap'})"
        for name, speed in slower
    )
    yield f"{known[0][0]} writes {two_figures(quick.expected)} tok/s, {_listed(list(times))}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


__all__ = ["DEPTH_TOKENS", "PROMPT_TOKENS", "Comparison", "Contender", "Entry", "compare"]
