"""Small programs that stand for llama-server."""

from __future__ import annotations

from pathlib import Path

NEW_VERSION = "version: 0.6.0-dev (build 11434, commit abc1234)"
OLD_VERSION = "version: 4567 (abcdef)"


def write_program(path: Path, script: str, mode: int = 0o755) -> Path:
    """A shell script (or another one, where ``script`` begins with #!)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


def server_script(
    *devices: str, version: str = NEW_VERSION, stderr: str = "", log: Path | None = None
) -> str:
    """What a llama-server prints; ``devices`` as ``CUDA0: NVIDIA RTX 3090 (24124 MiB, 23862 MiB free)``,
    ``stderr`` before the list; every start leaves its argument in ``log``."""
    lines = [f"  {device}" for device in devices] or ["  (none)"]
    return "\n".join(
        [
            f'echo "$1" >> "{log}"' if log else ":",
            'case "$1" in',
            f"--version) echo '{version}' >&2; echo 'built with GNU 12.2.0 for Linux x86_64' >&2;;",
            f"--list-devices) echo '{stderr}' >&2; echo 'Available devices:'",
            *(f"echo '{line}'" for line in lines),
            ";;",
            "esac",
        ]
    )
