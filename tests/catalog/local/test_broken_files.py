"""Every way in which a file named like a model is none: it is listed, with the reason."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from llmfit.advisor.errors import GgufError
from llmfit.catalog.local import header_reader
from llmfit.catalog.local.local_model import ADAPTER, MODEL, OTHER, PROJECTOR
from tests.advisor.model.gguf_builder import TensorInfo, build, header_bytes, sparse_file
from tests.catalog.local.conftest import TENSORS, Disk, by_name, small_model

LLAMA = header_bytes("llama3.1-8b.Q4_K_M")[0]
BROKEN = {
    "empty": (b"", "the file is empty"),
    "text": (b"Dear diary", "not a GGUF file (it begins with 'Dear')"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the model itself"),
    "version 1": (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "GGUF version 1, which llama.cpp no longer loads"),
    "version 99": (struct.pack("<4sIQQ", b"GGUF", 99, 0, 0), "GGUF version 99, known are 2 and 3"),
    "big endian": (
        struct.pack(">4sIQQ", b"GGUF", 3, 0, 0),
        "a big-endian GGUF file, which llama.cpp does not load here",
    ),
    "huge counts": (
        struct.pack("<4sIQQ", b"GGUF", 3, 2**62, 2**62),
        f"its header claims {2**62:,} tensors, more than any model has",
    ),
    "cut header": (LLAMA[:5000], "its header needs"),
    "no architecture": (build({}, TENSORS), None),
}


@pytest.mark.parametrize("name", [name for name, (_, why) in BROKEN.items() if why])
def test_the_reason_is_named(disk: Disk, name: str) -> None:
    content, why = BROKEN[name]
    (disk.home / "mine").mkdir()
    (disk.home / "mine" / "x.gguf").write_bytes(content)
    disk.write("mine/sound.gguf")
    sound, broken = disk.find(disk.home / "mine").models
    assert sound.problem is None
    assert why is not None and why in (broken.problem or "")
    assert broken.file_bytes == len(content) and broken.model_id is None


def test_half_downloaded_says_how_much_and_what(disk: Disk) -> None:
    folder = disk.home / "mine"
    folder.mkdir()
    path = sparse_file("qwen3-32b.Q4_K_M", folder)
    os.truncate(path, 3_100_000_000)
    (model,) = disk.find(folder).models
    assert model.problem == "half downloaded: 2.9 GiB of 18.4 GiB"
    assert (model.model_id, model.quantization) == ("Qwen/Qwen3-32B", "Q4_K_M")


def test_the_last_byte_counts(disk: Disk) -> None:
    whole = small_model()
    disk.write("mine/whole.gguf", whole)
    disk.write("mine/short.gguf", whole[:-1])
    models = by_name(disk.find(disk.home / "mine"))
    assert models["whole.gguf"].problem is None
    assert models["short.gguf"].problem == f"half downloaded: {len(whole) - 1:,} of {len(whole):,} bytes"


def test_things_that_are_no_files(disk: Disk) -> None:
    folder = disk.write("mine/inside.gguf/model.gguf").parents[1]
    (folder / "empty.gguf").mkdir()
    (folder / "gone.gguf").symlink_to(folder / "nowhere.gguf")
    (folder / "loop.gguf").symlink_to(folder / "loop.gguf")
    os.mkfifo(folder / "pipe.gguf")
    models = by_name(disk.find(folder))
    assert {name: model.problem for name, model in models.items()} == {
        "model.gguf": None,
        "empty.gguf": "a folder, not a file",
        "gone.gguf": f"a link to a file that is not there: {folder / 'nowhere.gguf'}",
        "loop.gguf": "a link that leads to itself",
        "pipe.gguf": "not a regular file",
    }


def test_a_file_that_may_not_be_read(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = disk.write("mine/secret.gguf")
    monkeypatch.setattr(header_reader, "LocalFileSource", _refuse)
    (model,) = disk.find(path.parent).models
    assert model.problem == "cannot be opened (Permission denied)"
    monkeypatch.undo()  # now the owner has allowed it: nothing of the refusal was remembered
    assert disk.find(path.parent).models[0].problem is None


def _refuse(path: Path) -> object:
    raise GgufError(str(path), "cannot be opened (Permission denied)")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_permissions_of_the_file_system(disk: Disk) -> None:
    path = disk.write("mine/secret.gguf")
    path.chmod(0)
    (model,) = disk.find(path.parent).models
    assert model.problem == "cannot be opened (Permission denied)"


def test_a_part_without_its_name(disk: Disk) -> None:
    disk.write("mine/renamed.gguf", small_model(split__no=1, split__count=3))
    (model,) = disk.find(disk.home / "mine").models
    assert model.problem == "part 2 of 3 of a split model, but not named like one"


def test_a_vision_part_in_the_same_file(disk: Disk) -> None:
    tensors = [*TENSORS, TensorInfo("v.blk.0.attn_q.weight", (32, 32), "F16")]
    disk.write("mine/x.gguf", build({"general.architecture": "gemma3", "gemma3.block_count": 1}, tensors))
    (model,) = disk.find(disk.home / "mine").models
    assert "vision part is in the same file" in (model.problem or "")


@pytest.mark.parametrize(
    ("metadata", "tensors", "kind"),
    [
        ({"general.architecture": "llama"}, TENSORS, MODEL),
        ({"general.architecture": "bert"}, TENSORS, MODEL),
        ({"general.architecture": "clip"}, TENSORS, PROJECTOR),
        ({"general.architecture": "clip", "general.type": "mmproj"}, TENSORS, PROJECTOR),
        ({"general.architecture": "llama", "general.type": "adapter"}, TENSORS, ADAPTER),
        ({"general.architecture": "llama", "adapter.type": "lora"}, TENSORS, ADAPTER),
        ({"general.type": "imatrix"}, TENSORS, OTHER),
        ({"general.architecture": "llama"}, (), OTHER),
        ({"general.architecture": "flux"}, TENSORS, OTHER),
        ({"general.architecture": "llada"}, TENSORS, OTHER),
        ({"general.architecture": "eagle3"}, TENSORS, OTHER),
        ({}, TENSORS, OTHER),
        ({"general.architecture": 3, "general.name": 4, "general.type": 5}, TENSORS, OTHER),
    ],
)
def test_kinds(disk: Disk, metadata: dict[str, object], tensors: tuple[TensorInfo, ...], kind: str) -> None:
    disk.write("mine/x.gguf", build(metadata, tensors))
    (model,) = disk.find(disk.home / "mine").models
    assert (model.kind, model.problem) == (kind, None)


def test_values_of_the_wrong_type_are_no_values(disk: Disk) -> None:
    odd = small_model(llama__context_length="many", llama__block_count=-5, llama__expert_count=[1.5, 2.5])
    disk.write("mine/x.gguf", odd)
    (model,) = disk.find(disk.home / "mine").models
    assert (model.problem, model.context_train_tokens, model.model_id) == (None, None, None)
