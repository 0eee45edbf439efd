"""A tiny GGUF writer for tests: metadata and tensor list, and a hole where the data would be.

Python values choose their GGUF type: bool → BOOL, int → UINT32 (UINT64 where it needs to be), float →
FLOAT32, str → STRING, a list → an array of its first entry's type. ``Typed(value_type, value)`` says it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.model.quantization import TENSOR_TYPES, tensor_bytes

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
_CODES = {
    UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?",
    UINT64: "Q", INT64: "q", FLOAT64: "d",
}  # fmt: skip

HEADERS = Path(__file__).resolve().parents[2] / "data" / "headers"


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with its GGUF type; ``element_type`` for arrays."""

    value_type: int
    value: object
    element_type: int | None = None


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A row of the tensor list; an ``offset`` or ``type_id`` given replaces the right one."""

    name: str | bytes
    dims: tuple[int, ...]
    type_name: str = "F32"
    offset: int | None = None
    type_id: int | None = None


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def _type_of(value: object) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return UINT32 if 0 <= value < 2**32 else UINT64 if value >= 0 else INT32
    if isinstance(value, float):
        return FLOAT32
    if isinstance(value, str | bytes):
        return STRING
    return ARRAY


def _payload(value_type: int, value: object, element_type: int | None = None) -> bytes:
    if value_type == STRING:
        assert isinstance(value, str | bytes)
        return text(value)
    if value_type != ARRAY:
        return struct.pack("<" + _CODES[value_type], value)
    assert isinstance(value, Sequence)
    if element_type is None:
        element_type = _type_of(value[0]) if value else UINT32
    head = struct.pack("<IQ", element_type, len(value))
    if element_type == STRING:
        return head + b"".join(map(text, value))
    return head + struct.pack(f"<{len(value)}{_CODES[element_type]}", *value)


def key_value(key: str | bytes, value: object) -> bytes:
    """One metadata entry."""
    if not isinstance(value, Typed):
        value = Typed(_type_of(value), value)
    return (
        text(key)
        + struct.pack("<I", value.value_type)
        + _payload(value.value_type, value.value, value.element_type)
    )


def tensor_list(tensors: Iterable[TensorInfo], alignment: int = 32) -> tuple[bytes, int]:
    """The tensor list and the bytes of data that it describes, each tensor padded."""
    rows, next_offset = [], 0
    for info in tensors:
        type_id = TENSOR_TYPES[info.type_name].ggml_id if info.type_id is None else info.type_id
        offset = next_offset if info.offset is None else info.offset
        rows.append(text(info.name) + struct.pack(f"<I{len(info.dims)}Q", len(info.dims), *info.dims))
        rows.append(struct.pack("<IQ", type_id, offset))
        if info.type_id is None and info.offset is None and all(info.dims):
            next_offset += -(-tensor_bytes(info.type_name, info.dims) // alignment) * alignment
    return b"".join(rows), next_offset


def build(
    metadata: Mapping[str, object] | Iterable[tuple[str | bytes, object]] = (),
    tensors: Sequence[TensorInfo] = (),
    *,
    version: int = 3,
    n_tensors: int | None = None,
    n_keys: int | None = None,
    alignment: int = 32,
    with_data: bool = True,
) -> bytes:
    """A GGUF file as bytes; counts given replace the right ones. ``with_data`` appends zeros as data."""
    entries = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    rows, data_bytes = tensor_list(tensors, alignment)
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(entries) if n_keys is None else n_keys,
    )
    header = struct.pack("<4sIQQ", b"GGUF", version, *counts)
    header += b"".join(key_value(key, value) for key, value in entries) + rows
    if tensors:
        header += bytes(-len(header) % alignment)
    return header + bytes(data_bytes) if with_data else header


def with_vocabulary(n_tokens: int, n_merges: int) -> dict[str, object]:
    """The tokenizer part of a header: texts of realistic length, scores and types."""
    tokens = [f"Ġtoken{index:x}" for index in range(n_tokens)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": Typed(ARRAY, [0.0] * n_tokens, FLOAT32),
        "tokenizer.ggml.token_type": Typed(ARRAY, [1] * n_tokens, INT32),
        "tokenizer.ggml.merges": [f"Ġto ken{index:x}" for index in range(n_merges)],
    }


def header_bytes(model: str) -> tuple[bytes, int]:
    """The header of a model of tests/data/headers (``llama3.2-3b.Q4_K_M``) and the size of its file."""
    sizes = json.loads((HEADERS / "sizes.json").read_text())
    return (HEADERS / f"{model}.gguf.head").read_bytes(), sizes[f"{model}.gguf"]


class HeadFile:
    """A byte source: a header, and zeros behind it up to the size of the file, which costs no memory."""

    def __init__(self, head: bytes, size_bytes: int) -> None:
        self._head = head
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        return self._head[offset : offset + length].ljust(length, b"\0")


def head_file(model: str) -> HeadFile:
    """The source for a model of tests/data/headers (``llama3.2-3b.Q4_K_M``)."""
    return HeadFile(*header_bytes(model))


def sparse_file(model: str, folder: Path) -> Path:
    """The whole model file with a hole for data, which costs no disk."""
    head, size_bytes = header_bytes(model)
    path = folder / f"{model}.gguf"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)
    return path
