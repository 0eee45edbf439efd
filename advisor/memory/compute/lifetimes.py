"""When each tensor of a graph takes and gives back memory (ggml_gallocr_alloc_graph_impl, ggml-alloc.c).

Where in the buffer it lies is the allocator's business; the order of events does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.memory.compute.allocator import GPU_ALIGNMENT_BYTES, HOST_ALIGNMENT_BYTES, Event
from llmfit.advisor.memory.compute.tensor import NOWHERE, Tensor, is_quantized, row_bytes
from llmfit.advisor.units import pad

GPU_ROW_ELEMENTS = 512
"""MATRIX_ROW_PADDING (ggml-cuda.cu): a quantised tensor's last row is padded to a multiple of it."""
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


def allocated_bytes(tensor: Tensor, on_gpu: bool) -> int:
    """What a buffer type asks for the tensor (get_alloc_size of CUDA and of the CPU)."""
    if not on_gpu:
        return tensor.n_bytes
    n_bytes = tensor.n_bytes + tensor.scratch_bytes
    if is_quantized(tensor.kind) and tensor.ne[0] % GPU_ROW_ELEMENTS:
        n_bytes += row_bytes(tensor.kind, GPU_ROW_ELEMENTS - tensor.ne[0] % GPU_ROW_ELEMENTS)
    return n_bytes


class Lifetimes:
    """Buffers 0 … n_gpus - 1 are the GPUs', the last is the host's."""

    def __init__(self, n_gpus: int) -> None:
        self.n_gpus = n_gpus
        self.events: list[Event] = []
        self._taken = 0

    def run(self, nodes: Sequence[tuple[Tensor, int]], leafs: Sequence[Tensor]) -> list[Event]:
        """``nodes`` in order, each with the buffer it is placed in; ``leafs`` come before all of them."""
        for leaf in leafs:
            self._place(leaf, leaf.backend)
        self._count_uses(nodes)
        for node, buffer in nodes:
            for parent in node.src:
                if not parent.allocated and parent.home == NOWHERE and parent.view is None:
                    self._place(parent, buffer)
            if node.view is None:
                self._place(node, buffer)
            for parent in node.src:
                parent.children -= 1
                if not parent.children and not parent.views:
                    self._release(parent)
        return self.events

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
        node.taken = self._taken
        self._taken += 1
        self.events.append((buffer, -1, 0, allocated_bytes(node, buffer < self.n_gpus)))

    def _reuse_parent(self, node: Tensor) -> bool:
        """Overwrites an operand that nothing else needs; a view owns no memory, so never a view."""
        for parent in node.src:
            if not parent.allocated or parent.is_output or parent.children != 1 or parent.views:
                continue
            if parent.kind != node.kind or parent.ne != node.ne or parent.nb != node.nb:
                continue
            node.buffer = parent.buffer
            node.taken = parent.taken
            parent.allocated = False
            if parent.scratch_bytes or is_quantized(parent.kind):
                self._give_excess(node, parent)
            return True
        return False

    def _give_excess(self, node: Tensor, parent: Tensor) -> None:
        """Returns what the parent had beyond the node's size (ggml_gallocr_free_extra_space)."""
        on_gpu = parent.buffer < self.n_gpus
        kept = pad(allocated_bytes(node, on_gpu), GPU_ALIGNMENT_BYTES if on_gpu else HOST_ALIGNMENT_BYTES)
        excess = allocated_bytes(parent, on_gpu) - kept
        if excess > 0:
            self.events.append((parent.buffer, parent.taken, kept, excess))

    def _release(self, unused: Tensor) -> None:
        """Gives back what nothing uses any more: the tensor's own memory, or that of the one it views."""
        owner = unused
        if unused.view is not None:
            owner = unused.view
            owner.views -= 1
            if owner.views or owner.children:
                return
        if owner.allocated and not owner.is_output:
            owner.allocated = False
            n_bytes = allocated_bytes(owner, owner.buffer < self.n_gpus)
            self.events.append((owner.buffer, owner.taken, 0, n_bytes))
