"""The header reader: what it keeps, what it steps over, and what it says about files that are wrong."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import dataclass, field

import pytest

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model import gguf
from llmfit.advisor.model.gguf import GgufHeader, SkippedArray, read_header
from llmfit.advisor.units import GIB, MIB, pad
from tests.advisor.model import gguf_builder as builder
from tests.advisor.model.gguf_builder import ARRAY, HEADERS, TensorInfo, Typed, build, header_bytes

TIB = 2**40


@dataclass
class Buffer:
    """A source of ``head`` and then zeros up to its size; counts what is asked of it."""

    head: bytes
    size: int | None = None
    asked_bytes: int = 0
    largest_bytes: int = field(default=0)

    @property
    def size_bytes(self) -> int:
        return len(self.head) if self.size is None else self.size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        self.asked_bytes += length
        self.largest_bytes = max(self.largest_bytes, length)
        piece = self.head[offset : offset + length]
        return piece + bytes(length - len(piece))


def read(head: bytes, size: int | None = None, *, require_data: bool = True) -> GgufHeader:
    return read_header(Buffer(head, size), "m.gguf", require_data=require_data)


def error(head: bytes, size: int | None = None, *, require_data: bool = True) -> GgufError:
    with pytest.raises(GgufError) as caught:
        read(head, size, require_data=require_data)
    assert str(caught.value).isprintable()
    assert caught.value.what == "m.gguf"
    assert not caught.value.why.endswith(".")
    return caught.value


# -- what a header says


def test_metadata_of_every_type() -> None:
    entries = {
        "u8": Typed(builder.UINT8, 255),
        "i8": Typed(builder.INT8, -128),
        "u16": Typed(builder.UINT16, 65535),
        "i16": Typed(builder.INT16, -32768),
        "u32": 2**32 - 1,
        "i32": Typed(builder.INT32, -(2**31)),
        "f32": 0.5,
        "yes": True,
        "no": False,
        "text": "Ünï\x1b[0m",
        "u64": 2**64 - 1,
        "i64": Typed(builder.INT64, -(2**63)),
        "f64": Typed(builder.FLOAT64, 0.1),
        "flags": [True, False, True],
        "heads": [8, 4, 8],
        "empty": Typed(ARRAY, [], builder.UINT32),
        "names": ["a", "b"],
    }
    metadata = read(build(entries)).metadata
    plain = {key: value.value if isinstance(value, Typed) else value for key, value in entries.items()}
    plain |= {"flags": (True, False, True), "heads": (8, 4, 8), "empty": ()}
    plain["names"] = SkippedArray("STRING", 2)
    assert dict(metadata) == plain
    assert metadata["yes"] is True
    with pytest.raises(TypeError):
        metadata["text"] = "x"  # type: ignore[index]


def test_tensors_have_the_bytes_of_their_type() -> None:
    tensors = [
        TensorInfo("a", (256, 3), "Q4_K"),
        TensorInfo("b", (5,)),
        TensorInfo("c", (32, 2, 2, 2), "Q8_0"),
    ]
    header = read(build({}, tensors))
    assert [(t.name, t.dims, t.type_name, t.n_bytes) for t in header.tensors] == [
        ("a", (256, 3), "Q4_K", 432),
        ("b", (5,), "F32", 20),
        ("c", (32, 2, 2, 2), "Q8_0", 272),
    ]
    assert header.alignment == 32
    assert header.data_offset % 32 == 0
    assert header.file_bytes == header.data_offset + 448 + 32 + 288


def test_a_tensor_without_dimensions_is_one_element() -> None:
    assert read(build({}, [TensorInfo("scalar", ())])).tensors[0].dims == (1,)


def test_alignment_of_the_file_is_used() -> None:
    tensors = [TensorInfo("a", (1,)), TensorInfo("b", (1,))]
    header = read(build({"general.alignment": 128}, tensors, alignment=128))
    assert header.alignment == 128
    assert header.data_offset % 128 == 0


def test_version_2_is_read_like_version_3() -> None:
    assert read(build({"a": 1}, version=2)).version == 2


def test_tokenizer_arrays_and_long_arrays_are_counted_not_kept() -> None:
    header = read(
        build(
            {
                **builder.with_vocabulary(3000, 2000),
                "x.long": Typed(ARRAY, [7] * 4097, builder.UINT16),
                "x.short": Typed(ARRAY, [7] * 4096, builder.UINT16),
                "after": "found",
            }
        )
    )
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray("STRING", 3000)
    assert header.metadata["tokenizer.ggml.merges"] == SkippedArray("STRING", 2000)
    assert header.metadata["tokenizer.ggml.scores"] == SkippedArray("FLOAT32", 3000)
    assert header.metadata["tokenizer.ggml.token_type"] == SkippedArray("INT32", 3000)
    assert header.metadata["tokenizer.ggml.model"] == "gpt2"
    assert header.metadata["x.long"] == SkippedArray("UINT16", 4097)
    assert header.metadata["x.short"] == (7,) * 4096
    assert header.metadata["after"] == "found"


def test_texts_of_any_length_are_stepped_over_across_chunks() -> None:
    texts = ["", "x" * 255, "y" * 256, "z" * 70_000, "w" * 3_000_000, "", "v"] * 3
    header = read(build({"tokenizer.ggml.tokens": texts, "after": 1}))
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray("STRING", 21)
    assert header.metadata["after"] == 1


def test_a_long_text_is_stepped_over() -> None:
    header = read(build({"essay": "x" * (gguf.MAX_TEXT_BYTES + 1), "after": 1}))
    assert header.metadata == {"essay": SkippedArray("TEXT", gguf.MAX_TEXT_BYTES + 1), "after": 1}


def test_a_text_that_is_not_utf8_is_shown_escaped() -> None:
    assert read(build([("general.name", b"caf\xe9")])).metadata["general.name"] == r"caf\xe9"


@pytest.mark.parametrize("chunk_bytes", [1, 7, 8, 9, 64])
def test_any_chunk_size_gives_the_same_header(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    file = build({**builder.with_vocabulary(40, 30), "heads": [1, 2, 3]}, [TensorInfo("a", (4,))])
    expected = read(file)
    monkeypatch.setattr(gguf, "_FIRST_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(gguf, "_MAX_CHUNK_BYTES", chunk_bytes)
    assert read(file) == expected


@pytest.mark.parametrize("name", sorted(json.loads((HEADERS / "sizes.json").read_text())))
def test_published_shapes_add_up_to_their_file_sizes(name: str) -> None:
    head, size_bytes = header_bytes(name.removesuffix(".gguf"))
    header = read(head, size_bytes)
    data_bytes = sum(pad(tensor.n_bytes, header.alignment) for tensor in header.tensors)
    assert header.data_offset + data_bytes == size_bytes
    architecture = header.metadata["general.architecture"]
    assert f"{architecture}.block_count" in header.metadata
    assert read(head + bytes(16), require_data=False).tensors == header.tensors


def test_a_source_is_read_in_few_bytes() -> None:
    head, size_bytes = header_bytes("qwen3-32b.Q4_K_M")
    source = Buffer(head, size_bytes)
    read_header(source, "m.gguf")
    assert source.asked_bytes <= MIB


# -- files that end too early


def test_missing_data_is_an_incomplete_download() -> None:
    file = build({}, [TensorInfo("a", (256,))])
    caught = error(file[:-1])
    size = f"the file is {len(file) - 1:,} bytes, its tensors end at {len(file):,}"
    assert caught.why == f"{size}: the download is incomplete"
    assert read(file[:-1], require_data=False).tensors[0].n_bytes == 1024


def test_the_padding_of_the_last_tensor_may_be_missing() -> None:
    file = build({}, [TensorInfo("a", (5,))])
    assert read(file[:-12]).tensors[0].n_bytes == 20
    assert "incomplete" in error(file[:-13]).why


def test_every_truncation_of_a_header_is_one_error() -> None:
    file = build(
        {"general.architecture": "x", "heads": [1, 2], "tokenizer.ggml.tokens": ["a", "bc"], "f": 0.5},
        [TensorInfo("a", (32, 2), "Q8_0"), TensorInfo("b", (2,))],
    )
    for length in range(len(file) - 32 + 8):
        caught = error(file[:length])
        assert "incomplete" in caught.why or length < 4
    read(file)


def test_a_source_that_shrinks_while_it_is_read() -> None:
    class Shrinking(Buffer):
        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset, length)[: 2 if offset else 8]

    with pytest.raises(GgufError, match="became shorter"):
        read_header(Shrinking(build({"a": 1})), "m.gguf")


# -- files that are something else


def test_empty_file() -> None:
    assert error(b"").why == "the file is empty"


def test_other_files() -> None:
    assert error(b"Hello, world").why == "not a GGUF file (it begins with 'Hell')"
    assert error(b"\x1b[2J").why == r"not a GGUF file (it begins with '\x1b[2J')"
    assert error(b"GG").why == "not a GGUF file (it begins with 'GG')"
    assert "LFS pointer" in error(b"version https://git-lfs.github.com/spec/v1\noid x").why


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (0, "big-endian"),
        (1, "GGUF version 1, which llama.cpp no longer loads"),
        (4, "GGUF version 4, known are 2 and 3"),
        (0x03000000, "big-endian"),
    ],
)
def test_other_versions(version: int, why: str) -> None:
    assert why in error(build({"a": 1}, version=version)).why


# -- hostile headers: one sentence, and no memory


def entry(value_type: int, payload: bytes, key: str = "k") -> bytes:
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    return head + builder.text(key) + struct.pack("<I", value_type) + payload


HOSTILE = {
    "tensors": (build({}, n_tensors=2**60), "claims 1,152,921,504,606,846,976 tensors"),
    "keys": (build({}, n_keys=2**60), "claims 1,152,921,504,606,846,976 metadata keys"),
    "key length": (
        build({}, n_keys=1) + struct.pack("<QQ", 2**63, 0),
        "a metadata key of 9,223,372,036,854,775,808",
    ),
    "text length": (entry(builder.STRING, struct.pack("<Q", 2**63)), "its header claims"),
    "array length": (entry(ARRAY, struct.pack("<IQ", builder.UINT64, 2**62)), "its header claims"),
    "array of texts": (entry(ARRAY, struct.pack("<IQ", builder.STRING, 2**62)), "more than any vocabulary"),
    "texts in an array": (
        entry(ARRAY, struct.pack("<IQQQ", builder.STRING, 2, 2**64 - 1, 0)),
        "its header claims",
    ),
    "nested array": (entry(ARRAY, struct.pack("<IQ", ARRAY, 1)), "unknown type 9"),
    "value type": (entry(13, b"\0" * 8), "unknown type 13"),
    "empty key": (entry(builder.UINT8, bytes(8), key=""), "is empty"),
    "key twice": (build([("k", 1), ("k", 2)]), "metadata key 'k' is there twice"),
    "key not UTF-8": (build([(b"\xff\xfe", 1)]), "a metadata key is not UTF-8 text"),
    "key with escapes": (build([("\x1b[31m", 1), ("\x1b[31m", 2)]), r"metadata key '\x1b[31m'"),
    "alignment 0": (build({"general.alignment": 0}), "not a power of two"),
    "alignment 24": (build({"general.alignment": 24}), "not a power of two"),
    "alignment text": (build({"general.alignment": "32"}), "not a power of two"),
    "alignment u64": (build({"general.alignment": Typed(builder.UINT64, 32)}), "not a power of two"),
    "name length": (build({}, [TensorInfo("n" * 64, (1,))]), "a tensor name of 64 bytes"),
    "name not UTF-8": (build({}, [TensorInfo(b"\xff", (1,))]), "a tensor name is not UTF-8 text"),
    "name twice": (build({}, [TensorInfo("a", (8,)), TensorInfo("a", (8,))]), "tensor 'a' is there twice"),
    "5 dims": (build({}, [TensorInfo("a", (1,) * 5)]), "has 5 dimensions"),
    "zero dim": (build({}, [TensorInfo("a", (8, 0))]), "impossible dimensions (8, 0)"),
    "huge dim": (build({}, [TensorInfo("a", (2**63,))], with_data=False), "impossible dimensions"),
    "dims product": (build({}, [TensorInfo("a", (2**32, 2**31))], with_data=False), "impossible dimensions"),
    "bytes": (build({}, [TensorInfo("a", (2**62,))], with_data=False), "larger than any file"),
    "block": (
        build({}, [TensorInfo("a", (100,), type_id=12)]),
        "rows of 100, no multiple of Q4_K's block of 256",
    ),
    "tensor type": (build({}, [TensorInfo("a", (8,), type_id=4)]), "unknown type 4"),
    "tensor type 2^32": (build({}, [TensorInfo("a", (8,), type_id=2**32 - 1)]), "unknown type 4294967295"),
    "offset": (build({}, [TensorInfo("a", (8,), offset=2**40)]), "starts at byte 1,099,511,627,776"),
    "overlap": (
        build({}, [TensorInfo("a", (8,)), TensorInfo("b", (8,), offset=0)]),
        "tensor 'b' starts at byte 0 of the data, expected at 32",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("size", [None, TIB])
def test_hostile_headers(case: str, size: int | None) -> None:
    file, why = HOSTILE[case]
    tracemalloc.start()
    try:
        caught = error(file, size, require_data=False)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert why in caught.why
    assert caught.hint
    assert peak_bytes < 4 * MIB


def test_a_hole_of_a_terabyte_is_given_up_early() -> None:
    """Texts that lead into a hole, where every further one has no length, must not make it read the hole."""
    array = struct.pack("<IQQ", builder.STRING, 2**22, GIB - 8 * MIB)
    source = Buffer(entry(ARRAY, array), TIB)
    with pytest.raises(GgufError, match=r"its header claims 1,073,741,825 bytes, more than any model's"):
        read_header(source, "m.gguf")
    assert source.asked_bytes <= 16 * MIB
    assert source.largest_bytes <= 4 * MIB


def test_arrays_of_all_keys_together_are_bounded() -> None:
    entries = {f"k{index}": Typed(ARRAY, [300] * 4096, builder.UINT16) for index in range(70)}
    metadata = read(build(entries)).metadata
    kept = [value for value in metadata.values() if isinstance(value, tuple)]
    assert len(kept) == 64
    assert metadata["k69"] == SkippedArray("UINT16", 4096)


def test_counts_that_fit_the_limits_but_not_the_file() -> None:
    caught = error(build({}, n_tensors=100_000))
    assert caught.why == "the file is 24 bytes, its header needs 2,400,024: the download is incomplete"
