"""GGUF headers: metadata and tensor list of a model file, without its data.

Works on any ``ByteSource``: a local file, byte ranges of a server, a buffer. Only what estimates need is
kept: texts, numbers and short number arrays. Vocabularies are counted and stepped over. Every count in the
file is checked against the bytes that are left before it is believed, so a hostile header costs no memory.

Layout and limits follow llama.cpp b11434, ggml/src/gguf.cpp (gguf_init_from_reader).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import NoReturn, Protocol

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.quantization import TENSOR_TYPE_BY_ID, tensor_bytes
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, KIB, MIB, pad

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
"""GGUF_DEFAULT_ALIGNMENT, bytes."""
MAX_DIMS = 4
"""GGML_MAX_DIMS."""
MAX_NAME_BYTES = 63
"""GGML_MAX_NAME less the closing zero."""

MAX_HEADER_BYTES = GIB
"""The largest vocabularies make headers of 30 MB; this also bounds the time that a hostile header takes."""
MAX_TENSORS = 2**17
MAX_KEYS = 2**16
MAX_ARRAY_TEXTS = 2**24
"""Texts stepped over in one file, all arrays together; 262,144 tokens with merges are below a million."""
MAX_KEPT_ENTRIES = 4096
"""Arrays up to this length are kept: per-layer head counts, window patterns, rope sections."""
MAX_KEPT_ENTRIES_IN_ALL = 2**18
MAX_TEXT_BYTES = 256 * KIB

_FIRST_CHUNK_BYTES = 256 * KIB
_MAX_CHUNK_BYTES = 4 * MIB
_MIN_KEY_BYTES = 8 + 1 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8
_INT64_MAX = 2**63 - 1

_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_VALUE_TYPES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("UINT8", "B"),
        1: ("INT8", "b"),
        2: ("UINT16", "H"),
        3: ("INT16", "h"),
        _UINT32: ("UINT32", "I"),
        5: ("INT32", "i"),
        6: ("FLOAT32", "f"),
        _BOOL: ("BOOL", "?"),
        10: ("UINT64", "Q"),
        11: ("INT64", "q"),
        12: ("FLOAT64", "d"),
    }
)
"""enum gguf_type (ggml/include/gguf.h) → name and struct code; texts and arrays are read apart."""

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

_DOWNLOAD_AGAIN = "Let the download finish, or download the file again."
_DAMAGED = "The file is damaged: download it again."


class ByteSource(Protocol):
    """Bytes at offsets, wherever they lie."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only where the source ends."""
        ...


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array (or a long text, ``TEXT``) that was stepped over: what its entries are and how many."""

    element_type: str
    length: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself.

    ``metadata`` values are ``str``, ``int``, ``float``, ``bool``, a tuple of numbers, or SkippedArray; texts
    are raw: show them through ``text.printable``. ``data_offset`` is where tensor data begins,
    ``file_bytes`` the size of the source. Of a split model: metadata of the first file, tensors and bytes
    of all.
    """

    version: int
    metadata: Mapping[str, object]
    tensors: tuple[Tensor, ...]
    data_offset: int
    alignment: int
    file_bytes: int


def read_header(source: ByteSource, name: str, *, require_data: bool = True) -> GgufHeader:
    """The header of ``source``, which errors call ``name``.

    ``require_data=False`` also reads a file that ends after its header. Raises GgufError for anything that
    llama.cpp would not load, and where the source is shorter than its header says.
    """
    return _Reader(source, name).read(require_data)


