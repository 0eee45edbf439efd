"""The llama-servers of this computer: where they are. Nothing is started here: see ask.py."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from llmfit.advisor.hardware.machine import LlamaServer, Machine
from llmfit.advisor.text import clean_text

PROGRAM = "llama-server"
SERVER_VARIABLE = "LLMFIT_LLAMA_SERVER"
EMBEDDED_MODULE = "xllamacpp"
MAX_SERVERS = 16
MAX_PATH_FOLDERS = 200
MAX_BUILD_FOLDERS = 20
MAX_PATH_CHARACTERS = 4096
_SOURCE_PARENTS = ("", "src", "git", "code", "dev", "projects")
"""Under the home folder, where people clone llama.cpp."""
_SYSTEM_FOLDERS = (
    Path("/usr/local/bin"),  # cmake --install, Homebrew on Intel Macs
    Path("/opt/homebrew/bin"),  # Homebrew on Apple silicon
    Path("/home", "linuxbrew", ".linuxbrew", "bin"),
    Path("/opt/llama.cpp/build/bin"),
    Path("/opt/llama.cpp/bin"),
    Path("/opt/llama.cpp"),
    Path("/snap/bin"),
    Path("/run/current-system/sw/bin"),  # NixOS
    Path("/nix/var/nix/profiles/default/bin"),
)
"""Looked through even where PATH lacks them (a service, an editor's terminal). Flatpak exports no program of
this name."""
_HOME_FOLDERS = (".local/bin", ".nix-profile/bin")


def find_llama_servers(
    configured: Sequence[Path], environ: Mapping[str, str], home: Path | None
) -> tuple[LlamaServer, ...]:
    """Every llama-server of this computer, none of them started or asked: configured ones first, then every
    one on PATH, then those in the usual places.

    Each real file once, under the name that was met first; only regular files that may be executed. One that
    was configured and is not such a file is in the list with its ``problem``.
    """
    found: dict[str, LlamaServer] = {}
    for path in islice(configured_servers(configured, environ), MAX_SERVERS):
        shown, problem = str(path), _why_no_program(path)
        if not shown.isprintable() or len(shown) > MAX_PATH_CHARACTERS:
            shown, problem = clean_text(shown, MAX_PATH_CHARACTERS), "Its name cannot be shown."
        found.setdefault(os.path.realpath(path), LlamaServer(shown, problem=problem))
    for folder in _folders(environ, home):
        path = folder / PROGRAM
        if len(found) >= MAX_SERVERS:
            break
        if _why_no_program(path) is None and str(path).isprintable():
            found.setdefault(os.path.realpath(path), LlamaServer(str(path)))
    return tuple(found.values())


def configured_servers(configured: Sequence[Path], environ: Mapping[str, str]) -> Iterator[Path]:
    """What the user decided: ``LLMFIT_LLAMA_SERVER``, then the configuration. A folder means its program."""
    named = environ.get(SERVER_VARIABLE)
    for path in ([Path(named)] if named and "\0" not in named else []) + list(configured):
        absolute = Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 never raises
        yield absolute / PROGRAM if os.path.isdir(absolute) else absolute  # noqa: PTH112 never raises


def choose_server(
    servers: Sequence[LlamaServer], configured: Sequence[str], has_gpu: bool
) -> LlamaServer | None:
    """The one that llmfit takes: a configured one that works, else, where the machine has a GPU, the first
    that sees one, else the first that works. ``None`` where none works."""
    working = [server for server in servers if server.version is not None or server.backends]
    chosen = next((server for server in working if server.path in configured), None)
    if chosen is None and has_gpu:
        chosen = next((server for server in working if server.sees_a_gpu), None)
    return chosen or next(iter(working), None)


def embedded_server() -> bool:
    """Whether the embedded CPU server (the package xllamacpp) is installed; it is not imported."""
    try:
        return find_spec(EMBEDDED_MODULE) is not None
    except (ImportError, ValueError):
        return False


def path_server(machine: Machine, environ: Mapping[str, str]) -> str | None:
    """The path among ``machine.llama_servers`` that the command ``llama-server`` starts in a shell."""
    named = shutil.which(PROGRAM, path=environ.get("PATH", os.defpath))
    if named is None:
        return None
    real = os.path.realpath(named)
    known = (server.path for server in machine.llama_servers)
    return next((path for path in known if os.path.realpath(path) == real), named)


def _folders(environ: Mapping[str, str], home: Path | None) -> Iterator[Path]:
    """Absolute folders only: a relative one in PATH would mean whatever folder llmfit is started in."""
    listed = environ.get("PATH", "").split(os.pathsep)
    yield from (Path(entry) for entry in listed[:MAX_PATH_FOLDERS] if entry.startswith("/"))
    if environ.get("CONDA_PREFIX", "").startswith("/"):
        yield Path(environ["CONDA_PREFIX"]) / "bin"
    yield Path(sys.executable).parent  # pip installs programs beside the Python of llmfit
    if home is not None:
        yield from (home / name for name in _HOME_FOLDERS)
        for parent in _SOURCE_PARENTS:
            source = home / parent / "llama.cpp"
            yield from _build_folders(source)
            yield source  # where make and the release archives put it
    yield from _SYSTEM_FOLDERS


def _build_folders(source: Path) -> list[Path]:
    """``build/bin``, ``build-cuda/bin`` …, the usual one first."""
    try:
        with os.scandir(source) as entries:
            names = [entry.name for entry in islice(entries, 1000) if entry.name.startswith("build")]
    except OSError:
        return []
    return [source / name / "bin" for name in sorted(names)[:MAX_BUILD_FOLDERS]]


def _why_no_program(path: Path) -> str | None:
    """Why a path is no program that can be started, one sentence; ``None`` where it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "There is no such file."
    except (OSError, ValueError) as error:
        return f"It cannot be read: {(getattr(error, 'strerror', None) or 'not a path').lower()}."
    if not stat.S_ISREG(mode):
        return "It is not a regular file."
    return None if os.access(path, os.X_OK) else "It is not executable."
