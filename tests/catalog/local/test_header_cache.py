"""A file is read once, until its size or its time changes; a broken cache is begun anew."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from llmfit import __version__
from llmfit.catalog.local import find as find_module
from llmfit.catalog.local import header_cache
from llmfit.catalog.local.header_cache import FILE_NAME, VERSION, FileStamp, HeaderCache, cache_file
from llmfit.catalog.local.header_summary import HeaderSummary
from tests.catalog.local.conftest import Disk, small_model


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose header was read."""
    read: list[str] = []
    real = find_module.read_summary

    def spy(paths: list[Path]) -> object:
        read.extend(path.name for path in paths)
        return real(paths)

    monkeypatch.setattr(find_module, "read_summary", spy)
    return read


def test_headers_are_read_once(disk: Disk, reads: list[str]) -> None:
    folder = disk.write("mine/a.gguf").parent
    disk.write("mine/broken.gguf", b"no model")
    first = disk.find(folder)
    assert sorted(reads) == ["a.gguf", "broken.gguf"]
    assert disk.find(folder) == first
    assert len(reads) == 2


def test_a_changed_file_is_read_again(disk: Disk, reads: list[str]) -> None:
    path = disk.write("mine/a.gguf")
    disk.find(path.parent)
    os.utime(path, ns=(1, 1))
    disk.find(path.parent)
    assert reads == ["a.gguf"] * 2
    path.write_bytes(small_model("another name" * 10))
    os.utime(path, ns=(1, 1))
    disk.find(path.parent)
    assert reads == ["a.gguf"] * 3


def test_a_part_that_arrives_is_seen(disk: Disk, reads: list[str]) -> None:
    disk.write("mine/m-00001-of-00002.gguf", small_model(split__no=0, split__count=2))
    assert "part 2 of 2 is missing" in (disk.find(disk.home / "mine").models[0].problem or "")
    disk.write("mine/m-00002-of-00002.gguf", small_model(split__no=1, split__count=2))
    assert "missing" not in (disk.find(disk.home / "mine").models[0].problem or "")
    assert len(reads) == 3


def _entry(path: Path, **changes: object) -> dict[str, object]:
    """What a sound cache holds of ``path``, with changes."""
    status = path.stat()
    summary = {
        "kind": "model", "architecture": "llama", "quantization": "Q8_0", "n_parameters": 1,
        "n_body_parameters": 1, "n_vocab": 1, "n_layer": 1, "context_train_tokens": 1,
        "numbers": {"embedding_length": [1, 2]}, "names": {}, "n_parts": 1, "problem": "remembered",
    }  # fmt: skip
    return {"files": [[status.st_size, status.st_mtime_ns]], "summary": {**summary, **changes}}


def test_the_format_is_the_one_that_is_tested_here(disk: Disk) -> None:
    path = disk.write("mine/a.gguf")
    disk.write(disk.environ["LLMFIT_CACHE"] + "/" + FILE_NAME, _document(path))
    assert disk.find(path.parent).models[0].problem == "remembered"


def _document(path: Path, version: object = VERSION, **changes: object) -> bytes:
    return json.dumps({"version": version, "models": {str(path): _entry(path, **changes)}}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": f"{VERSION}0"},
        {"version": 1},
        {"n_layer": "12"},
        {"kind": None},
        {"names": {"general.name": 7}},
        {"numbers": {"embedding_length": "x"}},
        {"numbers": {"embedding_length": [1, None]}},
        {"n_parts": None},
        {"unheard_of": 1},
    ],
)
def test_entries_that_make_no_sense_are_read_anew(disk: Disk, changes: dict[str, int]) -> None:
    path = disk.write("mine/a.gguf")
    disk.write(disk.environ["LLMFIT_CACHE"] + "/" + FILE_NAME, _document(path, **changes))
    assert disk.find(path.parent).models[0].problem is None


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"version": VERSION, "models": []}).encode(),
        json.dumps({"version": VERSION, "models": {"x": 3}}).encode(),
    ],
)
def test_a_broken_cache_is_begun_anew(disk: Disk, reads: list[str], content: bytes) -> None:
    path = disk.write("mine/a.gguf")
    disk.write(disk.environ["LLMFIT_CACHE"] + "/" + FILE_NAME, content)
    assert disk.find(path.parent).models[0].problem is None
    assert disk.find(path.parent).models[0].problem is None
    assert reads == ["a.gguf"]


