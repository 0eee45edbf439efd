"""What a scan of this computer's disks hands back. No I/O here: see find.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HUGGING_FACE = "Hugging Face"
LLAMA_CPP = "llama.cpp"
LM_STUDIO = "LM Studio"
OLLAMA = "Ollama"
FOLDER = "folder"
"""A folder that the user named, in the configuration or by ``--folder``."""

MODEL = "model"
PROJECTOR = "projector"
"""The vision or audio part of a model (mmproj)."""
ADAPTER = "adapter"
OTHER = "other"
"""A GGUF file that llama-server cannot serve: a vocabulary, an importance matrix, a diffusion model."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One model on this disk; the parts of a split one count as one.

    ``paths[0]`` is what ``llama-server -m`` gets. ``model_id`` is the catalogue's id where the content says
    which model it is; ``candidates`` are all rows with this content where it does not decide between them.
    ``problem`` says why the file cannot be used (truncated, a part missing, not a GGUF), one plain sentence.
    """

    paths: tuple[Path, ...]
    store: str
    name: str
    """As that tool calls it: ``bartowski/Qwen3-8B-GGUF``, ``llama3.2:3b``, or the file's name."""
    file_bytes: int
    kind: str = MODEL
    quantization: str | None = None
    architecture: str | None = None
    n_parameters: int | None = None
    context_train_tokens: int | None = None
    model_id: str | None = None
    candidates: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def path(self) -> Path:
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class LocalModels:
    """Everything a scan found, sound models first; ``notes`` are plain sentences about what it left out."""

    models: tuple[LocalModel, ...] = ()
    folders: tuple[Path, ...] = ()
    """Folders that were looked through, those that exist."""
    notes: tuple[str, ...] = ()
    missing: tuple[tuple[Path, str], ...] = ()
    """Of the folders that the user named those that are none, and why."""
