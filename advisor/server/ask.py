"""Asking llama-servers what they are: each program started twice, all at once, none for long.

What they answer is untrusted: its text is cleaned, and running.py bounds how much of it is read, how long a
program may take and how long it may live. See answers.py for what the answers mean.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llmfit.advisor.hardware.machine import LlamaServer, Machine
from llmfit.advisor.server.answers import (
    LISTS_NO_GPU,
    ServerDevice,
    backend_folder,
    backend_problem,
    backends_of,
    devices_of,
    is_cpu_only,
    start_problem,
    version_of,
)
from llmfit.advisor.server.cache import Remembered, ServerCache, digest, identity_of, parts_in
from llmfit.advisor.server.running import Output, run_program

ASK_TIMEOUT_S = 5.0
"""For all of them together: a CUDA build opens every card, which takes about a second on a cold start."""
BACKEND_PARTS = {
    "cuda": "CUDA", "hip": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL", "metal": "Metal", "musa": "MUSA",
    "opencl": "OpenCL",
}  # fmt: skip
"""Backends that come as a library of their own: ``libggml-cuda.so`` (ggml-backend-reg.cpp)."""
_VARIABLE_BEGINNINGS = (
    "CUDA_", "HIP_", "ROCR_", "HSA_", "GPU_", "GGML_", "VK_", "ONEAPI_", "ZE_", "SYCL_", "LD_", "DYLD_",
)  # fmt: skip
"""Beginnings of the variables that decide which devices a program sees."""


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
    has_gpu: bool = False,
    afresh: bool = False,
) -> tuple[ServerAnswer, ...]:
    """Each of ``servers`` with what ``--version`` and ``--list-devices`` say, in the same order.

    All run at the same time and get ``timeout_s`` seconds together. Never raises: one that does not start or
    answer has its ``problem``, and where the machine ``has_gpu`` one that lists none, unless it is certain
    that it was built for the CPU alone. With a ``cache`` the version of an unchanged file is not asked again;
    neither are its devices while ``surroundings_key`` (see ``surroundings_of``) is the same. ``afresh`` asks
    all the same and writes down what was learnt.
    """
    deadline = time.monotonic() + timeout_s
    questions = [_Question(server, cache, digest(surroundings_key), has_gpu, afresh) for server in servers]
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
    variables = sorted(
        (name, text) for name, text in environ.items() if name.startswith(_VARIABLE_BEGINNINGS)
    )
    return repr((gpus, variables))


class _Question:
    """One llama-server while it is being asked. ``memory`` is what is to be kept of it."""

    def __init__(
        self, server: LlamaServer, cache: ServerCache | None, surroundings: str, has_gpu: bool, afresh: bool
    ) -> None:
        self.server = server
        self.real = os.path.realpath(server.path)
        self.outputs: dict[str, Output] = {}
        self.memory: Remembered | None = None
        self._surroundings, self._has_gpu = surroundings, has_gpu
        self._stays_cpu_only = False
        self._identity = identity_of(self.real) if server.problem is None else None
        if cache is not None and self._identity is not None:
            self.memory = cache.get(self.real, self._identity.key)
        self._known = None if afresh else self.memory

    def open_options(self) -> tuple[str, ...]:
        if self.server.problem is not None or self._remembered() is not None:  # or it was not even a program
            return ()
        return ("--list-devices",) if self._known_version() else ("--version", "--list-devices")

    def ask(self, option: str, deadline: float) -> None:
        self.outputs[option] = run_program(self.server.path, option, deadline)

    def answer(self, timeout_s: float) -> ServerAnswer:
        if self.server.problem is not None:
            return ServerAnswer(self.server)
        if (remembered := self._remembered()) is not None:
            return remembered
        version, build, problem = self._version(timeout_s)
        listed = self.outputs.get("--list-devices", Output())
        devices = devices_of(listed.text) if version else None
        if devices is None:
            hung = self._hung("--list-devices" if version else "--version")
            problem = problem or _no_list(listed, timeout_s)
            self._remember(version, build, time_out=problem if hung else None)
            return ServerAnswer(replace(self.server, version=version, build=build, problem=problem))
        problem = backend_problem(listed.text) or (None if devices else self._why_no_gpu(listed.text))
        backends = backends_of(listed.text, devices)
        self._remember(version, build, backends, devices if problem is None else None)
        names = tuple(device.id for device in devices)
        asked = replace(
            self.server, version=version, build=build, backends=backends, devices=names, problem=problem
        )
        return ServerAnswer(asked, devices)

    def _remembered(self) -> ServerAnswer | None:
        """The answer of an earlier run, where it may still be taken as true."""
        known = self._known
        if known is None:
            return None
        server = replace(self.server, version=known.version, build=known.build)
        if (time_out := known.time_out_in(self._surroundings)) is not None:
            return ServerAnswer(replace(server, problem=time_out))
        if (devices := known.devices_in(self._surroundings)) is None:
            return None
        names = tuple(device.id for device in devices)
        return ServerAnswer(replace(server, backends=known.backends, devices=names), devices)

    def _known_version(self) -> str | None:
        """Of a program that is no script: what a script starts may have changed."""
        stable = self._identity is not None and self._identity.is_stable
        return self._known.version if stable and self._known is not None else None

    def _version(self, timeout_s: float) -> tuple[str | None, int | None, str | None]:
        if (known := self._known) is not None and self._known_version():
            return known.version, known.build, None
        output = self.outputs.get("--version", Output())
        if output.error is not None:
            return None, None, output.error
        version, build = version_of(output.text)
        if version is not None:
            return version, build, None
        problem = start_problem(output.text, output.exit_code, timeout_s)
        return None, None, problem or "It does not say its version: it may be another program of this name."

    def _hung(self, option: str) -> bool:
        output = self.outputs.get(option, Output())
        return output.error is None and output.exit_code is None

    def _why_no_gpu(self, listed: str) -> str | None:
        """Why it lists none: a backend whose library lies beside the program, or where it loads them from,
        could not be loaded or found no device. llama.cpp does not say which (ggml_backend_load_best is
        silent), and of a static build nobody can tell whether it has a backend at all."""
        beside = self._identity.parts if self._identity else ()
        folder = backend_folder(listed)
        parts = {*beside, *(parts_in(folder) if folder else ())}
        if named := [BACKEND_PARTS[name] for name in sorted(parts & BACKEND_PARTS.keys())]:
            return (
                f"It comes with {' and '.join(named)}, but sees no device: the driver or a library that it "
                "needs is missing."
            )
        # Libraries of another program (whisper.cpp) may lie beside a static build: libllama must be there.
        has_parts_beside = "libllama" in beside and is_cpu_only(beside)
        self._stays_cpu_only = has_parts_beside and folder in (None, os.path.dirname(self.real))  # noqa: PTH120
        proven = has_parts_beside or (folder is not None and is_cpu_only(parts))
        return LISTS_NO_GPU if self._has_gpu and not proven else None

    def _remember(
        self,
        version: str | None,
        build: int | None,
        backends: tuple[str, ...] = (),
        devices: tuple[ServerDevice, ...] | None = None,
        time_out: str | None = None,
    ) -> None:
        """``devices`` only of answers without trouble. That there are none, though the machine has a GPU, is
        kept only of a build whose identity covers the libraries that prove it to be for the CPU alone."""
        identity = self._identity
        if identity is None or not (time_out or (identity.is_stable and version)):
            if self.memory is not None:
                self.memory = replace(self.memory, surroundings="", devices=(), time_out=None)
            return
        if self._has_gpu and not devices and not self._stays_cpu_only:
            devices = None
        surroundings = "" if devices is None and time_out is None else self._surroundings
        self.memory = Remembered(
            identity.key, version, build, backends, surroundings, time.time(), devices or (), time_out
        )


def _no_list(listed: Output, timeout_s: float) -> str:
    reason = listed.error or start_problem(listed.text, listed.exit_code, timeout_s)
    if reason is None or "invalid argument: --list-devices" in listed.text:
        reason = "This version does not know --list-devices."
    return f"Its devices are not known: {reason[0].lower()}{reason[1:]}"
