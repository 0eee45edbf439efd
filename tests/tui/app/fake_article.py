"""An article written down by hand: no figure of it moves when the arithmetic or the catalogue does."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.memory.fitting import DOES_NOT_FIT, FITS_GPU
from llmfit.advisor.recommend.article.architecture import architecture_of
from llmfit.advisor.recommend.article.values import (
    About,
    Article,
    CardsRow,
    ContextLadder,
    DepthPoint,
    LadderCell,
    LadderColumn,
    Pitfall,
    PromptRow,
    QuantRow,
    Score,
)
from llmfit.advisor.recommend.cache_advice import CacheAdvice
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.recommend.cost.of_judgement import Energy, TokenEnergy
from llmfit.advisor.recommend.cost.power import PowerReading
from llmfit.advisor.recommend.goals.values import Choice, ConfigurationSearch, RankedConfiguration, RunnerUp
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import NO_LOSS, Loss, ReducedQuality
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.units import GIB
from llmfit.tui.goal_choice import GoalChoice
from llmfit.tui.messages import Pick

LEFT = ReducedQuality(69.0, 64.0, 76.0)
BAND = Loss(1.0, 0.2, 2.6, "written down")
CONTEXTS = (8192, 32768, 131072)


def in_type(judgement: Judgement, quant: str) -> Judgement:
    return replace(judgement, model=replace(judgement.model, quantization=quant))


def article_about(pick: Pick) -> Article:
    """About the pick; where it does not run, its smallest file type does."""
    asked = pick.judgement
    smaller = in_type(asked, "Q2_K")
    if not asked.fits:
        smaller = replace(
            smaller, verdict=FITS_GPU, shortfall_bytes=0, argv=("llama-server", "-m", "model.Q2_K.gguf")
        )
    quants = (
        QuantRow("Q8_0", 33 * GIB, 33 * GIB, in_type(asked, "Q8_0"), NO_LOSS, LEFT),
        QuantRow("Q4_K_M", 18 * GIB, 18 * GIB, asked, BAND, LEFT),
        QuantRow("Q2_K", 12 * GIB, 12 * GIB, smaller, None, None),
    )
    running = asked if asked.fits else smaller
    speed = running.speed
    return Article(
        about=About(asked.model.id, "Qwen3", "apache-2.0", "2025-04-28", ("text",), "hybrid", "native"),
        architecture=architecture_of(asked.model),
        machine=asked.machine,
        context_tokens=32768,
        asked=asked,
        running=running,
        quality=pick.quality,
        running_quality=LEFT,
        quants=quants,
        ladder=ContextLadder(
            "Q4_K_M", CONTEXTS, (_column("f16", 1.0), _column("q8_0", 0.5)), CacheAdvice(("f16", "q8_0"))
        ),
        depths=() if speed is None else tuple(_depth(tokens) for tokens in (0, 8192, 32768)),
        prompts=() if speed is None else (_prompt(1024, 1.0), _prompt(32768, 40.0)),
        cards=(CardsRow(1, False, smaller, "Q2_K"), CardsRow(2, True, running, "Q8_0")),
        needs=(),
        ram_cases=(),
        energy=None if speed is None else Energy(_energy(18.0), _energy(1000.0)),
        goals=(),
        pitfalls=(
            Pitfall("The chat template loops.", "Answers repeat.", "--jinja", "high", None, "issue 1"),
        ),
        scores=(Score("LiveBench", 61.5, "%", "independent", "livebench.ai", "2026-01-08", "thinking"),),
        knowledge=None,
    )


def _column(cache_type: str, share: float) -> LadderColumn:
    cells = tuple(
        LadderCell(
            tokens,
            cache_type,
            round(tokens / 32768 * 8 * share * GIB),
            round((20 + tokens / 32768 * 8 * share) * GIB),
            DOES_NOT_FIT if tokens == CONTEXTS[-1] and share == 1.0 else FITS_GPU,
            0,
        )
        for tokens in CONTEXTS
    )
    loss = NO_LOSS if share == 1.0 else Loss(0.3, 0.0, 0.9, "written down")
    return LadderColumn(cache_type, cells, 65536, 98304, loss, True)


def _depth(tokens: int) -> DepthPoint:
    decode = 18.0 - tokens / 8192
    return DepthPoint(tokens, SpeedRange(decode - 3, decode, decode + 3), "formula")


def _prompt(tokens: int, first_token_s: float) -> PromptRow:
    return PromptRow(tokens, SpeedRange(700.0, 1024.0, 1600.0), first_token_s, "formula")


def _energy(tok_s: float) -> TokenEnergy:
    power = PowerReading(Spread(300.0, 500.0, 700.0), "rated", (), ("Power is rated, not measured.",))
    return TokenEnergy(power, SpeedRange(tok_s * 0.8, tok_s, tok_s * 1.2))


def choice_for(pick: Pick, goal: str) -> GoalChoice:
    """``speed`` is for another file type than the other goals."""
    judgement = in_type(pick.judgement, "IQ4_XS") if goal == "speed" else pick.judgement
    judgement = (
        replace(judgement, argv=("llama-server", "-m", f"{goal}.gguf")) if judgement.fits else judgement
    )
    other = RunnerUp("Q6_K", "15 tok/s, loses less than a point", FITS_GPU, 15.0, None, NO_LOSS, GIB, 32768)
    choices = (
        Choice("file type", judgement.model.quantization, f"It suits {goal}.", (other,)),
        Choice("context", "32K", "You said so.", is_fixed=True),
    )
    ranked = (RankedConfiguration(judgement, LEFT, choices),) if judgement.fits else ()
    nothing = "" if ranked else "Not even Q2_K fits."
    search = ConfigurationSearch(goal, ranked, None if ranked else judgement, nothing, 867, 7, ())
    return GoalChoice(search, judgement, pick.quality)
