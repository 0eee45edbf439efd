"""What one decoded token reads, by the names of tensors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensor_names import LOOKED_UP, ROUTED_EXPERTS, active_parameters, decode_share
from llmfit.advisor.model.tensors import Tensor
from tests.advisor.memory.memory_models import header_of, shape_of

EXPERTS, USED = 128, 8


def shape() -> ModelShape:
    found = shape_of("qwen3-30b-a3b")
    assert (found.n_expert, found.n_expert_used) == (EXPERTS, USED)
    return found


def share(name: str, of: ModelShape, *dims: int) -> Fraction:
    return Fraction(*decode_share(Tensor(name, dims or (64, 64), "F16", 0), of))


@pytest.mark.parametrize(
    ("name", "dims", "expected"),
    [
        ("blk.0.ffn_up_exps.weight", (2048, 768, EXPERTS), Fraction(USED, EXPERTS)),
        ("blk.0.ffn_down_exps.bias", (2048, EXPERTS), Fraction(USED, EXPERTS)),
        ("blk.0.ffn_gate_up_exps.weight", (2048, 1536, EXPERTS), Fraction(USED, EXPERTS)),
        # grovemoe: a second stack with fewer experts, of which as many are chosen
        ("blk.0.ffn_up_chexps.weight", (2048, 128, 64), Fraction(USED, 64)),
        ("blk.0.ffn_up_chexps.weight", (2048, 128, 4), Fraction(1)),
        ("blk.0.ffn_norm_exps.weight", (2048,), Fraction(1)),
        ("blk.0.ffn_up_shexp.weight", (2048, 768), Fraction(1)),
        ("blk.0.attn_q.weight", (2048, 4096), Fraction(1)),
        ("blk.48.attn_q.weight", (2048, 4096), Fraction(0)),
        ("output.weight", (2048, 151936), Fraction(1)),
        ("position_embd.weight", (2048, 1024), Fraction(0)),
        ("token_embd_norm.weight", (2048,), Fraction(1)),
    ],
)
def test_share_of_a_tensor_that_a_token_reads(name: str, dims: tuple[int, ...], expected: Fraction) -> None:
    assert share(name, shape(), *dims) == expected


def test_a_tied_embedding_is_read_as_the_output_matrix() -> None:
    apart = shape()
    tied = replace(apart, traits=replace(apart.traits, tied_embeddings=True))
    assert share("token_embd.weight", apart) == 0
    assert share("token_embd.weight", tied) == 1
    assert share("per_layer_token_embd.weight", tied) == 0


def test_a_dense_model_reads_all_of_its_blocks() -> None:
    header = header_of("qwen3-32b")
    looked_up = sum(t.n_elements for t in header.tensors if LOOKED_UP.match(t.name))
    everything = sum(t.n_elements for t in header.tensors)
    assert looked_up > 0
    assert active_parameters(shape_of("qwen3-32b"), header.tensors) == everything - looked_up


def test_every_stack_of_a_header_has_as_many_experts_as_the_header_says() -> None:
    found = shape()
    stacks = [t for t in header_of("qwen3-30b-a3b").tensors if ROUTED_EXPERTS.search(t.name)]
    assert len(stacks) == 3 * found.n_layer
    assert {t.dims[-1] for t in stacks} == {EXPERTS}
