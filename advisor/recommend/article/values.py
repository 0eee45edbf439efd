"""The article about one model on one machine, as values: what the command line prints and the screens draw.

Sizes are bytes, speeds tok/s. Whatever cannot run carries no speed. ``build.build_article`` makes an Article;
its parts can be made alone (tables.py, cards.py), each from a Judgement or a Question.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.cache_advice import CacheAdvice
from llmfit.advisor.recommend.cost.of_judgement import Energy
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, Judgement
from llmfit.advisor.recommend.quality import Loss, Quality, QualityFacts, ReducedQuality
from llmfit.advisor.speed.speed_range import SpeedRange

# ---------------------------------------------------------------- what is known of the model


@dataclass(frozen=True, slots=True)
class About:
    """What a catalogue knows of a model beyond its header; ``None`` or empty is not known."""

    model_id: str
    family: str | None = None
    license: str | None = None
    released: str | None = None
    """ISO date."""
    modalities: tuple[str, ...] = ()
    reasoning: str | None = None
    """``always``, ``hybrid``, ``effort`` or ``never``."""
    tool_use: str | None = None
    """``native``, ``prompt`` or ``none``."""
    notes: tuple[str, ...] = ()
    is_embedding: bool = False
    """It turns text into vectors and writes none: decode means nothing, and there is no ability to lose."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the header says of how the model is built."""

    name: str
    n_parameters: int
    n_active_parameters: int | None
    """What one token reads of them; ``None`` where nobody counted."""
    context_train_tokens: int
    n_layers: int
    layers: tuple[tuple[str, int], ...]
    """Kind of layer and how many, the most frequent first: (("full attention", 48),)."""
    window_tokens: int
    """Of sliding-window layers; 0 without."""
    has_latent_cache: bool
    """Multi-head latent attention: one row a token for all heads."""
    n_experts: int
    n_experts_used: int

    @property
    def is_moe(self) -> bool:
        return self.n_experts > 0


@dataclass(frozen=True, slots=True)
class Pitfall:
    """What goes wrong with this model, and what to do about it."""

    text: str
    symptom: str | None = None
    fix: str | None = None
    severity: str | None = None
    """``critical``, ``high``, ``medium`` or ``low``."""
    builds: str | None = None
    """On which builds of llama.cpp it was seen or is gone, in words."""
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One published benchmark result, as it was published."""

    benchmark: str
    score: float
    unit: str
    kind: str
    """``independent`` or ``vendor``."""
    source: str
    date: str | None = None
    mode: str | None = None
    """``thinking``, ``non-thinking`` … as the source states it."""
    setting: str = ""
    counts_for: str | None = None
    """The ability that it was fitted for; ``None`` where it is shown only."""
    shown_for: str | None = None
    """``vision``, ``long-context``, ``multilingual`` or ``knowledge``: shown, and not ranked by."""
    is_doubtful: bool = False
    """Estimated by its source, or a zero that means that it was not run."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """How much a model knows without looking it up: the share of questions that it answers rightly."""

    share: float
    low_share: float
    high_share: float
    is_measured: bool
    basis: str


# ---------------------------------------------------------------- the tables


@dataclass(frozen=True, slots=True)
class QuantRow:
    """The model in one file type at the article's context."""

    quant: str
    weights_bytes: int
    """As they are loaded: without blocks that stay in the file (MTP), twice what two devices need."""
    file_bytes: int
    judgement: Judgement
    loss: Loss | None
    """Of the file type alone; ``None`` where nobody measured it."""
    quality: ReducedQuality | None
    """Ability less the losses of file type and cache; ``None`` where one of them is not known."""
    is_native: bool = False
    """The type it was trained in."""

    @property
    def total_bytes(self) -> int:
        return self.judgement.memory.total_bytes

    @property
    def fits(self) -> bool:
        return self.judgement.fits


@dataclass(frozen=True, slots=True)
class LadderCell:
    """One context with one cache type."""

    context_tokens: int
    cache_type: str
    kv_cache_bytes: int
    total_bytes: int
    verdict: str
    shortfall_bytes: int

    @property
    def fits(self) -> bool:
        return self.verdict != DOES_NOT_FIT


