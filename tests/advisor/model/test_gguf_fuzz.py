"""Whatever the bytes: a header or a GgufError, and never more memory or reading than the file is long."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import read_header
from tests.advisor.model.gguf_builder import TensorInfo, build, header_bytes, with_vocabulary
from tests.advisor.model.test_gguf import Buffer

SMALL = build(
    {
        "general.architecture": "llama",
        "general.alignment": 64,
        "llama.attention.head_count_kv": [8, 8, 4],
        "llama.flags": [True, False],
        "llama.eps": 1e-5,
        "split.count": 1,
        **with_vocabulary(5, 4),
    },
    [TensorInfo("token_embd.weight", (256, 4), "Q4_K"), TensorInfo("output_norm.weight", (256,))],
    alignment=64,
)
HEAD, HEAD_FILE_BYTES = header_bytes("lfm2-1.2b.Q4_K_M")
INTERESTING = (0, 1, 9, 255, 2**31, 2**32 - 1, 2**40, 2**60, 2**62, 2**63, 2**64 - 1)


def check(head: bytes, size: int, require_data: bool) -> None:
    source = Buffer(head, size)
    try:
        header = read_header(source, "m.gguf", require_data=require_data)
    except GgufError as error:
        assert str(error).isprintable()
    else:
        assert header.file_bytes == size
        if require_data and header.tensors:
            assert header.data_offset + sum(tensor.n_bytes for tensor in header.tensors) <= size
    assert source.asked_bytes <= size + 64


@given(st.integers(0, len(SMALL)), st.booleans())
def test_any_truncation(length: int, require_data: bool) -> None:
    check(SMALL[:length], length, require_data)


@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_any_byte_flips(flips: list[tuple[int, int]], require_data: bool) -> None:
    file = bytearray(SMALL)
    for position, value in flips:
        file[position] = value
    check(bytes(file), len(file), require_data)


@given(st.integers(0, len(SMALL) - 8), st.sampled_from(INTERESTING), st.booleans())
def test_any_count_replaced(position: int, value: int, require_data: bool) -> None:
    file = SMALL[:position] + struct.pack("<Q", value) + SMALL[position + 8 :]
    check(file, len(file), require_data)


@given(st.integers(0, len(HEAD) - 8), st.sampled_from(INTERESTING), st.integers(0, 255))
@settings(max_examples=60)
def test_a_real_header_with_a_wrong_number(position: int, value: int, byte: int) -> None:
    file = HEAD[:position] + struct.pack("<Q", value) + HEAD[position + 8 :]
    check(file, HEAD_FILE_BYTES, True)
    check(HEAD[:position] + bytes([byte]) + HEAD[position + 1 :], HEAD_FILE_BYTES, True)


@given(st.binary(max_size=300))
def test_any_bytes_after_the_magic(tail: bytes) -> None:
    file = b"GGUF" + struct.pack("<I", 3) + tail
    check(file, len(file), False)
