"""File types as people name them: those that llama-quantize writes, and those of other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import TENSOR_TYPES, file_type, tensor_bytes
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


_NEAREST: Mapping[str, tuple[str, float, str]] = MappingProxyType(
    {
        "INT8": ("Q8_0", 8.0, "8-bit integers with a scale a row"),
        "W8A8": ("Q8_0", 8.0, "8-bit integers with a scale a row"),
        "W8A16": ("Q8_0", 8.0, "8-bit integers with a scale a row"),
        "8BIT": ("Q8_0", 8.0, "8 bits"),
        "Q8": ("Q8_0", 8.0, "8 bits"),
        "FP8": ("Q8_0", 8.0, "8-bit floats"),
        "INT4": ("Q4_0", 4.0, "4-bit integers and their scales"),
        "W4A16": ("Q4_0", 4.0, "4-bit integers and their scales"),
        "AWQ": ("Q4_0", 4.0, "4-bit integers and their scales"),
        "GPTQ": ("Q4_0", 4.0, "4-bit integers and their scales"),
        "NF4": ("Q4_0", 4.0, "4-bit floats and their scales"),
        "FP4": ("Q4_0", 4.0, "4-bit floats and their scales"),
        "FP16": ("F16", 16.0, ""),
        "HALF": ("F16", 16.0, ""),
        "BFLOAT16": ("BF16", 16.0, ""),
        "FP32": ("F32", 32.0, ""),
        "6BIT": ("Q6_K", 6.0, "6 bits"),
        "Q6": ("Q6_K", 6.0, "6 bits"),
        "5BIT": ("Q5_K_M", 5.0, "5 bits"),
        "Q5": ("Q5_K_M", 5.0, "5 bits"),
        "4BIT": ("Q4_K_M", 4.0, "4 bits"),
        "Q4": ("Q4_K_M", 4.0, "4 bits"),
        "3BIT": ("Q3_K_M", 3.0, "3 bits"),
        "Q3": ("Q3_K_M", 3.0, "3 bits"),
        "2BIT": ("Q2_K", 2.0, "2 bits"),
        "Q2": ("Q2_K", 2.0, "2 bits"),
    }
)
"""Name without signs → (file type of llama.cpp, nominal bits a weight, what it holds). Of a mere number of
bits the usual file is meant."""
_OWN_MIX = re.compile(r"^(?:UD|QAT|APEX|DWQ)[-_]|[-_]XL$", re.IGNORECASE)
_XL = re.compile(r"[-_]XL$", re.IGNORECASE)


def claimed_format(name: str) -> ClaimedFormat:
    """What to build for a file type as somebody wrote it. Raises UsageError for a name that says nothing."""
    key = re.sub(r"[^A-Z0-9]", "", name.upper())
    if key == NVFP4:
        bits = TENSOR_TYPES[NVFP4].bits_per_weight
        note = f"NVFP4: {bits} bits for the experts (of a dense model: for its layers), 16 for the rest."
        return ClaimedFormat("BF16", note, is_nvfp4=True)
    try:
        return ClaimedFormat(file_type(name).name)
    except UsageError:
        if key in _NEAREST:
            return _nearest(name, *_NEAREST[key])
        if not _OWN_MIX.search(name.strip()):
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


def _nearest(name: str, quant: str, bits: float, what: str) -> ClaimedFormat:
    own_bits = TENSOR_TYPES[file_type(quant).base_type].bits_per_weight
    if not what:
        return ClaimedFormat(quant)
    note = f"{name.strip()[:40]} ({what}, {bits:g} bits a weight) is judged as {quant} ({own_bits:.2f} bits)."
    return ClaimedFormat(quant, note)


def _own_mix(name: str) -> str:
    """``UD-Q4_K_XL`` → ``Q4_K_M``. Raises UsageError where nothing known is left of the name."""
    plain = re.sub(r"^(?:UD|QAT|APEX|DWQ)[-_]", "", name, flags=re.IGNORECASE)
    if not _XL.search(plain):
        return file_type(plain).name
    base = _XL.sub("", plain)
    larger = f"{base}_L" if base.upper() == "Q3_K" else base
    return file_type(larger).name
