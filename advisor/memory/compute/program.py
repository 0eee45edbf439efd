"""A graph's memory events for any context length, from the events at two lengths.

With everything else fixed, every tensor's size is a linear function of the cells of the full cache, and the
order of events does not depend on them. So after two graphs only the allocator has to run.
"""

from __future__ import annotations

from collections.abc import Callable

from llmfit.advisor.memory.compute.allocator import Event, highest_bytes

Trace = list[Event]


class MemoryProgram:
    """The events of one structure. ``trace`` builds the graph for a number of cells."""

    __slots__ = ("_known", "_linear", "_n_gpus", "_trace")

    def __init__(self, n_gpus: int, trace: Callable[[int], Trace]) -> None:
        self._n_gpus = n_gpus
        self._trace = trace
        self._known: dict[int, Trace] = {}
        self._linear: list[tuple[int, int, int, int, int]] | None = None

    def buffer_bytes(self, cells: int) -> tuple[int, ...]:
        """Bytes of each GPU's buffer and of the host's at this many cells."""
        if self._linear is None and cells not in self._known:
            self._known[cells] = self._trace(cells)
            if len(self._known) == 2:
                self._linear = _line(*self._known.items())
            elif len(self._known) > 2:
                del self._known[next(iter(self._known))]
        if self._linear is not None:
            events = [
                (buffer, taken, inside, base + slope * cells)
                for buffer, taken, inside, base, slope in self._linear
            ]
        else:
            events = self._known[cells]
        return highest_bytes(events, self._n_gpus)


def _line(first: tuple[int, Trace], second: tuple[int, Trace]) -> list[tuple[int, int, int, int, int]] | None:
    """Each event with its size as base + slope × cells; None where the traces differ in more than sizes."""
    (cells, one), (more_cells, other) = first, second
    if len(one) != len(other):
        return None
    found = []
    for a, b in zip(one, other, strict=True):
        slope, rest = divmod(b[3] - a[3], more_cells - cells)
        if a[:3] != b[:3] or rest:
            return None
        found.append((*a[:3], a[3] - slope * cells, slope))
    return found
