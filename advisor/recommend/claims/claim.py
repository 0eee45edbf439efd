"""What somebody claims, and what comes out of holding it against physics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmfit.advisor.recommend.judgement import Judgement

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
NEEDS_OFFLOAD = "needs_offload"
UNKNOWN = "unknown"
_WEIGHTIEST_FIRST = (CONTRADICTED, NEEDS_OFFLOAD, UNKNOWN, SUPPORTED)

BYTES, TOK_S, USD_PER_MILLION, TIMES = "bytes", "tok/s", "USD per 1e6 tokens", "times"
"""Units of a reason's two numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The parts of a claim; ``None`` is not claimed. That it runs on the machine it names is one as well.

    Figures are as somebody rounded them. ``text`` is the sentence it was made in, where there is one.
    """

    text: str = ""
    is_negated: bool = False
    """It does not fit there, instead of that it does."""
    is_budget: bool = False
    """``vram_bytes`` is what it fits in, not what it uses."""
    vram_bytes: int | None = None
    weights_bytes: int | None = None
    kv_bytes: int | None = None
    decode_tok_s: float | None = None
    is_speculative: bool = False
    """Its sentence names drafted tokens (MTP blocks, a draft model); the request may ask for them as well."""
    is_tensor_parallel: bool = False
    """Its speed is with every card working on every layer, not layer after layer."""
    watts: float | None = None
    usd_per_kwh: float | None = None
    usd_per_million_tokens: float | None = None
    bandwidth_factor: float | None = None

    @property
    def is_of_a_model(self) -> bool:
        """Whether anything of it but electricity and cards is claimed."""
        sizes = (self.vram_bytes, self.weights_bytes, self.kv_bytes)
        return any(size is not None for size in sizes) or self.is_negated


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of a claim. ``claimed`` and ``computed`` are in ``unit``; unknown is ``None``.

    ``part`` is what it is about: ``weights``, ``GPU memory``, ``KV cache``, ``fit``, ``decode`` …
    """

    part: str
    verdict: str
    text: str
    claimed: float | None
    computed: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """``notes`` say what was taken for what, ``instead`` what is true in place of what is not. ``judgement``
    is what was judged on the machine of the claim, ``None`` where it names none."""

    claim: Claim
    verdict: str
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    judgement: Judgement | None = None
    model_id: str | None = None
    quantization: str | None = None
    machine_text: str | None = None


def together(reasons: Iterable[Reason]) -> str:
    """One verdict for all parts: a contradicted part contradicts all, and nothing unknown is supported."""
    found = {reason.verdict for reason in reasons}
    return next((verdict for verdict in _WEIGHTIEST_FIRST if verdict in found), UNKNOWN)
