"""KV cache and recurrent state: how many cells, and how many bytes on each device.

Sources (llama.cpp b11434): ``llama_context::llama_context`` (src/llama-context.cpp: context and batch sizes),
``llama_kv_cache`` (src/llama-kv-cache.cpp), ``llama_kv_cache_iswa``, ``_dsa``,
``llama_memory_recurrent``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import HOST_ALIGNMENT_BYTES, gpu_tensor_bytes
from llmfit.advisor.model.quantization import CACHE_TYPES, TensorType
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.same import Same
from llmfit.advisor.units import pad

CONTEXT_PADDING_TOKENS = 256
"""GGML_PAD in ``llama_context`` and ``llama_kv_cache_iswa``: cells come in such steps."""
F32_BYTES = 4
MAX_SLOTS = 256
"""LLAMA_MAX_SEQ (src/llama-cparams.h)."""
_ROLLBACK = ("qwen35", "qwen35moe", "nemotron_h", "nemotron_h_moe", "lfm2", "lfm2moe")
"""llm_arch_supports_rs_rollback (src/llama-arch.cpp): the others keep no snapshots."""
_DRAFTING = ("draft-mtp", "draft-eagle3", "draft-dflash", "draft-dspark")
"""common_params_speculative::need_n_rs_seq (common/common.h)."""


@dataclass(frozen=True, slots=True)
class CacheGeometry:
    """Sizes of one context in tokens (cells), after llama.cpp's own rounding.

    ``n_ctx`` is all streams together, ``n_ctx_seq`` one sequence; the full cache has ``n_ctx_seq * n_stream``
    cells a layer, the windowed one ``swa_cells * n_stream``. ``n_ubatch`` is what the compute graph is
    reserved for, already limited by the context.
    """

    n_ctx: int
    n_ctx_seq: int
    n_stream: int
    n_seq_max: int
    swa_cells: int
    """0 where the model has no window."""
    n_batch: int
    n_ubatch: int
    unified: bool
    flash_attn: bool
    """See ``uses_flash_attention``."""
    n_rs_seq: int
    """Rollback snapshots of a recurrent state (speculative decoding)."""
    n_outputs: int
    """Rows of logits the graph is reserved for."""


@dataclass(frozen=True, slots=True)
class ContextRule:
    """What llama.cpp makes of ``-c`` with everything else given: one of these serves for any context."""

    architecture: str
    context_train_tokens: int
    window_tokens: int
    batch: int
    ubatch: int
    parallel: int
    kv_unified: bool
    swa_full: bool
    slots_divide_batch: bool
    """The slots must divide the batch (Kimi's delta attention)."""
    flash_attn: bool
    n_rs_seq: int
    n_outputs: int
    """0: as many as the batch."""

    def geometry(self, context_tokens: int) -> CacheGeometry:
        """Sizes in tokens for ``-c``; 0 is the trained context. UsageError for what llama.cpp refuses."""
        wanted = context_tokens or self.context_train_tokens
        n_batch = min(wanted, self.batch)
        n_ubatch = min(n_batch, self.ubatch)
        if wanted < 1 or n_ubatch < 1:
            raise UsageError("context or batch size", "it must be at least one token")
        n_ctx = n_ctx_seq = pad(wanted, CONTEXT_PADDING_TOKENS)
        n_stream = 1
        if not self.kv_unified:
            n_stream = self.parallel
            n_ctx_seq = pad(n_ctx // n_stream, CONTEXT_PADDING_TOKENS)
            if n_ctx_seq == 0:
                raise UsageError(f"context {wanted}", f"nothing is left of it for each of {n_stream} slots")
            n_ctx = n_ctx_seq * n_stream
        if self.slots_divide_batch and n_ubatch % n_stream:
            raise UsageError(
                f"{n_stream} slots with batches of {n_ubatch}",
                f"llama.cpp b11434 aborts for {self.architecture} "
                "if slots do not divide the batch (measured)",
                "Choose 1, 2 or 4 slots, or --kv-unified.",
            )
        return CacheGeometry(
            n_ctx,
            n_ctx_seq,
            n_stream,
            self.parallel,
            self._swa_cells(n_ctx_seq, n_ubatch),
            n_batch,
            n_ubatch,
            self.kv_unified,
            self.flash_attn,
            self.n_rs_seq,
            self.n_outputs or n_batch,
        )

    def _swa_cells(self, n_ctx_seq: int, n_ubatch: int) -> int:
        """llama_kv_cache_iswa: the window for every slot that shares the stream, plus one batch."""
        if not self.window_tokens:
            return 0
        if self.swa_full:
            return n_ctx_seq
        sharing = self.parallel if self.kv_unified else 1
        return pad(min(n_ctx_seq, self.window_tokens * sharing + n_ubatch), CONTEXT_PADDING_TOKENS)


def cache_geometry(shape: ModelShape, settings: LaunchSettings) -> CacheGeometry:
    """llama.cpp's own rounding of ``-c``, ``-np``, ``-b`` and ``-ub``; ``-c 0`` is the trained context.

    Raises UsageError for settings that llama.cpp refuses with this model.
    """
    check_cache_types(shape, settings, settings.cache_type_k, settings.cache_type_v)
    return context_rule(shape, settings).geometry(settings.context_tokens)


def context_rule(shape: ModelShape, settings: LaunchSettings) -> ContextRule:
    """The rule for these settings, whose context is not looked at. UsageError for slots out of range."""
    if not 1 <= settings.parallel <= MAX_SLOTS:
        raise UsageError(f"{settings.parallel} slots", f"llama.cpp takes 1 to {MAX_SLOTS}")
    return ContextRule(
        architecture=shape.architecture,
        context_train_tokens=shape.context_train_tokens,
        window_tokens=shape.window_tokens,
        batch=settings.batch,
        ubatch=settings.ubatch or settings.batch,
        parallel=settings.parallel,
        kv_unified=settings.kv_unified,
        swa_full=settings.swa_full,
        slots_divide_batch=shape.state is not None and shape.state.kind == "kda",
        flash_attn=uses_flash_attention(shape, settings),
        n_rs_seq=_rollback_snapshots(shape, settings),
        n_outputs=_reserved_outputs(settings),
    )


def uses_flash_attention(shape: ModelShape, settings: LaunchSettings) -> bool:
    """Whether llama.cpp runs it: Grok forces it off (``llama_init_from_model``, src/llama-context.cpp)."""
    return settings.flash_attn and shape.architecture != "grok"


def _drafts(settings: LaunchSettings) -> bool:
    return settings.spec_type is not None and any(name in settings.spec_type for name in _DRAFTING)


def _rollback_snapshots(shape: ModelShape, settings: LaunchSettings) -> int:
    return settings.spec_draft_max if shape.architecture in _ROLLBACK and _drafts(settings) else 0


def _reserved_outputs(settings: LaunchSettings) -> int:
    """common_speculative_get_output_limits: one row a slot, and one for each drafted token."""
    if settings.outputs != "server":
        return 0
    drafted = settings.spec_draft_max if settings.spec_type else 0
    return max(1, min(settings.batch, settings.parallel * (1 + drafted)))


def check_cache_types(shape: ModelShape, settings: LaunchSettings, name_k: str, name_v: str) -> None:
    """What ``llama_init_from_model`` (src/llama-context.cpp) refuses, as a UsageError with its reason.

    ``name_k`` and ``name_v`` stand for the types of ``settings``.
    """
    for name in (name_k, name_v):
        if name not in CACHE_TYPES:
            raise UsageError(f"cache type {name!r}", "unknown", f"One of {', '.join(CACHE_TYPES)}.")
    type_k, type_v = CACHE_TYPES[name_k], CACHE_TYPES[name_v]
    if shape.mla and type_k != type_v:
        raise UsageError(
            f"cache types {name_k} and {name_v}",
            f"{shape.architecture} stores K and V as one and takes the same type for both",
        )
    if type_v.is_quantized and not uses_flash_attention(shape, settings):
        raise UsageError(f"V cache type {name_v}", "a quantised V cache needs flash attention")
    for which, kind, dims in (("K", type_k, shape.head_dim_k), ("V", type_v, shape.head_dim_v)):
        uneven = next((dim for dim in dims if dim % kind.block_elements), 0)
        if uneven:
            raise UsageError(
                f"{which} cache type {kind.name.lower()}",
                f"its block size {kind.block_elements} does not divide the head width {uneven} "
                f"of {shape.architecture}",
                "Use f16.",
            )


@dataclass(frozen=True, slots=True)
class CacheBytes:
    """KV cache and recurrent state on each device that takes part, and in RAM."""

    gpu_bytes: tuple[int, ...]
    host_bytes: int


@dataclass(frozen=True, slots=True)
class CacheRows:
    """What the rows of a cache are made of, and how many a stream has in full and in windowed layers."""

    type_k: TensorType
    type_v: TensorType
    cells: int
    window_cells: int
    n_stream: int
    flash_attn: bool
    n_states: int
    """Recurrent states of each layer that has any: one a slot and snapshot."""


def cache_rows(name_k: str, name_v: str, geometry: CacheGeometry) -> CacheRows:
    return CacheRows(
        CACHE_TYPES[name_k],
        CACHE_TYPES[name_v],
        geometry.n_ctx_seq,
        geometry.swa_cells,
        geometry.n_stream,
        geometry.flash_attn,
        geometry.n_seq_max * (1 + geometry.n_rs_seq),
    )


def cache_bytes(
    shape: ModelShape, settings: LaunchSettings, geometry: CacheGeometry, assignment: Assignment
) -> CacheBytes:
    """KV cache plus recurrent state by device (``context`` in llama.cpp's memory breakdown)."""
    rows = cache_rows(settings.cache_type_k, settings.cache_type_v, geometry)
    sums = cache_plane(shape, rows, assignment.cache_device).device_bytes(
        geometry.n_ctx_seq, geometry.swa_cells, assignment.n_devices
    )
    return CacheBytes(tuple(sums[:-1]), sums[-1])


@dataclass(frozen=True, slots=True)
class CachePlane:
    """Cache and state of each device (-1: RAM) for any number of cells in full and in windowed layers."""

    devices: tuple[tuple[int, int, int, int], ...]
    """Device, bytes without any cell, bytes a cell, bytes a windowed cell."""

    def device_bytes(self, cells: int, window_cells: int, n_devices: int) -> list[int]:
        """What each of ``n_devices`` holds and, last, RAM."""
        sums = [0] * (n_devices + 1)
        for device, fixed_bytes, cell_bytes, window_cell_bytes in self.devices:
            sums[device] = fixed_bytes + cell_bytes * cells + window_cell_bytes * window_cells
        return sums


def cache_plane(shape: ModelShape, rows: CacheRows, cache_device: tuple[int, ...]) -> CachePlane:
    """The plane for blocks whose caches lie on these devices; the cells of ``rows`` are not looked at."""
    return _plane(Same(shape), replace(rows, cells=0, window_cells=0), cache_device)


@lru_cache(maxsize=4096)
def _plane(shape: Same[ModelShape], rows: CacheRows, cache_device: tuple[int, ...]) -> CachePlane:
    """Three points tell all: cells come in steps of 256, which every alignment divides, so each is worth the
    same."""
    none = _device_sums(shape.it, rows, cache_device)
    full = _device_sums(shape.it, replace(rows, cells=CONTEXT_PADDING_TOKENS), cache_device)
    windowed = _device_sums(shape.it, replace(rows, window_cells=CONTEXT_PADDING_TOKENS), cache_device)
    return CachePlane(
        tuple(
            (
                device,
                n_bytes,
                (full[device] - n_bytes) // CONTEXT_PADDING_TOKENS,
                (windowed[device] - n_bytes) // CONTEXT_PADDING_TOKENS,
            )
            for device, n_bytes in none.items()
        )
    )


def _device_sums(shape: ModelShape, rows: CacheRows, cache_device: tuple[int, ...]) -> dict[int, int]:
    sums = dict.fromkeys(cache_device, 0)
    sizes = {on_gpu: _layer_bytes(shape, rows, on_gpu) for on_gpu in {device >= 0 for device in sums}}
    for layer, device in enumerate(cache_device):
        sums[device] += sizes[device >= 0][layer]
    return sums


def layer_cache_bytes(
    shape: ModelShape, settings: LaunchSettings, geometry: CacheGeometry | None = None, *, on_gpu: bool = True
) -> tuple[int, ...]:
    """Bytes of KV cache and state of each block (``n_layer_all`` entries), whatever device it lies on."""
    geometry = geometry or cache_geometry(shape, settings)
    rows = cache_rows(settings.cache_type_k, settings.cache_type_v, geometry)
    return tuple(_layer_bytes(shape, rows, on_gpu))


def _layer_bytes(shape: ModelShape, rows: CacheRows, on_gpu: bool) -> list[int]:
    sizes = [0] * shape.n_layer_all
    state_bytes = F32_BYTES * rows.n_states * shape.recurrent_elements
    known: dict[tuple[int, int, int], int] = {}
    for layer, kind in enumerate(shape.kinds):
        if kind is LayerKind.RECURRENT or kind is LayerKind.HYBRID:
            sizes[layer] += state_bytes
        if (
            layer >= shape.n_layer_kv
            or kind is LayerKind.RECURRENT
            or (kind is LayerKind.NONE and shape.state)
        ):
            continue  # in a model without states, a layer without KV heads still has a (padded) row of V
        cells = rows.window_cells if kind is LayerKind.SWA else rows.cells
        key = (shape.key_width(layer), shape.value_width(layer), cells)
        if key not in known:
            known[key] = kv_layer_bytes(shape, rows, *key, on_gpu)
        sizes[layer] += known[key]
        sizes[layer] += _indexer_bytes(shape, rows, layer, on_gpu)
    for idle in shape.mtp_cache if shape.mtp_in_main_cache else ():
        sizes[idle.layer] += kv_layer_bytes(shape, rows, idle.k_elements, idle.v_elements, rows.cells, on_gpu)
    return sizes


def kv_layer_bytes(
    shape: ModelShape, rows: CacheRows, k_elements: int, v_elements: int, cells: int, on_gpu: bool
) -> int:
    """K and V of one layer; MLA stores K only; V without flash attention is as wide as the widest layer's."""
    n_rows = cells * rows.n_stream
    size = _tensor_bytes(rows.type_k, k_elements, n_rows, on_gpu)
    if shape.mla:
        return size
    width = v_elements if rows.flash_attn else shape.value_width_max
    return size + _tensor_bytes(rows.type_v, width, n_rows, on_gpu)


def _indexer_bytes(shape: ModelShape, rows: CacheRows, layer: int, on_gpu: bool) -> int:
    """llama_kv_cache_dsa: one key head in the layers that own an index."""
    if shape.indexer is None or not shape.indexer.layers[layer]:
        return 0
    return _tensor_bytes(rows.type_k, shape.indexer.key_length, rows.cells * rows.n_stream, on_gpu)


def _tensor_bytes(kind: TensorType, row_elements: int, n_rows: int, on_gpu: bool) -> int:
    n_bytes = row_elements // kind.block_elements * kind.block_bytes * n_rows
    if on_gpu:
        return gpu_tensor_bytes(kind.name, row_elements, n_bytes)
    return pad(n_bytes, HOST_ALIGNMENT_BYTES)
