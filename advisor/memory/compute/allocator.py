"""ggml's best-fit allocator of one buffer, fed with a list of takes and gives (ggml/src/ggml-alloc.c).

Every size may grow with the context: it is a line, so many bytes at the step in question and so many more
for each further step. The allocator decides at that step and notes for which other steps it would decide
likewise, so that one run answers for all of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

GPU_ALIGNMENT_BYTES = 128
"""ggml_backend_cuda_buffer_type_get_alignment."""
HOST_ALIGNMENT_BYTES = 32
"""TENSOR_ALIGNMENT (ggml/src/ggml-impl.h)."""
_ENDLESS = 1 << 200

Event = tuple[int, int, int, int]
"""Take: (buffer, -1, 0, bytes). Give: (buffer, take, offset in it, bytes); takes are numbered in order."""
Line = tuple[int, int]
"""Bytes, and how many more a step."""
LineEvent = tuple[int, Line, Line]
"""An event of one buffer: (take or -1, offset in it, bytes)."""


class FreeList:
    """The holes of one buffer (struct ggml_dyn_tallocr with one chunk).

    Growth is bytes a step, a multiple of ``alignment``. ``below`` and ``above`` say how many steps down and
    up the same decisions are made.
    """

    __slots__ = ("above", "alignment", "below", "blocks", "max_bytes", "max_growth")

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.blocks: list[list[int]] = [[0, _ENDLESS, 0, 0]]
        """Offset, size, and the growth of each; the last one is the open end."""
        self.max_bytes = 0
        self.max_growth = 0
        self.below = self.above = _ENDLESS

    def take(self, n_bytes: int) -> int:
        """The offset of ``n_bytes``; the open end of the buffer is used only where no hole fits."""
        return self.take_line(n_bytes, 0)[0]

    def give(self, offset: int, n_bytes: int) -> None:
        """Frees what ``take`` gave."""
        self.give_line(offset, 0, n_bytes, 0)

    def take_line(self, n_bytes: int, growth: int) -> tuple[int, int]:
        """``take`` of bytes that grow, as offset and its growth."""
        size = -(-n_bytes // self.alignment) * self.alignment
        blocks = self.blocks
        best = open_end = blocks[-1]
        best_size = _ENDLESS
        for block in blocks:
            room = block[1]
            if block is open_end:
                break
            if block[3] != growth:
                self._hold(room - size, block[3] - growth)
            if size <= room:
                if best_size != _ENDLESS and block[3] != best[3]:
                    self._hold(best_size - room, best[3] - block[3])
                if room <= best_size:
                    best, best_size = block, room
        offset, offset_growth = best[0], best[2]
        end, end_growth = offset + size, offset_growth + growth
        best[0] = end
        best[1] -= size
        best[2] = end_growth
        best[3] -= growth
        if best[1] == 0:
            blocks.remove(best)
        if end_growth != self.max_growth:
            self._hold(end - self.max_bytes, end_growth - self.max_growth)
        if end > self.max_bytes:
            self.max_bytes, self.max_growth = end, end_growth
        return offset, offset_growth

    def give_line(self, offset: int, offset_growth: int, n_bytes: int, growth: int) -> None:
        """Frees what ``take_line`` gave, merging with the holes beside it.

        Empty tensors may leave the list unsorted for a while; the search must then go on as ggml's does.
        """
        size = -(-n_bytes // self.alignment) * self.alignment
        end, end_growth = offset + size, offset_growth + growth
        blocks = self.blocks
        open_end = blocks[-1]
        for block in blocks:
            start, room, start_growth, room_growth = block
            if block is not open_end:
                if offset_growth != start_growth + room_growth:
                    self._hold(offset - start - room, offset_growth - start_growth - room_growth)
                if offset == start + room:
                    block[1] += size
                    block[3] += growth
                    self._close(blocks.index(block))
                    return
            if end_growth != start_growth:
                self._hold(end - start, end_growth - start_growth)
            if end == start:
                block[0], block[2] = offset, offset_growth
                block[1] += size
                block[3] += growth
                return
        at = 0
        while at < len(blocks) and blocks[at][0] < offset:
            at += 1
        blocks.insert(at, [offset, size, offset_growth, growth])

    def _close(self, at: int) -> None:
        """Joins a hole that grew with the next one where nothing is left between them."""
        block, following = self.blocks[at : at + 2]
        end, end_growth = block[0] + block[1], block[2] + block[3]
        if end_growth != following[2]:
            self._hold(end - following[0], end_growth - following[2])
        if end == following[0]:
            block[1] += following[1]
            block[3] += following[3]
            del self.blocks[at + 1]

    def _hold(self, difference: int, growth: int) -> None:
        """Notes up to which steps a difference that was looked at keeps its sign."""
        if difference == 0:
            self.below = self.above = 0
            return
        n_steps = (abs(difference) - 1) // abs(growth)
        if (difference > 0) == (growth > 0):
            self.below = min(self.below, n_steps)
        else:
            self.above = min(self.above, n_steps)


class Tape:
    """The events of one buffer as small numbers: a few bytes an event, as there are thousands.

    Below 0: the give of all that take ~number took. From 0: a take of one of the ``sizes``. Beyond these: a
    give of a part.
    """

    __slots__ = ("codes", "parts", "sizes")

    def __init__(self, events: Iterable[LineEvent]) -> None:
        events = list(events)
        numbers: dict[Line, int] = {}
        for taken, _, size in events:
            if taken < 0:
                numbers.setdefault(size, len(numbers))
        self.sizes = tuple(numbers)
        self.parts: list[LineEvent] = []
        self.codes = array("i")
        takes: list[Line] = []
        for event in events:
            taken, inside, size = event
            if taken < 0:
                takes.append(size)
                self.codes.append(numbers[size])
            elif inside == (0, 0) and size == takes[taken]:
                self.codes.append(~taken)
            else:
                self.codes.append(len(numbers) + len(self.parts))
                self.parts.append(event)

    def replay(self, free: FreeList, step: int = 0) -> None:
        """Lets the events happen at a step."""
        sizes = [(n_bytes + growth * step, growth) for n_bytes, growth in self.sizes]
        n_sizes = len(sizes)
        places: list[tuple[int, int, int, int]] = []
        take, give = free.take_line, free.give_line
        for code in self.codes:
            if code < 0:
                give(*places[~code])
            elif code < n_sizes:
                size = sizes[code]
                places.append((*take(*size), *size))
            else:
                taken, (inside, inside_growth), (n_bytes, growth) = self.parts[code - n_sizes]
                offset, offset_growth = places[taken][:2]
                offset += inside + inside_growth * step
                give(offset, offset_growth + inside_growth, n_bytes + growth * step, growth)


def highest_bytes(events: Iterable[Event], n_gpus: int) -> tuple[int, ...]:
    """The most bytes each buffer ever needs: one a GPU, the host's last."""
    lists = free_lists(n_gpus)
    for free, own in zip(lists, by_buffer(events, n_gpus, lambda n_bytes: (n_bytes, 0)), strict=True):
        Tape(own).replay(free)
    return tuple(free.max_bytes for free in lists)


def free_lists(n_gpus: int) -> list[FreeList]:
    return [FreeList(GPU_ALIGNMENT_BYTES) for _ in range(n_gpus)] + [FreeList(HOST_ALIGNMENT_BYTES)]


def by_buffer(events: Iterable[Event], n_gpus: int, line: Callable[[int], Line]) -> list[list[LineEvent]]:
    """The events of each buffer with bytes as lines, their takes numbered anew: buffers do not mix."""
    found: list[list[LineEvent]] = [[] for _ in range(n_gpus + 1)]
    n_takes = [0] * (n_gpus + 1)
    numbers: list[int] = []
    for buffer, taken, inside, n_bytes in events:
        if taken < 0:
            numbers.append(n_takes[buffer])
            n_takes[buffer] += 1
        found[buffer].append((numbers[taken] if taken >= 0 else -1, line(inside), line(n_bytes)))
    return found
