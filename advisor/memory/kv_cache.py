"""KV cache and recurrent state: how many cells, and how many bytes on each device.

Sources (llama.cpp b11434): ``llama_context::llama_context`` (src/llama-context.cpp: context and batch sizes),
``llama_kv_cache`` (src/llama-kv-cache.cpp), ``llama_kv_cache_iswa``, ``_dsa``, ``_msa``,
``llama_memory_recurrent``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheGeometry:
    """Sizes of one context in tokens (cells), after llama.cpp's own rounding.

    ``n_ctx`` is all streams together, ``n_ctx_seq`` one sequence; the full cache has ``n_ctx_seq * n_stream``
    cells a layer, the windowed one ``swa_cells * n_stream``. ``n_ubatch`` is what the compute graph is reserved
    for, already limited by the context.
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
    """As llama.cpp will run it: Grok forces it off."""
    n_rs_seq: int
    """Rollback snapshots of a recurrent state (speculative decoding)."""
    n_outputs: int
    """Rows of logits the graph is reserved for."""
