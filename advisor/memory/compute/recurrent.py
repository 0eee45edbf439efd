"""Recurrent state: how a graph reads and writes it (build_rs), and the layers that need little more."""

from __future__ import annotations

from collections.abc import Callable

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.tensor import Tensor, dims
from llmfit.advisor.model.shape import StateShape

RowReader = Callable[[Tensor, Tensor], Tensor]
"""Makes a tensor from all states and the rows of this batch (llm_graph_get_rows_fn)."""


class Recurrence:
    """The recurrent states of one graph; every sequence slot has a row."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.b = builder
        state = builder.shape.state
        if state is None:
            raise ValueError(f"{builder.shape.architecture} keeps no recurrent state")
        self.state: StateShape = state
        self.n_slots = builder.batch.n_seqs
        self.n_seqs = builder.batch.n_seqs
        self.n_seq_tokens = builder.n_tokens // builder.batch.n_seqs
        self.snapshots = builder.cache.state_copies
        self.rows = builder.input("I32", self.n_slots)
        self._main = ops.view(self.rows, (self.n_seqs,))
        self._tail = ops.view(self.rows, (self.n_slots - 1,))

    def _store(self, layer: int, width: int) -> Tensor:
        store = Tensor("F32", dims(width, self.n_slots * self.snapshots))
        store.home = self.b.layout.cache_backend(layer, self.b.cache.offload)
        return store

    def conv_store(self, layer: int) -> Tensor:
        return self._store(layer, self.state.conv_elements)

    def scan_store(self, layer: int) -> Tensor:
        return self._store(layer, self.state.state_elements)

    def load(self, store: Tensor, reader: RowReader | None = None) -> Tensor:
        """build_rs: the states of this batch; a ``reader`` takes them where they lie, ungathered."""
        b, width = self.b, store.ne[0]
        states = ops.reshape(store, width, store.ne[1])
        b.expand(_in_place_scale(ops.view(states, (width,))))
        gathered = ops.get_rows(states, self._tail if reader else self.rows)
        out = (
            reader(states, self._main) if reader else ops.view(gathered, (width, self.n_seqs), gathered.nb[1])
        )
        b.expand(out)
        n_extra = self.n_slots - self.n_seqs
        extra = ops.view(gathered, (width, n_extra), gathered.nb[1])
        b.expand(ops.copy_to(extra, ops.view(store, (width, n_extra), store.nb[1])))
        return out

    def save(self, value: Tensor, store: Tensor, *ne: int) -> None:
        """Writes ``value`` into rows of the store; ``ne`` is the shape both sides are seen in."""
        self.b.expand(ops.copy_to(value, ops.view(store, ne, *[store.nb[1]] * (len(ne) - 1))))

    def save_window(self, joined: Tensor, store: Tensor, kernel: int, channels: int) -> None:
        """Keeps the last columns of a convolution's input, once for each rollback snapshot."""
        n = min(self.n_seq_tokens, self.snapshots) if self.snapshots > 1 else 1
        for _ in range(n):
            last = ops.view(joined, (kernel - 1, channels, self.n_seqs), joined.nb[1], joined.nb[2])
            self.save(last, store, (kernel - 1) * channels, self.n_seqs)

    def sequences(self, x: Tensor) -> Tensor:
        """Tokens split by sequence."""
        return ops.reshape(x, x.ne[0], self.n_seq_tokens, self.n_seqs)


def _in_place_scale(view: Tensor) -> Tensor:
    out = ops.view(view, view.ne[:1])
    out.op = "scale"
    return out


def short_convolution(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    """lfm2: a gated convolution over a few tokens (src/models/lfm2.cpp)."""
    b = r.b
    n, seqs = r.n_seq_tokens, r.n_seqs
    kernel = b.need(f"blk.{layer}.shortconv.conv.weight")
    bcx = ops.mul_mat(b.need(f"blk.{layer}.shortconv.in_proj.weight"), r.sequences(x))
    width = bcx.ne[0] // 3
    gate_in, gate_out, value = (ops.view(bcx, (width, n, seqs), *bcx.nb[1:3]) for _ in range(3))
    bx = ops.transpose(ops.mul(gate_in, value))
    store = r.conv_store(layer)
    state = ops.reshape(r.load(store), kernel.ne[0] - 1, b.shape.n_embd, seqs)
    joined = ops.concat(state, bx, 0)
    r.save_window(joined, store, kernel.ne[0], joined.ne[1])
    out = ops.mul(gate_out, ops.ssm_conv(joined, kernel))
    out = ops.mul_mat(b.need(f"blk.{layer}.shortconv.out_proj.weight"), out)
    return ops.reshape(out, out.ne[0], n * seqs)
