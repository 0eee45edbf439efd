"""Summaries of headers, remembered by path, size and time of change: a second look costs next to nothing.

One JSON file in llmfit's cache folder, replaced as a whole. A file that cannot be read, of another version or
of another llmfit is begun anew: it holds nothing that the model files do not say.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from llmfit import __version__
from llmfit.advisor.files import read_start
from llmfit.advisor.folders import cache_folder
from llmfit.advisor.units import MIB
from llmfit.catalog.local.header_summary import HeaderSummary, Number

FILE_NAME = "headers.json"
VERSION = f"2 of llmfit {__version__}"
"""Another llmfit may know more architectures, so it reads anew; raise the number with every change of
HeaderSummary or of what fills it."""
MAX_ENTRIES = 20_000
MAX_FILE_BYTES = 64 * MIB
_TEXT, _COUNT = (str, type(None)), (int, type(None))
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "kind": str,
    "architecture": _TEXT,
    "quantization": _TEXT,
    "n_parameters": _COUNT,
    "n_body_parameters": int,
    "n_vocab": int,
    "n_layer": int,
    "context_train_tokens": _COUNT,
    "numbers": dict,
    "names": dict,
    "n_parts": int,
    "problem": _TEXT,
}


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as the file system described it; ``identity`` is the same for two names of one file."""

    path: Path
    size_bytes: int
    mtime_ns: int
    identity: tuple[int, int]


def cache_file(environ: Mapping[str, str]) -> Path:
    """``headers.json`` in llmfit's cache folder. It need not exist."""
    return cache_folder(environ) / FILE_NAME


class HeaderCache:
    """What is remembered of files. ``load`` once, ``find`` and ``remember`` any time, ``save`` at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, object] | None = None
        self._reading = threading.Lock()
        self._new: dict[str, object] = {}

    def find(self, stamps: Sequence[FileStamp]) -> HeaderSummary | None:
        """The summary of a model whose files are as they were, or None."""
        with self._reading:
            if self._known is None:
                self._known = _read(self._path)
        entry = self._known.get(str(stamps[0].path))
        if not isinstance(entry, dict) or entry.get("files") != _stamps(stamps):
            return None
        return _summary(entry.get("summary"))

    def remember(self, stamps: Sequence[FileStamp], summary: HeaderSummary) -> None:
        self._new[str(stamps[0].path)] = {"files": _stamps(stamps), "summary": asdict(summary)}

    def save(self, seen: Iterable[str] = ()) -> None:
        """Adds what was learnt to the file; what another process wrote meanwhile stays.

        Of too many entries those of ``seen``, paths of this scan, stay. A folder that cannot be written is no
        error: the headers will be read again.
        """
        if not self._new:
            return
        entries = _read(self._path) | self._new
        if len(entries) > MAX_ENTRIES:
            kept = set(seen) | set(self._new)
            entries = dict([item for item in entries.items() if item[0] in kept][:MAX_ENTRIES])
        text = json.dumps({"version": VERSION, "models": entries}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            _replace(self._path, text)
        self._new = {}


def _stamps(stamps: Sequence[FileStamp]) -> list[list[int]]:
    return [[stamp.size_bytes, stamp.mtime_ns] for stamp in stamps]


def _read(path: Path) -> dict[str, object]:
    """The entries of the file; none where it is missing, broken or of another version."""
    try:
        content = read_start(path, MAX_FILE_BYTES + 1)
        document = json.loads(content) if len(content) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return {}
    models = document.get("models")
    return models if isinstance(models, dict) else {}


def _summary(values: object) -> HeaderSummary | None:
    """The summary that was written; None for anything else that lies in the file."""
    if not isinstance(values, dict) or values.keys() != _TYPES.keys():
        return None
    if not all(isinstance(value, _TYPES[key]) for key, value in values.items()):
        return None
    if not all(isinstance(text, str) for text in values["names"].values()):
        return None
    numbers: dict[str, Number] = {}
    for key, value in values["numbers"].items():
        layers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) for number in layers):
            return None
        numbers[key] = tuple(layers) if isinstance(value, list) else value
    return HeaderSummary(**{**values, "numbers": numbers})


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=FILE_NAME, dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
