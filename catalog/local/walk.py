"""Walks through folders for ``*.gguf`` files: bounded, without loops, not stopped by what it may not read."""

from __future__ import annotations

import errno
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
MAX_NOTES = 20
"""About one folder and all below it."""
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
    entries_left: int = field(default_factory=lambda: MAX_ENTRIES)
    top: Path | None = None
    """The folder that was named: a note about what is left out is about it, not about each folder below."""
    n_files: int = 0
    """Found so far."""
    _n_more_notes: int = 0
    _is_cut: bool = False
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def gguf_paths(self, top: Path, max_depth: int = MAX_DEPTH) -> list[Path]:
        """Everything below ``top`` that is named like a GGUF file, each folder once, nearer ones first."""
        found: list[Path] = []
        folders: deque[tuple[Path, int]] = deque([(top, 0)])
        while folders and not self._is_cut:
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
                    self.note(top, f"not looked through below {max_depth} levels")
        parents = {parent for path in found for parent in path.parents}
        files = [path for path in found if path not in parents]
        self.n_files += len(files)
        return files

    def entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """What lies in a folder, by name; nothing where it cannot be read, which is noted."""
        if self._is_cut:
            return
        try:
            with os.scandir(folder) as listing:
                entries = []
                for entry in listing:
                    self.step()
                    if self.entries_left <= 0:
                        self._is_cut = True
                        what = f"not looked through to its end, more than {MAX_ENTRIES:,} names"
                        self.note(self.top or folder, what)
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
        if sentence in self.notes:
            return
        if len(self.notes) < MAX_NOTES:
            self.notes.append(sentence)
            return
        self._n_more_notes += 1
        more = "note" if self._n_more_notes == 1 else "notes"
        self.notes[MAX_NOTES:] = [f"{printable(str(self.top or path))}: and {self._n_more_notes} more {more}"]

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
            yield single(path, name(path))
        else:
            key = (path.parent, split.prefix, split.count)
            splits.setdefault(key, {})[split.number] = path
    for (_, prefix, count), parts in splits.items():
        first = parts[min(parts)]
        yield _split(SplitName(prefix, 1, count), parts, name(first))


def single(path: Path, name: str) -> Found:
    """One file as a model of its own, whatever its name says of other parts."""
    found = stamp(path)
    if found is None:
        return Found((FileStamp(path, 0, 0, NOWHERE),), name, _why_not_there(path))
    return Found((found,), name, _why_no_file(path))


def _split(split: SplitName, parts: dict[int, Path], name: str) -> Found:
    files = [single(parts[number], name) for number in sorted(parts)]
    stamps = tuple(file.stamps[0] for file in files)
    problem = next((file.problem for file in files if file.problem), None)
    if len(parts) < split.count:
        missing = next(number for number in range(1, split.count + 1) if number not in parts)
        more = split.count - len(parts) - 1
        problem = f"part {missing} of {split.count} is missing: {printable(split.part(missing))}"
        problem += f", and {more} more" if more else ""
    return Found(stamps, name, problem)


def _why_not_there(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        is_loop = error.errno == errno.ELOOP
        return "a link that leads to itself" if is_loop else f"cannot be read ({error.strerror})"
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
