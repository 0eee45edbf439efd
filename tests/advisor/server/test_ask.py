"""llama-servers asked what they are; small programs stand in for them, good ones and every bad kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, LlamaServer, Machine, Memory
from llmfit.advisor.server.answers import (
    LISTS_NO_GPU,
    ServerDevice,
    backends_of,
    devices_of,
    start_problem,
    version_of,
)
from llmfit.advisor.server.ask import ask_llama_server, ask_llama_servers, surroundings_of
from llmfit.advisor.server.running import MAX_OUTPUT_BYTES
from llmfit.advisor.units import MIB
from tests.advisor.server.fake_servers import server_script, write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
SHORT_S = 0.4
LONG_S = 20.0
"""Never waited for: the programs end at once."""


@pytest.fixture
def ask(tmp_path: Path):
    def start(script: str, timeout_s: float = LONG_S) -> LlamaServer:
        path = write_program(tmp_path / "llama-server", script)
        return ask_llama_server(LlamaServer(str(path)), timeout_s)

    return start


@pytest.mark.parametrize(
    ("line", "version", "build"),
    [
        ("version: 6123 (79e0b68c)", "6123 (79e0b68c)", 6123),
        ("version: 6795 (unknown)", "6795 (unknown)", 6795),
        ("version: 0.6.0-dev (build 11434, commit abc)", "0.6.0-dev (build 11434, commit abc)", 11434),
        ("version: 0.6.0-dev (build 0, commit unknown)", "0.6.0-dev (build 0, commit unknown)", None),
        ("version: 0.2.0-dev (build 1, commit abc)", "0.2.0-dev (build 1, commit abc)", None),
        ("version: 0 (unknown)", "0 (unknown)", None),
        ("version: 2.1 of something", "2.1 of something", None),
        ("version: 99999999999999999999 (x)", "99999999999999999999 (x)", None),
    ],
)
def test_versions_of_old_and_new_builds(ask, line: str, version: str, build: int | None) -> None:
    server = ask(server_script(version=line))
    assert (server.version, server.build, server.problem) == (version, build, None)
    assert (server.backends, server.devices) == (("cpu",), ())
    assert server.sees_a_gpu is False


def test_devices_with_their_names_and_memory(tmp_path: Path) -> None:
    script = server_script(
        "CUDA0: NVIDIA GeForce RTX 3090 (24124 MiB, 23862 MiB free)",
        "CUDA1: NVIDIA GeForce RTX 3090 (24124 MiB, 1 MiB free)",
        "Vulkan0: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24000 MiB free)",
        "MTL0: Apple M4 Max (0 MiB, 0 MiB free)",
        "BLAS: OpenBLAS (0 MiB, 0 MiB free)",
        stderr="ggml_cuda_init: found 2 CUDA devices (Total VRAM: 48248 MiB):",
    )
    path = write_program(tmp_path / "llama-server", script)
    (answer,) = ask_llama_servers([LlamaServer(str(path))], LONG_S)
    assert answer.server.devices == ("CUDA0", "CUDA1", "Vulkan0", "MTL0")
    assert answer.server.backends == ("cuda", "vulkan", "metal", "cpu")
    assert answer.devices[2] == ServerDevice("Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", 24560 * MIB)
    assert answer.devices[1].free_bytes == MIB
    assert answer.devices[3].total_bytes is None


def test_a_cuda_build_whose_driver_fails_is_not_called_a_cpu_build(ask) -> None:
    server = ask(
        server_script(stderr="ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected")
    )
    assert server.backends == ("cuda", "cpu") and server.devices == ()
    assert server.problem == "CUDA could not be started: no CUDA-capable device is detected."


def test_backend_libraries_that_gave_no_device(tmp_path: Path) -> None:
    path = write_program(tmp_path / "bin" / "llama-server", server_script())
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libggml-vulkan.so").touch()
    (tmp_path / "bin" / "libggml-cpu-haswell.so").touch()
    server = ask_llama_server(LlamaServer(str(path)), LONG_S)
    assert server.backends == ("cpu",)
    assert server.problem is not None and server.problem.startswith(
        "It comes with Vulkan, but sees no device"
    )


def _asked(path: Path, has_gpu: bool = True) -> LlamaServer:
    return ask_llama_servers([LlamaServer(str(path))], LONG_S, has_gpu=has_gpu)[0].server


def test_a_static_build_that_lists_none_is_not_called_a_cpu_build(tmp_path: Path) -> None:
    """A Vulkan build without a driver says exactly the same as one without Vulkan."""
    path = write_program(tmp_path / "bin" / "llama-server", server_script())
    assert _asked(path).problem == LISTS_NO_GPU
    assert _asked(path, has_gpu=False).problem is None
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libggml-cpu.so").touch()  # of whisper.cpp, say
    assert _asked(path).problem == LISTS_NO_GPU


@pytest.mark.parametrize(
    ("files", "proven"),
    [
        (("libllama.so", "libggml-base.so", "libggml-cpu.so"), True),
        (("libllama.so.0.0.1", "libggml-cpu-haswell.so", "libggml-cpu-zen4.so", "libggml-rpc.so"), True),
        (("libllama.dylib", "libggml-cpu.dylib", "libggml-blas.dylib"), True),
        (("libllama.so", "libggml-base.so"), False),
        (("libllama.so", "libggml-cpu.so", "libggml-newgpu.so"), False),
        (("libggml-cpu.so",), False),
    ],
)
def test_a_shared_build_with_all_its_libraries_beside_it_proves_what_it_has(
    tmp_path: Path, files: tuple[str, ...], proven: bool
) -> None:
    path = write_program(tmp_path / "llama-server", server_script())
    for name in files:
        (tmp_path / name).touch()
    assert _asked(path).problem == (None if proven else LISTS_NO_GPU)


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        ("libggml-cpu-zen4.so", None),
        ("libggml-vulkan.so", "It comes with Vulkan"),
        ("libggml-x.so", "It lists"),
    ],
)
def test_the_folder_that_it_loads_backends_from(tmp_path: Path, library: str, problem: str | None) -> None:
    folder = tmp_path / "ggml" / "backends"
    folder.mkdir(parents=True)
    (folder / "libggml-cpu-x64.so").touch()
    (folder / library).touch()
    said = f"load_backend: loaded CPU backend from {folder}/libggml-cpu-x64.so"
    found = _asked(write_program(tmp_path / "bin" / "llama-server", server_script(stderr=said)))
    assert (found.problem or "").startswith(problem or "") and (found.problem is None) is (problem is None)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", "It printed nothing."),
        ("exit 3", "It ended with exit code 3: and said nothing."),
        ("echo 'no model given.' >&2; exit 1", "It ended with exit code 1: no model given."),
        ("kill -9 $$", "It was ended by the signal SIGKILL."),
        ("kill -4 $$", "illegal instruction"),
        ("exit 132", "illegal instruction"),
        (
            "echo 'Usage: something else'",
            "It does not say its version: it may be another program of this name.",
        ),
        ("printf '\\377\\376\\033[2J'", "It does not say its version"),
        ("#!/no/such/interpreter\n", "The interpreter or loader that it names is missing."),
        (
            "echo 'x: error while loading shared libraries: libcudart.so.12: cannot open shared object file:"
            " No such file or directory' >&2; exit 127",
            "The shared library libcudart.so.12 is missing.",
        ),
        (
            "echo 'Error loading shared library libgomp.so.1: No such file or directory' >&2; exit 127",
            "The shared library libgomp.so.1 is missing.",
        ),
        (
            "echo 'dyld[1]: Library not loaded: @rpath/libllama.dylib' >&2; kill -6 $$",
            "The shared library libllama.dylib is missing.",
        ),
        (
            'echo "x: /lib/libc.so.6: version \\`GLIBC_2.38\' not found (required by x)" >&2; exit 1',
            "It needs a newer system library: GLIBC_2.38 is missing.",
        ),
        (
            "echo 'x: symbol lookup error: x: undefined symbol: ggml_abort' >&2; exit 127",
            "It was built with other libraries than it finds here: ggml_abort is missing.",
        ),
    ],
)
def test_a_server_that_does_not_start_says_why(ask, script: str, said: str) -> None:
    server = ask(script)
    assert server.problem is not None and said in server.problem
    assert server.problem.isprintable()
    assert (server.version, server.build, server.backends, server.devices) == (None, None, (), ())
    assert server.sees_a_gpu is None


def test_an_old_build_that_does_not_know_the_option(ask) -> None:
    server = ask(
        "[ \"$1\" = --version ] && { echo 'version: 4000 (abc)'; exit; }\n"
        "echo 'error: invalid argument: --list-devices' >&2; exit 1"
    )
    assert server.version == "4000 (abc)" and server.backends == ()
    assert server.problem == "Its devices are not known: this version does not know --list-devices."


def test_not_a_program(tmp_path: Path) -> None:
    path = tmp_path / "llama-server"
    path.write_bytes(b"\x7fELF" + bytes(60))
    path.chmod(0o755)
    assert "exec format" in (ask_llama_server(LlamaServer(str(path))).problem or "")
    assert ask_llama_server(LlamaServer(str(tmp_path / "none"))).problem == "There is no such file."


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may execute anything")
def test_not_allowed(tmp_path: Path) -> None:
    path = write_program(tmp_path / "llama-server", "exit", mode=0o600)
    assert "permission denied" in (ask_llama_server(LlamaServer(str(path))).problem or "")


def test_a_missing_library_of_a_real_program(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc)")
    (tmp_path / "gone.c").write_text("int gone(void) { return 0; }")
    (tmp_path / "main.c").write_text("int gone(void); int main(void) { return gone(); }")
    for command in (
        ["-shared", "-fPIC", "-o", "libgone.so", "gone.c"],
        ["-o", "llama-server", "main.c", "-L.", "-lgone", "-Wl,-rpath,."],
    ):
        subprocess.run([compiler, *command], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "libgone.so").unlink()
    server = ask_llama_server(LlamaServer(str(tmp_path / "llama-server")))
    assert server.problem == "The shared library libgone.so is missing."


def test_one_that_hangs_is_killed_with_what_it_started_and_the_others_answer(tmp_path: Path) -> None:
    child = tmp_path / "child"
    hanging = write_program(tmp_path / "a" / "llama-server", f'sleep 300 & echo $! > "{child}.$1"\nwait')
    good = write_program(tmp_path / "b" / "llama-server", server_script())
    asked = ask_llama_servers([LlamaServer(str(path)) for path in (hanging, good)], 2.0)
    assert asked[0].server.problem == "It did not answer within 2 s and was stopped."
    assert asked[1].server.backends == ("cpu",)
    children = [int(path.read_text()) for path in tmp_path.glob("child.*")]
    assert len(children) == 2
    for _ in range(200):  # init may need a moment to bury them
        if not any(_is_alive(pid) for pid in children):
            break
        time.sleep(0.01)
    assert not any(_is_alive(pid) for pid in children)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        return False
    return state != "Z"


def test_one_that_leaves_a_daemon_with_its_output_open(ask) -> None:
    server = ask("echo 'version: 5000 (abc)'; echo 'Available devices:'; sleep 300 &", SHORT_S)
    assert server.version == "5000 (abc)" and server.backends == ("cpu",)


def test_devices_that_hang(ask) -> None:
    server = ask("[ \"$1\" = --version ] && { echo 'version: 5000 (abc)'; exit; }\nexec sleep 300", SHORT_S)
    assert server.version == "5000 (abc)"
    assert server.problem == "Its devices are not known: it did not answer within 0.4 s and was stopped."


def test_endless_output_is_cut(ask) -> None:
    server = ask(f"echo 'version: 5000 (abc)'; exec head -c {4 * MAX_OUTPUT_BYTES} /dev/zero")
    assert server.version == "5000 (abc)"


def test_escape_sequences_do_not_get_through(ask) -> None:
    script = server_script(
        "CUDA0: \033[2Jevil\t\rcard (1 MiB, 1 MiB free)", version="version: \033]0;x\007 7 (a)"
    )
    server = ask(script)
    assert server.version is not None and server.version.isprintable()
    assert server.devices == ("CUDA0",)


def test_llama_servers_own_variables_do_not_change_the_answer(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_DEVICE", "CUDA9")
    assert ask('[ -z "$LLAMA_ARG_DEVICE" ] && ' + server_script()).problem is None


def test_it_runs_in_the_root_folder(ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """llama.cpp loads backends from the working folder: llmfit must not be fooled by where it is started."""
    monkeypatch.chdir(tmp_path)
    assert ask('echo "version: $(pwd) (build 5000, commit a)"').version == "/ (build 5000, commit a)"


def test_what_the_devices_depend_on() -> None:
    def key(*gpus: Gpu, **environ: str) -> str:
        machine = Machine("linux", Cpu(None, None, None), Memory(None, None), gpus)
        return surroundings_of(machine, environ)

    card = Gpu(0, "RTX 3090", "nvidia", "cuda", uuid="GPU-1", driver="550", vram_free_bytes=1)
    busy = Gpu(0, "RTX 3090", "nvidia", "cuda", uuid="GPU-1", driver="550", vram_free_bytes=2)
    newer = Gpu(0, "RTX 3090", "nvidia", "cuda", uuid="GPU-1", driver="560", vram_free_bytes=1)
    assert key(card) == key(busy) == key(card, EDITOR="vi")
    assert len({key(), key(card), key(newer), key(card, CUDA_VISIBLE_DEVICES="0")}) == 4


@given(st.text(max_size=400))
def test_no_text_breaks_the_readers(text: str) -> None:
    version, build = version_of(f"version: {text}")
    assert (version is None or version.isprintable()) and (build is None or build > 1)
    devices = devices_of(f"Available devices:\n  CUDA0: {text} (1 MiB, 1 MiB free)\n")
    assert devices is not None and all(device.name.isprintable() for device in devices)
    assert backends_of(text, devices)[-1] == "cpu"
    for exit_code in (None, 0, 1, -4, 127, 139):
        problem = start_problem(text, exit_code, 1.0)
        assert problem is None or problem.isprintable()
