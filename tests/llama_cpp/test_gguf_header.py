"""The header reader against llama.cpp's own, on sound files and on 3,000 damaged ones."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from llama_cpp_build import LlamaCppBuild

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import GgufHeader, SkippedArray
from llmfit.catalog.sources import read_model_files
from tests.advisor.model.gguf_builder import HEADERS, TensorInfo, build, sparse_file, with_vocabulary

pytestmark = pytest.mark.llama_cpp

N_DAMAGED = 3000
OURS_ALONE = ("is not UTF-8 text", "has impossible dimensions")
"""What we refuse and llama.cpp does not: names that cannot be shown, tensors without elements."""
NUMBERS = (0, 1, 9, 255, 2**31, 2**32 - 1, 2**40, 2**60, 2**62, 2**63, 2**64 - 1)


def ask(llama_cpp: LlamaCppBuild, paths: list[Path]) -> list[list[object] | None]:
    library = llama_cpp.folder / "bin" / "libggml-base.so"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("gguf_oracle.py")), str(library)],
        input="".join(f"{path}\n" for path in paths),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(path: Path) -> GgufHeader | GgufError:
    try:
        return read_model_files(path, require_data=False).header
    except GgufError as error:
        return error


def until_zero(text: str) -> str:
    """llama.cpp hands texts out as C strings."""
    return text.split("\0")[0]


def assert_same(theirs: list[object], header: GgufHeader) -> None:
    version, alignment, data_offset, keys, tensors = theirs
    assert (version, alignment) == (header.version, header.alignment)
    if header.tensors:
        assert data_offset == header.data_offset
    assert [key for key, _ in keys] == [until_zero(key) for key in header.metadata]
    for (key, expected), value in zip(keys, header.metadata.values(), strict=True):
        if isinstance(value, tuple | SkippedArray):
            assert expected == [value.length if isinstance(value, SkippedArray) else len(value)], key
        elif expected is not None:
            assert expected == (until_zero(value) if isinstance(value, str) else value), key
    assert tensors == [[until_zero(tensor.name), tensor.n_bytes] for tensor in header.tensors]


def test_sound_files_say_the_same_to_both(llama_cpp: LlamaCppBuild, tmp_path: Path) -> None:
    names = sorted(json.loads((HEADERS / "sizes.json").read_text()))
    paths = [sparse_file(name.removesuffix(".gguf"), tmp_path) for name in names]
    vocabulary = tmp_path / "vocabulary.gguf"
    vocabulary.write_bytes(build(with_vocabulary(20_000, 20_000), [TensorInfo("a", (8,))]))
    paths.append(vocabulary)
    for path, theirs in zip(paths, ask(llama_cpp, paths), strict=True):
        assert theirs is not None, path.name
        header = ours(path)
        assert isinstance(header, GgufHeader), path.name
        assert_same(theirs, header)


def damaged_files(folder: Path) -> list[Path]:
    sound = build(
        {
            "general.architecture": "llama",
            "general.alignment": 64,
            "llama.attention.head_count_kv": [8, 8, 4],
            "llama.flags": [True, False],
            "llama.eps": 1e-5,
            **with_vocabulary(5, 4),
        },
        [TensorInfo("token_embd.weight", (256, 4), "Q4_K"), TensorInfo("output_norm.weight", (256,))],
        alignment=64,
        with_data=False,
    )
    choose, paths = random.Random(11434), []
    for index in range(N_DAMAGED):
        file = bytearray(sound)
        for _ in range(choose.randrange(1, 4)):
            position = choose.randrange(len(file) - 8)
            if choose.random() < 0.3:
                file[position : position + 8] = struct.pack("<Q", choose.choice(NUMBERS))
            else:
                file[position] = choose.choice(
                    (0, 1, 9, 10, 12, 255, file[position] ^ 1, choose.randrange(256))
                )
        paths.append(folder / f"{index}.gguf")
        paths[-1].write_bytes(file[: choose.randrange(len(file))] if index % 10 == 0 else file)
    return paths


def test_damaged_files_are_refused_by_both_or_read_the_same(llama_cpp: LlamaCppBuild, tmp_path: Path) -> None:
    paths = damaged_files(tmp_path)
    read = refused = 0
    for path, theirs in zip(paths, ask(llama_cpp, paths), strict=True):
        header = ours(path)
        if isinstance(header, GgufError):
            refused += theirs is None
            assert theirs is None or any(reason in header.why for reason in OURS_ALONE), str(header)
        elif theirs is None:
            assert header.data_offset > header.file_bytes, f"{path.name}: it does not end inside its padding"
        else:
            read += 1
            assert_same(theirs, header)
    assert read > N_DAMAGED / 6
    assert refused > N_DAMAGED / 4
