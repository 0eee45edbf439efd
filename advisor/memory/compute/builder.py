"""The common parts of every graph: weights, inputs, norms, projections (llm_graph_context)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.tensor import Tensor, dims
from llmfit.advisor.model.shape import LayerKind, ModelShape


@dataclass(frozen=True, slots=True)
class PlacedWeight:
    """A weight as the graph sees it. ``backend``: the GPU's place in the launch; for RAM their number."""

    kind: str
    dims: tuple[int, ...]
    backend: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The worst batch llama.cpp reserves for (llama_context::graph_reserve)."""

    n_tokens: int
    n_seqs: int
    n_outputs: int


@dataclass(frozen=True, slots=True)
class CacheView:
    """What the graph sees of the KV cache and the recurrent state."""

    type_k: str
    type_v: str
    cells: int
    window_cells: int
    n_streams: int
    state_copies: int
    """1 + rollback snapshots (n_rs_seq)."""
    flash_attn: bool
    offload: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Which backend each layer and its cache belong to."""

    n_gpus: int
    layer_backend: tuple[int, ...]
    """One entry for each trunk layer."""

    def cache_backend(self, layer: int, offload: bool) -> int:
        return self.layer_backend[layer] if offload else self.n_gpus


class GraphBuilder:
    """Grows the graph. ``nodes`` and ``leafs`` are in llama.cpp's order (ggml_build_forward_expand)."""

    def __init__(
        self,
        shape: ModelShape,
        weights: Mapping[str, PlacedWeight],
        batch: Batch,
        cache: CacheView,
        layout: Layout,
    ) -> None:
        self.shape = shape
        self.batch = batch
        self.cache = cache
        self.layout = layout
        self.cpu = layout.n_gpus
        self.n_tokens = batch.n_tokens
        self.alibi = False
        self.score_passes = 0
        self.nodes: list[Tensor] = []
        self.leafs: list[Tensor] = []
        self._specs = weights
        self._weights: dict[str, Tensor | None] = {}

    # -- growing

    def expand(self, tensor: Tensor) -> Tensor:
        """Appends ``tensor`` after everything it needs, depth first."""
        if not tensor.seen:
            tensor.seen = True
            for source in tensor.src:
                if not source.seen:
                    self.expand(source)
            (self.nodes if tensor.op else self.leafs).append(tensor)
        return tensor

    def input(self, kind: str, *ne: int) -> Tensor:
        out = Tensor(kind, dims(*ne))
        out.is_input = True
        return out

    # -- weights

    def weight(self, name: str) -> Tensor | None:
        """The weight of that full name, or None where the model has none."""
        try:
            return self._weights[name]
        except KeyError:
            spec = self._specs.get(name)
        found = None if spec is None else _weight(spec.kind, spec.dims, spec.backend)
        self._weights[name] = found
        return found

    def weight_at(self, name: str, layer: int) -> Tensor | None:
        """The copy of a weight of no block on this layer's device (rope factors; TENSOR_DUPLICATED)."""
        backend = self.layout.layer_backend[layer]
        key = f"{name}@{backend}"
        if key not in self._weights:
            spec = self._specs.get(name)
            self._weights[key] = None if spec is None else _weight(spec.kind, spec.dims, backend)
        return self._weights[key]

    def need(self, name: str) -> Tensor:
        found = self.weight(name)
        if found is None:
            raise KeyError(name)
        return found

    def of(self, layer: int, name: str, suffix: str = "weight") -> Tensor | None:
        return self.weight(f"blk.{layer}.{name}.{suffix}" if suffix else f"blk.{layer}.{name}")

    # -- inputs

    def embedding(self, *, scaled: bool = False, scale_after: bool = False, mixed: bool = True) -> Tensor:
        """build_inp_embd. ``scaled``: a factor for each token (gemma3); ``scale_after``: one for all."""
        width = self.shape.n_embd * (1 + self.shape.n_deepstack)
        n = self.n_tokens
        cur = self.expand(self._token_rows(self.input("I32", n), width))
        self.expand(self.input("F32", width, n))
        if mixed:
            tokens, slots = self.input("I32", n), self.input("I64", n)
            target = ops.same("dup", self.input("F32", width, n))
            self.expand(ops.set_rows(target, self._token_rows(tokens, width), slots))
        self.embedded = cur
        if self.shape.n_deepstack:
            cur = ops.view(cur, (self.shape.n_embd, n), cur.nb[1])
        if scale_after or scaled:
            if not cur.is_contiguous:
                cur = ops.cont(cur)
            cur = ops.mul(cur, self.input("F32", 1, n)) if scaled else ops.scale(cur)
        return self.expand(cur)

    def _token_rows(self, tokens: Tensor, width: int) -> Tensor:
        rows = ops.get_rows(self.need("token_embd.weight"), tokens)
        return ops.pad(rows, width - self.shape.n_embd) if width != self.shape.n_embd else rows

    # -- parts

    def norm(
        self, x: Tensor, weight: Tensor | None, *, bias: Tensor | None = None, kind: str = "rms_norm"
    ) -> Tensor:
        """build_norm."""
        cur = ops.same(kind, x)
        if weight is not None:
            cur = ops.mul(cur, weight)
        return cur if bias is None else ops.add(cur, bias)

    def linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        """A projection with its bias, where it has one."""
        weight = self.of(layer, name)
        if weight is None:
            raise KeyError(f"blk.{layer}.{name}.weight")
        cur = ops.mul_mat(weight, x)
        bias = self.of(layer, name, "bias")
        return cur if bias is None else ops.add(cur, bias)

    def rope(self, x: Tensor, positions: Tensor, factors: Tensor | None = None) -> Tensor:
        return ops.same("rope", x, positions) if factors is None else ops.same("rope", x, positions, factors)

    def is_window(self, layer: int) -> bool:
        return self.shape.kinds[layer] is LayerKind.SWA


def _weight(kind: str, shape: tuple[int, ...], backend: int) -> Tensor:
    found = Tensor(kind, dims(*shape))
    found.home = backend
    found.is_weight = True
    return found
