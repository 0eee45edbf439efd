"""The settings in parsed options or in a JSON line, turned into a Request: the same names in both."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.kv_cache import MAX_SLOTS
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import parse_context

_WHOLE = re.compile(r"[0-9]{1,10}")
_PROPORTION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
MAX_COUNT = 2**31
_SLOTS = f"must be 1 to {MAX_SLOTS}"


def request_from(values: Mapping[str, object]) -> Request:
    """The Request in parsed options or in a JSON line: the same names, with underscores for dashes.

    Raises UsageError naming the setting that is wrong. ``auto`` and null leave the choice to the advisor.
    """
    value = values.get
    return Request(
        context_tokens=_tokens("context", value("context")),
        cache_type_k=_word("--cache-type-k", value("cache_type_k")),
        cache_type_v=_word("--cache-type-v", value("cache_type_v")),
        flash_attn=_on_off("--flash-attn", value("flash_attn")),
        ubatch=_count_or_auto("--ubatch", value("ubatch")),
        batch=_count_or_auto("--batch", value("batch")),
        parallel=_parallel(value("parallel")),
        kv_unified=flag("--kv-unified", value("kv_unified")),
        swa_full=flag("--swa-full", value("swa_full")),
        gpu_layers=_gpu_layers(value("gpu_layers")),
        n_cpu_moe=_experts_in_ram(value("cpu_moe"), value("n_cpu_moe")),
        search_experts=value("n_cpu_moe") == "auto",
        tensor_split=_proportions(value("tensor_split")),
        split_mode=_choice("--split-mode", value("split_mode"), ("layer", "none")),
        override_tensor=_patterns(value("override_tensor")),
        kv_offload=_negated("--no-kv-offload", value("no_kv_offload")),
        op_offload=_negated("--no-op-offload", value("no_op_offload")),
        mmap=_negated("--no-mmap", value("no_mmap")),
        spec_type=_spec_type(value("spec_type")),
        mmproj_path=_word("--mmproj", value("mmproj")),
        outputs=_choice("--outputs", value("outputs"), ("server", "tool")),
        depth_tokens=_tokens("depth", value("depth"), at_least_tokens=0) or 0,
        prompt_tokens=_tokens("prompt", value("prompt")),
    )


def _tokens(name: str, value: object, at_least_tokens: int = 1) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return parse_context(value, name, at_least_tokens)
    raise UsageError(f"{name} {value!r}", "not a number of tokens", "Write 32768 or 32k.")


def _word(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise UsageError(f"{name} {value!r}", "not a name")


def _choice(name: str, value: object, known: tuple[str, ...]) -> str | None:
    if value is None or (isinstance(value, str) and value in known):
        return value
    raise UsageError(f"{name} {value!r}", "unknown", f"Known: {', '.join(known)}.")


def flag(name: str, value: object) -> bool | None:
    """``true``, ``false`` or nothing. Raises UsageError for anything else."""
    if value is None or isinstance(value, bool):
        return value
    raise UsageError(f"{name} {value!r}", "must be true or false")


def _negated(name: str, value: object) -> bool | None:
    said = flag(name, value)
    return None if said is None else not said


def _on_off(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value in ("on", "off"):
        return value == "on"
    raise UsageError(f"{name} {value!r}", "must be on or off")


def _count_or_auto(name: str, value: object, or_word: str = "auto") -> int | None:
    if value is None or value == "auto":
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return value
    raise UsageError(f"{name} {value!r}", "not a whole number", f"Write a number or {or_word}.")


def _parallel(value: object) -> int | None:
    """Slots; 0 stands for ``auto`` in a Request (``-np -1``: llama-server's own default)."""
    if value == "auto":
        return 0
    hint = "Write a number of slots or auto."
    if _is_negative(value):
        raise UsageError(f"--parallel {value!r}", _SLOTS, hint)
    slots = _count_or_auto("--parallel", value)
    if slots is not None and not 1 <= slots <= MAX_SLOTS:
        raise UsageError(f"--parallel {value!r}", _SLOTS, hint)
    return slots


def _is_negative(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith("-") and _WHOLE.fullmatch(value[1:]) is not None
    return isinstance(value, int) and value < 0


def _experts_in_ram(cpu_moe: object, n_cpu_moe: object) -> int | None:
    blocks = _count_or_auto("--n-cpu-moe", n_cpu_moe)
    if not flag("--cpu-moe", cpu_moe):
        return blocks
    if blocks is not None:
        raise UsageError("--cpu-moe", "contradicts --n-cpu-moe", "Give one of them.")
    return ALL_LAYERS


def _gpu_layers(value: object) -> int | None:
    return ALL_LAYERS if value == "all" else _count_or_auto("--gpu-layers", value, "all or auto")


def _proportions(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    parts: list[object] = list(re.split("[,/]", value)) if isinstance(value, str) else _as_list(value)
    # A bool is an int to Python and a mistake here; inf and nan are floats and mistakes, too.
    if all(not isinstance(part, bool) and _PROPORTION.fullmatch(str(part).strip()) for part in parts):
        return tuple(float(str(part)) for part in parts)
    raise UsageError(f"--tensor-split {value!r}", "not a list of proportions", "Write 3,1.")


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _patterns(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    parts: list[object] = list(value.split(",")) if isinstance(value, str) else _as_list(value)
    for part in parts:
        if not isinstance(part, str) or "=" not in part:
            hint = r"Write blk\.1\.ffn_.*=CPU."
            raise UsageError(f"--override-tensor {value!r}", "not REGEX=DEVICE", hint)
        try:
            re.compile(part.partition("=")[0])
        except re.error as error:
            raise UsageError(f"--override-tensor {part!r}", f"not a pattern: {error}") from None
    return tuple(str(part) for part in parts)


def _spec_type(value: object) -> str | None:
    chosen = _choice("--spec-type", value, ("none", "draft-mtp"))
    return None if chosen == "none" else chosen
