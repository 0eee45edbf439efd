"""Answers of llama-servers kept between runs: when they are used, and when not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmfit.advisor.hardware.machine import LlamaServer
from llmfit.advisor.server import cache as server_cache
from llmfit.advisor.server.answers import LISTS_NO_GPU
from llmfit.advisor.server.ask import ServerAnswer, ask_llama_servers
from llmfit.advisor.server.cache import FORMAT, ServerCache, identity_of
from tests.advisor.server.fake_servers import NEW_VERSION, server_script, write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
DEVICE = "CUDA0: NVIDIA GeForce RTX 3090 (24124 MiB, 23862 MiB free)"


class Computer:
    """A llama-server that is a real program and logs each start; a script beside it answers for it."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self.program, self.log, self.file = folder / "llama-server", folder / "log", folder / "cache/c.json"
        source = folder / "main.c"
        source.write_text(
            "#include <unistd.h>\n"
            "int main(int n, char **a) {\n"
            f'  execl("/bin/sh", "sh", "{folder}/answer", a[1], (char *)0);\n'
            "  return 1;\n}\n"
        )
        subprocess.run([compiler, "-o", str(self.program), str(source)], check=True, timeout=60)
        self.answer_with(server_script(DEVICE, log=self.log))

    def answer_with(self, script: str) -> None:
        write_program(self.program.parent / "answer", script)

    def ask(
        self,
        surroundings: str = "one card",
        timeout_s: float = 20.0,
        has_gpu: bool = True,
        afresh: bool = False,
    ) -> tuple[ServerAnswer, list[str]]:
        """The answer, and with which options the program was started."""
        self.log.write_text("")
        (answer,) = ask_llama_servers(
            [LlamaServer(str(self.program))], timeout_s, ServerCache(self.file), surroundings, has_gpu, afresh
        )
        return answer, sorted(self.log.read_text().split())


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")
    return Computer(tmp_path, compiler)


BOTH = ["--list-devices", "--version"]


def test_the_second_time_nothing_is_started(computer: Computer) -> None:
    first, started = computer.ask()
    assert started == BOTH and first.server.devices == ("CUDA0",)
    again, started = computer.ask()
    assert started == [] and again == first


def test_other_surroundings_ask_for_the_devices_only(computer: Computer) -> None:
    computer.ask()
    computer.answer_with(server_script(log=computer.log))
    answer, started = computer.ask("no card")
    assert started == ["--list-devices"]
    assert answer.server.devices == () and answer.server.build == 11434


