"""What the scheduler asks of a device: which operations CUDA runs, and the scratch of its flash attention."""

from __future__ import annotations

from llmfit.advisor.memory.compute.tensor import NOWHERE, Tensor, is_quantized

OFFLOAD_MIN_BATCH = 32
"""Rows from which a GPU takes over operations on weights in RAM (GGML_OP_OFFLOAD_MIN_BATCH)."""
_FLASH_KINDS = frozenset(("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"))
_FLASH_SQUARE_HEADS = frozenset((40, 64, 72, 80, 96, 112, 128, 256))
_FLASH_CELLS = 256
"""FATTN_KQ_STRIDE."""
_VECTOR_PAIRS = frozenset(("F16", "BF16", "Q4_0", "Q8_0"))
"""Cache types with a vector kernel in a default build, K and V alike (GGML_CUDA_FA_QUANTS)."""
_SET_ROWS_KINDS = frozenset(("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"))
_NO_GET_ROWS = frozenset(("IQ2_S", "TQ1_0", "TQ2_0", "NVFP4", "Q8_K"))
_NO_MUL_MAT = frozenset(("TQ1_0", "TQ2_0"))
LONG_CACHE_CELLS = 8192
"""From here on the vector kernel reads a cache with few query heads a KV head, too."""
_SCAN_STATES = frozenset((96, 128, 256))


def _grouped(flash: Tensor) -> tuple[int, bool]:
    """Query heads a KV head, and whether the grouped kernels apply (ggml_cuda_get_best_fattn_kernel)."""
    q, k, v, mask = flash.src[:4]
    ratio = q.ne[2] // k.ne[2]
    aligned = all(
        stride % 16 == 0 for one in (q, k, v, mask) if not is_quantized(one.kind) for stride in one.nb[1:]
    )
    return ratio, ratio >= 2 and k.ne[1] % _FLASH_CELLS == 0 and aligned


def supports_flash_attn(flash: Tensor) -> bool:
    """ggml_cuda_flash_attn_ext_supported (ggml-cuda/fattn.cu)."""
    k, v = flash.src[1], flash.src[2]
    ratio, grouped = _grouped(flash)
    grouped = grouped and not flash.strict
    heads = (k.ne[0], v.ne[0])
    if heads[0] in _FLASH_SQUARE_HEADS:
        known = heads[0] == heads[1]
    elif heads in ((512, 512), (576, 512)):
        known = grouped
    else:
        factor = {(192, 128): 8, (320, 256): 32}.get(heads)
        known = factor is not None and grouped and ratio % factor == 0
    return known and k.kind in _FLASH_KINDS and v.kind in _FLASH_KINDS and flash.src[3].ne[2] == 1


def _uses_vector_kernel(flash: Tensor) -> bool:
    """A batch of one or two rows a stream reads the cache as it is (ggml_cuda_get_best_fattn_kernel, Ada)."""
    q, k, v = flash.src[:3]
    width, rows = q.ne[0], q.ne[1]
    if width > 256 or width % 64 or width == 192 or k.ne[1] % _FLASH_CELLS:
        return False
    ratio, grouped = _grouped(flash)
    if rows == 1 and not (grouped and not flash.strict):
        return True
    if is_quantized(k.kind) or is_quantized(v.kind):
        return rows <= 2
    return rows == 1 and q.ne[3] == 1 and not (ratio > 4 and (width >= 256 or k.ne[1] >= LONG_CACHE_CELLS))


def flash_attn_scratch_bytes(flash: Tensor) -> int:
    """The f16 copies of K and V that its kernel needs (get_alloc_size, ggml-cuda/fattn.cu)."""
    k, v = flash.src[1:3]
    direct = _uses_vector_kernel(flash)
    paired = k.kind == v.kind and k.kind in _VECTOR_PAIRS
    shared = v.view is not None and v.view in (k, k.view)
    end = flash.n_bytes
    for one, wanted in ((k, True), (v, not shared)):
        copied = one.kind != "F16" and (not direct or one.kind == "F32" or not paired)
        if wanted and copied:
            end = -(-end // 128) * 128 + 2 * one.ne[0] * one.ne[1] * one.ne[2] * one.ne[3]
    return end - flash.n_bytes


def _supports_scan(scan: Tensor) -> bool:
    state = scan.src[0]
    if scan.src[3].ne[0] == 1:
        return state.ne[0] in _SCAN_STATES and state.ne[1] % 16 == 0
    return state.ne[0] == 16 and state.ne[1] == 1 and state.ne[2] % 128 == 0 and scan.src[4].ne[1] == 1


def supports_op(gpu: int, n_gpus: int, node: Tensor) -> bool:
    """ggml_backend_cuda_device_supports_op, as far as it ever says no to our graphs."""
    for one in node.src:
        if one.home not in (NOWHERE, gpu, n_gpus):
            return False
    op = node.op
    if op == "flash_attn":
        return supports_flash_attn(node)
    if op in ("mul_mat", "mul_mat_id"):
        w, x = node.src[0], node.src[1]
        return not (node.strict or w.kind in _NO_MUL_MAT or (x.kind == "F16" and w.kind != "F16"))
    if op == "get_rows":
        a = node.src[0]
        return a.kind not in _NO_GET_ROWS and (a.kind not in ("IQ4_NL", "MXFP4") or a.ne[0] % 256 == 0)
    if op == "set_rows":
        return node.kind in _SET_ROWS_KINDS and node.src[0].kind in ("F32", node.kind)
    if op == "ssm_conv":
        return node.src[0].ne[1] % 128 == 0
    if op == "ssm_scan":
        return _supports_scan(node)
    return True


def cache_kind_class(kind: str) -> tuple[bool, ...]:
    """What is asked of a cache type besides its bytes, here and in the graph: equal for types alike."""
    kinds = (_FLASH_KINDS, _VECTOR_PAIRS, _SET_ROWS_KINDS, ("F16",), ("F32",))
    return (is_quantized(kind), *(kind in known for known in kinds))


def wants_offload(node: Tensor) -> bool:
    """A GPU takes the operation although its weight lies in RAM (ggml_backend_cuda_device_offload_op)."""
    op = node.op
    if op == "get_rows":
        return False
    if op == "mul_mat":
        return node.ne[1] >= OFFLOAD_MIN_BATCH
    if op in ("mul_mat_id", "rope"):
        return node.ne[2] >= OFFLOAD_MIN_BATCH
    return node.ne[1] * node.ne[2] * node.ne[3] >= OFFLOAD_MIN_BATCH
