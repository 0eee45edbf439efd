from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmfit.advisor.errors import GgufError
from llmfit.catalog.sources import LocalFileSource, read_model_files
from tests.advisor.model.gguf_builder import TensorInfo, build, sparse_file


def write_parts(folder: Path, *, skip: int = 0, count: int = 3) -> list[Path]:
    paths = []
    for number in range(1, count + 1):
        metadata = {"split.no": number - 1, "split.count": count, "split.tensors.count": count}
        if number == 1:
            metadata["general.architecture"] = "llama"
        path = folder / f"m-{number:05d}-of-{count:05d}.gguf"
        paths.append(path)
        if number != skip:
            path.write_bytes(build(metadata, [TensorInfo(f"t{number}", (256 * number,))]))
    return paths


def error(path: Path) -> GgufError:
    with pytest.raises(GgufError) as caught:
        read_model_files(path)
    assert str(caught.value).isprintable()
    return caught.value


def test_one_file(tmp_path: Path) -> None:
    path = sparse_file("llama3.2-3b.Q4_K_M", tmp_path)
    files = read_model_files(path)
    assert files.paths == (path,)
    assert files.header.file_bytes == 2011555488
    assert len(files.header.tensors) == 255


@pytest.mark.parametrize("given", [0, 1, 2])
def test_any_part_finds_the_others(tmp_path: Path, given: int) -> None:
    paths = write_parts(tmp_path)
    files = read_model_files(paths[given])
    assert files.paths == tuple(paths)
    assert [tensor.name for tensor in files.header.tensors] == ["t1", "t2", "t3"]
    assert files.header.file_bytes == sum(path.stat().st_size for path in paths)
    assert files.header.metadata["general.architecture"] == "llama"


@pytest.mark.parametrize("skip", [1, 3])
def test_a_missing_part_is_named(tmp_path: Path, skip: int) -> None:
    paths = write_parts(tmp_path, skip=skip)
    caught = error(paths[1])
    assert caught.what == str(paths[skip - 1])
    assert caught.why == f"missing, part {skip} of 3 of the model"


def test_a_truncated_part_is_named(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    os.truncate(paths[2], 500)
    caught = error(paths[0])
    assert caught.what == str(paths[2])
    assert "incomplete" in caught.why


def test_parts_with_other_names(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    other = paths[1].rename(tmp_path / "second.gguf")
    assert error(other).why == "part 2 of 3 of a split model, but not named like one"
    shutil.copy(other, paths[1])
    shutil.copy(other, paths[2])
    assert "expected as part 3 of 3" in error(paths[0]).why


def test_header_without_data(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build({}, [TensorInfo("a", (256,))], with_data=False))
    assert read_model_files(path, require_data=False).header.tensors[0].n_bytes == 1024
    assert "incomplete" in error(path).why


def test_things_that_are_no_files(tmp_path: Path) -> None:
    assert error(tmp_path).why == "a directory, not a file"
    assert error(tmp_path / "no.gguf").why == "no such file"
    assert error(tmp_path / "a\x00b").why == "not a file name"
    assert error(tmp_path / ("x" * 300)).why.startswith("cannot be opened (")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert error(pipe).why == "not a regular file"
    assert error(Path("/dev/zero")).why == "not a regular file"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert error(loop).why.startswith("cannot be opened (")
    text = tmp_path / "te\x1b[31mxt"
    text.write_text("Hello, world")
    assert error(text).what.endswith(r"te\x1b[31mxt")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert error(path).why == "cannot be opened (Permission denied)"


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build({"a": 1}))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert error(path).why == "cannot be read (Input/output error)"


def test_a_source_reads_at_offsets_and_ends_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"0123456789")
    with LocalFileSource(path) as source:
        assert source.size_bytes == 10
        assert source.read(3, 4) == b"3456"
        assert source.read(8, 4) == b"89"
        assert source.read(20, 4) == b""
