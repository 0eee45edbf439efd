"""Every store in the layout that its tool writes, and where each is looked for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from llmfit.advisor.files import read_start
from llmfit.catalog.local import hub_cache
from llmfit.catalog.local.local_model import (
    FOLDER,
    HUGGING_FACE,
    LLAMA_CPP,
    LM_STUDIO,
    OLLAMA,
    OTHER,
    PROJECTOR,
)
from tests.advisor.model.gguf_builder import TensorInfo, build
from tests.catalog.local.conftest import Disk, by_name, small_model

HUB = Path(".cache/huggingface/hub")
MODEL_LAYER = "application/vnd.ollama.image.model"


def hub_file(disk: Disk, repo: str, revision: str, name: str, blob: str, content: bytes = b"") -> Path:
    """A file of the hub's cache: the blob, and the link to it in the snapshot."""
    folder = disk.home / HUB / ("models--" + repo.replace("/", "--"))
    if not (folder / "blobs" / blob).exists():
        disk.write(folder / "blobs" / blob, content)
    link = folder / "snapshots" / revision / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(folder / "blobs" / blob, link.parent))
    return link


def ollama_model(disk: Disk, tag: str, blobs: dict[str, bytes | None], store: Path | None = None) -> None:
    """A manifest ``HOST/NAMESPACE/NAME/TAG`` with a layer for each blob (``kind:digit``), blobs not None."""
    store = store or disk.home / ".ollama/models"
    layers = []
    for blob, content in blobs.items():
        kind, _, digit = blob.partition(":")
        digest = digit * 64
        layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}"})
        if content is not None:
            disk.write(store / "blobs" / f"sha256-{digest}", content)
    disk.write(store / "manifests" / tag, json.dumps({"schemaVersion": 2, "layers": layers}).encode())


def test_nothing_at_all(disk: Disk) -> None:
    found = disk.find()
    assert (found.models, found.folders, found.notes) == ((), (), ())


def test_hugging_face_links_are_followed_and_named_by_the_repository(disk: Disk) -> None:
    link = hub_file(disk, "owner/some-model-GGUF", "a" * 40, "some-Q8_0.gguf", "b1")
    found = disk.find()
    (model,) = found.models
    assert (model.store, model.name, model.path) == (HUGGING_FACE, "owner/some-model-GGUF", link)
    assert (model.quantization, model.context_train_tokens) == ("Q8_0", 4096)
    assert model.file_bytes == len(small_model()) and model.problem is None
    assert found.folders == (disk.home / HUB,)