def test_old_devices_are_asked_again(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.ask()
    real_time = server_cache.time.time
    for seconds in (server_cache.MAX_AGE_S + 1, -1000):  # also a clock that was set back
        monkeypatch.setattr(server_cache.time, "time", lambda s=seconds: real_time() + s)
        assert computer.ask()[1] == ["--list-devices"]


@pytest.mark.parametrize("change", ["program", "library"])
def test_a_changed_file_is_asked_again(computer: Computer, change: str) -> None:
    """The library beside it, too: new builds of llama-server are a small program before libllama-server."""
    computer.ask()
    if change == "program":
        os.utime(computer.program, ns=(1, 1))
    else:
        (computer.program.parent / "libllama-server-impl.so").write_text("new")
    assert computer.ask()[1] == BOTH


def test_trouble_is_not_remembered(computer: Computer) -> None:
    failing = server_script(log=computer.log, stderr="x: failed to initialize CUDA: driver is old")
    computer.answer_with(failing)
    assert computer.ask()[0].server.problem == "CUDA could not be started: driver is old."
    assert computer.ask()[1] == ["--list-devices"]
    computer.answer_with(server_script(DEVICE, log=computer.log))
    assert computer.ask()[0].server.problem is None


def test_no_device_on_a_machine_with_a_gpu_is_asked_again_until_there_is_one(computer: Computer) -> None:
    """Installing a driver changes nothing that the identity or the surroundings would show."""
    computer.answer_with(server_script(log=computer.log))
    assert computer.ask()[0].server.problem == LISTS_NO_GPU
    assert computer.ask()[1] == ["--list-devices"]
    computer.answer_with(server_script(DEVICE, log=computer.log))
    answer, _ = computer.ask()
    assert (answer.server.problem, answer.server.devices) == (None, ("CUDA0",))
    assert computer.ask() == (answer, [])


@pytest.mark.parametrize("has_gpu", [True, False])
def test_no_device_is_remembered_where_nothing_can_change_it(computer: Computer, has_gpu: bool) -> None:
    computer.answer_with(server_script(log=computer.log))
    if has_gpu:  # libraries beside it prove a CPU-only build
        for name in ("libllama.so", "libggml-cpu.so"):
            (computer.program.parent / name).touch()
    answer, _ = computer.ask(has_gpu=has_gpu)
    assert (answer.server.problem, answer.server.backends) == (None, ("cpu",))
    assert computer.ask(has_gpu=has_gpu) == (answer, [])


def test_asked_afresh_everything_is_started_and_what_it_says_is_remembered(computer: Computer) -> None:
    computer.ask()
    computer.answer_with(server_script(log=computer.log))
    assert computer.ask()[0].server.devices == ("CUDA0",)
    answer, started = computer.ask(has_gpu=False, afresh=True)
    assert started == BOTH and answer.server.devices == ()
    assert computer.ask(has_gpu=False) == (answer, [])


HANGS = {
    "version": 'echo "$1" >> LOG; exec sleep 300',
    "devices": f'echo "$1" >> LOG; [ "$1" = --version ] && {{ echo "{NEW_VERSION}"; exit; }}; exec sleep 300',
}


@pytest.mark.parametrize("what", HANGS)
@pytest.mark.parametrize("is_script", [False, True])
def test_one_that_hangs_costs_its_seconds_once_in_ten_minutes(
    computer: Computer, what: str, is_script: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = HANGS[what].replace("LOG", str(computer.log))
    if is_script:
        write_program(computer.program, script)
    computer.answer_with(script)
    answer, started = computer.ask(timeout_s=1.0)
    assert started == BOTH
    assert "did not answer within 1 s" in (answer.server.problem or "")
    assert (answer.server.version is None) is (what == "version")
    assert computer.ask() == (answer, [])
    write_program(computer.program.parent / "answer", server_script(DEVICE, log=computer.log))
    if is_script:
        return  # changing it would make it another file
    kept = computer.file.read_bytes()
    assert computer.ask("other driver")[0].server.devices == ("CUDA0",)
    computer.file.write_bytes(kept)
    real_time = server_cache.time.time
    monkeypatch.setattr(server_cache.time, "time", lambda: real_time() + server_cache.MAX_TIME_OUT_AGE_S + 1)
    assert computer.ask()[0].server.devices == ("CUDA0",)


@pytest.mark.parametrize("is_script", [False, True])
def test_a_time_out_is_forgotten_when_it_is_asked_afresh(computer: Computer, is_script: bool) -> None:
    if is_script:
        write_program(computer.program, f'exec "{computer.program.parent}/answer" "$1"')
    computer.answer_with(HANGS["version"].replace("LOG", str(computer.log)))
    computer.ask(timeout_s=0.3)
    computer.answer_with(server_script(DEVICE, log=computer.log))
    assert computer.ask()[0].server.problem is not None
    assert computer.ask(afresh=True)[0].server.devices == ("CUDA0",)
    assert computer.ask()[0].server.devices == ("CUDA0",)


def test_devices_that_come_into_trouble_are_forgotten(computer: Computer) -> None:
    computer.ask()
    computer.answer_with("exit 1")
    answer, _ = computer.ask("other")
    assert answer.server.version is not None and answer.server.problem is not None
    assert computer.ask("other")[0].server.problem is not None


def test_a_script_is_asked_every_time(tmp_path: Path) -> None:
    path, log = tmp_path / "llama-server", tmp_path / "log"
    write_program(path, server_script(log=log))
    for _ in range(2):
        ask_llama_servers([LlamaServer(str(path))], 20.0, ServerCache(tmp_path / "c.json"), "x")
    assert sorted(log.read_text().split()) == sorted(BOTH * 2)


ENTRY = {
    "key": "k",
    "version": "1",
    "build": 2,
    "backends": ["cpu"],
    "surroundings": "",
    "asked_s": 1.0,
    "devices": [],
    "time_out": None,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'{"format": 2}',
        b'{"format": 2, "servers": []}',
        b'{"format": 1, "servers": {"/p": {}}}',
        b" " * (server_cache.MAX_FILE_BYTES + 1),
        *(
            json.dumps({"format": FORMAT, "servers": {"/p": {**ENTRY, **wrong}}}).encode()
            for wrong in (
                {"version": 3},
                {"version": ""},
                {"build": "x"},
                {"build": -1},
                {"build": True},
                {"build": 1e300},
                {"asked_s": float("nan")},
                {"backends": "cpu"},
                {"backends": ["x"] * 1000},
                {"devices": [["CUDA0"]]},
                {"devices": [["CUDA0", "x", -1]]},
                {"devices": {}},
                {"time_out": 3},
                {"time_out": ""},
            )
        ),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_broken_or_hostile_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    assert ServerCache(path).get("/p", "k") is None


def test_a_pipe_in_place_of_the_file_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.json")
    assert ServerCache(tmp_path / "c.json").get("/p", "k") is None


def test_text_of_the_file_is_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"format": FORMAT, "servers": {"/p": {**ENTRY, "version": "1\x1b[2J"}}}))
    found = ServerCache(path).get("/p", "k")
    assert found is not None and found.version == "1 [2J"
    assert ServerCache(path).get("/p", "other key") is None


def test_a_folder_that_cannot_be_written(computer: Computer) -> None:
    computer.file.parent.write_text("a file in its place")
    assert computer.ask()[0].server.problem is None


def test_a_file_that_cannot_be_read_has_no_identity(tmp_path: Path) -> None:
    assert identity_of(str(tmp_path / "none")) is None
    assert identity_of(str(tmp_path)) is None