@dataclass(frozen=True, slots=True)
class LadderColumn:
    """All contexts with one cache type for K and V."""

    cache_type: str
    cells: tuple[LadderCell, ...]
    largest_on_gpus_tokens: int
    """The largest context that stays on the GPUs; 0 where none does."""
    largest_tokens: int
    """The largest that runs at all; 0 where none does."""
    loss: Loss | None
    """What the cache type costs; ``None`` where nobody measured it."""
    is_advised: bool
    """Whether this model bears it."""


@dataclass(frozen=True, slots=True)
class ContextLadder:
    """Context × cache type for one file type. Every column has a cell for each of ``contexts``."""

    quant: str
    contexts: tuple[int, ...]
    columns: tuple[LadderColumn, ...]
    advice: CacheAdvice
    """Why this model is better off without the cache types that are not advised."""


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """Decode with so many tokens in the context already."""

    depth_tokens: int
    decode_tok_s: SpeedRange
    basis: str


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt into an empty context: how fast it is read, and how long until the first token."""

    prompt_tokens: int
    prefill_tok_s: SpeedRange
    first_token_s: float
    basis: str


@dataclass(frozen=True, slots=True)
class CardsRow:
    """The article's file type on so many of this machine's card."""

    n_cards: int
    is_this_machine: bool
    judgement: Judgement
    best_on_gpus: str | None
    """The largest usual file type that stays on the cards; ``None`` where none does or none can be built."""


@dataclass(frozen=True, slots=True)
class Need:
    """A change of the machine with which the asked file type runs: so much RAM, or so many of its cards."""

    judgement: Judgement
    ram_bytes: int | None = None
    n_cards: int | None = None


@dataclass(frozen=True, slots=True)
class RamCase:
    """What runs, as it would be with RAM of a usual bandwidth: for where nobody knows the machine's own."""

    what: str
    bytes_per_s: int
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class GoalChoice:
    """The best configuration at the article's context for ``quality``, ``speed`` or ``balance``, and why."""

    goal: str
    judgement: Judgement
    loss: Loss | None
    """Of file type and cache together; ``None`` where one of them was not measured."""
    why: tuple[str, ...] = ()


# ---------------------------------------------------------------- question and answer


@dataclass(frozen=True, slots=True)
class Article:
    """``asked`` is the file type that was named, or that is taken where none was. ``running`` is the same
    where it runs, else the largest file type that does, else ``None``; the tables of contexts, depths,
    prompts and energy are about ``running`` (the ladder about ``asked`` where nothing runs).
    """

    about: About
    architecture: Architecture
    machine: Machine
    context_tokens: int
    asked: Judgement
    running: Judgement | None
    quality: Quality | None
    running_quality: ReducedQuality | None
    """Ability of ``running`` less its losses."""
    quants: tuple[QuantRow, ...]
    ladder: ContextLadder
    depths: tuple[DepthPoint, ...]
    prompts: tuple[PromptRow, ...]
    cards: tuple[CardsRow, ...]
    needs: tuple[Need, ...]
    ram_cases: tuple[RamCase, ...]
    """Only where the speed of ``running`` is not known for want of the RAM's bandwidth."""
    energy: Energy | None
    """Of ``running``, from rated power."""
    goals: tuple[GoalChoice, ...]
    pitfalls: tuple[Pitfall, ...]
    scores: tuple[Score, ...]
    knowledge: Knowledge | None

    @property
    def is_compromise(self) -> bool:
        """What runs is not what was asked for."""
        return self.running is not None and self.running is not self.asked

    @property
    def subject(self) -> Judgement:
        """What the tables are about."""
        return self.asked if self.running is None else self.running


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model besides its numbers; the glue to the catalogue fills it."""

    about: About
    facts: QualityFacts
    native_quant: str | None = None
    """The file type whose precision it was trained in, if that is a small one: nothing is lost in it."""
    only_quant: str | None = None
    """The one file type worth taking: the native one, or that of the file that is all there is of it."""
    pitfalls: tuple[Pitfall, ...] = ()
    scores: tuple[Score, ...] = ()
    knowledge: Knowledge | None = None


__all__ = [
    "About",
    "Architecture",
    "Article",
    "CardsRow",
    "ContextLadder",
    "DepthPoint",
    "Energy",
    "GoalChoice",
    "Knowledge",
    "Known",
    "LadderCell",
    "LadderColumn",
    "Need",
    "Pitfall",
    "PromptRow",
    "QuantRow",
    "RamCase",
    "Score",
]
