"""What llama-servers answered, kept between runs so that a short command need not start them again.

The version is kept as long as the program and the llama.cpp libraries beside it are the same files (size and
time to the nanosecond). The devices are kept for a day at most and only for the same GPUs, driver and
environment: they can change while the program does not. Scripts are not remembered (what they start may
change), and neither are answers with trouble in them, so that what a person mends is seen at once. The one
exception is a program that did not answer in time, a script too: asking it costs every command seconds, so
that is kept for some minutes. A file that is broken or made up is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from llmfit.advisor.files import read_start
from llmfit.advisor.server.answers import MAX_BUILD, MAX_DEVICES, ServerDevice
from llmfit.advisor.text import clean_text

FILE_NAME = "llama-servers.json"
FORMAT = 2
MAX_FILE_BYTES = 2**20
MAX_ENTRIES = 64
MAX_FOLDER_ENTRIES = 5000
MAX_AGE_S = 86_400.0
MAX_TIME_OUT_AGE_S = 600.0
_PART_NAMES = ("libggml", "libllama", "libmtmd")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which program this is: the same key means the same files."""

    key: str
    parts: tuple[str, ...]
    """Libraries of llama.cpp beside it: ``cuda`` for ``libggml-cuda.so``, ``libllama`` for itself."""
    is_stable: bool
    """False for a script."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One program's answers. ``asked_s`` is when ``devices`` were asked, seconds since 1970, and
    ``surroundings`` the digest of what they depend on (empty: they are not known)."""

    key: str
    version: str | None
    build: int | None
    backends: tuple[str, ...]
    surroundings: str
    asked_s: float
    devices: tuple[ServerDevice, ...]
    time_out: str | None = None
    """That it did not answer in time, one sentence; then it has no devices."""

    def devices_in(self, surroundings: str) -> tuple[ServerDevice, ...] | None:
        """The devices where they may still be taken as true, else ``None``."""
        sound = self.version is not None and self.time_out is None
        return self.devices if sound and self._holds(surroundings, MAX_AGE_S) else None

    def time_out_in(self, surroundings: str) -> str | None:
        """The time-out where the program need not be tried again yet, else ``None``."""
        return self.time_out if self._holds(surroundings, MAX_TIME_OUT_AGE_S) else None

    def _holds(self, surroundings: str, max_age_s: float) -> bool:
        return self.surroundings == surroundings and 0 <= time.time() - self.asked_s <= max_age_s


class ServerCache:
    """A JSON file; reading and writing never raise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read(path)

    def get(self, real_path: str, key: str) -> Remembered | None:
        entry = self._entries.get(real_path)
        return entry if entry is not None and entry.key == key else None

    def save(self, answers: Mapping[str, Remembered | None]) -> None:
        """Adds or replaces answers and writes the file, if something changed."""
        changed = {path: entry for path, entry in answers.items() if entry is not None}
        if all(self._entries.get(path) == entry for path, entry in changed.items()):
            return
        self._entries = dict(list({**self._entries, **changed}.items())[-MAX_ENTRIES:])
        document = {"format": FORMAT, "servers": {path: _to_json(e) for path, e in self._entries.items()}}
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError, ValueError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(document))
            temporary.replace(self._path)


def digest(text: str) -> str:
    """Short and without names: the file should not tell what the environment holds."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def identity_of(real_path: str) -> Identity | None:
    """The identity of a program; ``None`` where the file cannot be read."""
    path = Path(real_path)
    try:
        status = path.stat()
        with path.open("rb") as file:
            is_script = file.read(2) == b"#!"
    except (OSError, ValueError):
        return None
    files = _parts(path.parent) + (_parts(path.parent.parent / "lib") if path.parent.name == "bin" else [])
    key = repr((status.st_size, status.st_mtime_ns, sorted(files)))
    return Identity(digest(key), _part_names(files), not is_script)


def parts_in(folder: str) -> tuple[str, ...]:
    """As ``Identity.parts``, of any folder."""
    return _part_names(_parts(Path(folder)))


def _part_names(files: list[tuple[str, int, int]]) -> tuple[str, ...]:
    return tuple(sorted({name.split(".", 1)[0].removeprefix("libggml-") for name, _, _ in files}))


def _parts(folder: Path) -> list[tuple[str, int, int]]:
    """The libraries of llama.cpp in a folder: name, size and time."""
    found: list[tuple[str, int, int]] = []
    with contextlib.suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in islice(entries, MAX_FOLDER_ENTRIES):
            if entry.name.startswith(_PART_NAMES):
                status = entry.stat()
                found.append((entry.name, status.st_size, status.st_mtime_ns))
    return found


def _read(path: Path) -> dict[str, Remembered]:
    try:
        content = read_start(path, MAX_FILE_BYTES + 1)
        document = json.loads(content) if len(content) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return {}
    servers = document.get("servers")
    if not isinstance(servers, dict):
        return {}
    found: dict[str, Remembered] = {}
    for name, entry in islice(servers.items(), MAX_ENTRIES):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            found[name] = _from_json(entry)
    return found


def _to_json(entry: Remembered) -> dict[str, Any]:
    return {
        "key": entry.key,
        "version": entry.version,
        "build": entry.build,
        "backends": list(entry.backends),
        "surroundings": entry.surroundings,
        "asked_s": entry.asked_s,
        "devices": [[device.id, device.name, device.total_bytes] for device in entry.devices],
        "time_out": entry.time_out,
    }


def _from_json(entry: Any) -> Remembered:
    """Raises KeyError, TypeError or ValueError for anything that ``_to_json`` did not write."""
    build = entry["build"]
    return Remembered(
        _text(entry["key"]),
        _text_or_none(entry["version"]),
        None if build is None else int(_number(build, MAX_BUILD)),
        tuple(_text(name) for name in _few(entry["backends"])),
        _text(entry["surroundings"], may_be_empty=True),
        float(_number(entry["asked_s"], 2**40)),
        tuple(
            ServerDevice(_text(name), _text(words), None if size is None else int(_number(size, 2**50)))
            for name, words, size in _few(entry["devices"])
        ),
        _text_or_none(entry["time_out"]),
    )


def _few(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_DEVICES + 1:
        raise TypeError
    return value


def _text(value: Any, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or (not value and not may_be_empty):
        raise TypeError
    return clean_text(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise TypeError
    return value
