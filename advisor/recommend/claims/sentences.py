"""What of a claim stands in its sentence alone: how it is meant, and the one about two cards' bandwidth."""

from __future__ import annotations

import re

MAX_SENTENCE_CHARACTERS = 1000
_SPECULATION = re.compile(
    r"\b(?:MTP|speculat\w+|EAGLE\w*|draft(?:ing|ed)?(?: model| tokens)?)\b", re.IGNORECASE
)
_NOT_SPECULATION = re.compile(r"\b(?:without|no|not using)\s+(?:MTP|speculat\w+|drafting)\b", re.IGNORECASE)
_TENSOR_PARALLEL = re.compile(
    r"\btensor[- ]parallel\w*|\btensor[- ]split\b|-sm (?:tensor|row)\b|\bsplit[- ]mode (?:tensor|row)\b"
    r"|\bTP ?= ?\d|\bvLLM\b|\bexllama\w*",
    re.IGNORECASE,
)
_BUDGET = re.compile(
    r"\b(?:fits?|fitting|squeezes?|stays?|runs?|held)\b[^.]{0,40}?"
    r"\b(?:in(?:to|side)?|within|under|below)\b[^.]{0,12}?\d",
    re.IGNORECASE,
)
_NUMBER_WORDS = {"twice": 2.0, "double": 2.0, "half": 0.5, "three times": 3.0}
_RATIO = re.compile(
    r"^\s*(?:(?:the|an?|one)\s+)?(?P<one>[^,;]{2,60}?)\s+(?:has|offers|delivers|provides|gives)\s+"
    r"(?:about |around |roughly |~ ?|exactly )?"
    r"(?:(?P<number>\d{1,4}(?:\.\d{1,4})?)\s*(?:x|×|times|-fold)|(?P<word>twice|double|half|three times))"
    r"\s+(?:the\s+)?(?:memory\s+|VRAM\s+)?bandwidth\s+(?:of|over)\s+(?:(?:the|an?|one)\s+)?"
    r"(?P<other>[^,;]{2,60}?)\s*\.?\s*$",
    re.IGNORECASE,
)


def names_speculation(text: str) -> bool:
    """Whether a speed is said to be with drafted tokens."""
    return _SPECULATION.search(text) is not None and _NOT_SPECULATION.search(text) is None


def names_tensor_parallel(text: str) -> bool:
    """Whether a speed is said to be with all cards on every layer, or with an engine that works so."""
    return _TENSOR_PARALLEL.search(text) is not None


def names_a_budget(text: str) -> bool:
    """``might fit in ~32 GB``, ``runs in 24 GB``: the figure is what it fits in, not what it uses."""
    return _BUDGET.search(text) is not None


def bandwidth_sentence(text: str) -> tuple[str, str, float] | None:
    """(card, other card, times) of ``The RTX 5090 has 1.78x the bandwidth of an RTX 3090``; None for another
    sentence."""
    match = _RATIO.match(text) if len(text) <= MAX_SENTENCE_CHARACTERS else None
    if match is None:
        return None
    times = float(match["number"]) if match["number"] else _NUMBER_WORDS[match["word"].lower()]
    return match["one"].strip(), match["other"].strip(), times
