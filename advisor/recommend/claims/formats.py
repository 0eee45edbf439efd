"""File types as people name them: those that llama-quantize writes, and those of other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import FILE_TYPES, TENSOR_TYPES, file_type, tensor_bytes
from llmfit.advisor.model.tensor_names import ROUTED_EXPERTS, block_of
from llmfit.advisor.model.tensors import Tensor

NVFP4 = "NVFP4"


@dataclass(frozen=True, slots=True)
class ClaimedFormat:
    """What a claim's file type is judged as. ``note`` says so where it is not the same, else it is empty."""

    quant: str
    """The file type to build; BF16 for one that is made from it (``is_nvfp4``)."""
    note: str = ""
    is_nvfp4: bool = False


_NEAREST: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "INT8": ("Q8_0", "8-bit integers with a scale a row"),
        "W8A8": ("Q8_0", "8-bit integers with a scale a row"),
        "W8A16": ("Q8_0", "8-bit integers with a scale a row"),
        "8BIT": ("Q8_0", "8 bits"),
        "Q8": ("Q8_0", "8 bits"),
        "FP8": ("Q8_0", "8-bit floats"),
        "INT4": ("Q4_0", "4-bit integers and their scales"),
        "W4A16": ("Q4_0", "4-bit integers and their scales"),
        "AWQ": ("Q4_0", "4-bit integers and their scales"),
        "GPTQ": ("Q4_0", "4-bit integers and their scales"),
        "NF4": ("Q4_0", "4-bit floats and their scales"),
        "FP4": ("Q4_0", "4-bit floats and their scales"),
        "FP16": ("F16", ""),
        "HALF": ("F16", ""),
        "BFLOAT16": ("BF16", ""),
        "FP32": ("F32", ""),
        "6BIT": ("Q6_K", "6 bits"),
        "Q6": ("Q6_K", "6 bits"),
        "5BIT": ("Q5_K_M", "5 bits"),
        "Q5": ("Q5_K_M", "5 bits"),
        "4BIT": ("Q4_K_M", "4 bits"),
        "Q4": ("Q4_K_M", "4 bits"),
        "3BIT": ("Q3_K_M", "3 bits"),
        "Q3": ("Q3_K_M", "3 bits"),
        "2BIT": ("Q2_K", "2 bits"),
        "Q2": ("Q2_K", "2 bits"),
        "158BIT": ("IQ1_S", "three values"),
        "1BIT": ("IQ1_S", "1 bit"),
        "Q1": ("IQ1_S", "1 bit"),
    }
)
"""Name without signs → (file type of llama.cpp, what it holds). Of a mere number of
bits the usual file is meant."""
_PREFIX = re.compile(r"^(?:UD|QAT|APEX|DWQ)[-_]", re.IGNORECASE)
_LARGER = re.compile(r"[-_]X?L$", re.IGNORECASE)
_BITS_PER_WEIGHT = re.compile(
    r"(?<![\d.])(\d{1,2}(?:\.\d{1,3})?)\s*(?:bpw|bits? per weight)\b", re.IGNORECASE
)
_CACHE_TYPES: Mapping[str, str] = MappingProxyType(
    {"FP16": "f16", "FP32": "f32", "INT8": "q8_0", "FP8": "q8_0", "8BIT": "q8_0", "Q8": "q8_0"}
    | {"INT4": "q4_0", "4BIT": "q4_0", "Q4": "q4_0", "NVFP4": "q4_0"}
)


def claimed_format(name: str) -> ClaimedFormat:
    """What to build for a file type as somebody wrote it. Raises UsageError for a name that says nothing."""
    key = re.sub(r"[^A-Z0-9]", "", name.upper()).removeprefix("MLX").removeprefix("GGUF")
    if key == NVFP4:
        bits = TENSOR_TYPES[NVFP4].bits_per_weight
        note = f"NVFP4: {bits} bits for the experts (of a dense model: for its layers), 16 for the rest."
        return ClaimedFormat("BF16", note, is_nvfp4=True)
    try:
        return ClaimedFormat(file_type(name).name)
    except UsageError:
        if key in _NEAREST:
            return _nearest(name, *_NEAREST[key])
        stated = _BITS_PER_WEIGHT.search(name)
        if stated is not None:
            bits = float(stated[1])
            return _nearest(name, _with_bits(bits), f"{bits:g} bits stated")
        if not (_PREFIX.search(name.strip()) or _LARGER.search(name.strip())):
            raise
    plain = _own_mix(name.strip())
    return ClaimedFormat(plain, f"{name.strip()[:40]} is a publisher's own mix, judged as {plain}.")


def as_nvfp4(model: Model) -> Model:
    """A BF16 model with its linear weights in NVFP4, as NVIDIA's tool makes it of most models.

    Of a model with routed experts those alone (MiMo-V2.5: 184.4 GB, as published), of a dense one every
    matrix of the layers (Qwen3-32B: 20.7 GB); embedding, output head and norms stay as they are.
    """
    is_moe = model.shape.n_expert > 0
    tensors = tuple([_nvfp4_tensor(tensor, is_moe) for tensor in model.tensors])
    return replace(
        model,
        tensors=tensors,
        quantization=NVFP4,
        launch_args=("-m", f"{model.id.rpartition('/')[2]}-{NVFP4}.gguf"),
        file_bytes=sum(tensor.n_bytes for tensor in tensors),
        file_bytes_source="computed: NVFP4 for the linear weights, BF16 for the rest",
    )


def _nvfp4_tensor(tensor: Tensor, is_moe: bool) -> Tensor:
    in_layers = block_of(tensor.name) is not None and len(tensor.dims) > 1 and tensor.type_name != "F32"
    wanted = in_layers and (not is_moe or ROUTED_EXPERTS.search(tensor.name) is not None)
    if not wanted or tensor.dims[0] % TENSOR_TYPES[NVFP4].block_elements:
        return tensor
    # a model on paper may be scaled to a count that its layers do not add up to
    scale = tensor.n_bytes / tensor_bytes(tensor.type_name, tensor.dims)
    n_bytes = round(tensor_bytes(NVFP4, tensor.dims) * scale)
    return replace(tensor, type_name=NVFP4, n_bytes=n_bytes)


def _nearest(name: str, quant: str, what: str) -> ClaimedFormat:
    own_bits = TENSOR_TYPES[file_type(quant).base_type].bits_per_weight
    if not what:
        return ClaimedFormat(quant)
    note = f"{name.strip()[:40]} ({what}) is judged as {quant}, {own_bits:.2f} bits a weight at its base."
    return ClaimedFormat(quant, note)


def _with_bits(bits: float) -> str:
    """The file type whose base is nearest; of equals the one that more people take."""
    usual = ("Q4_K_M", "Q5_K_M", "Q3_K_M", "Q2_K", "BF16")
    names = (*usual, *(name for name in FILE_TYPES if name not in usual))
    return min(names, key=lambda name: abs(TENSOR_TYPES[FILE_TYPES[name].base_type].bits_per_weight - bits))


def claimed_cache_type(name: str) -> str:
    """``int8`` → ``q8_0``, ``fp16`` → ``f16``; anything else as it is."""
    return _CACHE_TYPES.get(re.sub(r"[^A-Z0-9]", "", name.upper()), name)


def _own_mix(name: str) -> str:
    """``UD-Q4_K_XL`` → ``Q4_K_M``. Raises UsageError where nothing known is left of the name."""
    plain = _PREFIX.sub("", name)
    try:
        return file_type(plain).name
    except UsageError:
        return file_type(_LARGER.sub("", plain)).name