def test_hugging_face_takes_the_revision_of_main(disk: Disk) -> None:
    old = hub_file(disk, "o/m", "a" * 40, "m.gguf", "b1", small_model("old"))
    new = hub_file(disk, "o/m", "b" * 40, "m.gguf", "b2", small_model("new"))
    os.utime(new.parents[0], (1, 1))  # main decides, not the time
    refs = new.parents[2] / "refs" / "main"
    disk.write(refs, b"b" * 40 + b"\n")
    assert [model.path for model in disk.find().models] == [new]
    refs.unlink()
    os.utime(old.parent, (2, 2))
    assert [model.path for model in disk.find().models] == [old]


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_hugging_face_main_is_read_only_as_far_as_a_revision_goes(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 600 MB in its place filled the memory, a pipe would hang."""
    new = hub_file(disk, "o/m", "b" * 40, "m.gguf", "b2")
    main = disk.write(new.parents[2] / "refs" / "main", b"b" * 40)
    asked: list[int] = []

    def spy(path: Path, max_bytes: int) -> bytes:
        asked.append(max_bytes)
        return read_start(path, max_bytes)

    monkeypatch.setattr(hub_cache, "read_start", spy)
    assert [model.path for model in disk.find().models] == [new]
    assert asked == [hub_cache.MAX_REVISION_BYTES]
    main.unlink()
    os.mkfifo(main)
    assert [model.path for model in disk.find().models] == [new]


def test_hugging_face_files_that_only_an_older_revision_has_are_still_on_the_disk(disk: Disk) -> None:
    older = hub_file(disk, "o/m", "a" * 40, "m-Q8_0.gguf", "b1", small_model("eight"))
    newer = hub_file(disk, "o/m", "b" * 40, "m-Q4_0.gguf", "b2", small_model("four"))
    disk.write(newer.parents[2] / "refs" / "main", b"b" * 40)
    assert {model.path for model in disk.find().models} == {older, newer}


def test_a_blob_with_two_names_counts_once(disk: Disk) -> None:
    hub_file(disk, "o/m", "a" * 40, "m.gguf", "b1")
    hub_file(disk, "o/m", "a" * 40, "again/m.gguf", "b1")
    link = disk.home / "models" / "mine.gguf"
    link.parent.mkdir()
    link.symlink_to(disk.home / HUB / "models--o--m/blobs/b1")
    (model,) = disk.find(link.parent).models
    assert model.store == HUGGING_FACE


@pytest.mark.parametrize("suffix", [".incomplete", ".downloadInProgress"])
def test_hugging_face_half_downloaded(disk: Disk, suffix: str) -> None:
    whole = build({"general.architecture": "llama"}, [TensorInfo("blk.0.x.weight", (32, 2**20), "F16")])
    blobs = HUB / "models--o--m" / "blobs"
    disk.write(blobs / f"abc{suffix}", whole[:20_000_000])
    disk.write(blobs / f"def{suffix}", b"not of this kind")
    (model,) = disk.find().models
    assert (model.name, model.problem) == ("o/m", "half downloaded: 19 MiB of 64 MiB")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HF_HUB_CACHE": "{}/one"}, "one"),
        ({"HUGGINGFACE_HUB_CACHE": "{}/old"}, "old"),
        ({"HF_HOME": "{}/hf"}, "hf/hub"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/huggingface/hub"),
        ({"HF_HOME": "~/hf"}, "hf/hub"),
        ({"HF_HUB_CACHE": "{}/one", "HF_HOME": "{}/hf"}, "one"),
    ],
)
def test_hugging_face_variables(disk: Disk, environ: dict[str, str], folder: str) -> None:
    disk.environ |= {name: value.format(disk.home) for name, value in environ.items()}
    hub_file(disk, "o/elsewhere", "a" * 40, "m.gguf", "b1", small_model("elsewhere"))
    disk.write(f"{folder}/models--o--here/snapshots/{'a' * 40}/m.gguf")
    assert [model.name for model in disk.find().models] == ["o/here"]


def test_llama_cpp_flat_files(disk: Disk) -> None:
    cache = Path(".cache/llama.cpp")
    disk.write(cache / "owner_repo_model.gguf")
    disk.write(cache / "owner_repo_model.gguf.json", b"{}")
    disk.write(cache / "owner_repo_model.gguf.etag", b"x")
    disk.write(cache / "other.gguf.downloadInProgress", small_model("other")[:-100])
    models = by_name(disk.find())
    assert set(models) == {"owner_repo_model.gguf", "other.gguf"}
    assert {model.store for model in models.values()} == {LLAMA_CPP}
    assert models["owner_repo_model.gguf"].problem is None
    assert (models["other.gguf"].problem or "").startswith("half downloaded: ")


def test_llama_cpp_cache_variable_holds_both_layouts(disk: Disk) -> None:
    disk.environ["LLAMA_CACHE"] = str(disk.home / "lc")
    disk.write("lc/flat.gguf", small_model("flat"))
    disk.write(f"lc/models--o--m/snapshots/{'a' * 40}/m.gguf", small_model("hub"))
    models = by_name(disk.find())
    assert {name: model.store for name, model in models.items()} == {"flat.gguf": LLAMA_CPP, "o/m": LLAMA_CPP}


def test_llama_cpp_on_a_mac(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmfit.catalog.local.find.sys.platform", "darwin")
    disk.write("Library/Caches/llama.cpp/m.gguf")
    assert [model.store for model in disk.find().models] == [LLAMA_CPP]


@pytest.mark.parametrize("home", [".lmstudio", ".cache/lm-studio"])
def test_lm_studio(disk: Disk, home: str) -> None:
    disk.write(f"{home}/models/publisher/repo/file.gguf")
    (model,) = disk.find().models
    assert (model.store, model.name) == (LM_STUDIO, "publisher/repo")


def test_lm_studio_settings_and_pointer(disk: Disk) -> None:
    disk.write("moved/p/r/a.gguf", small_model("a"))
    disk.write("studio/models/p/s/b.gguf", small_model("b"))
    disk.write(".lmstudio-home-pointer", str(disk.home / "studio").encode())
    disk.write("studio/settings.json", json.dumps({"downloadsFolder": str(disk.home / "moved")}).encode())
    assert set(by_name(disk.find())) == {"p/r", "p/s"}


@pytest.mark.parametrize(
    "settings", [b"{", b"[]", b'{"downloadsFolder": 3}', b"\xff\xfe", b'{"downloadsFolder": "/x\\u0000"}']
)
def test_lm_studio_settings_that_make_no_sense(disk: Disk, settings: bytes) -> None:
    disk.write(".lmstudio/settings.json", settings)
    disk.write(".lmstudio-home-pointer", b"\xff\0nowhere")
    disk.write(".lmstudio/models/p/r/a.gguf")
    assert [model.name for model in disk.find().models] == ["p/r"]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("registry.ollama.ai/library/llama3.2/3b", "llama3.2:3b"),
        ("registry.ollama.ai/somebody/tuned/latest", "somebody/tuned:latest"),
        ("hf.co/owner/repo-GGUF/Q4_K_M", "hf.co/owner/repo-GGUF:Q4_K_M"),
    ],
)
def test_ollama_names(disk: Disk, tag: str, name: str) -> None:
    ollama_model(disk, tag, {"model:a": small_model(), "template:b": b"x", "license:c": None})
    (model,) = disk.find().models
    assert (model.store, model.name, model.problem) == (OLLAMA, name, None)
    assert model.path == disk.home / ".ollama/models/blobs" / ("sha256-" + "a" * 64)


def test_ollama_blob_of_several_names_counts_once(disk: Disk) -> None:
    for tag in ("3b", "latest"):
        ollama_model(disk, f"registry.ollama.ai/library/m/{tag}", {"model:a": small_model()})
    assert [model.name for model in disk.find().models] == ["m:3b, m:latest"]


def test_ollama_projector(disk: Disk) -> None:
    clip = build({"general.architecture": "clip"}, [TensorInfo("v.patch.weight", (32, 4), "F16")])
    ollama_model(disk, "registry.ollama.ai/library/llava/7b", {"model:a": small_model(), "projector:b": clip})
    kinds = {model.kind for model in disk.find().models}
    assert kinds == {"model", PROJECTOR}


def test_ollama_manifest_that_points_nowhere(disk: Disk) -> None:
    ollama_model(disk, "registry.ollama.ai/library/gone/1b", {"model:a": None})
    (model,) = disk.find().models
    assert model.name == "gone:1b" and model.file_bytes == 0
    assert model.problem == f"its manifest names sha256-{'a' * 64}, which is missing"


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"{", "its manifest is no JSON"),
        (b"[" * 100_000, "its manifest is no JSON"),
        (b"\xff\xfe\0", "its manifest is no JSON"),
        (b"[]", "its manifest lists no layers"),
        (b'{"layers": {}}', "its manifest lists no layers"),
        (
            json.dumps({"layers": [{"mediaType": MODEL_LAYER, "digest": "sha256:../../secret"}]}).encode(),
            "its manifest names a layer by something that is no digest",
        ),
        (
            json.dumps({"layers": [{"mediaType": MODEL_LAYER, "digest": 7}]}).encode(),
            "its manifest names a layer by something that is no digest",
        ),
    ],
)
def test_ollama_manifests_that_make_no_sense(disk: Disk, manifest: bytes, why: str) -> None:
    disk.write(".ollama/models/manifests/registry.ollama.ai/library/bad/1b", manifest)
    (model,) = disk.find().models
    assert (model.name, model.kind, model.problem) == ("bad:1b", OTHER, why)


def test_ollama_manifests_without_a_gguf_are_no_models(disk: Disk) -> None:
    ollama_model(disk, "registry.ollama.ai/library/cloud/latest", {"config:a": None})
    disk.write(".ollama/models/manifests/registry.ollama.ai/library/odd/1b", b'{"layers": [1, null]}')
    assert disk.find().models == ()


def test_ollama_half_pulled(disk: Disk) -> None:
    blob = Path(".ollama/models/blobs") / ("sha256-" + "d" * 64 + "-partial")
    disk.write(blob, bytes(10_000))
    for number, done in enumerate((3_000_000_000, 100_000_000)):
        part = {"N": number, "Offset": 0, "Size": 2_450_000_000, "Completed": done}
        disk.write(f"{blob}-{number}", json.dumps(part).encode())
    (model,) = disk.find().models
    assert (model.name, model.problem) == ("sha256-dddddddddddd", "half downloaded: 2.9 GiB of 4.6 GiB")
    disk.write(f"{blob}-0", b"{}")
    assert disk.find().models[0].problem == "half downloaded"


@pytest.mark.parametrize(
    "store", ["usr/share/ollama/.ollama/models", "var/lib/ollama/models", "var/lib/ollama/.ollama/models"]
)
def test_ollama_as_a_service(disk: Disk, store: str) -> None:
    ollama_model(disk, "registry.ollama.ai/library/m/1b", {"model:a": small_model()}, disk.root / store)
    assert [model.name for model in disk.find().models] == ["m:1b"]


def test_ollama_variable(disk: Disk) -> None:
    disk.environ["OLLAMA_MODELS"] = str(disk.home / "big disk")
    ollama_model(disk, "registry.ollama.ai/library/m/1b", {"model:a": small_model()}, disk.home / "big disk")
    assert [model.name for model in disk.find().models] == ["m:1b"]


def test_folders_of_the_user(disk: Disk) -> None:
    disk.write("mine/deep/er/Model.GGUF")
    disk.write("mine/readme.md", b"x")
    (model,) = disk.find(disk.home / "mine").models
    assert (model.store, model.name) == (FOLDER, "Model.GGUF")


def test_names_are_safe_to_show(disk: Disk) -> None:
    disk.write("mine/\x1b[31mred\u202e.gguf")
    disk.write(os.fsencode(disk.home).decode() + "/mine/\udcff.gguf", small_model("two"))
    found = disk.find(disk.home / "mine")
    assert len(found.models) == 2
    assert all(model.name.isprintable() for model in found.models)
