"""The user's own settings: ``config.toml`` in llmfit's configuration folder.

    llama_server = "~/llama.cpp/build/bin/llama-server"     # or a list; the first that works is taken
    model_folders = ["/data/models", "~/gguf"]

``~`` is the home folder, and a relative path starts at the folder of the file. Nothing here raises: what
cannot be read or is not known is a sentence in ``UserConfig.problems``, and the rest counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmfit.advisor.files import read_start
from llmfit.advisor.folders import CACHE_VARIABLE, CONFIG_VARIABLE, cache_folder, config_path
from llmfit.advisor.text import printable

MAX_FILE_BYTES = 2**20
MAX_PATHS = 100
MAX_SHOWN_CHARACTERS = 60
LLAMA_SERVER = "llama_server"
MODEL_FOLDERS = "model_folders"
_KEYS = (LLAMA_SERVER, MODEL_FOLDERS)


@dataclass(frozen=True, slots=True)
class UserConfig:
    """What the user decided; empty where nothing was. Paths are absolute and need not exist."""

    llama_servers: tuple[Path, ...] = ()
    model_folders: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    """What of the file could not be used, one sentence each."""


@cache
def user_config() -> UserConfig:
    """The user's settings, read once a process (``user_config.cache_clear()`` after a change)."""
    return read_config(config_path(), must_exist=bool(os.environ.get(CONFIG_VARIABLE)))


def read_config(path: Path, must_exist: bool = False) -> UserConfig:
    """The settings in one file. One that is not there is empty, unless it ``must_exist``; /dev/null is."""
    shown = printable(str(path))
    try:
        content = b"" if str(path) == os.devnull else read_start(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return UserConfig(problems=(f"{shown}: there is no such file.",) if must_exist else ())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        return UserConfig(problems=(f"{shown}: not readable: {reason.lower()}.",))
    if len(content) > MAX_FILE_BYTES:
        return UserConfig(problems=(f"{shown}: not read, larger than 1 MiB.",))
    import tomllib  # 5 ms: only where there is a file

    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        return UserConfig(problems=(f"{shown}: not UTF-8 text.",))
    except tomllib.TOMLDecodeError as error:
        return UserConfig(problems=(f"{shown}: not TOML: {printable(str(error))}.",))
    except RecursionError:
        return UserConfig(problems=(f"{shown}: nested too deeply.",))
    return _config(document, path, shown)


def missing_folders(config: UserConfig, missing: Sequence[tuple[Path, str]]) -> tuple[str, ...]:
    """A sentence for each of ``model_folders`` that is none, of those that a search found ``missing``."""
    shown = printable(str(config_path()))
    return tuple(
        f"{shown}: {MODEL_FOLDERS}: {printable(str(folder))}: {why}."
        for folder, why in missing
        if folder in config.model_folders
    )


def _config(document: Mapping[str, Any], path: Path, shown: str) -> UserConfig:
    problems = [
        f"{shown}: {_quoted(key)} is no setting; the settings are {' and '.join(_KEYS)}."
        for key in document
        if key not in _KEYS
    ]
    folder = path.absolute().parent
    paths = {key: _paths(document.get(key), key, folder, shown, problems) for key in _KEYS}
    return UserConfig(paths[LLAMA_SERVER], paths[MODEL_FOLDERS], tuple(problems))


def _paths(value: object, key: str, folder: Path, shown: str, problems: list[str]) -> tuple[Path, ...]:
    """The paths under one key, each once; what is none is added to ``problems``."""
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [value]
    if len(texts) > MAX_PATHS:
        problems.append(f"{shown}: {key} names {len(texts)} paths; the first {MAX_PATHS} count.")
    found: dict[Path, None] = {}
    for text in texts[:MAX_PATHS]:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            problems.append(f"{shown}: {key}: {_quoted(text)} is not a path.")
            continue
        try:
            found[folder / Path(text).expanduser()] = None
        except RuntimeError:
            problems.append(f"{shown}: {key}: the home folder in {_quoted(text)} is not known.")
    return tuple(found)


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return f'"{printable(text, MAX_SHOWN_CHARACTERS)}"'


__all__ = [
    "CACHE_VARIABLE",
    "CONFIG_VARIABLE",
    "UserConfig",
    "cache_folder",
    "config_path",
    "missing_folders",
    "read_config",
    "user_config",
]
