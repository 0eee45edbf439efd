"""How sure a speed is: low and high as factors of the expected one, by what is known of its kind.

Four of five measurements lie inside, for models that the constants were fitted without; for cards of a
class that they were fitted without, the wider ones (tests/bench/speed_accuracy.py, tables "model left out"
and "device left out").
"""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.speed.efficiency import DECODE, ONE_USER_CLASSES, class_of
from llmfit.advisor.speed.host import host_range
from llmfit.advisor.speed.reads import DecodeReads

Range = tuple[float, float]

DEEP_TOKENS = 9000
ONE_CARD: Range = (0.79, 1.15)
ONE_CARD_EXPERTS: Range = (0.79, 1.30)
DEEP: Range = (0.79, 1.20)
SEVERAL_CARDS: Range = (0.69, 1.38)
NEW_CLASS: Range = (0.85, 1.10)
"""On top of the others, where nobody or one user alone measured a card of this class."""


def decode_range(reads: DecodeReads, gpus: Sequence[Gpu], depth_tokens: int) -> Range:
    """(low, high) as factors of the expected decode speed; ``gpus`` are those of ``reads.gpus``."""
    if reads.host.is_used:
        return host_range(reads)
    if len(gpus) > 1:
        low, high = SEVERAL_CARDS
    elif depth_tokens > DEEP_TOKENS:
        low, high = DEEP
    elif any(place.n_expert_layers for place in reads.gpus):
        low, high = ONE_CARD_EXPERTS
    else:
        low, high = ONE_CARD
    if all(is_known(gpu) for gpu in gpus):
        return low, high
    return low * NEW_CLASS[0], high * NEW_CLASS[1]


def is_known(gpu: Gpu) -> bool:
    """Whether several people measured cards of its class."""
    kind = class_of(gpu)
    return kind in DECODE.by_class and kind not in ONE_USER_CLASSES
