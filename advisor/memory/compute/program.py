"""A graph's memory for any context length, from one graph.

With everything else fixed, every tensor's size is a line over the cells of the full cache, and the order of
events does not depend on them. So the graph is built once, with a number of cells that stands for itself in
every size; what the allocator makes of the events is a line, too, up to the context at which it would decide
otherwise. The lines are found as they are asked for and kept: asking again is a sum and a product.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from llmfit.advisor.memory.compute.allocator import Event, FreeList, Line, Tape, by_buffer, free_lists
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS

ANY_CELLS = 1 << 120
"""More cells than any cache has: of a size, what is a multiple of it grows with the cells, the rest not."""
_HALF = ANY_CELLS >> 1
_LAST_STEP = 1 << 40
"""Beyond any context: a line that is good up to here is good for all."""
_MAX_ANSWERS = 256


class MemoryProgram:
    """The buffers of one graph for any number of cells, from its events with ANY_CELLS of them.

    ``fixed_cells``: the events are those of a graph with so many cells, and good for no other number.
    """

    __slots__ = ("_answers", "_buffers", "_fixed_cells")

    def __init__(self, n_gpus: int, events: Iterable[Event], fixed_cells: int = 0) -> None:
        self._fixed_cells = fixed_cells
        self._answers: dict[int, tuple[int, ...]] = {}
        line = cache(_line)
        self._buffers = [
            _Buffer(free.alignment, Tape(own))
            for own, free in zip(by_buffer(events, n_gpus, line), free_lists(n_gpus), strict=True)
        ]

    def buffer_bytes(self, cells: int) -> tuple[int, ...]:
        """Bytes of each GPU's buffer and of the host's at this many cells, a multiple of 256."""
        known = self._answers.get(cells)
        if known is None:
            step, rest = divmod(cells, CONTEXT_PADDING_TOKENS)
            if rest or (self._fixed_cells and cells != self._fixed_cells):
                raise ValueError(f"{cells} cells")
            known = tuple([buffer.highest_bytes(step) for buffer in self._buffers])
            if len(self._answers) == _MAX_ANSWERS:
                self._answers.clear()
            self._answers[cells] = known
        return known


def _line(n_bytes: int) -> Line:
    """What does not depend on the cells (less than 0 in a view, which ends before its last row does), and the
    growth a step."""
    growth, rest = divmod(n_bytes * CONTEXT_PADDING_TOKENS + _HALF, ANY_CELLS)
    return (rest - _HALF) // CONTEXT_PADDING_TOKENS, growth


_Span = tuple[int, int, int, int]
"""From a step to a step (both included): bytes at step 0, and their growth a step."""


class _Buffer:
    """One buffer's events, until they are known for every step, and what is known of it.

    Several threads may ask at once: what is known is replaced, never changed.
    """

    __slots__ = ("_alignment", "_events", "_known")

    def __init__(self, alignment: int, events: Tape) -> None:
        self._alignment = alignment
        self._events: Tape | None = events
        self._known: tuple[tuple[int, ...], tuple[_Span, ...]] = ((), ())

    def highest_bytes(self, step: int) -> int:
        events = self._events
        firsts, spans = self._known
        at = bisect_right(firsts, step) - 1
        span = spans[at] if at >= 0 and step <= spans[at][1] else None
        if span is None and events is not None:
            span = self._span(events, step)
        return span[2] + span[3] * step if span else 0  # without events every step has its span

    def _span(self, events: Tape, step: int) -> _Span:
        free = FreeList(self._alignment)
        events.replay(free, step)
        first, last = max(0, step - free.below), min(_LAST_STEP, step + free.above)
        found = (first, last, free.max_bytes - free.max_growth * step, free.max_growth)
        spans = sorted({*self._known[1], found})
        self._known = (tuple([span[0] for span in spans]), tuple(spans))
        holes = any(one[1] + 1 != other[0] for one, other in pairwise(spans))
        if spans[0][0] <= 1 and spans[-1][1] == _LAST_STEP and not holes:
            self._events = None
        return found
