"""The Hugging Face hub's cache: ``models--OWNER--REPO/snapshots/REVISION/file.gguf``, links into ``blobs``.

Layout: huggingface_hub file_download.py, and llama.cpp b11434 common/hf-cache.cpp, which shares it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmfit.advisor.files import read_start
from llmfit.advisor.model.gguf import MAGIC
from llmfit.advisor.text import clean_text
from llmfit.catalog.local.header_summary import HALF_DOWNLOADED
from llmfit.catalog.local.walk import Found, Walk, models_of, stamp

_PREFIX = "models--"
_PARTIAL = (".incomplete", ".downloadInProgress")
"""Of huggingface_hub and of llama.cpp (common/download.cpp)."""
_SNAPSHOT_DEPTH = 4
MAX_REVISION_BYTES = 100
"""Of ``refs/main``: 40 digits."""


def models_in_hub_cache(cache: Path, walk: Walk) -> Iterator[Found]:
    """The models of every repository, then its unfinished downloads."""
    for entry in walk.entries(cache):
        if entry.name.startswith(_PREFIX):
            repository = Path(entry.path)
            name = clean_text(entry.name.removeprefix(_PREFIX).replace("--", "/"))
            yield from models_of(_paths(repository, walk), lambda path, name=name: name)  # type: ignore[misc]
            yield from _unfinished(repository / "blobs", name, walk)


def _paths(repository: Path, walk: Walk) -> list[Path]:
    """The files of the revision that ``main`` points to; of older ones only what that one lacks.

    Fetching one more file of a repository that has changed begins a new revision with just that file: the
    others stay on the disk under the old one.
    """
    paths: dict[Path, Path] = {}
    for revision in _revisions(repository, walk):
        for path in walk.gguf_paths(revision, _SNAPSHOT_DEPTH):
            paths.setdefault(path.relative_to(revision), path)
    return list(paths.values())


def _revisions(repository: Path, walk: Walk) -> list[Path]:
    """The snapshots, that of ``refs/main`` first, then the newest."""
    try:
        main = read_start(repository / "refs" / "main", MAX_REVISION_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        main = ""
    revisions = [Path(entry.path) for entry in walk.entries(repository / "snapshots")]

    def rank(revision: Path) -> tuple[bool, int]:
        found = stamp(revision)
        return revision.name == main, found.mtime_ns if found else 0

    return sorted(revisions, key=rank, reverse=True)


def _unfinished(blobs: Path, name: str, walk: Walk) -> Iterator[Found]:
    """Downloads that stopped, if they are GGUF files: the name of the file is not known before the end."""
    for entry in walk.entries(blobs):
        if entry.name.endswith(_PARTIAL) and _begins_like_gguf(Path(entry.path)):
            found = stamp(Path(entry.path))
            if found is not None:
                yield Found((found,), name, HALF_DOWNLOADED)


def _begins_like_gguf(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
