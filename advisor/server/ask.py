"""Asking llama-servers what they are: each program started twice, all at once, none for long.

What they answer is untrusted: its size is bounded, its text cleaned, and a program that hangs is killed with
everything that it has started. See answers.py for what the answers mean.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmfit.advisor.hardware.machine import LlamaServer, Machine
from llmfit.advisor.server.answers import (
    ServerDevice,
    backend_problem,
    backends_of,
    devices_of,
    start_problem,
    version_of,
)
from llmfit.advisor.server.cache import Remembered, ServerCache, digest, identity_of

ASK_TIMEOUT_S = 5.0
"""For all of them together: a CUDA build opens every card, which takes about a second on a cold start."""
MAX_OUTPUT_BYTES = 2**18
BACKEND_PARTS = {"cuda": "CUDA", "hip": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL"}
"""Backends that come as a library of their own: ``libggml-cuda.so`` (ggml-backend-reg.cpp)."""
DEVICE_VARIABLES = (
    "CUDA_", "HIP_", "ROCR_", "HSA_", "GPU_", "GGML_", "VK_", "ONEAPI_", "ZE_", "SYCL_", "LD_", "DYLD_",
)  # fmt: skip
"""Beginnings of the variables that decide which devices a program sees."""
_OWN_VARIABLES = ("LLAMA_ARG_", "LLAMA_LOG_")
"""They would be llama-server's options; it is asked what it is, not what it is set to."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """A llama-server that was asked, with its devices in full."""

    server: LlamaServer
    devices: tuple[ServerDevice, ...] = ()


def ask_llama_server(server: LlamaServer, timeout_s: float = ASK_TIMEOUT_S) -> LlamaServer:
    """``server`` with version, build, devices, backends and problem, asked now."""
    return ask_llama_servers([server], timeout_s)[0].server


def ask_llama_servers(
    servers: Sequence[LlamaServer],
    timeout_s: float = ASK_TIMEOUT_S,
    cache: ServerCache | None = None,
    surroundings_key: str = "",
) -> tuple[ServerAnswer, ...]:
    """Each of ``servers`` with what ``--version`` and ``--list-devices`` say, in the same order.

    All run at the same time and get ``timeout_s`` seconds together. Never raises: one that does not start or
    answer has its ``problem``. With a ``cache`` the version of an unchanged file is not asked again; neither
    are its devices while ``surroundings_key`` (see ``surroundings_of``) is the same.
    """
    deadline = time.monotonic() + timeout_s
    questions = [_Question(server, cache, surroundings_key) for server in servers]
    threads = [
        threading.Thread(target=question.ask, args=(option, deadline), daemon=True)
        for question in questions
        for option in question.open_options()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()) + 1.0)
    answers = tuple(question.answer(timeout_s) for question in questions)
    if cache is not None and threads:
        cache.save({question.real: question.memory for question in questions if question.memory})
    return answers


def surroundings_of(machine: Machine, environ: Mapping[str, str]) -> str:
    """What the devices that a llama-server sees depend on, beside its own files: the GPUs, their driver and
    the environment. Changed memory is left out: free bytes are asked of the driver, not of llama-server."""
    gpus = [
        (gpu.vendor, gpu.name, gpu.uuid, gpu.pci_bus, gpu.driver, gpu.vram_total_bytes)
        for gpu in machine.gpus
    ]
    variables = sorted((name, text) for name, text in environ.items() if name.startswith(DEVICE_VARIABLES))
    return repr((gpus, variables))


