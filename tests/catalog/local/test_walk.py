"""Folders that are large, deep, looped, forbidden, or that change while they are looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmfit.catalog.local import walk as walk_module
from llmfit.catalog.local.walk import MAX_NOTES, Walk
from llmfit.catalog.sources import read_model_files
from tests.catalog.local.conftest import Disk, by_name, small_model


def test_ten_thousand_files_beside_the_model(disk: Disk) -> None:
    folder = disk.write("many/model.gguf").parent
    for number in range(10_000):
        (folder / f"{number}.txt").touch()
    found = disk.find(folder)
    assert len(found.models) == 1 and found.notes == ()


def test_more_names_than_are_looked_at_is_a_note(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.gguf").touch()
    walk = Walk(entries_left=20)
    assert len(walk.gguf_paths(tmp_path)) == 20
    assert walk.notes == [f"{tmp_path}: not looked through to its end, more than 100,000 names"]


def test_many_folders_left_out_are_one_note_about_the_folder_that_was_named(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        disk.write(f"mine/{number:02}/a.txt", b"x")
    monkeypatch.setattr(walk_module, "MAX_ENTRIES", 70)
    found = disk.find(disk.home / "mine")
    assert found.notes == (f"{disk.home / 'mine'}: not looked through to its end, more than 70 names",)


def test_many_forbidden_folders_are_a_few_notes(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        disk.write(f"mine/{number:02}/a.txt", b"x")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).parent.name == "mine":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(walk_module.os, "scandir", refuse)
    notes = disk.find(disk.home / "mine").notes
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1] == f"{disk.home / 'mine'}: and 40 more notes"


def test_loops_of_links_end(disk: Disk) -> None:
    folder = disk.write("loop/a/model.gguf").parents[1]
    (folder / "a" / "back").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "same").symlink_to(folder / "a", target_is_directory=True)
    found = disk.find(folder)
    assert len(found.models) == 1 and found.models[0].problem is None


def test_a_link_to_itself_is_called_a_loop(disk: Disk) -> None:
    folder = disk.write("mine/model.gguf").parent
    (folder / "self.gguf").symlink_to("self.gguf")
    (folder / "gone.gguf").symlink_to("away.gguf")
    problems = {name: model.problem for name, model in by_name(disk.find(folder)).items()}
    assert problems == {
        "model.gguf": None,
        "self.gguf": "a link that leads to itself",
        "gone.gguf": "a link to a file that is not there: away.gguf",
    }


def test_links_to_folders_are_followed(disk: Disk) -> None:
    disk.write("real/model.gguf")
    (disk.home / "mine").mkdir()
    (disk.home / "mine" / "link").symlink_to(disk.home / "real")
    assert len(disk.find(disk.home / "mine").models) == 1


def test_depth_is_bounded(disk: Disk) -> None:
    deep = disk.home / "deep" / "/".join("abcdefghijklmnop")
    disk.write(deep / "model.gguf")
    found = disk.find(disk.home / "deep")
    assert found.models == ()
    assert len(found.notes) == 1 and "not looked through below 12 levels" in found.notes[0]


def test_a_folder_that_may_not_be_read_is_a_note(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write("mine/secret/a.gguf")
    disk.write("mine/open/b.gguf")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(walk_module.os, "scandir", refuse)
    found = disk.find(disk.home / "mine")
    assert [model.name for model in found.models] == ["b.gguf"]
    assert found.notes == (f"{disk.home / 'mine/secret'}: cannot be read (Permission denied)",)


def test_a_file_where_a_folder_is_expected(disk: Disk) -> None:
    disk.write(".ollama/models", b"x")
    disk.write(".cache/huggingface/hub/models--o--m", b"x")
    found = disk.find(disk.write("file", b"x"))
    assert found.models == () and found.notes == ()


def test_a_file_that_vanishes_is_named(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write("mine/model.gguf")
    stamp = walk_module.stamp

    def vanish(path: Path) -> object:
        path.unlink(missing_ok=True)
        return stamp(path)

    monkeypatch.setattr(walk_module, "stamp", vanish)
    (model,) = disk.find(disk.home / "mine").models
    assert model.problem == "vanished while it was looked at"


def test_a_file_that_vanishes_before_it_is_read(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = disk.write("mine/model.gguf")
    why = walk_module._why_no_file

    def vanish(asked: Path) -> str | None:
        answer = why(asked)
        path.unlink()
        return answer

    monkeypatch.setattr(walk_module, "_why_no_file", vanish)
    (model,) = disk.find(disk.home / "mine").models
    assert model.problem == "no such file"


def test_split_files_are_one_model(disk: Disk) -> None:
    for number in (1, 2, 3):
        metadata = {"split.no": number - 1, "split.count": 3, "split.tensors.count": 3}
        disk.write(f"mine/m-{number:05}-of-00003.gguf", part(number, metadata))
    (model,) = disk.find(disk.home / "mine").models
    assert [path.name for path in model.paths] == [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    assert model.problem is None and model.n_parameters == 3 * 64
    assert model.file_bytes == sum(path.stat().st_size for path in model.paths)


def test_the_missing_part_is_named(disk: Disk) -> None:
    for number in (1, 3, 5):
        content = small_model(split__no=number - 1, split__count=5)
        disk.write(f"mine/m-{number:05}-of-00005.gguf", content)
    disk.write("mine/n-00001-of-99999.gguf", small_model(split__no=0, split__count=99999))
    problems = {name: model.problem for name, model in by_name(disk.find(disk.home / "mine")).items()}
    assert by_name(disk.find(disk.home / "mine"))["m-00001-of-00005.gguf"].quantization == "Q8_0"
    assert problems == {
        "m-00001-of-00005.gguf": "part 2 of 5 is missing: m-00002-of-00005.gguf, and 1 more",
        "n-00001-of-99999.gguf": "part 2 of 99999 is missing: n-00002-of-99999.gguf, and 99997 more",
    }


def test_a_file_that_is_only_named_like_a_part_is_whole(disk: Disk) -> None:
    """llama.cpp goes by split.count alone (src/llama-model-loader.cpp, llama_model_loader)."""
    first = disk.write("mine/m-00001-of-00003.gguf")
    disk.write("mine/m-00003-of-00003.gguf", small_model("Another"))
    for _ in range(2):  # the second time from what is remembered
        found = disk.find(disk.home / "mine")
        assert {model.name: model.problem for model in found.models} == {
            "m-00001-of-00003.gguf": None,
            "m-00003-of-00003.gguf": None,
        }
        assert [len(model.paths) for model in found.models] == [1, 1]
        assert found.notes == (
            f"{first}: named like a part of a split model, but its header names no other parts: "
            "llama.cpp takes it for a whole model",
        )
    assert len(read_model_files(first).paths) == 1


def test_a_broken_part_is_named(disk: Disk) -> None:
    metadata = {"split.no": 0, "split.count": 2}
    disk.write("mine/m-00001-of-00002.gguf", part(1, metadata))
    disk.write("mine/m-00002-of-00002.gguf", part(2, {**metadata, "split.no": 1})[:-8])
    disk.write("mine/n-00001-of-00002.gguf", part(1, metadata))
    disk.write("mine/n-00002-of-00002.gguf", b"nothing of that kind")
    problems = [model.problem for model in disk.find(disk.home / "mine").models]
    assert problems == [
        "part 2 of 2 half downloaded: 280 of 288 bytes",
        "part 2 of 2 not a GGUF file (it begins with 'noth')",
    ]


def part(number: int, metadata: dict[str, object]) -> bytes:
    from tests.advisor.model.gguf_builder import TensorInfo, build

    more = {"general.architecture": "llama"} if number == 1 else {}
    return build({**more, **metadata}, [TensorInfo(f"blk.{number}.x.weight", (32, 2), "F16")])
