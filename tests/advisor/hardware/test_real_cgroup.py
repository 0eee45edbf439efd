"""llmfit inside a real control group: the limit, not the computer's RAM, is what it plans with."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.hardware.host.meminfo import read_meminfo
from llmfit.advisor.units import GIB

LIMIT_BYTES = 3 * GIB
MODEL = "Qwen3-4B"
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
"""The shell moves itself into the group and becomes llmfit."""
_numbers = itertools.count()

InGroup = Callable[..., dict[str, object]]
Wrap = Callable[[list[str]], list[str]]


def _mounts() -> list[tuple[Path, str, list[str]]]:
    """Mounted control group hierarchies: folder, file system, controllers."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                found.append((Path(before.split(" ")[4]), kind, options.split(",")))
    return found


def _make_group(stack: contextlib.ExitStack, controller: str, files: Mapping[str, Mapping[str, str]]) -> Wrap:
    """A new group at the top of the hierarchy that has ``controller``. Raises OSError where that fails."""
    reasons: list[str] = []
    for mount, kind, controllers in _mounts():
        if kind == "cgroup" and controller not in controllers:
            continue
        group = mount / f"llmfit-test-{os.getpid()}-{next(_numbers)}"
        _remove_leftovers(mount)
        try:
            group.mkdir()
            stack.callback(_remove_group, group)
            for name, value in files[kind].items():
                if not (group / name).exists():
                    raise OSError(f"{group.parent} hands out no {name}")
                (group / name).write_text(value)
        except OSError as error:
            reasons.append(f"{mount}: {error.strerror or error}")
            continue
        return lambda command, group=group: ["/bin/sh", "-c", JOIN, str(group), *command]  # type: ignore[misc]
    raise OSError("; ".join(reasons) or f"no hierarchy with {controller} is mounted")


def _remove_leftovers(mount: Path) -> None:
    """Groups of test runs that were killed: they are empty, and their process is gone."""
    for group in mount.glob("llmfit-test-*"):
        pid = group.name.split("-")[2]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _remove_group(group: Path) -> None:
    """Ends what this test left in the group, and removes it; a group goes only when it is empty."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            group.rmdir()
        if not group.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{group} could not be removed")


def _systemd_scope(properties: list[str]) -> Wrap:
    """A scope of systemd with a limit, in the user's manager unless root. Raises OSError without one."""
    if shutil.which("systemd-run") is None:
        raise OSError("no systemd-run")
    manager = [] if os.geteuid() == 0 else ["--user"]
    start = ["systemd-run", *manager, "--scope", "--quiet", "--collect", *properties, "--"]
    tried = subprocess.run([*start, "/bin/true"], capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode != 0:
        raise OSError(f"systemd-run: {tried.stderr.strip()[:200]}")
    return lambda command: [*start, *command]


@pytest.fixture
def in_group(tmp_path: Path) -> Iterator[Callable[..., InGroup]]:
    """Makes a group with limits; the result runs llmfit in it and hands back its JSON."""
    with contextlib.ExitStack() as stack:

        def make(controller: str, v1: dict[str, str], v2: dict[str, str], scope: list[str]) -> InGroup:
            reasons: list[str] = []
            for attempt in (
                lambda: _make_group(stack, controller, {"cgroup": v1, "cgroup2": v2}),
                lambda: _systemd_scope(scope),
            ):
                try:
                    wrap = attempt()
                    break
                except (OSError, subprocess.SubprocessError) as error:
                    reasons.append(str(error))
            else:
                pytest.skip("no control group can be made here: " + "; ".join(reasons))
            return lambda *words: _llmfit(wrap, tmp_path, *words)

        yield make


def _llmfit(wrap: Wrap, home: Path, *words: str) -> dict[str, object]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LLMFIT", "XDG"))
    }
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(
        wrap([sys.executable, "-m", "llmfit", *words, "--json"]),
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def limited(in_group: Callable[..., InGroup]) -> InGroup:
    """llmfit in a group that may hold 3 GiB."""
    ram = read_meminfo(Path("/"))
    if ram is None or ram.total_bytes <= LIMIT_BYTES:
        pytest.skip("needs Linux and more than 3 GiB of RAM")
    return in_group(
        "memory",
        {"memory.limit_in_bytes": str(LIMIT_BYTES)},
        {"memory.max": str(LIMIT_BYTES)},
        ["-p", f"MemoryMax={LIMIT_BYTES}"],
    )


def _host(answer: dict[str, object]) -> dict[str, int]:
    (host,) = [device for device in answer["memory"]["devices"] if device["kind"] == "host"]  # type: ignore[index]
    return host  # type: ignore[no-any-return]


def test_the_limit_is_what_the_machine_has(limited: InGroup) -> None:
    ram = limited("hardware")["ram"]
    assert isinstance(ram, dict)
    assert ram["limit_bytes"] == LIMIT_BYTES
    assert 0 < ram["available_bytes"] <= LIMIT_BYTES < ram["total_bytes"]


def test_the_limit_is_what_is_planned_with(limited: InGroup) -> None:
    answer = limited("estimate", MODEL, "--context", "4096")
    host = _host(answer)
    assert host["capacity_bytes"] == LIMIT_BYTES
    assert 0 < host["free_bytes"] <= LIMIT_BYTES
    recommended = limited("recommend")
    assert recommended["machine"]["ram"]["limit_bytes"] == LIMIT_BYTES  # type: ignore[index]
    assert recommended["recommendations"]
    for one in recommended["recommendations"]:  # type: ignore[attr-defined]
        assert _host(one)["capacity_bytes"] == LIMIT_BYTES
        assert _host(one)["total_bytes"] <= _host(one)["free_bytes"] <= LIMIT_BYTES


def test_a_cpu_quota_is_what_the_threads_are_planned_with(in_group: Callable[..., InGroup]) -> None:
    if not sys.platform.startswith("linux") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs Linux and two CPUs")
    run = in_group(
        "cpu",
        {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
        {"cpu.max": "100000 100000"},
        ["-p", "CPUQuota=100%"],
    )
    answer = run("hardware")
    cpu = answer["cpu"]
    assert isinstance(cpu, dict)
    assert (cpu["physical_cores"], cpu["logical_cores"]) == (1, 1)
    assert any("may use 1 of" in note for note in answer["notes"])  # type: ignore[attr-defined]
