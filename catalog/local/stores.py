"""Where tools keep GGUF files: the folders of each store, by its environment variables and settings.

Sources: huggingface_hub constants.py (HF_HUB_CACHE); llama.cpp b11434 common/hf-cache.cpp
(get_cache_directory) and common/common.cpp (fs_get_cache_directory); lmstudio.js findLMStudioHome.ts; Ollama
docs/faq and envconfig/config.go (Models).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.text import printable
from llmfit.catalog.local.header_summary import HALF_DOWNLOADED
from llmfit.catalog.local.hub_cache import models_in_hub_cache
from llmfit.catalog.local.local_model import FOLDER, HUGGING_FACE, LLAMA_CPP, LM_STUDIO, OLLAMA
from llmfit.catalog.local.ollama import models_in_ollama_store
from llmfit.catalog.local.walk import Found, Walk, models_of, stamp

Lister = Callable[[Path, Walk], Iterator[Found]]
_PARTIAL = ".downloadInProgress"
"""What llama.cpp appends to a file that is being downloaded (common/download.cpp)."""
_MAX_SETTINGS_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Search:
    """One folder to look through and how: ``list_models`` yields what is there."""

    store: str
    folder: Path
    list_models: Lister


def searches(
    folders: Sequence[Path], environ: Mapping[str, str], home: Path | None, platform: str, root: Path
) -> tuple[Search, ...]:
    """Every folder that may hold models, the stores of tools first; those that do not exist, too.

    ``root`` is where the system's own folders begin (``/``).
    """
    found = [
        *_hugging_face(environ, home),
        *_llama_cpp(environ, home, platform),
        *(Search(LM_STUDIO, folder, _lm_studio_models) for folder in _lm_studio_folders(home)),
        *(Search(OLLAMA, folder, models_in_ollama_store) for folder in _ollama_folders(environ, home, root)),
        *(Search(FOLDER, folder, _plain_models) for folder in folders),
    ]
    return tuple({(search.folder, search.list_models): search for search in reversed(found)}.values())[::-1]


def _hugging_face(environ: Mapping[str, str], home: Path | None) -> Iterator[Search]:
    """The first that is set decides, as in huggingface_hub; llama.cpp reads the same ones."""
    folder = _first(
        _named(environ, "HF_HUB_CACHE", home),
        _named(environ, "HUGGINGFACE_HUB_CACHE", home),
        _named(environ, "HF_HOME", home, "hub"),
        _named(environ, "XDG_CACHE_HOME", home, "huggingface/hub"),
        home and home / ".cache/huggingface/hub",
    )
    if folder:
        yield Search(HUGGING_FACE, folder, models_in_hub_cache)


def _llama_cpp(environ: Mapping[str, str], home: Path | None, platform: str) -> Iterator[Search]:
    """Its own folder: flat files, and with LLAMA_CACHE the layout of the hub's cache in it.

    ``-hf`` downloads go to the hub's cache where LLAMA_CACHE is not set (b11434); older ones lie here.
    """
    chosen = _named(environ, "LLAMA_CACHE", home)
    usual = home and home / "Library/Caches/llama.cpp"
    if platform != "darwin":
        cache = _first(_named(environ, "XDG_CACHE_HOME", home), home and home / ".cache")
        usual = cache and cache / "llama.cpp"
    for folder in (chosen, usual):
        if folder:
            yield Search(LLAMA_CPP, folder, models_in_hub_cache)
            yield Search(LLAMA_CPP, folder, _flat_models)


def _lm_studio_folders(home: Path | None) -> Iterator[Path]:
    if home is None:
        return
    pointer = _read_text(home / ".lmstudio-home-pointer").strip()
    homes = [Path(pointer)] if pointer.startswith("/") else []
    for base in (*homes, home / ".lmstudio", home / ".cache/lm-studio"):
        yield base / "models"
        try:
            settings = json.loads(_read_text(base / "settings.json") or "{}")
        except (ValueError, RecursionError):
            continue
        chosen = settings.get("downloadsFolder") if isinstance(settings, dict) else None
        if isinstance(chosen, str) and chosen.startswith("/") and "\0" not in chosen:
            yield Path(chosen)


def _ollama_folders(environ: Mapping[str, str], home: Path | None, root: Path) -> Iterator[Path]:
    """The user's own, and those of the service that the Linux installer and packages set up."""
    chosen = _named(environ, "OLLAMA_MODELS", home)
    if chosen:
        yield chosen
    if home:
        yield home / ".ollama/models"
    yield root / "usr/share/ollama/.ollama/models"
    yield root / "var/lib/ollama/.ollama/models"
    yield root / "var/lib/ollama/models"
    yield root / "var/lib/ollama"


def _plain_models(folder: Path, walk: Walk) -> Iterator[Found]:
    """Any folder: what is named ``*.gguf``, at any depth."""
    yield from models_of(walk.gguf_paths(folder))


def _flat_models(folder: Path, walk: Walk) -> Iterator[Found]:
    """llama.cpp's folder: files beside their ``.json`` and ``.etag``, and unfinished downloads."""
    paths = []
    for entry in walk.entries(folder):
        if entry.name.lower().endswith(".gguf"):
            paths.append(Path(entry.path))
        elif entry.name.endswith(".gguf" + _PARTIAL) and (part := stamp(Path(entry.path))):
            name = printable(entry.name.removesuffix(_PARTIAL))
            yield Found((part,), name, HALF_DOWNLOADED)
    yield from models_of(paths)


def _lm_studio_models(folder: Path, walk: Walk) -> Iterator[Found]:
    """``PUBLISHER/REPO/file.gguf``; named by publisher and repository."""

    def name(path: Path) -> str:
        parts = path.relative_to(folder).parts
        return "/".join(parts[:2]) if len(parts) > 2 else ""

    yield from models_of(walk.gguf_paths(folder), name)


def _named(environ: Mapping[str, str], variable: str, home: Path | None, below: str = "") -> Path | None:
    """The folder that an environment variable names, with ``~`` resolved; None where it is not set."""
    value = environ.get(variable, "")
    if not value or "\0" in value:
        return None
    if home is not None and (value == "~" or value.startswith("~/")):
        value = str(home) + value[1:]
    return Path(value) / below


def _first(*folders: Path | None) -> Path | None:
    return next((folder for folder in folders if folder is not None), None)


def _read_text(path: Path) -> str:
    """A small text file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_SETTINGS_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
