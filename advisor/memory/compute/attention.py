"""Attention over the KV cache: storing, reading, flash attention or the plain product (build_attn)."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.tensor import Tensor, dims, is_quantized, row_bytes
from llmfit.advisor.model.shape import LayerKind

_ROTATION = 64
"""Width of the Hadamard rotation that quantised caches get (llama-kv-cache.cpp attn_rot)."""


@dataclass(slots=True)
class CacheInput:
    """The graph inputs of one cache: where to store and what to see (llm_graph_input_attn_kv)."""

    cells: int
    k_rows: Tensor
    v_rows: Tensor
    mask: Tensor
    k_rotation: Tensor | None = None
    v_rotation: Tensor | None = None


class Attention:
    """The caches of one graph. Layers with a window use ``window``, the others ``full``."""

    def __init__(self, builder: GraphBuilder, *, latent: bool = False) -> None:
        self.b = builder
        self.latent = latent
        shape = builder.shape
        self.layers = [il for il in range(min(shape.n_layer, shape.n_layer_kv)) if shape.has_attention(il)]
        self.has_window = any(kind is LayerKind.SWA for kind in shape.kinds)
        self.full = self._inputs(builder.cache.cells, window=False)
        self.window = self._inputs(builder.cache.window_cells, window=True) if self.has_window else None
        self._caches: dict[int, tuple[Tensor, Tensor]] = {}

    def _inputs(self, cells: int, *, window: bool) -> CacheInput:
        b, cache = self.b, self.b.cache
        n = b.n_tokens
        flash = cache.flash_attn
        n_v_rows = n if flash or self.latent else n * b.shape.value_width_max
        mask = b.input("F16" if flash else "F32", cells, n // cache.n_streams, 1, cache.n_streams)
        made = CacheInput(cells, b.input("I64", n), b.input("I64", n_v_rows), mask)
        owners = [il for il in self.layers if b.is_window(il) == window]
        if not self.latent and owners:
            made.k_rotation = self._rotation(
                cache.type_k, {b.shape.head_dim_k[il] for il in owners}, grow=True
            )
            made.v_rotation = self._rotation(
                cache.type_v, {b.shape.head_dim_v[il] for il in owners}, grow=False
            )
        return made

    def _rotation(self, kind: str, head_dims: set[int], *, grow: bool) -> Tensor | None:
        width = next(iter(head_dims))
        if not is_quantized(kind) or len(head_dims) > 1 or width % _ROTATION:
            return None
        n = _ROTATION
        while grow and width % (2 * n) == 0:
            n *= 2
        return self.b.input("F32", n, n)

    def input_of(self, layer: int) -> CacheInput:
        return self.window if self.window is not None and self.b.is_window(layer) else self.full

    def _owner(self, layer: int) -> int:
        """The layer whose cache this one reads (gemma3n, gemma4 share the last own ones)."""
        shape = self.b.shape
        if layer < shape.n_layer_kv:
            return layer
        return shape.n_layer_kv - (2 if self.b.is_window(layer) else 1)

    def _cache(self, layer: int) -> tuple[Tensor, Tensor]:
        owner = self._owner(layer)
        if owner not in self._caches:
            shape, cache = self.b.shape, self.b.cache
            cells = self.input_of(owner).cells
            width = shape.value_width(owner) if cache.flash_attn else shape.value_width_max
            home = self.b.layout.cache_backend(owner, cache.offload)
            k = Tensor(cache.type_k, dims(shape.key_width(owner), cells, cache.n_streams))
            v = Tensor(cache.type_v, dims(max(width, 1), cells, cache.n_streams))
            k.home = v.home = home
            self._caches[owner] = (k, v)
        return self._caches[owner]

    # -- one layer

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor | None,
        v: Tensor | None,
        *,
        project: bool = True,
        sinks: Tensor | None = None,
        decompress: Tensor | None = None,
        chosen: Tensor | None = None,
    ) -> Tensor:
        """build_attn: stores K and V, attends, and applies the output projection where ``project``."""
        b = self.b
        inputs = self.input_of(layer)
        q, k, v = self._rotate(inputs, q, k, v)
        order = (q, k, v) if self.window is not None else (q, v, k)
        for one in order:
            if one is not None:
                b.expand(one)
        self._store(layer, inputs, k, v)
        mask = inputs.mask if chosen is None else _masked(inputs.mask, chosen)
        keys, values = self._read(layer, inputs, v)
        cur = self._mha(q, keys, values, mask, sinks, decompress)
        if inputs.v_rotation is not None:
            cur = _hadamard(cur, inputs.v_rotation)
        return b.linear(layer, "attn_output", cur) if project else cur

    def _rotate(
        self, inputs: CacheInput, q: Tensor, k: Tensor | None, v: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if inputs.k_rotation is not None:
            q = _hadamard(q, inputs.k_rotation)
            k = _hadamard(k, inputs.k_rotation) if k is not None else None
        if inputs.v_rotation is not None and v is not None:
            v = _hadamard(v, inputs.v_rotation)
        return q, k, v

    def _store(self, layer: int, inputs: CacheInput, k: Tensor | None, v: Tensor | None) -> None:
        keys, values = self._cache(layer)
        if k is not None:
            self.b.expand(ops.set_rows(_merge_streams(keys), _rows_of(k), inputs.k_rows))
        if v is None or self.latent:
            return
        if self.b.cache.flash_attn:
            self.b.expand(ops.set_rows(_merge_streams(values), _rows_of(v), inputs.v_rows))
        else:
            self.b.expand(ops.set_rows(*self._transposed(values, v), inputs.v_rows))

    def _transposed(self, values: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Without flash attention V is stored element by element, padded to the widest layer."""
        width = v.ne[0] * v.ne[1]
        flat = ops.reshape(v, width, v.ne[2]) if v.is_contiguous else ops.cont(v, width, v.ne[2])
        if width < values.ne[0]:
            flat = ops.pad(flat, values.ne[0] - width)
        n_values = values.ne[0] * values.ne[1] * values.ne[2]
        return ops.reshape(values, 1, n_values), ops.reshape(flat, 1, flat.ne[0] * flat.ne[1])

    def _read(self, layer: int, inputs: CacheInput, v: Tensor | None) -> tuple[Tensor, Tensor]:
        shape, cache = self.b.shape, self.b.cache
        keys, values = self._cache(layer)
        owner = self._owner(layer)
        n_kv, width, cells = shape.n_head_kv[owner], shape.head_dim_k[owner], inputs.cells
        k = ops.view(keys, (width, n_kv, cells, cache.n_streams), row_bytes(keys.kind, width), *keys.nb[1:3])
        if self.latent:
            wide = v.ne[0] if v is not None else width
            return k, ops.view(k, (wide, *k.ne[1:]), *k.nb[1:])
        width = shape.head_dim_v[owner]
        if cache.flash_attn:
            strides = (row_bytes(values.kind, width), *values.nb[1:3])
            return k, ops.view(values, (width, n_kv, cells, cache.n_streams), *strides)
        strides = (row_bytes(values.kind, cells * width), row_bytes(values.kind, cells), values.nb[2])
        return k, ops.view(values, (cells, n_kv, width, cache.n_streams), *strides)

    def _mha(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, sinks: Tensor | None, decompress: Tensor | None
    ) -> Tensor:
        """build_attn_mha."""
        n = k.ne[3]
        transposed = v.nb[1] > v.nb[2]
        q = ops.view(q, (q.ne[0], q.ne[1], q.ne[2] // n, n), q.nb[1], q.nb[2], q.nb[2] * (q.ne[2] // n))
        q, k, v = (ops.permute(one, 0, 2, 1, 3) for one in (q, k, v))
        if self.b.cache.flash_attn:
            return self.b.expand(self._flash(q, k, v, mask, sinks, decompress))
        scores = ops.mul_mat(k, q)
        for _ in range(self.b.score_passes):
            scores = ops.unary(scores)
        weights = ops.soft_max(scores, mask, *([sinks] if sinks is not None else []))
        if not transposed:
            v = ops.cont(ops.transpose(v))
        mixed = ops.mul_mat(v, weights)
        if decompress is not None:
            mixed = ops.mul_mat(decompress, mixed)
        mixed = ops.permute(mixed, 0, 2, 1, 3)
        out = ops.cont(mixed, mixed.ne[0] * mixed.ne[1], mixed.ne[2] * mixed.ne[3])
        return self.b.expand(out)

    def _flash(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, sinks: Tensor | None, decompress: Tensor | None
    ) -> Tensor:
        k = ops.cast(k, "F16") if k.kind == "F32" else k
        v = ops.cast(v, "F16") if v.kind == "F32" else v
        cur = ops.flash_attn(q, k, v, mask, *([sinks] if sinks is not None else []))
        cur.strict = self.b.alibi
        if decompress is not None:
            cur = ops.mul_mat(decompress, ops.permute(cur, 0, 2, 1, 3))
            cur = ops.cont(ops.permute(cur, 0, 2, 1, 3))
        return ops.reshape(cur, cur.ne[0] * cur.ne[1], cur.ne[2] * cur.ne[3])


def _hadamard(x: Tensor, rotation: Tensor) -> Tensor:
    """llama_mul_mat_hadamard (llama-impl.h)."""
    n = rotation.ne[0]
    rows = x.ne[0] * x.ne[1] * x.ne[2] * x.ne[3] // n
    flat = ops.reshape(x, n, rows) if x.is_contiguous else ops.cont(x, n, rows)
    return ops.reshape(ops.mul_mat(rotation, flat), *x.ne)


def _masked(mask: Tensor, chosen: Tensor) -> Tensor:
    """The mask with all but the chosen cells hidden (build_attn with llm_graph_input_attn_k_dsa)."""
    hidden = ops.same("fill", mask)
    cells = ops.view(hidden, (1, *mask.ne[:2], mask.ne[3]), *hidden.nb[:3])
    picked = ops.view(chosen, (*chosen.ne[:2], chosen.ne[3]), chosen.nb[1], chosen.nb[2])
    zeros = ops.same("fill", Tensor("F32", (1, *picked.ne[:3])))
    shown = ops.set_rows(cells, zeros, picked)
    shown = ops.view(shown, mask.ne, *mask.nb[1:4])
    return ops.add(shown, mask)


def _rows_of(x: Tensor) -> Tensor:
    return ops.view(x, (x.ne[0] * x.ne[1], x.ne[2]), x.nb[2])


def _merge_streams(cache: Tensor) -> Tensor:
    return ops.reshape(cache, cache.ne[0], cache.ne[1] * cache.ne[2]) if cache.ne[2] > 1 else cache
