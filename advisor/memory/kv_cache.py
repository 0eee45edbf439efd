"""KV cache and recurrent state: how many cells, and how many bytes on each device.

Sources (llama.cpp b11434): ``llama_context::llama_context`` (src/llama-context.cpp: context and batch sizes),
``llama_kv_cache`` (src/llama-kv-cache.cpp), ``llama_kv_cache_iswa``, ``_dsa``,
``llama_memory_recurrent``.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import HOST_ALIGNMENT_BYTES, gpu_tensor_bytes
from llmfit.advisor.model.quantization import CACHE_TYPES, TensorType
from llmfit.advisor.model.shape import LayerKind, ModelShape
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


def cache_geometry(shape: ModelShape, settings: LaunchSettings) -> CacheGeometry:
    """llama.cpp's own rounding of ``-c``, ``-np``, ``-b`` and ``-ub``; ``-c 0`` is the trained context.

    Raises UsageError for settings that llama.cpp refuses with this model.
    """
    check_cache_types(shape, settings)
    if not 1 <= settings.parallel <= MAX_SLOTS:
        raise UsageError(f"{settings.parallel} slots", f"llama.cpp takes 1 to {MAX_SLOTS}")
    wanted = settings.context_tokens or shape.context_train_tokens
    n_batch = min(wanted, settings.batch)
    n_ubatch = min(n_batch, settings.ubatch or settings.batch)
    if wanted < 1 or n_ubatch < 1:
        raise UsageError("context or batch size", "it must be at least one token")
    n_ctx = n_ctx_seq = pad(wanted, CONTEXT_PADDING_TOKENS)
    n_stream = 1
    if not settings.kv_unified:
        n_stream = settings.parallel
        n_ctx_seq = pad(n_ctx // n_stream, CONTEXT_PADDING_TOKENS)
        if n_ctx_seq == 0:
            raise UsageError(f"context {wanted}", f"nothing is left of it for each of {n_stream} slots")
        n_ctx = n_ctx_seq * n_stream
    if shape.state and shape.state.kind == "kda" and n_ubatch % n_stream:
        raise UsageError(
            f"{n_stream} slots with batches of {n_ubatch}",
            f"llama.cpp b11434 aborts for {shape.architecture} if slots do not divide the batch (measured)",
            "Choose 1, 2 or 4 slots, or --kv-unified.",
        )
    return CacheGeometry(
        n_ctx=n_ctx,
        n_ctx_seq=n_ctx_seq,
        n_stream=n_stream,
        n_seq_max=settings.parallel,
        swa_cells=_swa_cells(shape, settings, n_ctx_seq, n_ubatch),
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        unified=settings.kv_unified,
        flash_attn=uses_flash_attention(shape, settings),
        n_rs_seq=_rollback_snapshots(shape, settings),
        n_outputs=_reserved_outputs(settings, n_batch),
    )


def _swa_cells(shape: ModelShape, settings: LaunchSettings, n_ctx_seq: int, n_ubatch: int) -> int:
    """llama_kv_cache_iswa: the window for every slot that shares the stream, plus one batch."""
    if not shape.window_tokens:
        return 0
    if settings.swa_full:
        return n_ctx_seq
    sharing = settings.parallel if settings.kv_unified else 1
    return pad(min(n_ctx_seq, shape.window_tokens * sharing + n_ubatch), CONTEXT_PADDING_TOKENS)


def uses_flash_attention(shape: ModelShape, settings: LaunchSettings) -> bool:
    """Whether llama.cpp runs it: Grok forces it off (``llama_init_from_model``, src/llama-context.cpp)."""
    return settings.flash_attn and shape.architecture != "grok"


def _drafts(settings: LaunchSettings) -> bool:
    return settings.spec_type is not None and any(name in settings.spec_type for name in _DRAFTING)


def _rollback_snapshots(shape: ModelShape, settings: LaunchSettings) -> int:
    return settings.spec_draft_max if shape.architecture in _ROLLBACK and _drafts(settings) else 0


def _reserved_outputs(settings: LaunchSettings, n_batch: int) -> int:
    """common_speculative_get_output_limits: one row a slot, and one for each drafted token."""
    if settings.outputs == "tool":
        return n_batch
    drafted = settings.spec_draft_max if settings.spec_type else 0
    return max(1, min(settings.batch, settings.parallel * (1 + drafted)))


def check_cache_types(shape: ModelShape, settings: LaunchSettings) -> None:
    """What ``llama_init_from_model`` (src/llama-context.cpp) refuses, as a UsageError with its reason."""
    for name in (settings.cache_type_k, settings.cache_type_v):
        if name not in CACHE_TYPES:
            raise UsageError(f"cache type {name!r}", "unknown", f"One of {', '.join(CACHE_TYPES)}.")
    type_k, type_v = CACHE_TYPES[settings.cache_type_k], CACHE_TYPES[settings.cache_type_v]
    if shape.mla and type_k != type_v:
        raise UsageError(
            f"cache types {settings.cache_type_k} and {settings.cache_type_v}",
            f"{shape.architecture} stores K and V as one and takes the same type for both",
        )
    if type_v.is_quantized and not uses_flash_attention(shape, settings):
        raise UsageError(f"V cache type {settings.cache_type_v}", "a quantised V cache needs flash attention")
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


def cache_bytes(
    shape: ModelShape, settings: LaunchSettings, geometry: CacheGeometry, assignment: Assignment
) -> CacheBytes:
    """KV cache plus recurrent state by device (``context`` in llama.cpp's memory breakdown)."""
    sums = [0] * (assignment.n_devices + 1)
    on_gpu = layer_cache_bytes(shape, settings, geometry)
    on_host: tuple[int, ...] = ()
    if HOST_DEVICE in assignment.cache_device:
        on_host = layer_cache_bytes(shape, settings, geometry, on_gpu=False)
    for layer, device in enumerate(assignment.cache_device):
        sums[device] += on_gpu[layer] if device >= 0 else on_host[layer]
    return CacheBytes(tuple(sums[:-1]), sums[-1])


def layer_cache_bytes(
    shape: ModelShape, settings: LaunchSettings, geometry: CacheGeometry | None = None, *, on_gpu: bool = True
) -> tuple[int, ...]:
    """Bytes of KV cache and state of each block (``n_layer_all`` entries), whatever device it lies on."""
    geometry = geometry or cache_geometry(shape, settings)
    sizes = [0] * shape.n_layer_all
    state = F32_BYTES * geometry.n_seq_max * (1 + geometry.n_rs_seq)
    known: dict[tuple[int, int, int], int] = {}
    for layer, kind in enumerate(shape.kinds):
        if shape.state and kind in (LayerKind.RECURRENT, LayerKind.HYBRID):
            sizes[layer] += state * shape.state.elements
        if (
            layer >= shape.n_layer_kv
            or kind is LayerKind.RECURRENT
            or (kind is LayerKind.NONE and shape.state)
        ):
            continue  # in a model without states, a layer without KV heads still has a (padded) row of V
        cells = geometry.swa_cells if kind is LayerKind.SWA else geometry.n_ctx_seq
        key = (shape.key_width(layer), shape.value_width(layer), cells)
        if key not in known:
            known[key] = kv_layer_bytes(shape, settings, geometry, *key, on_gpu)
        sizes[layer] += known[key]
        sizes[layer] += _indexer_bytes(shape, settings, geometry, layer, on_gpu)
    for idle in shape.mtp_cache if shape.mtp_in_main_cache else ():
        width = (idle.k_elements, idle.v_elements)
        sizes[idle.layer] += kv_layer_bytes(shape, settings, geometry, *width, geometry.n_ctx_seq, on_gpu)
    return tuple(sizes)


def kv_layer_bytes(
    shape: ModelShape,
    settings: LaunchSettings,
    geometry: CacheGeometry,
    k_elements: int,
    v_elements: int,
    cells: int,
    on_gpu: bool,
) -> int:
    """K and V of one layer; MLA stores K only; V without flash attention is as wide as the widest layer's."""
    rows = cells * geometry.n_stream
    size = _tensor_bytes(CACHE_TYPES[settings.cache_type_k], k_elements, rows, on_gpu)
    if shape.mla:
        return size
    width = v_elements if geometry.flash_attn else shape.value_width_max
    return size + _tensor_bytes(CACHE_TYPES[settings.cache_type_v], width, rows, on_gpu)


def _indexer_bytes(
    shape: ModelShape, settings: LaunchSettings, geometry: CacheGeometry, layer: int, on_gpu: bool
) -> int:
    """llama_kv_cache_dsa: one key head in the layers that own an index."""
    if shape.indexer is None or not shape.indexer.layers[layer]:
        return 0
    rows = geometry.n_ctx_seq * geometry.n_stream
    return _tensor_bytes(CACHE_TYPES[settings.cache_type_k], shape.indexer.key_length, rows, on_gpu)


def _tensor_bytes(kind: TensorType, row_elements: int, rows: int, on_gpu: bool) -> int:
    n_bytes = row_elements // kind.block_elements * kind.block_bytes * rows
    if on_gpu:
        return gpu_tensor_bytes(kind.name, row_elements, n_bytes)
    return pad(n_bytes, HOST_ALIGNMENT_BYTES)
