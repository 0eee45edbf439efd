"""Request: what the user fixed. ``None`` means that the advisor chooses."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.kv_cache import MAX_SLOTS
from llmfit.advisor.memory.settings import SERVER_DEFAULT_SLOTS, LaunchSettings
from llmfit.advisor.recommend.ladders import DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The settings a user may fix, named as in LaunchSettings, and what the speed is asked for.

    ``depth_tokens`` are in the context already, ``prompt_tokens`` are read after them: one micro-batch where
    it is open.

    ``parallel = 0`` stands for ``auto``: llama-server's own default of four slots over one unified cache.
    """

    context_tokens: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attn: bool | None = None
    batch: int | None = None
    ubatch: int | None = None
    parallel: int | None = None
    kv_unified: bool | None = None
    swa_full: bool | None = None
    gpu_layers: int | None = None
    n_cpu_moe: int | None = None
    tensor_split: tuple[float, ...] | None = None
    split_mode: str | None = None
    override_tensor: tuple[str, ...] | None = None
    kv_offload: bool | None = None
    op_offload: bool | None = None
    spec_type: str | None = None
    outputs: str | None = None
    mmap: bool | None = None
    mmproj_path: str | None = None
    projector_bytes: int | None = None
    depth_tokens: int = 0
    prompt_tokens: int | None = None
    search_experts: bool = False
    """``--n-cpu-moe auto`` said aloud: experts may be moved although the layers are fixed."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name.removesuffix('_tokens')} {value}", f"must be {low} to {high}")
        if self.context_tokens is not None and self.filled_tokens > self.context_tokens:
            asked = f"depth {self.depth_tokens}"
            if self.prompt_tokens is not None:
                asked = f"prompt {self.prompt_tokens}" + (f" after {asked}" if self.depth_tokens else "")
            why = f"more than the context of {self.context_tokens}"
            raise UsageError(asked, why, "Ask for a larger context.")
        if self.tensor_split is not None and (
            not self.tensor_split or min(self.tensor_split) < 0 or sum(self.tensor_split) <= 0
        ):
            raise UsageError("tensor split", "needs one proportion per card, none negative, not all 0")

    @property
    def fixed(self) -> frozenset[str]:
        """The names of LaunchSettings fields that the user decided."""
        names = {f.name for f in fields(self) if getattr(self, f.name) is not None} - _NOT_SETTINGS
        if self.cache_type_k is not None:
            names.add("cache_type_v")
        if self.parallel == 0:
            names.add("kv_unified")
        return frozenset(names)

    @property
    def filled_tokens(self) -> int:
        """What must have room in the context for the speed that is asked."""
        return self.depth_tokens + (self.prompt_tokens or 0)

    @property
    def speed_question(self) -> tuple[int, int | None]:
        """(depth, prompt) as ``SpeedPlan.estimate`` takes them."""
        return self.depth_tokens, self.prompt_tokens

    @property
    def loads_mtp(self) -> bool:
        """Whether the model's MTP blocks are loaded, by the rule of the launch itself."""
        return self.base_settings(DEFAULTS.context_tokens).load_mtp

    def base_settings(self, context_tokens: int) -> LaunchSettings:
        """The user's settings with the advisor's plain defaults for the rest; placement is still open."""
        chosen = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in _NOT_SETTINGS and getattr(self, f.name) is not None
        }
        chosen["context_tokens"] = context_tokens
        if self.parallel == 0:
            chosen["parallel"] = SERVER_DEFAULT_SLOTS
            chosen.setdefault("kv_unified", True)
        if self.cache_type_k is not None and self.cache_type_v is None:
            chosen["cache_type_v"] = self.cache_type_k
        if self.ubatch is not None and self.batch is None:
            # llama.cpp cuts the micro-batch to the batch: a larger one needs a batch that holds it
            chosen["batch"] = max(DEFAULTS.batch, self.ubatch)
        return LaunchSettings(**chosen)


_NOT_SETTINGS = frozenset({"depth_tokens", "prompt_tokens", "search_experts"})
_RANGES = (
    ("context_tokens", 1, 2**27),
    ("batch", 1, 2**20),
    ("ubatch", 1, 2**20),
    ("parallel", 0, MAX_SLOTS),
    ("gpu_layers", 0, 10_000),
    ("n_cpu_moe", 0, 10_000),
    ("depth_tokens", 0, 2**27),
    ("prompt_tokens", 1, 2**27),
)
