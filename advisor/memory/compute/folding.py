"""Which layers of a model need to be replayed: runs that repeat add nothing to a peak.

After a few equal layers the allocator is back in a state it has been in, so every further one would only
repeat it. Kept are the first and the last few of any repetition, of single layers or of patterns of layers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

KEPT_REPEATS = 6
"""With 4 every row of the oracle comes out as without folding, with 6 every smaller model tried, too."""


def representative_layers(signatures: Sequence[Hashable]) -> tuple[int, ...]:
    """Positions to keep, in order. Layers with equal signatures do the same on the same devices."""
    numbers: dict[Hashable, int] = {}
    kept = [(numbers.setdefault(one, len(numbers)), at) for at, one in enumerate(signatures)]
    length = 1
    while (KEPT_REPEATS + 1) * length <= len(kept):
        kept = _drop_repeats(kept, length)
        length += 1
    return tuple(at for _, at in kept)


def _drop_repeats(kept: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Of each run of equal blocks of ``length`` layers, all but the first and the last."""
    at = 0
    span = KEPT_REPEATS * length
    while at + span + length <= len(kept):
        window = [number for number, _ in kept[at : at + span + length]]
        if window[length:] == window[:-length]:
            del kept[at + length : at + 2 * length]
        else:
            at += 1
    return kept
