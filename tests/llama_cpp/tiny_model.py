"""A complete llama-architecture model of a megabyte or two: random weights, a working tokenizer.

A real server loads it, answers and streams; what it says is noise. For tests that need a server, not sense.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from pathlib import Path

from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.tensors import TensorShape
from tests.advisor.model.gguf_builder import ARRAY, FLOAT32, INT32, TensorInfo, Typed, build

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
"""LLAMA_TOKEN_TYPE_* of llama.h."""
_N_SPECIAL = 3
_N_SILENT = _N_SPECIAL + 256
"""Control and byte tokens come first; their output rows are zero, so that words are what it says."""
_ALIGNMENT = 32


def tiny_metadata(n_layer: int = 2, n_embd: int = 128, context_tokens: int = 4096) -> dict[str, object]:
    """Header keys of the tiny model, without its tokenizer. ``n_embd`` is a multiple of 64."""
    return {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.context_length": context_tokens,
        "llama.embedding_length": n_embd,
        "llama.block_count": n_layer,
        "llama.feed_forward_length": 2 * n_embd,
        "llama.attention.head_count": n_embd // 32,
        "llama.attention.head_count_kv": n_embd // 64,
        "llama.attention.layer_norm_rms_epsilon": 2.0**-17,
        "llama.rope.dimension_count": 32,
    }


def write_tiny_model(
    path: Path,
    *,
    n_layer: int = 2,
    n_embd: int = 128,
    n_vocab: int = 1024,
    context_tokens: int = 4096,
    weight_type: str = "F16",
    seed: int = 1,
) -> Path:
    """Write the file: matrices in F16 or Q8_0, norms in F32. The same arguments give the same bytes."""
    metadata = tiny_metadata(n_layer, n_embd, context_tokens)
    shapes = lay_out(metadata, LayoutOptions(vocab_size=n_vocab))
    file_type = {"F16": 1, "Q8_0": 7}[weight_type]
    metadata |= {"general.file_type": file_type, "llama.vocab_size": n_vocab, **_tokenizer(n_vocab)}
    infos = [TensorInfo(shape.name, shape.dims, _type(shape, weight_type)) for shape in shapes]
    numbers = random.Random(seed)
    with path.open("wb") as file:
        file.write(build(metadata, infos, with_data=False))
        for shape, info in zip(shapes, infos, strict=True):
            data = _data(shape, info.type_name, numbers)
            assert len(data) == tensor_bytes(info.type_name, info.dims)
            file.write(data + bytes(-len(data) % _ALIGNMENT))
    return path


def _type(shape: TensorShape, weight_type: str) -> str:
    return weight_type if len(shape.dims) > 1 else "F32"


def _data(shape: TensorShape, type_name: str, numbers: random.Random) -> bytes:
    if type_name == "F32":
        return struct.pack("<f", 1.0) * shape.n_elements
    row = shape.dims[0]
    silent = _N_SILENT * row if shape.name == "output.weight" else 0
    make = _random_f16 if type_name == "F16" else _random_q8_0
    return bytes(tensor_bytes(type_name, (silent,)) if silent else 0) + make(
        shape.n_elements - silent, numbers
    )


def _random_f16(count: int, numbers: random.Random) -> bytes:
    """Random signs and mantissas with one exponent: magnitudes from 2^-5 to 2^-4, no NaN, no infinity."""
    mask = int.from_bytes(b"\xff\x83" * count, "little")
    exponent = int.from_bytes(b"\x00\x28" * count, "little")
    return (int.from_bytes(numbers.randbytes(2 * count), "little") & mask | exponent).to_bytes(
        2 * count, "little"
    )


def _random_q8_0(count: int, numbers: random.Random) -> bytes:
    """Blocks of a scale of 2^-11 and 32 random bytes."""
    scale = struct.pack("<e", 2.0**-11)
    return b"".join(scale + numbers.randbytes(32) for _ in range(count // 32))


def _tokenizer(n_vocab: int) -> Mapping[str, object]:
    """A SentencePiece vocabulary: control tokens, all bytes, letters, then made-up words."""
    assert n_vocab > _N_SILENT + 64, "too few tokens for the bytes and some words"
    words = ["▁", *"abcdefghijklmnopqrstuvwxyz", *(f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    for first in "bdfgklmnprstvwz":
        words += [f"▁{first}{middle}{last}" for middle in "aeiou" for last in "dgklmnprst"]
    words = words[: n_vocab - _N_SILENT]
    words += [f"▁w{number}" for number in range(n_vocab - _N_SILENT - len(words))]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(words)]
    scores = [0.0] * _N_SILENT + [-float(rank) for rank in range(len(words))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": Typed(ARRAY, scores, FLOAT32),
        "tokenizer.ggml.token_type": Typed(ARRAY, types, INT32),
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
    }
