"""ggml's scheduler: which backend runs each operation, where the graph is split and what is copied across.

Backends 0 … n_gpus - 1 are the GPUs, n_gpus is the CPU. Follows ggml_backend_sched_split_graph and
ggml_backend_sched_backend_id_from_cur (ggml/src/ggml-backend.cpp).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmfit.advisor.memory.compute.allocator import Event
from llmfit.advisor.memory.compute.devices import (
    flash_attn_scratch_bytes,
    supports_op,
    wants_offload,
)
from llmfit.advisor.memory.compute.lifetimes import Lifetimes
from llmfit.advisor.memory.compute.tensor import NOWHERE, VIEW_OPS, Tensor, duplicate

PIPELINE_COPIES = 4
"""GGML_SCHED_MAX_COPIES: copies of every input where several GPUs work on successive batches."""


class Scheduler:
    def __init__(self, n_gpus: int, *, op_offload: bool, pipeline: bool) -> None:
        self.n_gpus = n_gpus
        self.cpu = n_gpus
        self.op_offload = op_offload
        self.n_copies = PIPELINE_COPIES if pipeline else 1
        self.returns_to_cpu = False
        """After ``run``: the CPU computes in between, so every such place costs copies of its own."""
        self.copies_stored = False
        """After ``run``: parts of a cache or of a recurrent state are copied to another device."""

    def run(self, nodes: Sequence[Tensor], leafs: Sequence[Tensor]) -> list[Event]:
        """The memory events of this graph (ggml_backend_sched_reserve_size)."""
        self._assign_pinned(nodes, leafs)
        self._expand(nodes)
        self._assign_rest(nodes)
        self._assign_sources(nodes)
        splits = self._split(nodes)
        self._note_scratch(nodes)
        self.returns_to_cpu = any(split[0] == self.cpu for split in splits[1:])
        early = self._copy_graph_inputs(leafs) if self.n_copies > 1 else []
        order: list[tuple[Tensor, int]] = []
        for backend, copied, members in splits:
            for source in copied:
                copies = (source.copies or {})[backend]
                order.append((self._dependency(source), source.backend))
                order.append((copies[0], backend))
                if self.n_copies > 1:
                    early += copies
            order += [(node, node.backend) for node in members]
        return Lifetimes(self.n_gpus).run(order, [*early, *leafs])

    def _supports(self, backend: int, node: Tensor) -> bool:
        return backend == self.cpu or supports_op(backend, self.n_gpus, node)

    def _home_backend(self, tensor: Tensor, op: Tensor) -> int:
        """The backend of the buffer that holds ``tensor``, where it can run ``op``."""
        home = tensor.root.home
        if home != NOWHERE and self._supports(home, op):
            return home
        return NOWHERE

    def _pinned(self, node: Tensor) -> int:
        owner = node.view or node
        if owner.home != NOWHERE:
            return self._home_backend(node, node)
        if node.is_input:
            return self.cpu
        if node.op in ("rope", "flash_attn"):
            return NOWHERE
        for source in node.src:
            if source.is_weight:
                return self._backend_of_weight(source, node)
        return NOWHERE

    def _backend_of_weight(self, weight: Tensor, node: Tensor) -> int:
        """Where a weight lies, unless a GPU takes the work off the CPU's hands."""
        backend = self._home_backend(weight, node)
        if self.op_offload and backend == self.cpu and wants_offload(node):
            for gpu in range(self.n_gpus):
                if supports_op(gpu, self.n_gpus, node):
                    return gpu
        return backend

    def _assign_pinned(self, nodes: Sequence[Tensor], leafs: Sequence[Tensor]) -> None:
        for tensor in (*leafs, *nodes):
            if tensor.backend == NOWHERE:
                tensor.backend = self._pinned(tensor)

    def _expand(self, nodes: Sequence[Tensor]) -> None:
        """Neighbours join the backend beside them: first the GPUs' down and up, then any."""
        work = [node for node in nodes if node.op not in VIEW_OPS]
        if all(node.backend != NOWHERE for node in work):
            return
        for skip_cpu in (True, False):
            self._sweep(work, skip_cpu)
            self._sweep(reversed(work), skip_cpu)

    def _sweep(self, work: Iterable[Tensor], skip_cpu: bool) -> None:
        current = NOWHERE
        for node in work:
            if node.backend != NOWHERE:
                current = NOWHERE if skip_cpu and node.backend == self.cpu else node.backend
            elif current != NOWHERE and self._supports(current, node):
                node.backend = current

    def _assign_rest(self, nodes: Sequence[Tensor]) -> None:
        """What no neighbour could take goes to the backend that reaches most of its operands."""
        for node in nodes:
            if node.backend != NOWHERE or node.op in VIEW_OPS:
                continue
            best = -1
            for backend in range(self.n_gpus + 1):
                if not self._supports(backend, node):
                    continue
                known = sum(
                    (source.backend != NOWHERE or source.root.backend != NOWHERE)
                    and self._reaches(source, backend)
                    for source in node.src
                )
                if known > best:
                    best = known
                    node.backend = backend

    def _assign_sources(self, nodes: Sequence[Tensor]) -> None:
        for node in nodes:
            if node.view is not None and node.backend == NOWHERE:
                node.backend = node.view.backend
            for source in node.src:
                if source.backend == NOWHERE:
                    source.backend = node.backend if source.view is None else source.view.backend
            if node.backend == NOWHERE:
                node.backend = next(b for b in range(self.n_gpus + 1) if self._supports(b, node))

    @staticmethod
    def _reaches(tensor: Tensor, backend: int) -> bool:
        """``backend`` can read the buffer ``tensor`` lies in or will lie in."""
        owner = tensor.view or tensor
        home = owner.home
        if home == NOWHERE:
            home = tensor.backend if tensor.backend != NOWHERE else owner.backend
        return home == backend

    def _split(self, nodes: Sequence[Tensor]) -> list[tuple[int, list[Tensor], list[Tensor]]]:
        """Runs of one backend: its number, the tensors copied to it at the start, its nodes.

        A weight of another backend starts a new run, so that the copies of the earlier ones can go.
        """
        first = next((node.backend for node in nodes if node.op not in VIEW_OPS), self.cpu)
        backend = first
        copied: list[Tensor] = []
        members: list[Tensor] = []
        splits: list[tuple[int, list[Tensor], list[Tensor]]] = [(backend, copied, members)]
        for node in nodes:
            if node.op not in VIEW_OPS:
                mine, staged, elsewhere = node.backend, False, False
                for source in node.src:
                    if source.backend != mine and not self._reaches(source, mine):
                        elsewhere = True
                        staged = staged or source.is_weight
                if mine != backend or (staged and copied):
                    backend, copied, members = mine, [], []
                    splits.append((backend, copied, members))
                if elsewhere:
                    self._copy_sources(node, backend, copied)
            members.append(node)
        return splits

    def _note_scratch(self, nodes: Sequence[Tensor]) -> None:
        """What flash attention takes beside its result depends on what it reads: caches or copies of them."""
        for node in nodes:
            if node.op == "flash_attn" and node.backend != self.cpu:
                node.scratch_bytes = flash_attn_scratch_bytes(node)

    def _copy_sources(self, node: Tensor, backend: int, copied: list[Tensor]) -> None:
        for at, source in enumerate(node.src):
            if source.backend == backend or self._reaches(source, backend):
                continue
            if source.copies is None:
                source.copies = {}
            if backend not in source.copies:
                source.copies[backend] = [self._new_copy(source, backend) for _ in range(self.n_copies)]
                copied.append(source)
            node.src[at] = source.copies[backend][0]

    def _new_copy(self, source: Tensor, backend: int) -> Tensor:
        owner = source.root
        self.copies_stored |= owner.home != NOWHERE and not owner.is_weight
        copy = duplicate(source)
        copy.backend = backend
        copy.is_input = copy.is_output = self.n_copies > 1
        return copy

    def _copy_graph_inputs(self, leafs: Sequence[Tensor]) -> list[Tensor]:
        """With pipeline parallelism every input exists once for each batch in flight."""
        found: list[Tensor] = []
        for leaf in leafs:
            if not leaf.is_input:
                continue
            leaf.is_output = True
            found.append(leaf)
            found += [self._new_copy(leaf, leaf.backend) for _ in range(self.n_copies - 1)]
        return found

    @staticmethod
    def _dependency(source: Tensor) -> Tensor:
        """A nameless view that keeps ``source`` alive until its copy is made."""
        node = Tensor(source.kind, source.ne, "", (source,))
        node.view = source.root
        return node
