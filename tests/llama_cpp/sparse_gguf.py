"""Whole model files that cost no disk: a true header, and a hole where the data would be.

llama.cpp loads them wherever it does not read the data: without allocation (memoracle, --fit), and for
llama-quantize --dry-run. A 580 GB model takes a few hundred KB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llmfit.advisor.model.tensors import Tensor
from tests.advisor.model.gguf_builder import TensorInfo, build, tensor_list

_EPSILONS = {"attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5}
_SCALED_LOGITS = ("granite", "granitehybrid", "granitemoe", "cohere2", "command-r")
_REQUIRED: Mapping[str, Mapping[str, object]] = {
    **{name: {"logit_scale": 8.0} for name in _SCALED_LOGITS},
    "ernie4_5-moe": {"interleave_moe_layer_step": 1},
    "jamba": {"expert_count": 1, "expert_used_count": 1},
    "deepseek4": {
        "expert_weights_scale": 1.5,
        "expert_weights_norm": True,
        "swiglu_clamp_exp": 10.0,
        "attention.compress_rope_freq_base": 160000.0,
        "hyper_connection.sinkhorn_iterations": 20,
        "hyper_connection.epsilon": 1e-6,
    },
}
"""Keys without which llama.cpp refuses an architecture and on which no byte depends. Values are made up."""
_XIELU = ("alpha_n", "alpha_p", "beta", "eps")


def loadable(metadata: Mapping[str, object], vocab_size: int) -> dict[str, object]:
    """The metadata with what else llama.cpp wants to see, and no tokenizer: it counts tokens only."""
    architecture = str(metadata["general.architecture"])
    fillers = {**_EPSILONS, **_REQUIRED.get(architecture, {}), "vocab_size": vocab_size}
    whole: dict[str, object] = {"general.architecture": architecture, "tokenizer.ggml.model": "no_vocab"}
    whole |= {f"{architecture}.{key}": value for key, value in fillers.items()}
    if architecture == "apertus":
        n_layer = metadata["apertus.block_count"]
        assert isinstance(n_layer, int)
        whole |= {f"xielu.{key}": [0.8] * n_layer for key in _XIELU}
    return whole | dict(metadata)


def write_sparse_gguf(
    path: Path, metadata: Mapping[str, object], tensors: Sequence[Tensor], vocab_size: int
) -> int:
    """Write the file and return its size in bytes. ``metadata`` needs no key that decides no byte."""
    infos = [TensorInfo(tensor.name, tensor.dims, tensor.type_name) for tensor in tensors]
    head = build(loadable(metadata, vocab_size), infos, with_data=False)
    size_bytes = len(head) + tensor_list(infos)[1]
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)
    return size_bytes
