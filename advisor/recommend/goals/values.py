"""What a search by goal takes and gives: configurations, how they were judged, and why one was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import Loss, ReducedQuality

QUALITY, SPEED, CONTEXT, BALANCE = "quality", "speed", "context", "balance"
GOALS = (QUALITY, SPEED, CONTEXT, BALANCE)

FILE_TYPE, CACHE_TYPE, CONTEXT_SIZE, PLACEMENT, MICRO_BATCH, SLOTS = (
    "file type",
    "cache type",
    "context",
    "placement",
    "micro-batch",
    "slots",
)
YOU_FIXED_IT = "You fixed it."
DIMENSIONS = (FILE_TYPE, CACHE_TYPE, CONTEXT_SIZE, PLACEMENT, MICRO_BATCH, SLOTS)


class Configuration(NamedTuple):
    """One point of the search. Where its parts go is no coordinate: the planner finds the best placement."""

    file_type: str
    cache_type: str
    """Of K and V; as the user wrote them where both are fixed and differ (``q8_0/f16``)."""
    context_tokens: int
    ubatch: int
    n_slots: int


@dataclass(frozen=True, slots=True)
class Tried:
    """A configuration that was judged and fits, with the figures that goals weigh.

    ``order_tok_s`` is the decode speed; where the RAM's bandwidth is not known, a rough one that only orders
    and is never shown. ``prefill_tok_s`` is for a prompt of ``prompt_tokens``, ``wait_s`` until the first
    token after the usual prompt of the use.
    """

    configuration: Configuration
    judgement: Judgement
    file_loss: Loss | None
    cache_loss: Loss | None
    order_tok_s: float
    prefill_tok_s: float
    prompt_tokens: int
    wait_s: float

    @property
    def decode_tok_s(self) -> float | None:
        speed = self.judgement.speed
        return None if speed is None else speed.decode_tok_s.expected

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Those that are known."""
        return tuple(loss for loss in (self.file_loss, self.cache_loss) if loss is not None)

    @property
    def expected_loss_points(self) -> float:
        return sum(loss.points for loss in self.losses)

    @property
    def worst_loss_points(self) -> float:
        """The upper end of what is lost. Two files of one model share the doubt of its ability, so this end
        alone tells which has the better lower bound."""
        return sum(loss.high_points for loss in self.losses)


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """What another value of one dimension would give; ``None`` stands for what is not known."""

    value: str
    text: str
    verdict: str
    decode_tok_s: float | None
    prefill_tok_s: float | None
    loss: Loss | None
    """Of file type and cache type together."""
    total_bytes: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One dimension: what was chosen, why, and what was next."""

    dimension: str
    chosen: str
    reason: str
    runner_ups: tuple[RunnerUp, ...] = ()
    is_fixed: bool = False
    """The user (or the file) left no choice."""


@dataclass(frozen=True, slots=True)
class RankedConfiguration:
    """``choices`` explain the best configuration; they are empty for those behind it."""

    judgement: Judgement
    quality: ReducedQuality | None
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """So many configurations were not judged, and why."""

    n_configurations: int
    why: str


@dataclass(frozen=True, slots=True)
class ConfigurationSearch:
    """``ranked`` holds what fits, the best first. Where nothing does, it is empty, ``nearest`` misses the
    least and ``nothing_fits`` says so.

    Of ``n_considered`` configurations ``n_judged`` were judged and the others ``pruned``.
    """

    goal: str
    ranked: tuple[RankedConfiguration, ...]
    nearest: Judgement | None
    nothing_fits: str
    n_considered: int
    n_judged: int
    pruned: tuple[Pruned, ...]

    @property
    def best(self) -> Judgement | None:
        """What to run; where nothing fits, what comes nearest."""
        return self.ranked[0].judgement if self.ranked else self.nearest