class _Reader:
    """One pass over a header, through a window of bytes that moves forward."""

    __slots__ = (
        "_buffer",
        "_chunk_bytes",
        "_entries_left",
        "_limit",
        "_name",
        "_pos",
        "_source",
        "_start",
        "_texts_left",
    )

    def __init__(self, source: ByteSource, name: str) -> None:
        self._source = source
        self._name = printable(name)
        self._limit = min(source.size_bytes, MAX_HEADER_BYTES)
        self._buffer = b""
        self._start = 0
        self._pos = 0
        self._chunk_bytes = _FIRST_CHUNK_BYTES
        self._texts_left = MAX_ARRAY_TEXTS
        self._entries_left = MAX_KEPT_ENTRIES_IN_ALL

    def read(self, require_data: bool) -> GgufHeader:
        version = self._preamble()
        n_tensors = self._u64()
        n_keys = self._u64()
        if n_tensors > MAX_TENSORS:
            self._fail(f"its header claims {n_tensors:,} tensors, more than any model has", _DAMAGED)
        if n_keys > MAX_KEYS:
            self._fail(f"its header claims {n_keys:,} metadata keys, more than any model has", _DAMAGED)
        self._check(n_keys * _MIN_KEY_BYTES + n_tensors * _MIN_TENSOR_BYTES)
        metadata, alignment = self._metadata(n_keys)
        tensors, data_bytes = self._tensors(n_tensors, alignment)
        data_offset = self._start + self._pos
        if tensors:
            data_offset = pad(data_offset, alignment)
        file_bytes = self._source.size_bytes
        if require_data and tensors and data_offset + data_bytes > file_bytes:
            self._incomplete("tensors end at", data_offset + data_bytes)
        return GgufHeader(version, MappingProxyType(metadata), tensors, data_offset, alignment, file_bytes)

    def _preamble(self) -> int:
        if self._source.size_bytes == 0:
            self._fail("the file is empty", _DOWNLOAD_AGAIN)
        magic = self._source.read(0, 4)
        if magic != MAGIC:
            self._fail(*_not_gguf(magic, self._source))
        self._pos = 4
        version = self._u32()
        if version & 0xFFFF == 0:
            self._fail(
                "a big-endian GGUF file, which llama.cpp does not load here",
                "Get the usual little-endian file.",
            )
        if version == 1:
            self._fail("GGUF version 1, which llama.cpp no longer loads", "Get a file of version 2 or 3.")
        if version not in (2, 3):
            self._fail(f"GGUF version {version}, known are 2 and 3", "A newer llmfit may read it.")
        return version

    # -- metadata

    def _metadata(self, n_keys: int) -> tuple[dict[str, object], int]:
        metadata: dict[str, object] = {}
        alignment = DEFAULT_ALIGNMENT
        for _ in range(n_keys):
            key = self._identifier("a metadata key", 2**16 - 1)
            if not key or key in metadata:
                self._fail(f"metadata key {_quoted(key)} is {'there twice' if key else 'empty'}", _DAMAGED)
            value_type = self._u32()
            value = metadata[key] = self._value(key, value_type)
            if key == "general.alignment":
                if value_type != _UINT32 or not isinstance(value, int) or value.bit_count() != 1:
                    self._fail("its alignment is not a power of two", _DAMAGED)
                alignment = value
        return metadata, alignment

    def _value(self, key: str, value_type: int) -> object:
        if value_type == _STRING:
            return self._text_value()
        if value_type == _ARRAY:
            return self._array(key)
        _, code = self._known_type(key, value_type)
        return struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]

    def _text_value(self) -> str | SkippedArray:
        length = self._u64()
        if length > MAX_TEXT_BYTES:
            self._skip(length)
            return SkippedArray("TEXT", length)
        return self._take(length).decode("utf-8", "backslashreplace")

    def _array(self, key: str) -> tuple[object, ...] | SkippedArray:
        element_type = self._u32()
        length = self._u64()
        if element_type == _STRING:
            self._skip_texts(key, length)
            return SkippedArray("STRING", length)
        element_name, code = self._known_type(key, element_type)
        n_bytes = length * struct.calcsize("<" + code)
        if length > min(MAX_KEPT_ENTRIES, self._entries_left) or key.startswith("tokenizer."):
            self._skip(n_bytes)
            return SkippedArray(element_name, length)
        self._entries_left -= length
        return struct.unpack(f"<{length}{code}", self._take(n_bytes))

    def _known_type(self, key: str, value_type: int) -> tuple[str, str]:
        known = _VALUE_TYPES.get(value_type)
        if known is None:
            self._fail(f"metadata key {_quoted(key)} has a value of unknown type {value_type}", _DAMAGED)
        return known

    def _skip_texts(self, key: str, count: int) -> None:
        """Step over ``count`` texts: the loop that decides how long a header takes, 80 ns a text."""
        if count > self._texts_left:
            self._fail(
                f"metadata key {_quoted(key)} claims {count:,} texts, more than any vocabulary has", _DAMAGED
            )
        self._texts_left -= count
        self._check(count * _U64.size)
        length_at = _U64.unpack_from
        while count:
            self._fill(_U64.size)
            buffer, pos = self._buffer, self._pos
            try:
                for unread in range(count, 0, -1):  # noqa: B007
                    pos += length_at(buffer, pos)[0] + 8
                unread = 0
            except (struct.error, OverflowError):
                pass  # the window ended: `unread` texts are left, the next one's length lies at `pos`
            count, self._pos = unread, pos
            self._check(0)

    # -- tensors

    def _tensors(self, n_tensors: int, alignment: int) -> tuple[tuple[Tensor, ...], int]:
        """The tensors, and where the last one's data ends, in bytes from the first one's."""
        tensors: dict[str, Tensor] = {}
        next_offset = end = 0
        for _ in range(n_tensors):
            tensor = self._tensor()
            if tensor.name in tensors:
                self._fail(f"tensor {_quoted(tensor.name)} is there twice", _DAMAGED)
            tensors[tensor.name] = tensor
            offset = self._u64()
            if offset != next_offset:
                where = f"starts at byte {offset:,} of the data, expected at {next_offset:,}"
                self._fail(f"tensor {_quoted(tensor.name)} {where}", _DAMAGED)
            end = offset + tensor.n_bytes
            next_offset = pad(end, alignment)
            if next_offset > _INT64_MAX:
                self._fail("its tensors are larger than any file", _DAMAGED)
        return tuple(tensors.values()), end

    def _tensor(self) -> Tensor:
        name = self._identifier("a tensor name", MAX_NAME_BYTES)
        n_dims = self._u32()
        if n_dims > MAX_DIMS:
            self._fail(
                f"tensor {_quoted(name)} has {n_dims} dimensions, llama.cpp allows {MAX_DIMS}", _DAMAGED
            )
        dims: tuple[int, ...] = struct.unpack(f"<{n_dims}Q", self._take(8 * n_dims)) or (1,)
        if 0 in dims or prod(dims) > _INT64_MAX:
            self._fail(f"tensor {_quoted(name)} has impossible dimensions {dims}", _DAMAGED)
        type_id = self._u32()
        kind = TENSOR_TYPE_BY_ID.get(type_id)
        if kind is None:
            self._fail(
                f"tensor {_quoted(name)} has the unknown type {type_id}", "A newer llmfit may know it."
            )
        if dims[0] % kind.block_elements:
            why = f"has rows of {dims[0]}, no multiple of {kind.name}'s block of {kind.block_elements}"
            self._fail(f"tensor {_quoted(name)} {why}", _DAMAGED)
        return Tensor(name, dims, kind.name, tensor_bytes(kind.name, dims))

    # -- bytes

    def _identifier(self, what: str, max_bytes: int) -> str:
        length = self._u64()
        if length > max_bytes:
            self._fail(f"{what} of {length:,} bytes, allowed are {max_bytes:,}", _DAMAGED)
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            self._fail(f"{what} is not UTF-8 text", _DAMAGED)

    def _u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def _u64(self) -> int:
        return int(_U64.unpack(self._take(8))[0])

    def _take(self, length: int) -> bytes:
        self._fill(length)
        self._pos += length
        return self._buffer[self._pos - length : self._pos]

    def _skip(self, length: int) -> None:
        self._check(length)
        self._pos += length

    def _fill(self, length: int) -> None:
        """Have ``length`` bytes from the current position in the window."""
        if len(self._buffer) - self._pos >= length:
            return
        self._check(length)
        self._start, self._pos = self._start + self._pos, 0
        wanted = min(max(length, self._chunk_bytes), self._limit - self._start)
        self._buffer = self._source.read(self._start, wanted)
        self._chunk_bytes = min(2 * self._chunk_bytes, _MAX_CHUNK_BYTES)
        if len(self._buffer) < length:
            self._fail("the file became shorter while it was read", "Try again when nothing writes to it.")

    def _check(self, length: int) -> None:
        """Raise unless ``length`` more bytes can be there."""
        end = self._start + self._pos + length
        if end <= self._limit:
            return
        if end > MAX_HEADER_BYTES:
            self._fail(f"its header claims {end:,} bytes, more than any model's", _DAMAGED)
        self._incomplete("header needs", end)

    def _incomplete(self, what: str, needed_bytes: int) -> NoReturn:
        size = f"the file is {self._source.size_bytes:,} bytes, its {what} {needed_bytes:,}"
        self._fail(f"{size}: the download is incomplete", _DOWNLOAD_AGAIN)

    def _fail(self, why: str, hint: str) -> NoReturn:
        raise GgufError(self._name, why, hint)


def _quoted(text: str) -> str:
    return f"'{printable(text, 80)}'"


def _not_gguf(magic: bytes, source: ByteSource) -> tuple[str, str]:
    """Why and hint for a file that begins otherwise."""
    if source.read(0, 19) == b"version https://git":
        return "a Git LFS pointer, not the model itself", "Run git lfs pull, or download the file."
    first = magic.decode("ascii", "backslashreplace")
    return f"not a GGUF file (it begins with '{printable(first)}')", "Name a .gguf model file."
