"""What a diagnosis is made of: its findings, and what it has to know beside the machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from llmfit.advisor.server.answers import ServerDevice

Level = Literal["ok", "note", "warning", "problem"]
OK: Level = "ok"
NOTE: Level = "note"
"""Worth knowing, nothing to do."""
WARNING: Level = "warning"
"""Something is slower, smaller or less certain than it could be."""
PROBLEM: Level = "problem"
"""Something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact. ``source`` says where it was read, ``fix`` what a person can do, one sentence."""

    level: Level
    subject: str
    text: str
    source: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package of llmfit's. ``missing`` says what does not work without it; empty: nothing works."""

    name: str
    version: str | None
    missing: str = ""
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where the app would be drawn; ``columns`` and ``lines`` are ``None`` where there is no terminal."""

    columns: int | None = None
    lines: int | None = None
    kind: str = ""
    """``TERM``."""
    colours: int = 0
    """16, 256 or 16,777,216; 0 for none."""
    encoding: str = "utf-8"
    min_columns: int = 0
    min_lines: int = 0
    """What the app needs."""


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A file under /dev through which programs reach a GPU."""

    path: str
    is_accessible: bool
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of llmfit's own. ``problem``: why it cannot be written."""

    path: str
    purpose: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a search for GGUF files found; ``broken`` are ``NAME: why`` of those that cannot be used."""

    count: int
    total_bytes: int
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else decides whether llmfit and llama-server work here, as plain values.

    ``None`` and empty mean that nobody looked, or that there is nothing.
    """

    llmfit_version: str
    system: str
    """``Debian GNU/Linux 12, Linux 6.1.0``."""
    architecture: str
    """``x86_64``, ``aarch64``, ``arm64``."""
    python: str
    packages: tuple[Package, ...] = ()
    terminal: Terminal | None = None
    container: str | None = None
    """``Docker``, ``Podman`` …, where this process runs in one."""
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Variables that decide what programs see of the GPUs. Values that could be secret are left out."""
    option_variables: tuple[str, ...] = ()
    """Names of the variables that llama-server reads as options (``LLAMA_ARG_…``)."""
    device_files: tuple[DeviceFile, ...] = ()
    server_devices: Mapping[str, tuple[ServerDevice, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """By the path of the llama-server that offers them."""
    path_server: str | None = None
    """What the command ``llama-server`` starts in a shell."""
    has_embedded_server: bool = False
    machine_source: str | None = None
    """Where CPU, swap and disks of a described machine come from: ``simulated`` or the file."""
    ram_source: str | None = None
    """Where the RAM's size comes from, if elsewhere: ``--ram``."""
    models: ModelFiles | None = None
    default_power_limits_w: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """By ``Gpu.index``, from the catalogue."""
    config_path: str = ""
    config_problems: tuple[str, ...] = ()
    catalog_problems: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = ()
