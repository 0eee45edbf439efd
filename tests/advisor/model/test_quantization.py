from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.quantization import (
    CACHE_TYPES,
    FILE_TYPE_BY_ID,
    FILE_TYPES,
    TENSOR_TYPE_BY_ID,
    TENSOR_TYPES,
    file_type,
    tensor_bytes,
)


# The parts of each block struct in ggml/src/ggml-common.h (b11434), in bytes: scales, mins and packed values.
@pytest.mark.parametrize(
    ("name", "elements", "parts"),
    [
        ("Q4_0", 32, (2, 32 // 2)),
        ("Q4_1", 32, (2, 2, 32 // 2)),
        ("Q5_0", 32, (2, 4, 32 // 2)),
        ("Q5_1", 32, (2, 2, 4, 32 // 2)),
        ("Q8_0", 32, (2, 32)),
        ("Q2_K", 256, (256 // 16, 256 // 4, 2, 2)),
        ("Q3_K", 256, (256 // 8, 256 // 4, 12, 2)),
        ("Q4_K", 256, (2, 2, 12, 256 // 2)),
        ("Q5_K", 256, (2, 2, 12, 256 // 8, 256 // 2)),
        ("Q6_K", 256, (256 // 2, 256 // 4, 256 // 16, 2)),
        ("IQ1_S", 256, (2, 256 // 8, 256 // 16)),
        ("IQ1_M", 256, (256 // 8, 256 // 16, 256 // 32)),
        ("IQ2_XXS", 256, (2, 256 // 4)),
        ("IQ2_XS", 256, (2, 256 // 4, 256 // 32)),
        ("IQ2_S", 256, (2, 256 // 4, 256 // 32, 256 // 32)),
        ("IQ3_XXS", 256, (2, 3 * 256 // 8)),
        ("IQ3_S", 256, (2, 256 // 4, 256 // 32, 256 // 8, 256 // 64)),
        ("IQ4_NL", 32, (2, 32 // 2)),
        ("IQ4_XS", 256, (2, 2, 256 // 64, 256 // 2)),
        ("TQ1_0", 256, ((256 - 4 * 256 // 64) // 5, 256 // 64, 2)),
        ("TQ2_0", 256, (256 // 4, 2)),
        ("MXFP4", 32, (1, 32 // 2)),
        ("NVFP4", 64, (64 // 16, 64 // 2)),
        ("Q1_0", 128, (2, 128 // 8)),
        ("Q2_0", 64, (2, 64 // 4)),
    ],
)
def test_a_block_is_the_sum_of_its_parts(name: str, elements: int, parts: tuple[int, ...]) -> None:
    kind = TENSOR_TYPES[name]
    assert (kind.block_elements, kind.block_bytes) == (elements, sum(parts))


def test_ids_are_unique_and_complete() -> None:
    removed_from_ggml = {4, 5, 31, 32, 33, 36, 37, 38}
    assert set(TENSOR_TYPE_BY_ID) == set(range(43)) - removed_from_ggml
    assert len(TENSOR_TYPE_BY_ID) == len(TENSOR_TYPES)
    assert len(FILE_TYPE_BY_ID) == len(FILE_TYPES)


def test_bits_per_weight() -> None:
    assert TENSOR_TYPES["Q4_K"].bits_per_weight == 4.5
    assert TENSOR_TYPES["Q6_K"].bits_per_weight == 6.5625
    assert TENSOR_TYPES["MXFP4"].bits_per_weight == 4.25


@pytest.mark.parametrize(
    ("type_name", "dims", "expected"),
    [
        ("Q4_K", (4096, 14336), 4096 * 14336 * 9 // 16),
        ("Q8_0", (64, 3, 5), 2 * 34 * 15),
        ("F32", (7,), 28),
        ("F16", (3, 0), 0),
        ("F32", (), 4),
    ],
)
def test_tensor_bytes(type_name: str, dims: tuple[int, ...], expected: int) -> None:
    assert tensor_bytes(type_name, dims) == expected


def test_a_row_must_be_whole_blocks() -> None:
    with pytest.raises(ValueError, match="2880 elements is no multiple of Q4_K's 256"):
        tensor_bytes("Q4_K", (2880, 256))


@given(
    kind=st.sampled_from(sorted(TENSOR_TYPES)),
    blocks=st.integers(1, 64),
    rest=st.lists(st.integers(1, 100), max_size=3),
)
def test_bytes_are_elements_times_bits(kind: str, blocks: int, rest: list[int]) -> None:
    dims = (blocks * TENSOR_TYPES[kind].block_elements, *rest)
    assert tensor_bytes(kind, dims) * 8 == prod(dims) * TENSOR_TYPES[kind].bits_per_weight


def test_file_types_are_made_of_tensor_types() -> None:
    assert all(kind.base_type in TENSOR_TYPES for kind in FILE_TYPES.values())
    assert FILE_TYPES["IQ2_S"].base_type == "IQ2_XS"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("q4_k_m", "Q4_K_M"),
        (" Q4-K-M ", "Q4_K_M"),
        ("Q3_K", "Q3_K_M"),
        ("q4_k", "Q4_K_M"),
        ("Q5_K", "Q5_K_M"),
        ("mxfp4", "MXFP4_MOE"),
        ("MXFP4_MOE", "MXFP4_MOE"),
        ("bf16", "BF16"),
        ("iq2_xxs", "IQ2_XXS"),
    ],
)
def test_names_people_write(name: str, expected: str) -> None:
    assert file_type(name).name == expected


def test_every_name_finds_itself() -> None:
    assert all(file_type(name.lower()) is kind for name, kind in FILE_TYPES.items())


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="Q4_K_M") as caught:
        file_type("Q4_K_XL")
    assert caught.value.hint.startswith("Did you mean ")
    with pytest.raises(UsageError, match=r"no such file type\. Try Q4_K_M\."):
        file_type("banana")


def test_cache_types_are_what_llama_server_accepts() -> None:
    assert set(CACHE_TYPES) == {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}
    assert all(kind.name == value.upper() for value, kind in CACHE_TYPES.items())
