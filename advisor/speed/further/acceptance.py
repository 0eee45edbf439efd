"""How many drafted tokens a model accepts: not physics but habit, so a table of what people measured.

Everything is the chance that one more token is accepted after those before it were. Servers report another
figure, accepted over drafted tokens; ``per_token`` translates it. Over drafts of one to six tokens the chance
hardly changes (Qwen3.8-27B: 0.89, 0.86, 0.85, 0.83, 0.83, 0.82).

It depends on the text far more than on the machine: code and mathematics are guessed well, prose badly. Low
is about prose and stories, high about code; sampling at a high temperature accepts less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Shares per token, and where they were measured."""

    low_share: float
    expected_share: float
    high_share: float
    source: str


_PROSE, _CODE = 0.64, 0.95
"""Of Qwen3.8-27B: 0.53 of 2 drafted tokens of an explanation, 0.95 of 2 of a Python program. For models of
which nobody tells it by kind of text."""
_GITHUB = "github.com/"
_LLAMA_CPP = f"{_GITHUB}ggml-org/llama.cpp/pull/"
MTP: Mapping[str, Acceptance] = MappingProxyType(
    {
        # 0.79 of 2, 0.72 of 3, 0.65 of 4 (Qwen3.8-27B, 27 runs); 0.82 of 2, 0.73 of 3 (Qwen3.6-27B)
        "qwen35": Acceptance(_PROSE, 0.85, _CODE, f"{_GITHUB}sudoingX/qwen38-mtp; {_LLAMA_CPP}22673"),
        # Qwen3.6-35B-A3B: 0.88 of 1, 0.82 of 2, 0.71 of 3, 0.64 of 4; a story 0.47, mathematics 0.81 of 4
        "qwen35moe": Acceptance(0.72, 0.85, 0.93, f"{_LLAMA_CPP}22673"),
        # Step-3.5-Flash: 0.88 of 1, 0.77 of 2, 0.69 of 3
        "step35": Acceptance(_PROSE, 0.83, _CODE, f"{_LLAMA_CPP}20981; {_LLAMA_CPP}23274"),
        # GLM-4.6: 2.05 tokens a round of 3 (0.56); GLM-4.5-Air: 0.89 of 2 (0.92) of one prompt; between them
        "glm4moe": Acceptance(
            0.56,
            0.75,
            0.92,
            f"{_GITHUB}sgl-project/sglang/pull/14457; {_GITHUB}ikawrakow/ik_llama.cpp/pull/1992",
        ),
        # GLM-5.3-Flash: 0.92, 0.88, 0.74, 0.74, 0.79 position by position
        "glm-dsa": Acceptance(_PROSE, 0.82, _CODE, f"{_LLAMA_CPP}27917"),
        # DeepSeek-V3: 0.85 to 0.90 of 1
        "deepseek32": Acceptance(_PROSE, 0.87, _CODE, "DeepSeek-V3 technical report, 5.4.3"),
        # MiMo-V2-Flash: 2.8 to 3.6 tokens a round of 3
        "mimo2": Acceptance(0.77, 0.85, 0.93, "MiMo-V2-Flash technical report"),
    }
)
"""By architecture, of the model's own MTP blocks."""
MTP_ELSEWHERE = Acceptance(0.56, 0.85, _CODE, "lowest, median and highest of the measured models")
DRAFT_MODEL = Acceptance(
    _PROSE, 0.82, 0.87, f"{_LLAMA_CPP}2926; {_LLAMA_CPP}10455; {_GITHUB}ggml-org/llama.cpp/issues/5877"
)
"""Of a small model of the same family. Measured: 0.76 (0.36 of 8 drafted, Llama-2 70B with 7B, a story), 0.86
(0.34 of 16, Qwen2.5-Coder 32B with 3B), 0.87 (0.72 of 5, Llama-3.1 8B with 1B); expected is between them. Low
as of MTP blocks: a second model guesses prose no better."""


def mtp_acceptance(architecture: str) -> Acceptance:
    return MTP.get(architecture, MTP_ELSEWHERE)


def tokens_a_round(acceptance_share: float, n_draft: int) -> float:
    """Expected tokens of a round: the accepted ones and the one that verifying gives anyway."""
    return sum(acceptance_share**i for i in range(n_draft + 1))


def per_token(accepted_share: float, n_draft: int) -> float:
    """The chance per token behind accepted over drafted tokens, of drafts of ``n_draft``."""
    wanted = 1 + max(0.0, min(1.0, accepted_share)) * n_draft
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if tokens_a_round(middle, n_draft) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
