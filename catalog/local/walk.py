"""Walks through folders for ``*.gguf`` files: bounded, without loops, not stopped by what it may not read."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmfit.advisor.model.gguf_split import SplitName, parse_split_name
from llmfit.advisor.text import printable
from llmfit.catalog.local.header_cache import FileStamp

SUFFIX = ".gguf"
MAX_ENTRIES = 100_000
"""Names looked at in one folder and all below it."""
MAX_DEPTH = 12
NOWHERE = (0, 0)
"""The identity of a file that is not there."""
VANISHED = "vanished while it was looked at"


@dataclass(frozen=True, slots=True)
class Found:
    """One model as the file system shows it: its files in order, or ``problem`` where they are not all there.

    ``name`` is empty where the tool has no name of its own for it.
    """

    stamps: tuple[FileStamp, ...]
    name: str = ""
    problem: str | None = None


@dataclass(slots=True)
class Walk:
    """One look through one store; ``step`` is called for every name, ``notes`` tell what was left out."""

    step: Callable[[], None] = lambda: None
    notes: list[str] = field(default_factory=list)
    entries_left: int = MAX_ENTRIES
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def gguf_paths(self, top: Path, max_depth: int = MAX_DEPTH) -> list[Path]:
        """Everything below ``top`` that is named like a GGUF file, each folder once, nearer ones first."""
        found: list[Path] = []
        folders: deque[tuple[Path, int]] = deque([(top, 0)])
        while folders:
            folder, depth = folders.popleft()
            if not self._is_new(folder):
                continue
            for entry in self.entries(folder):
                if entry.name.lower().endswith(SUFFIX):
                    found.append(Path(entry.path))
                if not _is_folder(entry):
                    continue
                if depth < max_depth:
                    folders.append((Path(entry.path), depth + 1))
                else:
                    self.note(folder, f"not looked through below {max_depth} levels")
        parents = {parent for path in found for parent in path.parents}
        return [path for path in found if path not in parents]

    def entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """What lies in a folder, by name; nothing where it cannot be read, which is noted."""
        try:
            with os.scandir(folder) as listing:
                entries = []
                for entry in listing:
                    self.step()
                    if self.entries_left <= 0:
                        self.note(folder, f"not looked through to its end, more than {MAX_ENTRIES:,} names")
                        break
                    self.entries_left -= 1
                    entries.append(entry)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.note(folder, f"cannot be read ({error.strerror})")
            return
        yield from sorted(entries, key=lambda entry: entry.name)

    def note(self, path: Path, what: str) -> None:
        sentence = f"{printable(str(path))}: {what}"
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError:
            return True  # `entries` says why
        identity = (status.st_dev, status.st_ino)
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new


def stamp(path: Path) -> FileStamp | None:
    """How the file system describes a file; None where there is none any more."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileStamp(path, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


def models_of(paths: list[Path], name: Callable[[Path], str] = lambda path: "") -> Iterator[Found]:
    """The paths as models: parts of a split one together, a problem where one is missing or no file."""
    splits: dict[tuple[Path, str, int], dict[int, Path]] = {}
    for path in paths:
        split = parse_split_name(path.name)
        if split is None:
            yield _single(path, name(path))
        else:
            key = (path.parent, split.prefix, split.count)
            splits.setdefault(key, {})[split.number] = path
    for (_, prefix, count), parts in splits.items():
        first = parts[min(parts)]
        yield _split(SplitName(prefix, 1, count), parts, name(first))


def _single(path: Path, name: str) -> Found:
    found = stamp(path)
    if found is None:
        return Found((FileStamp(path, 0, 0, NOWHERE),), name, _why_not_there(path))
    return Found((found,), name, _why_no_file(path))


def _split(split: SplitName, parts: dict[int, Path], name: str) -> Found:
    singles = [_single(parts[number], name) for number in sorted(parts)]
    stamps = tuple(single.stamps[0] for single in singles)
    problem = next((single.problem for single in singles if single.problem), None)
    if len(parts) < split.count:
        missing = next(number for number in range(1, split.count + 1) if number not in parts)
        more = split.count - len(parts) - 1
        problem = f"part {missing} of {split.count} is missing: {printable(split.part(missing))}"
        problem += f", and {more} more" if more else ""
    return Found(stamps, name, problem)


def _why_not_there(path: Path) -> str:
    try:
        return f"a link to a file that is not there: {printable(str(path.readlink()))}"
    except OSError:  # no link
        return VANISHED


def _why_no_file(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return VANISHED
    if stat.S_ISREG(mode):
        return None
    return "a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
