"""Starting a program, reading what it prints within bounds, and leaving nothing of it behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_OUTPUT_BYTES = 2**18
_OWN_VARIABLES = ("LLAMA_ARG_", "LLAMA_LOG_")
"""They would be llama-server's options; it is asked what it is, not what it is set to."""


@dataclass(frozen=True, slots=True)
class Output:
    """``exit_code`` is ``None`` for a program that was stopped; ``error`` says why it was not started."""

    text: str = ""
    exit_code: int | None = None
    error: str | None = None


def run_program(path: str, option: str, deadline: float) -> Output:
    """What a program prints on both streams until it ends, and at most until ``deadline`` (time.monotonic).

    It runs in the root folder: llama.cpp loads backends from the working folder, too. Its process group is
    killed at the end, and when llmfit ends before that. Never raises.
    """
    environment = {name: text for name, text in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    try:
        process = _RUNNING.start([path, option], {**environment, "LC_ALL": "C"}, Path(path).anchor or None)
    except (OSError, ValueError) as error:
        return Output(error=_not_started(error, path))
    if process is None:
        return Output(error="It was not asked: llmfit ends.")
    try:
        content, ended = _read(process, deadline)
        exit_code = 0 if len(content) >= MAX_OUTPUT_BYTES else None
        if ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                exit_code = process.wait(max(0.05, deadline - time.monotonic()))
        return Output(content.decode(errors="replace"), exit_code)
    finally:
        _RUNNING.end(process)


class RunningPrograms:
    """Programs with a process group of their own, so that what they start ends with them.

    Threads start them, and nobody waits for these threads when llmfit ends (Ctrl-C, ``q`` in the app): so
    ``end_all`` is called by atexit. Linux's PR_SET_PDEATHSIG would not do: it has to be set between fork and
    exec, where a process with threads may run no Python, and what the program starts does not inherit it
    (man 2 prctl). llmfit killed by a signal that Python does not handle (SIGTERM, SIGHUP, SIGKILL) runs no
    atexit: then a program that hangs stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], folder: str | None
    ) -> subprocess.Popen[bytes] | None:
        """The started program; ``None`` after ``end_all``. Raises OSError and ValueError."""
        with self._lock:  # a program is never started unseen by end_all
            if self._over:
                return None
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
            self._processes.add(process)
            return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kills a program's group; what has left the group by setsid stays."""
        with self._lock:
            self._processes.discard(process)
        _kill_group(process)
        if process.stdout is not None:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a program in a driver call cannot be ended
            process.wait(0.2)

    def end_all(self) -> None:
        """Kills every group that runs and lets none be started any more. Waits for nothing that may hang."""
        held = self._lock.acquire(timeout=1.0)  # not while a start hangs on a file server
        self._over = True
        for process in tuple(self._processes):
            _kill_group(process)
        if held:
            self._lock.release()


_RUNNING = RunningPrograms()
atexit.register(_RUNNING.end_all)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


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
