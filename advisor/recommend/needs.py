"""What a use asks of speed: how fast answers should come, and how long prompts are.

A person reads 4 to 6 words a second, 5 to 8 tokens: slower than that nobody waits gladly. The other figures
are judgement about habits, not measurements; they only weigh speed against ability (see ``outlook.py``) and
stand in docs/advice.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

COMFORTABLE_TOK_S = 8.0
"""Slower than a person reads: proposed only where nothing faster fits."""
THINKING_TOK_S = 40.0
"""A model whose rated ability is that of its thinking mode writes thousands of tokens before it answers."""


@dataclass(frozen=True, slots=True)
class Need:
    """Faster than ``quick_tok_s`` wins little more, ``prompt_tokens`` in less than ``patience_s`` nothing."""

    quick_tok_s: float
    prompt_tokens: int
    patience_s: float


_NEEDS = {
    # long answers and an occasional page of text
    "general": Need(30.0, 2048, 10.0),
    # read as it is written; the answer should begin soon
    "chat": Need(20.0, 2048, 5.0),
    # agents read files again and again and write more than anybody reads
    "coding": Need(40.0, 8192, 20.0),
    # thousands of tokens of thought come before the answer
    "reasoning": Need(THINKING_TOK_S, 2048, 10.0),
    # an image is a prompt of about a thousand tokens
    "vision": Need(30.0, 2048, 10.0),
    # the prompt is the work
    "long-context": Need(20.0, 32768, 120.0),
}


def need_of(use_case: str) -> Need:
    """What a use asks for; an unknown use asks for what general use does."""
    return _NEEDS.get(use_case, _NEEDS["general"])


def thinking_need(need: Need) -> Need:
    """What the same use asks of a model that thinks first."""
    return replace(need, quick_tok_s=max(need.quick_tok_s, THINKING_TOK_S))
