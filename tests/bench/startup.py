"""Prints how long a user waits: for ``estimate``, for ``recommend``, for the first row of the app.

Run from the top of the repository: ``python tests/bench/startup.py [RUNS]``. Every figure is wall time of a
new process, also as a ratio to ``python -c "import pydantic"``, so that machines can be compared. The runs
take turns, so that a busy moment hits all of them. No pass, no fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 9
MODEL = "Llama-3.3-70B"
CARDS = ("--gpu", "2x RTX 3090", "--ram", "64GiB")
APP_SIZE = (45, 160)
APP_TIMEOUT_S = 20.0
ALTERNATE_SCREEN = b"\x1b[?1049h"
LAST_WORD_OF_ROW = b"llmfit"
"""The first row of the app is its title; what a terminal is told before that is no row."""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    llmfit = (sys.executable, "-m", "llmfit")
    jobs: dict[str, tuple[float | None, Callable[[], float]]] = {
        "python -c 'import pydantic'": (None, _command(sys.executable, "-c", "import pydantic")),
        "python -c pass": (None, _command(sys.executable, "-c", "pass")),
        "estimate MODEL --json": (0.35, _command(*llmfit, "estimate", MODEL, "--json")),
        "estimate MODEL --gpu … --json": (None, _command(*llmfit, "estimate", MODEL, *CARDS, "--json")),
        "recommend --json": (0.5, _command(*llmfit, "recommend", "--json")),
        "recommend --gpu … --json": (None, _command(*llmfit, "recommend", *CARDS, "--json")),
        "app, first row": (0.8, lambda: first_row_s([*llmfit])),
        "app --gpu …, first row": (None, lambda: first_row_s([*llmfit, *CARDS])),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(runs + 1):
        for name, (_, job) in jobs.items():
            seconds = job()
            if number:  # the first round compiles and warms the disk cache
                times[name].append(seconds)
    _print(jobs, times)


def _print(jobs: dict[str, tuple[float | None, Callable[[], float]]], times: dict[str, list[float]]) -> None:
    base = _median(next(iter(times.values())))
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {len(next(iter(times.values())))} runs")
    print(f"{'':32}{'min':>8}{'median':>8}{'aim':>8}{'x pydantic':>12}")
    for name, seconds in times.items():
        aim = jobs[name][0]
        shown = "" if aim is None else f"{aim:.2f} s"
        median = _median(seconds)
        print(f"{name:32}{min(seconds):6.3f} s{median:6.3f} s{shown:>8}{median / base:12.1f}")


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _environment() -> dict[str, str]:
    """As a user has it: compiled files are kept, and no catalogue rows of the developer's own."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    kept.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / "llmfit-bench-pycache"))
    return {**kept, "LLMFIT_CATALOG": os.devnull, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}


def _command(*command: str) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, cwd=ROOT, env=_environment(), check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {(done.stderr or done.stdout).decode(errors='replace')}")
        return seconds

    return run


def first_row_s(command: Sequence[str]) -> float:
    """Seconds until the app, in a terminal of its own, has painted its title."""
    import pty
    import select

    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:  # the child: a program with a terminal as its three streams
        os.chdir(ROOT)
        os.execvpe(command[0], list(command), _environment())
    try:
        _set_size(terminal)
        seen = b""
        while time.perf_counter() - start < APP_TIMEOUT_S:
            if select.select([terminal], [], [], 0.5)[0]:
                try:
                    seen += os.read(terminal, 65536)
                except OSError:
                    break
            _, switched, painted = seen.partition(ALTERNATE_SCREEN)
            if switched and LAST_WORD_OF_ROW in painted:
                return time.perf_counter() - start
        sys.exit(f"the app painted nothing: {seen[-2000:]!r}")
    finally:
        _stop(pid, terminal)


def _set_size(terminal: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *APP_SIZE, 0, 0))


def _stop(pid: int, terminal: int) -> None:
    import signal

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)


if __name__ == "__main__":
    main()
