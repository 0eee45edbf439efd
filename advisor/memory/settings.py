"""LaunchSettings: everything about a llama-server launch that moves bytes, no default left elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.units import GIB

ALL_LAYERS = 999
"""``-ngl all``: more than any model has."""
SERVER_DEFAULT_SLOTS = 4
"""llama-server without ``-np``: four slots over one unified cache (tools/server/server.cpp)."""
SERVER_DEFAULT_CACHE_RAM_BYTES = 8 * GIB
"""llama-server's prompt cache in system RAM (``--cache-ram``), allocated lazily."""


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """The settings of one launch; each field is a llama-server flag.

    ``context_tokens`` is ``-c`` (all slots together; 0: as trained). ``gpu_layers`` counts like ``-ngl``:
    block_count + 1 is all. ``devices`` are the indices of the machine's GPUs that take part, in order; empty
    means CPU only. ``tensor_split`` has one proportion for each of ``devices``; ``None`` leaves it to
    llama.cpp (free memory). ``override_tensor`` rules come after ``n_cpu_moe`` on the command line, so they
    do not reach its experts; the numbers of their buffers count ``devices``.
    """

    context_tokens: int
    devices: tuple[int, ...] = ()
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: bool = True
    batch: int = 2048
    ubatch: int = 512
    parallel: int = 1
    kv_unified: bool = False
    swa_full: bool = False
    gpu_layers: int = ALL_LAYERS
    n_cpu_moe: int = 0
    """Experts of the first N blocks in RAM; ``ALL_LAYERS`` is ``--cpu-moe``."""
    tensor_split: tuple[float, ...] | None = None
    split_mode: str = "layer"
    override_tensor: tuple[str, ...] = ()
    kv_offload: bool = True
    op_offload: bool = True
    spec_type: str | None = None
    """``draft-mtp`` loads and uses the model's own MTP blocks."""
    spec_draft_max: int = 3
    outputs: str = "server"
    """``server``: logits for one row a slot; ``tool``: for every row of a batch (llama-bench and others);
    ``embedding``: the same, by a server with ``--embedding`` (server_output_limits in server-context.cpp)."""
    mmap: bool = True
    repack: bool = True
    cache_ram_bytes: int = SERVER_DEFAULT_CACHE_RAM_BYTES
    mmproj_path: str | None = None
    projector_bytes: int = 0
    """Size of the vision projector's file; 0 starts the server without one (``--no-mmproj`` with ``-hf``)."""

    @property
    def load_mtp(self) -> bool:
        return self.spec_type is not None and "draft-mtp" in self.spec_type
