"""ggml's graph allocator: which bytes of a buffer each tensor of a graph gets (ggml/src/ggml-alloc.c)."""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.memory.compute.tensor import NOWHERE, Tensor, is_quantized, row_bytes

GPU_ALIGNMENT_BYTES = 128
"""ggml_backend_cuda_buffer_type_get_alignment."""
HOST_ALIGNMENT_BYTES = 32
"""TENSOR_ALIGNMENT (ggml/src/ggml-impl.h)."""
GPU_ROW_ELEMENTS = 512
"""MATRIX_ROW_PADDING (ggml-cuda.cu): a quantised tensor's last row is padded to a multiple of it."""
_ENDLESS = 1 << 62
_IN_PLACE = frozenset(
    (
        "add",
        "add_id",
        "sub",
        "mul",
        "div",
        "sqr",
        "sqrt",
        "scale",
        "unary",
        "rope",
        "rms_norm",
        "clamp",
        "soft_max",
        "fill",
    )
)
"""ggml_op_can_inplace, as far as our graphs go."""


class FreeList:
    """The best-fit allocator of one buffer (struct ggml_dyn_tallocr with one chunk)."""

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
        best_at = len(blocks) - 1
        best_size = _ENDLESS
        for at in range(len(blocks) - 1):
            room = blocks[at][1]
            if size <= room <= best_size:
                best, best_at, best_size = blocks[at], at, room
        offset = best[0]
        best[0] = offset + size
        best[1] -= size
        if best[1] == 0:
            del blocks[best_at]
        self.max_bytes = max(self.max_bytes, offset + size)
        return offset

    def give(self, offset: int, n_bytes: int) -> None:
        """Frees what ``take`` gave, merging with the holes beside it.

        Empty tensors may leave the list unsorted for a while; the search must then go on as ggml's does.
        """
        size = -(-n_bytes // self.alignment) * self.alignment
        end = offset + size
        blocks = self.blocks
        at = 0
        for block in blocks:
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
            at += 1
        at = 0
        while at < len(blocks) and blocks[at][0] < offset:
            at += 1
        blocks.insert(at, [offset, size])


def allocated_bytes(tensor: Tensor, on_gpu: bool) -> int:
    """What a buffer type asks for the tensor (get_alloc_size of CUDA and of the CPU)."""
    if not on_gpu:
        return tensor.n_bytes
    n_bytes = tensor.n_bytes + tensor.scratch_bytes
    if is_quantized(tensor.kind) and tensor.ne[0] % GPU_ROW_ELEMENTS:
        n_bytes += row_bytes(tensor.kind, GPU_ROW_ELEMENTS - tensor.ne[0] % GPU_ROW_ELEMENTS)
    return n_bytes


class GraphAllocator:
    """Replays ggml_gallocr_alloc_graph_impl. Buffers 0 … n_gpus - 1 are the GPUs', the last is the host's."""

    def __init__(self, n_gpus: int) -> None:
        self.n_gpus = n_gpus
        self.lists = [FreeList(GPU_ALIGNMENT_BYTES) for _ in range(n_gpus)] + [FreeList(HOST_ALIGNMENT_BYTES)]

    def run(self, nodes: Sequence[tuple[Tensor, int]], leafs: Sequence[Tensor]) -> tuple[int, ...]:
        """The most bytes each buffer ever held. ``nodes`` in order, each with the buffer it is placed in."""
        for leaf in leafs:
            self._place(leaf, leaf.backend)
        self._count_uses(nodes)
        for node, buffer in nodes:
            for parent in node.src:
                if not parent.allocated:
                    self._place(parent, buffer)
            self._place(node, buffer)
            for parent in node.src:
                self._release(parent)
        return tuple(one.max_bytes for one in self.lists)

    def _count_uses(self, nodes: Sequence[tuple[Tensor, int]]) -> None:
        for node, buffer in nodes:
            if node.view is not None and node.op:
                node.view.views += 1
            if node.is_input:
                self._place(node, buffer)
            for parent in node.src:
                parent.children += 1
                if parent.is_input:
                    self._place(parent, buffer)

    def _place(self, node: Tensor, buffer: int) -> None:
        if node.allocated or node.home != NOWHERE or node.view is not None:
            return
        node.allocated = True
        if node.op in _IN_PLACE and self._reuse_parent(node):
            return
        node.buffer = buffer
        node.offset = self.lists[buffer].take(allocated_bytes(node, buffer < self.n_gpus))

    def _reuse_parent(self, node: Tensor) -> bool:
        """Overwrites an operand that nothing else needs. A view never owns memory, so it is never overwritten."""
        for parent in node.src:
            if not parent.allocated or parent.is_output or parent.children != 1 or parent.views:
                continue
            if parent.kind != node.kind or parent.ne != node.ne or parent.nb != node.nb:
                continue
            node.buffer = parent.buffer
            node.offset = parent.offset
            parent.allocated = False
            if parent.scratch_bytes or is_quantized(parent.kind):
                self._give_excess(node, parent)
            return True
        return False

    def _give_excess(self, node: Tensor, parent: Tensor) -> None:
        """Returns what the parent had beyond the node's size (ggml_gallocr_free_extra_space)."""
        free = self.lists[parent.buffer]
        on_gpu = parent.buffer < self.n_gpus
        kept = -(-allocated_bytes(node, on_gpu) // free.alignment) * free.alignment
        excess = allocated_bytes(parent, on_gpu) - kept
        if excess > 0:
            free.give(parent.offset + kept, excess)

    def _release(self, parent: Tensor) -> None:
        parent.children -= 1
        if parent.children or parent.views:
            return
        owner = parent
        if parent.view is not None:
            owner = parent.view
            owner.views -= 1
            if owner.views or owner.children:
                return
        if owner.allocated and not owner.is_output:
            owner.allocated = False
            self.lists[owner.buffer].give(owner.offset, allocated_bytes(owner, owner.buffer < self.n_gpus))
