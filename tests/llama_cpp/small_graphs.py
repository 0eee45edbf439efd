"""One small model of each architecture that no header of tests/data/headers has: metadata and tensors only.

Tensors as ``load_arch_tensors`` of llama.cpp b11434 asks for them (src/models/*.cpp), with the optional ones
that published files of the architecture have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.advisor.model.gguf_builder import TensorInfo, build, tensor_list

N_BLOCKS, N_EMBD, N_FF, N_KV, N_VOCAB, N_EXPERT = 4, 1024, 2816, 256, 5120, 16
_E, _F, _X, _S = N_EMBD, N_FF, 512, 64
_DIMS: Mapping[str, tuple[int, ...]] = {
    "attn_q": (_E, _E), "attn_k": (_E, N_KV), "attn_v": (_E, N_KV), "attn_qkv": (_E, _E + 2 * N_KV),
    "attn_output": (_E, _E), "attn_gate": (_E, 16), "attn_sinks": (16,),
    "attn_q_norm": (64,), "attn_k_norm": (64,),
    "ffn_gate": (_E, _F), "ffn_up": (_E, _F), "ffn_down": (_F, _E), "ffn_gate_inp": (_E, N_EXPERT),
    "ffn_gate_exps": (_E, _X, N_EXPERT), "ffn_up_exps": (_E, _X, N_EXPERT),
    "ffn_down_exps": (_X, _E, N_EXPERT),
    "ffn_gate_chexps": (_E, _S, 8), "ffn_up_chexps": (_E, _S, 8), "ffn_down_chexps": (_S, _E, 8),
    "ffn_gate_shexp": (_E, _X), "ffn_up_shexp": (_E, _X), "ffn_down_shexp": (_X, _E),
    "channel_mix_key": (_E, _F), "channel_mix_value": (_F, _E), "channel_mix_receptance": (_E, _E),
    "channel_mix_lerp_k": (_E, 1, 1), "channel_mix_lerp_r": (_E, 1, 1), "time_mix_lerp_x": (_E, 1, 1),
    "time_mix_first": (_S, 16), "time_mix_decay_w1": (_E, _S), "time_mix_decay_w2": (_S, _E),
    "time_mix_a1": (_E, _S), "time_mix_a2": (_S, _E), "time_mix_g1": (_E, 128), "time_mix_g2": (128, _E),
    "time_mix_v1": (_E, 32), "time_mix_v2": (32, _E),
    "time_mix_gate": (_E, _E), "time_mix_key": (_E, _E), "time_mix_value": (_E, _E),
    "time_mix_output": (_E, _E), "time_mix_receptance": (_E, _E),
    "token_embd": (_E, N_VOCAB), "output": (_E, N_VOCAB),
}  # fmt: skip
"""Dimensions by name; what is not here is a vector of the embedding's width."""
_F32 = re.compile(r"norm|ffn_gate_inp|lerp|time_mix_first|bias")
_ATTN = "attn_norm attn_q attn_k attn_v attn_output ffn_norm"
_FUSED = "attn_norm attn_qkv attn_output ffn_norm"
_GATED = "ffn_gate ffn_up ffn_down"
_EXPERTS = "ffn_gate_inp ffn_gate_exps ffn_up_exps ffn_down_exps"
_SHARED = "ffn_gate_shexp ffn_up_shexp ffn_down_shexp"
_BIASED = "attn_norm+ attn_qkv+ attn_output+ ffn_norm+ ffn_up+ ffn_down+"
_RWKV = (
    "attn_norm+ attn_norm_2+ channel_mix_key channel_mix_value channel_mix_lerp_k time_mix_lerp_fused "
    "time_mix_key time_mix_value time_mix_output time_mix_receptance time_mix_ln+ time_mix_w1 time_mix_w2 "
)
_PLAIN_TOP, _RWKV_TOP = "token_embd output_norm output", "token_embd token_embd_norm+ output_norm+ output"
_RMS = {"attention.layer_norm_rms_epsilon": 1e-5}
_LN = {"attention.layer_norm_epsilon": 1e-5}
_MOE = {**_RMS, "expert_count": N_EXPERT, "expert_used_count": 4, "expert_feed_forward_length": _X}
_WINDOW = {"attention.sliding_window": 512, "attention.sliding_window_pattern": [True, True, True, False]}


@dataclass(frozen=True, slots=True)
class SmallGraph:
    """``block`` names the tensors of a block: ``+`` those with a bias, ``!`` those without ``.weight``."""

    block: str
    metadata: Mapping[str, object]
    top: str = _PLAIN_TOP
    dims: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    first_block: str = ""
    """The first block's where it differs."""
    first_dims: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def has_experts(self) -> bool:
        return "_exps" in self.block


