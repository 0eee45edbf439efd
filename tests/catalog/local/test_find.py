"""The whole search: order, a disk that hangs, a store that surprises us, and which file starts a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.catalog.local import find as find_module
from llmfit.catalog.local import stores
from llmfit.catalog.local.find import find_local_models, models_by_id
from llmfit.catalog.local.local_model import FOLDER, PROJECTOR, LocalModel, LocalModels
from llmfit.catalog.local.walk import Found, Walk, models_of
from tests.catalog.local.conftest import Disk, by_name, small_model


def test_sound_models_come_first_then_by_name(disk: Disk) -> None:
    disk.write("mine/a.gguf", b"broken")
    disk.write("mine/C.gguf")
    disk.write("mine/b.gguf")
    assert [model.name for model in disk.find(disk.home / "mine").models] == ["b.gguf", "C.gguf", "a.gguf"]


def test_a_hard_link_is_the_same_file(disk: Disk) -> None:
    path = disk.write("mine/a.gguf")
    path.with_name("b.gguf").hardlink_to(path)
    assert len(disk.find(path.parent).models) == 1


def test_one_folder_named_twice(disk: Disk) -> None:
    folder = disk.write("mine/a.gguf").parent
    found = disk.find(folder, folder)
    assert len(found.models) == 1 and found.folders == (folder,)


def test_a_folder_that_is_not_there_is_not_among_those_looked_through(disk: Disk) -> None:
    found = disk.find(disk.home / "nowhere", Path("\0"))
    assert (found.models, found.folders) == ((), ())


def test_a_disk_that_hangs_is_given_up_and_the_rest_counts(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search of one folder blocks for ever after its first model; the others are found all the same."""
    wake, hangs = threading.Event(), disk.home / "hangs"
    disk.write("hangs/a.gguf", small_model("a"))
    disk.write("works/b.gguf", small_model("b"))

    def list_models(folder: Path, walk: Walk) -> Iterator[Found]:
        yield from models_of(walk.gguf_paths(folder))
        if folder == hangs:
            wake.wait()

    monkeypatch.setattr(stores, "_plain_models", list_models)
    monkeypatch.setattr(find_module, "SILENCE_S", 0.05)
    found = disk.find(hangs, disk.home / "works")
    wake.set()
    assert [model.name for model in found.models] == ["a.gguf", "b.gguf"]
    assert found.notes == (f"{hangs}: does not answer, given up after 0 s",)


def test_a_store_that_surprises_us_does_not_hide_the_others(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, walk: Walk) -> Iterator[Found]:
        raise ZeroDivisionError("surprise\x1b")
        yield

    monkeypatch.setattr(stores, "_lm_studio_models", fail)
    studio = disk.write(".lmstudio/models/p/r/a.gguf").parents[2]
    disk.write("mine/b.gguf", small_model("b"))
    found = disk.find(disk.home / "mine")
    assert [model.name for model in found.models] == ["b.gguf"]
    assert found.notes == (f"{studio}: could not be looked through (ZeroDivisionError: surprise)",)


def test_a_store_of_another_user_is_a_note(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    store = disk.root / "usr/share/ollama/.ollama/models"
    store.mkdir(parents=True)
    stat = Path.stat

    def refuse(path: Path, **more: bool) -> object:
        if path == store:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refuse)
    assert disk.find().notes == (f"{store}: cannot be read (Permission denied)",)


def test_too_many_models_are_a_note(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_module, "MAX_MODELS", 2)
    for number in range(3):
        disk.write(f"mine/{number}.gguf", small_model(str(number)))
    found = disk.find(disk.home / "mine")
    assert len(found.models) == 2
    assert found.notes == (f"{disk.home / 'mine'}: more than 2 models, the rest is left out",)


def test_this_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LLMFIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / ".cache/llama.cpp/m.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(small_model())
    assert "m.gguf" in by_name(find_local_models(root=tmp_path))


ONE = LocalModel((Path("/b.gguf"),), FOLDER, "b", 10, quantization="Q4_K_M", model_id="o/m")


def test_the_file_that_starts_a_model() -> None:
    first = replace(ONE, paths=(Path("/a.gguf"),))
    larger = replace(ONE, paths=(Path("/z.gguf"),), file_bytes=11)
    others = (
        replace(ONE, problem="half downloaded", file_bytes=99),
        replace(ONE, kind=PROJECTOR, file_bytes=99),
        replace(ONE, model_id=None, file_bytes=99),
        replace(ONE, quantization=None, file_bytes=99),
    )
    q8 = replace(ONE, quantization="Q8_0")
    for models in ((ONE, first, *others), (first, ONE, *others)):
        assert models_by_id(LocalModels(models)) == {("o/m", "Q4_K_M"): first}
    assert models_by_id(LocalModels((first, q8, larger))) == {
        ("o/m", "Q4_K_M"): larger,
        ("o/m", "Q8_0"): q8,
    }


def test_named_folders_that_are_none(disk: Disk) -> None:
    file = disk.write("file", b"x")
    (disk.home / "here").mkdir()
    found = disk.find(disk.home / "gone", file, disk.home / "here")
    assert found.missing == ((disk.home / "gone", "no such folder"), (file, "not a folder"))


def test_progress_counts_files_and_ends_with_all_of_them(disk: Disk) -> None:
    for number in range(5):
        disk.write(f"mine/{number}.gguf", small_model(str(number)))
    steps: list[tuple[int, int]] = []
    folders = (disk.home / "mine",)
    find_local_models(
        folders, disk.environ, disk.home, root=disk.root, on_progress=lambda *step: steps.append(step)
    )
    assert steps[-1] == (5, 5)
    assert all(done <= found <= 5 for done, found in steps) and steps == sorted(steps)
