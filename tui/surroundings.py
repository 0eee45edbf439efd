"""look_around(): what a diagnosis needs beside the machine, read from this computer. Nothing here raises."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmfit import __version__
from llmfit.advisor.diagnosis.diagnose import VARIABLE_EFFECTS
from llmfit.advisor.diagnosis.findings import (
    DeviceFile,
    Folder,
    ModelFiles,
    Package,
    Surroundings,
    Terminal,
)
from llmfit.advisor.folders import cache_folder, catalog_folder, config_path, data_folder
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.server.find import embedded_server, path_server
from llmfit.advisor.text import clean_text, printable
from llmfit.catalog.overlay import overlay
from llmfit.tui.config import missing_folders, user_config
from llmfit.tui.llama_servers import ServerDevices
from llmfit.tui.terminal_size import MIN_COLUMNS, MIN_ROWS

MAX_VALUE_CHARACTERS = 80
MAX_OPTION_VARIABLES = 20
_DEVICE_FILES = ("dev/dri/renderD*", "dev/kfd", "dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia[0-9]*")
_PACKAGES = (
    ("textual", "", "pip install textual"),
    ("pydantic", "", "pip install pydantic"),
    ("psutil", "", "pip install psutil"),
    ("platformdirs", "", "pip install platformdirs"),
    ("httpx", "", "pip install httpx"),
    ("huggingface_hub", "models on the hub (hf:) cannot be read", "pip install huggingface_hub"),
    ("nvidia-ml-py", "NVIDIA cards are not looked for", "pip install nvidia-ml-py"),
    ("pyamdgpuinfo", "AMD cards are read from the kernel's files alone", None),
    ("xllamacpp", "there is no embedded llama-server", 'pip install "llmfit-advisor[server]"'),
)
_CONTAINER_FILES = (("run/.containerenv", "Podman"), (".dockerenv", "Docker"))


def look_around(
    machine: Machine,
    server_devices: ServerDevices,
    values: Mapping[str, object] | None = None,
    root: Path = Path("/"),
) -> Surroundings:
    """Everything about this computer that decides whether llmfit and llama-server work; looks for models.

    ``values``: the options that ``machine`` was made with.
    """
    config, environ = user_config(), os.environ
    models, missing = _models(config.model_folders)
    options = (name for name in sorted(environ) if name.startswith("LLAMA_ARG_"))
    return Surroundings(
        llmfit_version=__version__,
        system=_system(),
        architecture=platform.machine() or "architecture not known",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=tuple(_packages()),
        terminal=_terminal(environ),
        container=_container(environ, root),
        variables={name: _shown(environ[name]) for name in VARIABLE_EFFECTS if name in environ},
        option_variables=tuple(map(_shown, list(options)[:MAX_OPTION_VARIABLES])),
        device_files=tuple(_device_files(root)),
        server_devices=server_devices,
        path_server=path_server(machine, environ),
        has_embedded_server=embedded_server(),
        machine_source=_machine_source(values or {}),
        ram_source="--ram" if (values or {}).get("ram") is not None else None,
        models=models,
        default_power_limits_w=_default_power_limits(machine),
        config_path=_config_text(),
        config_problems=(*config.problems, *missing_folders(config, missing)),
        catalog_problems=overlay().problems,
        folders=tuple(
            _folder(path, purpose)
            for path, purpose in (
                (config_path().parent, "settings"),
                (catalog_folder(), "catalogue rows of your own"),
                (cache_folder(), "what is read again faster"),
                (data_folder(), "what was measured"),
            )
        ),
    )


def _machine_source(values: Mapping[str, object]) -> str | None:
    if values.get("gpu") is not None:
        return "simulated"
    described = values.get("machine")
    return _shown(described) if isinstance(described, str) else None


def _system() -> str:
    """``Debian GNU/Linux 12 (bookworm), Linux 6.1.0``: no name of this computer or of a person."""
    kernel = f"{platform.system()} {platform.release()}".strip()
    if sys.platform == "darwin":
        return clean_text(f"macOS {platform.mac_ver()[0]}, {kernel}")
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return clean_text(", ".join(part for part in (name, kernel) if part)) or "system not known"


def _packages() -> Iterator[Package]:
    for name, missing, fix in _PACKAGES:
        if name == "pyamdgpuinfo" and (sys.platform != "linux" or platform.machine() != "x86_64"):
            continue
        try:
            found: str | None = clean_text(version(name))
        except (PackageNotFoundError, OSError, ValueError):
            found = None
        yield Package(name, found, missing, fix)


def _terminal(environ: Mapping[str, str]) -> Terminal:
    columns, lines = _terminal_size()
    kind = environ.get("TERM", "")
    colours = 16
    if kind in ("", "dumb") or environ.get("NO_COLOR"):
        colours = 0
    elif environ.get("COLORTERM", "") in ("truecolor", "24bit"):
        colours = 2**24
    elif "256color" in kind:
        colours = 256
    encoding = getattr(sys.stdout, "encoding", None) or "not known"
    return Terminal(columns, lines, _shown(kind), colours, clean_text(encoding), MIN_COLUMNS, MIN_ROWS)


def _terminal_size() -> tuple[int | None, int | None]:
    """Of the first stream that is a terminal: output may go into a file."""
    for stream in (1, 2, 0):
        try:
            size = os.get_terminal_size(stream)
        except (OSError, ValueError):
            continue
        if size.columns and size.lines:
            return size.columns, size.lines
    return None, None


def _container(environ: Mapping[str, str], root: Path) -> str | None:
    """By the files that Docker and Podman leave, Kubernetes' variable, and the ``container`` variable that
    systemd defines (its "Container Interface")."""
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "Kubernetes"
    found = next((name for file, name in _CONTAINER_FILES if _exists(root / file)), None)
    return found or (_shown(environ["container"]) if environ.get("container") else None)


def _device_files(root: Path) -> Iterator[DeviceFile]:
    for pattern in _DEVICE_FILES:
        for path in sorted(root.glob(pattern))[:64]:
            shown = f"/{path.relative_to(root)}"
            yield DeviceFile(shown, os.access(path, os.R_OK | os.W_OK), _group(path))


def _group(path: Path) -> str | None:
    try:
        return path.group()
    except (KeyError, OSError, NotImplementedError):
        return None


def _models(folders: tuple[Path, ...]) -> tuple[ModelFiles, tuple[tuple[Path, str], ...]]:
    """What was found, and the folders that are none."""
    from llmfit.catalog.local.find import find_local_models

    found = find_local_models(folders)
    sound = [model for model in found.models if model.problem is None]
    broken = (f"{printable(str(model.path))}: {model.problem}" for model in found.models if model.problem)
    total_bytes = sum(model.file_bytes for model in sound)
    return ModelFiles(len(sound), total_bytes, tuple(broken), found.notes), found.missing


def _default_power_limits(machine: Machine) -> dict[int, float]:
    from llmfit.catalog.gpus import list_gpus

    if not any(gpu.catalog_id and gpu.power_limit_w for gpu in machine.gpus):
        return {}
    limits = {facts.id: facts.power_limit_w for facts in list_gpus()}
    known = ((gpu.index, limits.get(gpu.catalog_id or "")) for gpu in machine.gpus)
    return {index: limit for index, limit in known if limit is not None}


def _config_text() -> str:
    path = config_path()
    return printable(str(path)) if _exists(path) else f"no file of your own ({printable(str(path))})"


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 Path.exists raises where a folder may not be looked into


def _folder(path: Path, purpose: str) -> Folder:
    """Whether it, or the nearest folder above it that exists, can be written."""
    shown = printable(str(path))
    try:
        nearest = next((place for place in (path, *path.parents) if place.exists()), None)
        if nearest is None:
            return Folder(shown, purpose, "it cannot be made")
        if not nearest.is_dir():
            return Folder(shown, purpose, f"{printable(str(nearest))} is no folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            return Folder(shown, purpose, "this user may not write there")
        if shutil.disk_usage(nearest).free == 0:
            return Folder(shown, purpose, "the disk is full")
    except (OSError, ValueError) as error:
        return Folder(shown, purpose, (getattr(error, "strerror", None) or "not a path").lower())
    return Folder(shown, purpose)


def _shown(text: str) -> str:
    return printable(text, MAX_VALUE_CHARACTERS)