SMALL_GRAPHS: Mapping[str, SmallGraph] = {
    "bailingmoe": SmallGraph(f"{_ATTN} {_EXPERTS} {_SHARED}", {**_MOE, "expert_shared_count": 1}),
    "bitnet": SmallGraph(
        f"{_ATTN} attn_sub_norm {_GATED} ffn_sub_norm",
        _RMS,
        "token_embd output_norm",
        {"ffn_sub_norm": (_F,)},
    ),
    "bloom": SmallGraph(_BIASED, _LN, "token_embd token_embd_norm+ output_norm+"),
    "chatglm": SmallGraph(
        "attn_norm attn_qkv+ attn_output ffn_norm ffn_up ffn_down", _RMS, dims={"ffn_up": (_E, 2 * _F)}
    ),
    "deepseek": SmallGraph(
        f"{_ATTN} {_EXPERTS} {_SHARED}",
        {**_MOE, "expert_shared_count": 1, "leading_dense_block_count": 1},
        first_block=f"{_ATTN} {_GATED}",
    ),
    "granite_swa": SmallGraph(
        f"{_ATTN} attn_sinks {_EXPERTS}",
        {**_MOE, **_WINDOW, "logit_scale": 1.0},
        dims={
            "ffn_gate_exps": (_E, _F, N_EXPERT),
            "ffn_up_exps": (_E, _F, N_EXPERT),
            "ffn_down_exps": (_F, _E, N_EXPERT),
        },
    ),
    "grovemoe": SmallGraph(
        f"{_ATTN} attn_q_norm attn_k_norm {_EXPERTS} ffn_gate_chexps ffn_up_chexps ffn_down_chexps",
        {**_MOE, "expert_group_scale": 0.05, "experts_per_group": 2},
    ),
    "jais": SmallGraph(f"{_BIASED} ffn_gate+", _LN, "token_embd output_norm+ output"),
    "jais2": SmallGraph(
        "attn_norm+ attn_q+ attn_k+ attn_v+ attn_output+ ffn_norm+ ffn_up+ ffn_down+",
        _LN,
        "token_embd output_norm+ output",
    ),
    "mpt": SmallGraph(f"{_FUSED} ffn_up ffn_down", _LN, "token_embd output_norm"),
    "plamo3": SmallGraph(
        f"{_FUSED} attn_q_norm attn_k_norm ffn_up ffn_down post_attention_norm! post_ffw_norm!",
        {**_RMS, "attention.sliding_window": 512, "attention.sliding_window_pattern": 2},
        dims={"ffn_up": (_E, 2 * _F)},
    ),
    "qwen": SmallGraph(
        f"attn_norm attn_qkv+ attn_output ffn_norm {_GATED}",
        _RMS,
        dims={
            "attn_qkv": (_E, 3 * _E),
            "ffn_gate": (_E, _F // 2),
            "ffn_up": (_E, _F // 2),
            "ffn_down": (_F // 2, _E),
        },
    ),
    "refact": SmallGraph(f"{_ATTN} {_GATED}", _RMS),
    "spark2_5": SmallGraph(f"{_ATTN} attn_gate {_GATED}", {**_RMS, **_WINDOW}),
    "rwkv6": SmallGraph(
        _RWKV + "channel_mix_lerp_r channel_mix_receptance time_mix_gate time_mix_lerp_x "
        "time_mix_decay time_mix_decay_w1 time_mix_decay_w2 time_mix_first",
        {
            **_LN,
            "attention.head_count": 0,
            "attention.head_count_kv": 0,
            "wkv.head_size": 64,
            "time_mix_extra_dim": 32,
            "time_decay_extra_dim": 64,
            "rescale_every_n_layers": 6,
            "token_shift_count": 2,
        },
        _RWKV_TOP,
        {"time_mix_w1": (_E, 160), "time_mix_w2": (32, _E, 5), "time_mix_lerp_fused": (_E, 1, 1, 5)},
    ),
    "rwkv7": SmallGraph(
        _RWKV + "time_mix_w0 time_mix_a0 time_mix_a1 time_mix_a2 time_mix_g1 time_mix_g2 time_mix_v0 "
        "time_mix_v1 time_mix_v2 time_mix_k_a time_mix_k_k time_mix_r_k",
        {
            **_LN,
            "attention.head_count": 0,
            "attention.head_count_kv": 0,
            "wkv.head_size": 64,
            "attention.decay_lora_rank": 64,
            "attention.iclr_lora_rank": 64,
            "attention.value_residual_mix_lora_rank": 32,
            "attention.gate_lora_rank": 128,
            "token_shift_count": 2,
        },
        _RWKV_TOP,
        {"time_mix_w1": (_E, 64), "time_mix_w2": (64, _E), "time_mix_lerp_fused": (_E, 1, 1, 6)},
        first_dims={"time_mix_v1": (_E, 64), "time_mix_v2": (64, _E)},
    ),
}


def write_small_graph(architecture: str, folder: Path) -> Path:
    """A model file of that architecture; its data are a hole."""
    graph = SMALL_GRAPHS[architecture]
    keys: dict[str, object] = {
        "context_length": 32768,
        "embedding_length": N_EMBD,
        "block_count": N_BLOCKS,
        "vocab_size": N_VOCAB,
        "feed_forward_length": N_FF,
        "attention.head_count": 16,
        "attention.head_count_kv": 4,
        **graph.metadata,
    }
    metadata: dict[str, object] = {"general.architecture": architecture, "tokenizer.ggml.model": "no_vocab"}
    tensors = _tensors("", graph.top, graph.dims)
    for block in range(N_BLOCKS):
        first = block == 0
        names = graph.first_block if first and graph.first_block else graph.block
        tensors += _tensors(f"blk.{block}.", names, {**graph.dims, **(graph.first_dims if first else {})})
    path = folder / f"{architecture}.gguf"
    metadata |= {f"{architecture}.{key}": value for key, value in keys.items()}
    header = build(metadata, tensors, with_data=False)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + tensor_list(tensors)[1])
    return path


def _tensors(prefix: str, names: str, own_dims: Mapping[str, tuple[int, ...]]) -> list[TensorInfo]:
    found = []
    for word in names.split():
        name = word.rstrip("+!")
        dims = own_dims.get(name) or _DIMS.get(name, (_E,))
        found.append(_tensor(prefix + name + ("" if word.endswith("!") else ".weight"), dims))
        if word.endswith("+"):
            found.append(_tensor(f"{prefix}{name}.bias", dims[1:] or dims))
    return found


def _tensor(name: str, dims: tuple[int, ...]) -> TensorInfo:
    if len(dims) == 1 or _F32.search(name):
        return TensorInfo(name, dims, "F32")
    return TensorInfo(name, dims, "Q4_K" if dims[0] % 256 == 0 else "F16")