def test_another_llmfit_reads_anew(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may know the architecture that this one calls unknown."""
    assert __version__ in VERSION
    path = disk.write("mine/a.gguf")
    disk.write(disk.environ["LLMFIT_CACHE"] + "/" + FILE_NAME, _document(path))
    monkeypatch.setattr(header_cache, "VERSION", VERSION.replace(__version__, "99.0"))
    assert disk.find(path.parent).models[0].problem is None


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_a_pipe_in_place_of_the_cache_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    assert HeaderCache(tmp_path / FILE_NAME).find([_stamp("/a")]) is None


def test_a_cache_that_cannot_be_written_is_no_error(disk: Disk) -> None:
    disk.environ["LLMFIT_CACHE"] = str(disk.write("a file", b"x"))
    assert len(disk.find(disk.write("mine/a.gguf").parent).models) == 1


def _stamp(name: str) -> FileStamp:
    return FileStamp(Path(name), 1, 1, (1, 1))


def test_two_processes_keep_what_the_other_learnt(tmp_path: Path) -> None:
    one, other = (HeaderCache(tmp_path / FILE_NAME) for _ in range(2))
    one.find([_stamp("/a")])
    other.find([_stamp("/a")])
    one.remember([_stamp("/a")], HeaderSummary(architecture="a"))
    other.remember([_stamp("/b")], HeaderSummary(architecture="b"))
    one.save()
    other.save()
    third = HeaderCache(tmp_path / FILE_NAME)
    assert third.find([_stamp("/a")]) == HeaderSummary(architecture="a")
    assert third.find([_stamp("/b")]) == HeaderSummary(architecture="b")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_everything_comes_back(tmp_path: Path) -> None:
    summary = HeaderSummary(
        "model", "llama", "Q8_0", 5, 4, 3, 2, 1, {"a": 1, "b": (1, 2)}, {"n": "x"}, 1, "y"
    )
    cache = HeaderCache(tmp_path / "new folder" / FILE_NAME)
    cache.remember([_stamp("/\udcff")], summary)
    cache.save()
    assert HeaderCache(tmp_path / "new folder" / FILE_NAME).find([_stamp("/\udcff")]) == summary


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_cache, "MAX_ENTRIES", 3)
    for number in range(5):
        cache = HeaderCache(tmp_path / FILE_NAME)
        cache.remember([_stamp(f"/{number}")], HeaderSummary())
        cache.save(["/0"])
    kept = json.loads((tmp_path / FILE_NAME).read_bytes())["models"]
    assert len(kept) <= 3 and {"/0", "/4"} <= set(kept)


def test_where_it_lies(tmp_path: Path) -> None:
    assert cache_file({"LLMFIT_CACHE": str(tmp_path)}) == tmp_path / FILE_NAME
    assert cache_file({}).name == FILE_NAME and "llmfit" in str(cache_file({}))


def test_stores_are_not_written_to(disk: Disk) -> None:
    folder = disk.write("mine/a.gguf").parent
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    disk.find(folder)
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before


def test_a_remembered_file_that_may_no_longer_be_read(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, because root may read everything."""
    path = disk.write("mine/model.gguf")
    assert disk.find(path.parent).models[0].problem is None
    access, opened = os.access, os.open

    def may(asked: Any, mode: int) -> bool:
        return asked != path and access(asked, mode)

    def refuse(asked: Any, *more: Any) -> int:
        if asked == path:
            raise PermissionError(13, "Permission denied", str(asked))
        return opened(asked, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", may)
        patch.setattr(os, "open", refuse)
        (model,) = disk.find(path.parent).models
        assert model.problem == "cannot be opened (Permission denied)"
    assert disk.find(path.parent).models[0].problem is None
