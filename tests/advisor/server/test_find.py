"""Every llama-server of a computer, found without starting one, and the choice among them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, LlamaServer, Machine, Memory
from llmfit.advisor.server import find as llama_server
from llmfit.advisor.server.find import (
    choose_server,
    embedded_server,
    find_llama_servers,
    path_server,
)
from tests.advisor.server.fake_servers import write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
TRAP = "touch started"


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what a test writes: not the system's folders, not those of the Python that runs the tests."""
    monkeypatch.setattr(llama_server, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python3"))


def put(path: Path) -> Path:
    return write_program(path / "llama-server", TRAP)


def found_paths(configured=(), path=(), home: Path | None = None, **environ: str) -> list[str]:
    environ = {"PATH": os.pathsep.join(map(str, path)), **environ}
    return [server.path for server in find_llama_servers(list(configured), environ, home)]


def test_configured_first_then_path_then_the_usual_places_and_nothing_is_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    built, cuda = put(home / "llama.cpp/build/bin"), put(home / "src/llama.cpp/build-cuda/bin")
    local, first, second = put(home / ".local/bin"), put(tmp_path / "a"), put(tmp_path / "b")
    own, named = put(tmp_path / "own"), put(tmp_path / "named")
    paths = found_paths([own], [tmp_path / "a", tmp_path / "b"], home, LLMFIT_LLAMA_SERVER=str(named))
    assert paths == [str(path) for path in (named, own, first, second, local, built, cuda)]
    assert not list(tmp_path.rglob("started"))


def test_one_real_file_counts_once_under_its_first_name(tmp_path: Path) -> None:
    real = put(tmp_path / "cellar")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "llama-server").symlink_to(real)
    paths = found_paths(path=[tmp_path / "a", tmp_path / "b", tmp_path / "cellar"])
    assert paths == [str(tmp_path / "a" / "llama-server")]


def test_only_executable_regular_files_count(tmp_path: Path) -> None:
    (tmp_path / "a" / "llama-server").mkdir(parents=True)
    write_program(tmp_path / "b" / "llama-server", TRAP, mode=0o644)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "llama-server").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "llama-server").symlink_to(tmp_path / "d" / "llama-server")
    os.mkfifo(tmp_path / "e", 0o755)
    assert found_paths(path=[*(tmp_path / name for name in "abcd"), tmp_path / "e"]) == []


def test_relative_folders_in_path_are_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert found_paths(path=["", ".", "bin"]) == []


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("missing", "There is no such file."),
        ("plain", "It is not executable."),
        ("pipe", "It is not a regular file."),
        ("loop", "It cannot be read: too many levels of symbolic links."),
    ],
)
def test_a_configured_server_that_is_none_is_named_with_its_problem(
    tmp_path: Path, kind: str, problem: str
) -> None:
    path = tmp_path / "server"
    if kind == "plain":
        write_program(path, TRAP, mode=0o644)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    assert find_llama_servers([path], {"PATH": ""}, None) == (LlamaServer(str(path), problem=problem),)


def test_a_configured_folder_means_the_program_in_it(tmp_path: Path) -> None:
    program = put(tmp_path / "bin")
    assert found_paths([tmp_path / "bin"]) == [str(program)]


def test_a_name_that_is_too_long() -> None:
    (server,) = find_llama_servers([Path("/" + "x" * 5000)], {"PATH": ""}, None)
    assert server.problem == "Its name cannot be shown."
    (server,) = find_llama_servers([Path("/" + "x" * 300)], {"PATH": ""}, None)
    assert server.problem == "It cannot be read: file name too long."


def test_conda_and_the_folder_of_this_python(tmp_path: Path) -> None:
    conda, beside = put(tmp_path / "conda/bin"), put(tmp_path / "python")
    assert found_paths(CONDA_PREFIX=str(tmp_path / "conda")) == [str(conda), str(beside)]


def test_many_are_bounded(tmp_path: Path) -> None:
    folders = [put(tmp_path / f"p{number}").parent for number in range(llama_server.MAX_SERVERS + 5)]
    assert len(found_paths(path=folders)) == llama_server.MAX_SERVERS


def test_names_that_would_move_the_cursor(tmp_path: Path) -> None:
    program = put(tmp_path / "a\x1b[2J")
    assert found_paths(path=[program.parent]) == []
    (server,) = find_llama_servers([program], {"PATH": ""}, None)
    assert server.path.isprintable() and server.problem == "Its name cannot be shown."


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_environment_raises(path: str, named: str) -> None:
    environ = {"PATH": path, "LLMFIT_LLAMA_SERVER": named, "CONDA_PREFIX": path}
    for server in find_llama_servers([], environ, None):
        assert server.path.isprintable()


def test_what_a_shell_would_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    first, other = put(tmp_path), put(tmp_path / "other")
    servers = (LlamaServer(str(other)), LlamaServer(str(first)))
    machine = Machine("linux", Cpu(None, None, None), Memory(None, None), llama_servers=servers)
    assert path_server(machine, os.environ) == str(first)
    assert path_server(machine, {"PATH": str(tmp_path / "none")}) is None


CPU = LlamaServer("/cpu", "1", backends=("cpu",))
GPU = LlamaServer("/gpu", "1", backends=("cuda", "cpu"), devices=("CUDA0",))
OLD = LlamaServer("/old", "1", problem="Its devices are not known: it is old.")
BROKEN = LlamaServer("/broken", problem="It printed nothing.")


@pytest.mark.parametrize(
    ("servers", "configured", "has_gpu", "chosen"),
    [
        ((CPU, GPU), (), True, GPU),
        ((CPU, GPU), (), False, CPU),
        ((CPU, GPU), ("/cpu",), True, CPU),
        ((BROKEN, CPU, GPU), ("/broken",), True, GPU),
        ((BROKEN, OLD, CPU), (), True, OLD),
        ((BROKEN, CPU), (), True, CPU),
        ((BROKEN,), ("/broken",), True, None),
        ((), ("/gpu",), True, None),
    ],
)
def test_the_choice(servers, configured, has_gpu: bool, chosen: LlamaServer | None) -> None:
    assert choose_server(servers, configured, has_gpu) is chosen


def test_the_embedded_server_is_looked_for_and_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not embedded_server()
    (tmp_path / "xllamacpp.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), ""])
    assert embedded_server() and "xllamacpp" not in sys.modules
