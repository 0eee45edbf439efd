"""The llama-server of this computer: where it is and, when asked, what it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

from llmfit.advisor.hardware.findings import clean_text
from llmfit.advisor.hardware.machine import LlamaServer

ASK_TIMEOUT_S = 5.0
_BACKEND_OF_DEVICE = {"mtl": "metal"}
_BUILD = re.compile(r"build (\d+)|version: (\d+) \(")
_DEVICE = re.compile(r"^\s+([A-Za-z]+)(\d+): ", re.MULTILINE)


def find_llama_server() -> LlamaServer | None:
    """The llama-server that a shell would start, not asked anything yet; ``None`` where there is none."""
    path = shutil.which("llama-server")
    return LlamaServer(path) if path else None


def ask_llama_server(server: LlamaServer, timeout_s: float = ASK_TIMEOUT_S) -> LlamaServer:
    """``server`` with version, build, devices and backends, from ``--version`` and ``--list-devices``.

    Starts the program twice (about 0.1 s, more where it opens GPUs); what it does not answer stays unknown.
    """
    version_text = _output(server.path, "--version", timeout_s)
    found = re.search(r"^version: (.+)$", version_text, re.MULTILINE)
    build = _BUILD.search(version_text)
    number = int(build[1] or build[2]) if build else 0
    listed = _output(server.path, "--list-devices", timeout_s)
    devices = tuple(f"{kind}{index}" for kind, index in _DEVICE.findall(listed))
    kinds = [device.rstrip("0123456789").lower() for device in devices]
    backends = tuple(dict.fromkeys(_BACKEND_OF_DEVICE.get(kind, kind) for kind in kinds))
    return replace(
        server,
        version=clean_text(found[1]) if found else None,
        build=number or None,  # 0 is what a build outside of git calls itself
        devices=devices,
        backends=(*backends, "cpu") if found else (),
    )


def _output(path: str, option: str, timeout_s: float) -> str:
    """Both streams: the version goes to stderr, the devices to stdout."""
    try:
        done = subprocess.run(
            [path, option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{done.stdout}\n{done.stderr}"
