"""What a time of prefill is added up from: costs a token, a ubatch, a cached token, and what bounds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmfit.advisor.speed.terms import Cause, Term


@dataclass(frozen=True, slots=True)
class Chunks:
    """A prompt cut into ubatches."""

    prompt_tokens: int
    depth_tokens: int
    n_ubatches: int
    touched: float
    """Ubatches, each counted as the share of the experts that its tokens touch."""

    def cells(self, window_tokens: int = 0) -> float:
        """Cached tokens that all tokens of the prompt look at, each at those before it and itself."""
        n, start = self.prompt_tokens, self.depth_tokens
        if window_tokens:
            growing = min(n, max(0, window_tokens - start))
            return growing * start + growing * (growing + 1) / 2 + (n - growing) * window_tokens
        return n * start + n * (n + 1) / 2

    @property
    def cache_reads_tokens(self) -> float:
        """Length of the cache at each ubatch, added up."""
        return self.n_ubatches * (self.depth_tokens + self.prompt_tokens / 2)


def chunks_of(prompt_tokens: int, depth_tokens: int, ubatch_tokens: int, expert_share: float) -> Chunks:
    """The ubatches of a prompt; n tokens that each use a share of the experts touch 1 - (1 - share)^n."""
    n_full, rest = divmod(prompt_tokens, ubatch_tokens)
    untouched = 1 - expert_share
    touched = n_full * (1 - untouched**ubatch_tokens) + (1 - untouched**rest)
    return Chunks(prompt_tokens, depth_tokens, n_full + bool(rest), touched)


@dataclass(frozen=True, slots=True)
class Cost:
    """One summand of a place: seconds a token, an ubatch, an ubatch that touches all experts, a cell.

    ``*_amount`` are what the term shows: operations or bytes of the same.
    """

    what: str
    where: str
    cause: Cause
    token_s: float = 0.0
    ubatch_s: float = 0.0
    touch_s: float = 0.0
    cell_s: float = 0.0
    window_cell_s: float = 0.0
    cache_token_s: float = 0.0
    per_s: float | None = None
    """Operations or bytes a second, where one rate holds."""
    unit: str = "FLOP"

    def time_s(self, chunks: Chunks, window_tokens: int) -> float:
        """Seconds of all ubatches."""
        time_s = (
            self.token_s * chunks.prompt_tokens
            + self.ubatch_s * chunks.n_ubatches
            + self.touch_s * chunks.touched
            + self.cache_token_s * chunks.cache_reads_tokens
        )
        if self.cell_s:
            time_s += self.cell_s * chunks.cells()
        if self.window_cell_s:
            time_s += self.window_cell_s * chunks.cells(window_tokens)
        return time_s

    def term(self, chunks: Chunks, window_tokens: int) -> Term:
        time_s = self.time_s(chunks, window_tokens)
        amount = None if self.per_s is None else time_s * self.per_s
        return Term(self.what, self.where, self.cause, time_s, amount, self.per_s, self.unit)


COEFFICIENTS = ("token_s", "ubatch_s", "touch_s", "cell_s", "window_cell_s", "cache_token_s")
"""What a Cost is made of, in the order of its fields."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What no device can beat: operations over its peak rate, bytes over the peak of its memory or link.

    Of experts only those count that one token uses: how many more a prompt touches depends on its text (the
    random tokens of llama-bench seem to touch fewer than all of gpt-oss-120b's).
    """

    token_s: float = 0.0
    ubatch_s: float = 0.0

    def time_s(self, chunks: Chunks) -> float:
        return max(self.token_s * chunks.prompt_tokens, self.ubatch_s * chunks.n_ubatches)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one device does of every ubatch."""

    costs: tuple[Cost, ...]
    floor: Floor
    total: Cost
    """All of ``costs`` as one."""

    @staticmethod
    def of(costs: Iterable[Cost], floor: Floor) -> Stage:
        parts = tuple(costs)
        sums = (sum(getattr(part, name) for part in parts) for name in COEFFICIENTS)
        total = Cost("total", "", Cause.COMPUTE, *sums)
        return Stage(parts, floor, total)
