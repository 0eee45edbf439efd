"""The ladders go one way, are made of what llama.cpp knows, and agree with each other."""

from __future__ import annotations

from llmfit.advisor.model.quantization import CACHE_TYPES, FILE_TYPES, TENSOR_TYPES
from llmfit.advisor.recommend import ladders


def base_bits(file_type: str) -> float:
    return TENSOR_TYPES[FILE_TYPES[file_type].base_type].bits_per_weight


def test_file_types_exist_and_get_smaller() -> None:
    for ladder in (ladders.QUANT_LADDER, ladders.SMALLER_FILE_TYPES):
        sizes = [base_bits(name) for name in ladder]
        assert sizes == sorted(sizes, reverse=True) and len(set(ladder)) == len(ladder)
    assert ladders.GOOD_ENOUGH in ladders.QUANT_LADDER
    assert ladders.DEFAULT_FILE_TYPE in ladders.SMALLER_FILE_TYPES


def test_cache_types_exist_and_get_smaller() -> None:
    sizes = [CACHE_TYPES[name].bits_per_weight for name in ladders.SMALLER_CACHE_TYPES]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < CACHE_TYPES[ladders.DEFAULTS.cache_type_k].bits_per_weight
    assert ladders.DEFAULTS.cache_type_k in ladders.FAST_CACHE_TYPES


def test_shorter_contexts_are_steps_of_the_ladder_the_longest_first() -> None:
    assert ladders.shorter_contexts(ladders.DEFAULT_CONTEXT_TOKENS) == (16384, 8192, 4096)
    assert ladders.shorter_contexts(32769, at_least_tokens=8192) == (32768, 16384, 8192)
    assert ladders.shorter_contexts(4096) == ()
    for tokens in (ladders.SHORT_CONTEXT_TOKENS, ladders.LONG_CONTEXT_TOKENS):
        assert tokens in ladders.CONTEXT_LADDER