class _Question:
    """One llama-server while it is being asked."""

    def __init__(self, server: LlamaServer, cache: ServerCache | None, surroundings_key: str) -> None:
        self.server = server
        self.real = os.path.realpath(server.path)
        self.outputs: dict[str, _Output] = {}
        self.memory: Remembered | None = None
        self._surroundings = digest(surroundings_key)
        self._identity = identity_of(self.real) if server.problem is None else None
        self._parts = self._identity.parts if self._identity else ()
        if cache is not None and self._identity is not None and self._identity.is_stable:
            self.memory = cache.get(self.real, self._identity.key)

    def open_options(self) -> tuple[str, ...]:
        if self.server.problem is not None:  # it was not even a program
            return ()
        if self.memory is None:
            return ("--version", "--list-devices")
        return () if self.memory.devices_in(self._surroundings) is not None else ("--list-devices",)

    def ask(self, option: str, deadline: float) -> None:
        self.outputs[option] = _run(self.server.path, option, deadline)

    def answer(self, timeout_s: float) -> ServerAnswer:
        if self.server.problem is not None:
            return ServerAnswer(self.server)
        if self.memory is not None and (known := self.memory.devices_in(self._surroundings)) is not None:
            return self._known(known)
        version, build, problem = self._version(timeout_s)
        listed = self.outputs.get("--list-devices", _Output())
        devices = devices_of(listed.text) if version else None
        if devices is None:
            problem = problem or _no_list(listed, timeout_s)
            return ServerAnswer(replace(self.server, version=version, build=build, problem=problem))
        problem = backend_problem(listed.text) or (None if devices else self._unloaded_part())
        backends = backends_of(listed.text, devices)
        names = tuple(device.id for device in devices)
        self._remember(version, build, backends, devices, problem)
        asked = replace(
            self.server, version=version, build=build, backends=backends, devices=names, problem=problem
        )
        return ServerAnswer(asked, devices)

    def _known(self, devices: tuple[ServerDevice, ...]) -> ServerAnswer:
        memory = self.memory
        assert memory is not None  # noqa: S101 only called with one
        names = tuple(device.id for device in devices)
        server = replace(
            self.server, version=memory.version, build=memory.build, backends=memory.backends, devices=names
        )
        return ServerAnswer(server, devices)

    def _version(self, timeout_s: float) -> tuple[str | None, int | None, str | None]:
        if self.memory is not None:
            return self.memory.version, self.memory.build, None
        output = self.outputs.get("--version", _Output())
        if output.error is not None:
            return None, None, output.error
        version, build = version_of(output.text)
        if version is not None:
            return version, build, None
        problem = start_problem(output.text, output.exit_code, timeout_s)
        return None, None, problem or "It does not say its version: it may be another program of this name."

    def _unloaded_part(self) -> str | None:
        """A backend whose library lies beside the program and gave no device: it could not be loaded, or it
        found none. llama.cpp does not say which (ggml_backend_load_best is silent)."""
        named = [name for name in self._parts if name in BACKEND_PARTS]
        if not named:
            return None
        listed = " and ".join(BACKEND_PARTS[name] for name in named)
        return (
            f"It comes with {listed}, but sees no device: the driver or a library that it needs is missing."
        )

    def _remember(
        self,
        version: str | None,
        build: int | None,
        backends: tuple[str, ...],
        devices: tuple[ServerDevice, ...],
        problem: str | None,
    ) -> None:
        """Only answers without trouble: what a person mends is to be seen at once."""
        if self._identity is not None and self._identity.is_stable and version and problem is None:
            self.memory = Remembered(
                self._identity.key, version, build, backends, self._surroundings, time.time(), devices
            )
        elif self.memory is not None:
            self.memory = replace(self.memory, surroundings="", devices=())


def _no_list(listed: _Output, timeout_s: float) -> str:
    reason = listed.error or start_problem(listed.text, listed.exit_code, timeout_s)
    if reason is None or "invalid argument: --list-devices" in listed.text:
        reason = "This version does not know --list-devices."
    return f"Its devices are not known: {reason[0].lower()}{reason[1:]}"


@dataclass(frozen=True, slots=True)
class _Output:
    """``exit_code`` is ``None`` for a program that was stopped; ``error`` says why it was not started."""

    text: str = ""
    exit_code: int | None = None
    error: str | None = None


def _run(path: str, option: str, deadline: float) -> _Output:
    """What a program prints on both streams until it ends, and at most until ``deadline``.

    It runs in the root folder: llama.cpp loads backends from the working folder, too. Its process group is
    killed at the end, so that nothing it started stays behind.
    """
    environment = {name: text for name, text in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    try:
        process = subprocess.Popen(
            [path, option],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "LC_ALL": "C"},
            cwd=Path(path).anchor or None,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return _Output(error=_not_started(error, path))
    try:
        content, ended = _read(process, deadline)
        exit_code = 0 if len(content) >= MAX_OUTPUT_BYTES else None
        if ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                exit_code = process.wait(max(0.05, deadline - time.monotonic()))
        return _Output(content.decode(errors="replace"), exit_code)
    finally:
        _kill_group(process)


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """The first ``MAX_OUTPUT_BYTES`` of the output, and whether the program closed it in time."""
    stream = process.stdout
    if stream is None:
        return b"", True
    content = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(content) < MAX_OUTPUT_BYTES:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not selector.select(left_s):
                return bytes(content), False
            block = os.read(stream.fileno(), 65536)
            if not block:
                return bytes(content), True
            content += block
    return bytes(content), False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a program in a driver call cannot be ended
        process.wait(0.2)


def _not_started(error: OSError | ValueError, path: str) -> str:
    code = getattr(error, "errno", None)
    if code == 8:  # ENOEXEC
        return "It is no program for this machine (exec format error)."
    if code == 2:  # ENOENT, though the file is there
        if os.path.exists(path):  # noqa: PTH110 path is text
            return "The interpreter or loader that it names is missing."
        return "There is no such file."
    reason = getattr(error, "strerror", None) or "not a path"
    return f"It cannot be started: {reason.lower()}."
