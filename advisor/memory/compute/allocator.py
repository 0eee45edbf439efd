"""ggml's best-fit allocator of one buffer, fed with a list of takes and gives (ggml/src/ggml-alloc.c)."""

from __future__ import annotations

from collections.abc import Iterable

GPU_ALIGNMENT_BYTES = 128
"""ggml_backend_cuda_buffer_type_get_alignment."""
HOST_ALIGNMENT_BYTES = 32
"""TENSOR_ALIGNMENT (ggml/src/ggml-impl.h)."""
_ENDLESS = 1 << 62

Event = tuple[int, int, int, int]
"""Take: (buffer, -1, 0, bytes). Give: (buffer, take, offset in it, bytes); takes are numbered in order."""


class FreeList:
    """The holes of one buffer (struct ggml_dyn_tallocr with one chunk)."""

    __slots__ = ("alignment", "blocks", "max_bytes")

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.blocks: list[list[int]] = [[0, _ENDLESS]]
        self.max_bytes = 0

    def take(self, n_bytes: int) -> int:
        """The offset of ``n_bytes``; the open end of the buffer is used only where no hole fits."""
        size = -(-n_bytes // self.alignment) * self.alignment
        blocks = self.blocks
        best = blocks[-1]
        if len(blocks) > 1:
            best_size = _ENDLESS
            for block in blocks:
                room = block[1]
                if size <= room <= best_size and block is not blocks[-1]:
                    best, best_size = block, room
        offset = best[0]
        end = offset + size
        best[0] = end
        best[1] -= size
        if best[1] == 0:
            blocks.remove(best)
        if end > self.max_bytes:
            self.max_bytes = end
        return offset

    def give(self, offset: int, n_bytes: int) -> None:
        """Frees what ``take`` gave, merging with the holes beside it.

        Empty tensors may leave the list unsorted for a while; the search must then go on as ggml's does.
        """
        size = -(-n_bytes // self.alignment) * self.alignment
        end = offset + size
        blocks = self.blocks
        for at, block in enumerate(blocks):
            if block[0] + block[1] == offset:
                block[1] += size
                if at + 1 < len(blocks) and block[0] + block[1] == blocks[at + 1][0]:
                    block[1] += blocks.pop(at + 1)[1]
                return
            if end == block[0]:
                block[0] = offset
                block[1] += size
                if at and blocks[at - 1][0] + blocks[at - 1][1] == offset:
                    blocks[at - 1][1] += blocks.pop(at)[1]
                return
        at = 0
        while at < len(blocks) and blocks[at][0] < offset:
            at += 1
        blocks.insert(at, [offset, size])


def highest_bytes(events: Iterable[Event], n_gpus: int) -> tuple[int, ...]:
    """The most bytes each buffer ever needs: one a GPU, the host's last."""
    lists = [FreeList(GPU_ALIGNMENT_BYTES) for _ in range(n_gpus)] + [FreeList(HOST_ALIGNMENT_BYTES)]
    offsets: list[int] = []
    for buffer, taken, inside, n_bytes in events:
        if taken < 0:
            offsets.append(lists[buffer].take(n_bytes))
        else:
            lists[buffer].give(offsets[taken] + inside, n_bytes)
    return tuple(one.max_bytes for one in lists)
