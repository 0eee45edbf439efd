"""The llama-servers of this computer as the user configured them, and what that makes of the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.diagnosis.diagnose import server_problem
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.server import find as llama_server
from llmfit.advisor.server.answers import LISTS_NO_GPU
from llmfit.tui.config import CACHE_VARIABLE, CONFIG_VARIABLE, user_config
from llmfit.tui.llama_servers import ask_afresh, with_llama_servers
from llmfit.tui.machine_facts import machine_sections
from llmfit.tui.model_disks import with_model_disks
from tests.advisor.server.fake_servers import server_script, write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
NAME = "NVIDIA GeForce RTX 3090"
MACHINE = Machine("linux", Cpu(None, None, None), Memory(None, None), (Gpu(0, NAME, "nvidia", "cuda"),))
MEMORY = "(24124 MiB, 23862 MiB free)"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder of the test's own, and no llama-server anywhere else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config.toml"))
    monkeypatch.delenv(llama_server.SERVER_VARIABLE, raising=False)
    monkeypatch.setattr(llama_server, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    (tmp_path / "config.toml").touch()
    user_config.cache_clear()
    yield tmp_path
    user_config.cache_clear()


def test_the_one_that_sees_the_gpu_is_taken_and_decides_the_backend(home: Path) -> None:
    blind = write_program(home / ".local/bin/llama-server", server_script())
    vulkan = write_program(
        home / "llama.cpp/build/bin/llama-server", server_script(f"Vulkan0: {NAME} {MEMORY}")
    )
    machine = with_llama_servers(MACHINE)
    assert [server.path for server in machine.llama_servers] == [str(blind), str(vulkan)]
    assert machine.llama_server is not None and machine.llama_server.path == str(vulkan)
    assert machine.gpus[0].backend == "vulkan" and len(machine.notes) == 1
    assert server_problem(machine) is None


def test_a_configured_one_is_taken_and_its_blindness_said(home: Path) -> None:
    write_program(home / ".local/bin/llama-server", server_script(f"CUDA0: {NAME} {MEMORY}"))
    own = write_program(home / "own" / "my-server", server_script())
    (home / "config.toml").write_text('llama_server = "own/my-server"')
    user_config.cache_clear()
    machine = with_llama_servers(MACHINE)
    assert machine.llama_server is not None and machine.llama_server.path == str(own)
    problem = server_problem(machine)
    assert problem is not None and ".local/bin/llama-server" in (problem.fix or "")


def test_the_variable_comes_before_the_configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = write_program(home / "named" / "llama-server", server_script())
    configured = write_program(home / "own" / "llama-server", server_script())
    (home / "config.toml").write_text(f'llama_server = "{configured}"')
    user_config.cache_clear()
    monkeypatch.setenv(llama_server.SERVER_VARIABLE, str(named))
    machine, devices = ask_afresh(MACHINE)
    assert machine.llama_server is not None and machine.llama_server.path == str(named)
    assert devices == {str(named): (), str(configured): ()}


def test_a_driver_that_is_installed_is_seen_at_once(home: Path) -> None:
    """Nothing else that could be remembered by has changed."""
    program = home / ".local/bin/llama-server"
    write_program(program, server_script())
    blind = with_llama_servers(MACHINE)
    assert blind.llama_server is not None and blind.llama_server.problem == LISTS_NO_GPU
    write_program(program, server_script(f"CUDA0: {NAME} {MEMORY}"))
    machine = with_llama_servers(MACHINE)
    assert machine.llama_server is not None and machine.llama_server.sees_a_gpu


@pytest.mark.parametrize(("unseen", "seconds"), [((), 5.0), (("NVIDIA GPUs could not be read.",), 3.0)])
def test_a_driver_that_hangs_is_not_waited_for_twice_in_full(
    monkeypatch: pytest.MonkeyPatch, unseen: tuple[str, ...], seconds: float
) -> None:
    given: list[float] = []

    def ask(servers: object, timeout_s: float, **_: object) -> tuple[()]:
        given.append(timeout_s)
        return ()

    monkeypatch.setattr("llmfit.tui.llama_servers.ask_llama_servers", ask)
    with_llama_servers(replace(MACHINE, unseen_gpus=unseen))
    assert given == [seconds]


def test_one_that_does_not_work_is_not_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(home / "nonexist")
    monkeypatch.setenv(llama_server.SERVER_VARIABLE, missing)
    machine = with_llama_servers(MACHINE)
    assert machine.llama_server is None
    assert [(server.path, server.problem) for server in machine.llama_servers] == [
        (missing, "There is no such file.")
    ]
    (section,) = [found for found in machine_sections(machine) if found.title == "llama-server"]
    assert [fact.what for fact in section.facts] == ["found", ""]
    assert section.lines == ("None that works. A command is shown all the same.",)
    problem = server_problem(machine)
    assert problem is not None and problem.text.startswith(f"The llama-server does not work: {missing}.")


def test_none_at_all() -> None:
    machine = with_llama_servers(MACHINE)
    assert (machine.llama_server, machine.llama_servers) == (None, ())
    assert machine.gpus == MACHINE.gpus


def test_disks_under_the_folders_of_models(home: Path) -> None:
    (home / "config.toml").write_text('model_folders = ["models"]')
    user_config.cache_clear()
    disks = with_model_disks(MACHINE).disks
    assert disks and disks[0].path == str(home) and disks[0].free_bytes <= disks[0].total_bytes
