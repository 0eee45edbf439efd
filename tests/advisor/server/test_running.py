"""Nothing that llmfit started outlives it: real processes, really interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmfit.advisor.server.running import RunningPrograms
from tests.advisor.server.fake_servers import write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
HANGS = 'sleep 100 & echo "$$ $!" >> "{log}"; sleep 100'
"""Says its own number and that of its child, and hangs with two children."""
PATIENCE_S = 20.0
APP = """
from llmfit.tui.app import LlmfitApp
from llmfit.tui.live_advice import LiveAdvice
import pathlib, sys, time, asyncio

log = pathlib.Path(sys.argv[1])

async def quit_when_asked(pilot):
    await pilot.press("r")
    end = time.monotonic() + 20
    while not log.exists() and time.monotonic() < end:
        await asyncio.sleep(0.02)
    await pilot.press("q")

app = LlmfitApp(LiveAdvice({}))
app.run(headless=True, size=(120, 40), auto_pilot=quit_when_asked)
sys.exit(app.return_code or 0)
"""


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """A computer whose llama-server hangs, and nothing of this one's settings."""
    write_program(tmp_path / "bin" / "llama-server", HANGS.format(log=tmp_path / "log"))
    own = {name: str(tmp_path / name) for name in ("LLMFIT_CACHE", "LLMFIT_DATA", "LLMFIT_CATALOG", "HOME")}
    beginning = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "LLMFIT_CONFIG": os.devnull}
    return {**os.environ, **own, **beginning}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """The numbers of all processes that the fake servers wrote down; none of them outlives the test."""

    def read() -> list[int]:
        log = tmp_path / "log"
        return [int(word) for word in log.read_text().split()] if log.exists() else []

    yield read
    for number in read():
        if runs(number):
            os.kill(number, signal.SIGKILL)


def runs(number: int) -> bool:
    """A process that has ended, but that nobody has asked for its exit code yet, does not run."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    return bool(shown.stdout.strip()) and not shown.stdout.strip().startswith("Z")


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (("hardware",), signal.SIGINT, 130),
        (("doctor", "--json"), signal.SIGINT, 130),
        (("hardware",), signal.SIGTERM, 128 + signal.SIGTERM),
        (("hardware",), signal.SIGHUP, 128 + signal.SIGHUP),
    ],
)
def test_a_signal_ends_a_server_that_hangs_and_its_children(
    surroundings: dict[str, str],
    started: Callable[[], list[int]],
    command: tuple[str, ...],
    number: signal.Signals,
    code: int,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "llmfit", *command],
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell ignores Ctrl-C, and its children would, too.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    wait_for(lambda: len(started()) >= 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (code, b"", b"")
    wait_for(lambda: not any(map(runs, started())))


def test_quitting_the_app_ends_a_server_that_hangs_and_its_children(
    surroundings: dict[str, str], started: Callable[[], list[int]], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", APP, str(tmp_path / "log")],
        env=surroundings,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert started(), "it was quit while a server was asked"
    wait_for(lambda: not any(map(runs, started())))


def test_none_is_started_after_the_end() -> None:
    programs = RunningPrograms()
    process = programs.start(["/bin/sh", "-c", "sleep 100"], {}, "/")
    assert process is not None and process.poll() is None
    programs.end_all()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    programs.end(process)
    assert programs.start(["/bin/sh", "-c", "sleep 100"], {}, "/") is None
