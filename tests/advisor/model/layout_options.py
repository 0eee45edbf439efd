"""Layout options as a file's own tensor list shows them."""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.model.layout import LayoutOptions
from llmfit.advisor.model.tensors import Tensor


def options_shown_by(tensors: Sequence[Tensor]) -> LayoutOptions:
    """What lay_out cannot know from metadata, read off the tensors of a file."""
    dims = {tensor.name: tensor.dims for tensor in tensors}
    parts = {tensor.name.split(".", 2)[2] for tensor in tensors if tensor.name.startswith("blk.")}
    rope = dims.get("rope_freqs.weight") or dims.get("rope_factors_long.weight") or (0,)
    full = [name.split(".")[1] for name in dims if name.endswith("attn_output.weight")]
    return LayoutOptions(
        vocab_size=dims["token_embd.weight"][1],
        tied_embeddings="output.weight" not in dims,
        qkv_bias="attn_q.bias" in parts,
        fused_qkv="attn_qkv.weight" in parts and "ssm_out.weight" not in parts,
        qk_norm="head" if "attn_q_norm.weight" in parts else None,
        rope_factors=rope[0],
        expert_bias="exp_probs_b.bias" in parts,
        fused_experts="ffn_gate_up_exps.weight" in parts,
        state_norm="ssm_norm.weight" in parts,
        value_is_key=any(f"blk.{layer}.attn_v.weight" not in dims for layer in full),
        layer_scales="layer_output_scale.weight" in parts,
        nextn_embeddings="nextn.embed_tokens.weight" in parts,
        nextn_head="nextn.shared_head_head.weight" in parts,
    )
