"""A home folder with nothing in it, and small GGUF files to put there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llmfit.catalog.local.find import find_local_models
from llmfit.catalog.local.local_model import LocalModel, LocalModels
from tests.advisor.model.gguf_builder import TensorInfo, build

TENSORS = (
    TensorInfo("token_embd.weight", (32, 64), "F16"),
    TensorInfo("blk.0.attn_q.weight", (32, 32), "Q8_0"),
    TensorInfo("blk.0.ffn_up.weight", (32, 64), "Q8_0"),
)


def small_model(name: str = "Small One", **more: object) -> bytes:
    """A whole GGUF file of a few kilobytes, of no model that the catalogue knows."""
    metadata: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": name,
        "llama.block_count": 1,
        "llama.context_length": 4096,
        "llama.embedding_length": 32,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return build(metadata, TENSORS)


@dataclass(slots=True)
class Disk:
    """``home`` and ``root`` of a computer; ``find`` looks only there."""

    home: Path
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def find(self, *folders: Path) -> LocalModels:
        return find_local_models(folders, self.environ, self.home, root=self.root)

    def write(self, path: str | Path, content: bytes = b"") -> Path:
        """A file under ``home``, the small model unless ``content`` is given."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or small_model())
        return target


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    home, root = tmp_path / "home", tmp_path / "system"
    home.mkdir()
    root.mkdir()
    return Disk(home, root, {"LLMFIT_CACHE": str(tmp_path / "cache")})


def by_name(found: LocalModels) -> Mapping[str, LocalModel]:
    names = {model.name: model for model in found.models}
    assert len(names) == len(found.models), [model.name for model in found.models]
    return names
