"""What people and hostile files do: one line that says what is wrong, exit code 2 or 1, never a traceback."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.advisor.model.gguf_builder import TensorInfo, build, header_bytes
from tests.tui.cli.conftest import Answer, Run

ROOT = Path(__file__).resolve().parents[3]
CARD = ("--gpu", "RTX 3090", "--ram", "64GiB")


def one_line(answer: Answer, code: int, *said: str) -> None:
    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.startswith("llmfit: error: ") and answer.err.count("\n") == 1
    assert "Traceback" not in answer.err and "internal" not in answer.err
    assert answer.err.isprintable() or answer.err.rstrip("\n").isprintable()
    for word in said:
        assert word in answer.err, answer.err


def _hostile(folder: Path, name: str) -> Path:
    head, _ = header_bytes("llama3.1-8b.Q4_K_M")
    path = folder / f"{name}.gguf"
    contents = {
        "truncated": head[: len(head) // 2],
        "data missing": head,
        "empty": b"",
        "text": b"Dear diary,\nthis is not a model.\n",
        "wrong magic": b"XXXX" + head[4:],
        "huge counts": struct.pack("<4sIQQ", b"GGUF", 3, 2**62, 2**62),
        "huge string": struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 2**60) + b"x",
        "version 99": struct.pack("<4sIQQ", b"GGUF", 99, 0, 0),
        "no tensors": build({"general.architecture": "llama"}),
    }
    path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    "name",
    [
        "truncated", "data missing", "empty", "text", "wrong magic", "huge counts", "huge string",
        "version 99", "no tensors",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["estimate", "command"])
def test_files_that_are_no_models(run: Run, tmp_path: Path, name: str, command: str) -> None:
    path = _hostile(tmp_path, name)
    answer = run(command, path, *CARD)
    assert answer.code in (1, 2)
    one_line(answer, answer.code, path.name)


def test_a_directory_a_missing_file_and_a_missing_shard(run: Run, tmp_path: Path, llama: Path) -> None:
    one_line(run("estimate", tmp_path, *CARD), 2, "directory")
    one_line(run("estimate", tmp_path / "gone.gguf", *CARD), 2, "no such file")
    first = tmp_path / "model-00001-of-00003.gguf"
    tensors = [TensorInfo("blk.0.attn_q.weight", (256, 256))]
    split = {"split.no": 0, "split.count": 3, "split.tensors.count": 3}
    first.write_bytes(build({"general.architecture": "llama", **split}, tensors))
    one_line(run("estimate", first, *CARD), 2, "00002-of-00003")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_nobody_may_read(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    one_line(run("estimate", path, *CARD), 2, "mine.gguf")


def test_escape_sequences_and_markup_in_a_file_are_shown_harmlessly(
    run: Run, tmp_path: Path, llama: Path
) -> None:
    named = tmp_path / "\x1b[31mred[bold]\u202e.gguf"
    named.symlink_to(llama)
    answer = run("estimate", named, *CARD)
    assert answer.code == 0
    for shown in (answer.out, run("estimate", tmp_path / "\x1b[2Jno.gguf").err):
        assert "\x1b" not in shown and "\u202e" not in shown
        assert r"\x1b" in shown
    assert run("estimate", named, *CARD, "--json").document["model"]["id"] == "\x1b[31mred[bold]\u202e"


def test_an_architecture_with_escape_sequences(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    tensors = [TensorInfo("token_embd.weight", (256, 256))]
    path.write_bytes(build({"general.architecture": "\x1b]0;owned\x07[red]x"}, tensors))
    answer = run("estimate", path, *CARD)
    one_line(answer, answer.code)
    assert answer.code in (1, 2) and "\x1b" not in answer.err and "\x07" not in answer.err


def test_an_unknown_architecture_is_not_modelled_instead_of_guessed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    metadata = {"general.architecture": "brandnew", "brandnew.block_count": 1}
    path.write_bytes(build(metadata, [TensorInfo("token_embd.weight", (256, 256))]))
    one_line(run("estimate", path, *CARD), 1, "brandnew", "not modelled")
    assert run("estimate", path, *CARD, "--json").document["error"]["code"] == "not_modelled"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu", "RTX 3091"), "Did you mean GeForce RTX 3090"),
        (("--gpu", ""), "--gpu"),
        (("--gpu", "99x RTX 3090"), "16"),
        (("--gpu", "0x RTX 3090"), "number of cards"),
        (("--gpu", "none", "--gpu", "RTX 3090"), "none"),
        (("--gpu", "none", "--vram-free", "9GiB"), "no GPU"),
        ((*CARD, "--ram", "64 bananas"), "64 bananas"),
        ((*CARD, "--ram", "-1"), "not a size"),
        ((*CARD, "--ram", "1e99"), "not a size"),
        ((*CARD, "--ram", "9" * 400 + "GiB"), "not a size"),
        ((*CARD, "--ram", "NaN"), "not a size"),
        ((*CARD, "--ram", "٣٢"), "not a size"),
        ((*CARD, "--ram", "64"), "unit"),
        ((*CARD, "--ram-bandwidth", "fast"), "bandwidth"),
        ((*CARD, "--ram-bandwidth", "inf"), "bandwidth"),
        ((*CARD, "--vram-free", "9GiB,9GiB"), "2 sizes for 1 card"),
        ((*CARD, "--vram-free", "90GiB"), "24.0 GiB"),
        ((*CARD, "--context", "0"), "out of range"),
        ((*CARD, "--context", "-5"), "not a number of tokens"),
        ((*CARD, "--context", "lots"), "Write 32768 or 32k"),
        ((*CARD, "--context", "9" * 5000), "not a number of tokens"),
        ((*CARD, "--depth", "-1"), "depth"),
        ((*CARD, "--depth", "1.5"), "depth '1.5': not a whole number of tokens"),
        ((*CARD, "--depth", "999999999999"), "It must be 0 to"),
        ((*CARD, "--prompt", "1.5"), "prompt '1.5': not a whole number of tokens"),
        ((*CARD, "--prompt", "1.0"), "not a whole number of tokens"),
        ((*CARD, "--prompt", "0"), "It must be 1 to"),
        ((*CARD, "--context", "4096.5"), "not a whole number of tokens"),
        ((*CARD, "--context", "4096", "--depth", "8k"), "larger context"),
        ((*CARD, "--tensor-split", "0,0"), "tensor split"),
        ((*CARD, "--tensor-split", "nan,1"), "not a list of proportions"),
        ((*CARD, "--tensor-split", "1,2,3"), "3 proportions"),
        ((*CARD, "--tensor-split", "-1,2"), "tensor-split"),
        ((*CARD, "--quant", "Q4_K_M"), "Leave it out"),
        ((*CARD, "--cache-type-k", "q9_9"), "One of f32, f16, "),
        ((*CARD, "--cache-type-v", "Q8_0"), "'Q8_0': unknown"),
        ((*CARD, "--gpu-layers", "9", "--cache-type-k", "q9_9"), "One of f32, f16, "),
        (("--gpu", "none", "--ram", "64GiB", "--cache-type-k", "q9_9"), "One of f32, f16, "),
        ((*CARD, "--cache-type-v", "q8_0", "--flash-attn", "off"), "flash attention"),
        ((*CARD, "--flash-attn", "maybe"), "--flash-attn"),
        ((*CARD, "--parallel", "0"), "--parallel '0': must be 1 to 256. Write a number of slots or auto."),
        ((*CARD, "--parallel", "-1"), "--parallel '-1': must be 1 to 256."),
        ((*CARD, "--parallel", "1000"), "--parallel '1000': must be 1 to 256."),
        ((*CARD, "--parallel", "many"), "parallel"),
        ((*CARD, "--parallel", "99999"), "parallel"),
        ((*CARD, "--gpu-layers", "lots"), "all or auto"),
        ((*CARD, "--gpu-layers", "-3"), "gpu-layers"),
        ((*CARD, "--cpu-moe", "--n-cpu-moe", "3"), "contradicts"),
        ((*CARD, "--ubatch", "0"), "--ubatch"),
        ((*CARD, "--batch", "2.5"), "--batch"),
        ((*CARD, "--override-tensor", "x"), "REGEX=DEVICE"),
        ((*CARD, "--override-tensor", "(((=CPU"), "(((=CPU"),
        ((*CARD, "--override-tensor", "blk=CUDA9"), "CUDA9"),
        ((*CARD, "--override-tensor", "blk=TPU0"), "TPU0"),
        ((*CARD, "--mmproj", "nowhere.gguf"), "no such file"),
        ((*CARD, "--machine", "m.json"), "contradicts"),
        (("--machine", "nowhere.json"), "no such file"),
        (("--machine", "."), "directory"),
        ((*CARD, "--spec", "s.json"), "contradicts"),
        ((*CARD, "--frobnicate"), "--frobnicate"),
        ((*CARD, "--cont", "4096"), "--cont"),
        ((*CARD, "extra"), "extra"),
        ((*CARD, "--split-mode", "row"), "--split-mode"),
    ],
)
def test_nonsense_options(run: Run, llama: Path, arguments: tuple[str, ...], said: str) -> None:
    one_line(run("estimate", llama, *arguments), 2, said)
    as_json = run("estimate", llama, *arguments, "--json")
    assert as_json.code == 2 and as_json.err == ""
    assert set(as_json.document) == {"error"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), "frobnicate"),
        (("estimate",), "MODEL"),
        (("estimate", ""), "MODEL"),
        (("estimate", "Lamma-3.3-70B-Instruct"), "Did you mean Llama-3.3-70B-Instruct"),
        (("estimate", "llama-3.1"), "could mean"),
        (("estimate", "Llama-3.3-70B", "--quant", "Q9_Z"), "Q9_Z"),
        (("estimate", "hf:"), "hf:OWNER/REPO"),
        (("estimate", "hf:one/two/three"), "hf:OWNER/REPO"),
        (("estimate", "--spec", "nowhere.json"), "nowhere.json"),
        (("catalog", "show", "Lamma-3.3-70B-Instruct"), "Did you mean"),
        (("catalog", "show"), "MODEL"),
        (("catalog", "frobnicate"), "frobnicate"),
        (("catalog", "add", "nowhere.gguf"), "nowhere.gguf"),
        (("recommend", "--use-case", "cooking"), "general"),
        (("recommend", "--limit", "0"), "--limit"),
        (("recommend", "--limit", "-1"), "--limit"),
        (("recommend", "--min-tps", "nan"), "--min-tps"),
        (("recommend", "--context", "0"), "out of range"),
        (("hardware", "--gpu", "Voodoo 2"), "Voodoo 2"),
        (("hardware", "--vram-free"), "--vram-free"),
    ],
)
def test_nonsense_commands(run: Run, arguments: tuple[str, ...], said: str) -> None:
    one_line(run(*arguments), 2, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("[]", "machine"),
        ("null", "machine"),
        ("{}", "neither gpus nor ram"),
        ('{"schema": "llmfit.estimate/1"}', "schema"),
        ('{"gpus": "RTX 3090"}', "gpus"),
        ('{"gpus": [{"name": 5, "vendor": "nvidia", "backend": "cuda"}]}', "gpus[0].name"),
        (
            '{"gpus": [{"name": "x", "vendor": "nvidia", "backend": "cuda", "vram_total_bytes": "24"}]}',
            "vram",
        ),
        ('{"gpus": [{"name": "x", "vendor": "nvidia", "backend": "cuda", "vram_total_bytes": -1}]}', "vram"),
        ('{"ram": {"total_bytes": 1e99}}', "ram.total_bytes"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_machine_files_that_are_none(run: Run, llama: Path, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(content)
    one_line(run("estimate", llama, "--machine", path), 2, said)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"architecture": "llama"}', '{"architecture": 5}'])
def test_specs_that_are_none(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(content)
    one_line(run("estimate", "--spec", path, *CARD), 2, "spec")


def test_the_app_needs_a_terminal(run: Run) -> None:
    one_line(run(), 1, "terminal", "llmfit recommend --json")


def test_broken_rows_of_the_users_own_stop_nothing(run: Run, own_rows: Path, llama: Path) -> None:
    own_rows.mkdir()
    (own_rows / "models.jsonl").write_text('not json\n{"id": 5}\n')
    assert run("estimate", "Llama-3.3-70B", "--quant", "Q4_K_M", *CARD, "--json").code == 0


# ---------------------------------------------------------------- in a process of its own


def llmfit(*arguments: object, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
    changed = {**os.environ, **{key: value for key, value in environment.items() if value is not None}}
    for key in (key for key, value in environment.items() if value is None):
        changed.pop(key, None)
    command = [sys.executable, "-m", "llmfit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=changed, cwd=ROOT, check=False)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    command = f"{sys.executable} -m llmfit catalog list | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, check=False)
    assert done.stderr == b""
    assert done.stdout.splitlines()[-1] == b"0"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
def test_a_full_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "llmfit", "catalog", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"llmfit: error: output: ") and done.stderr.count(b"\n") == 1


def test_no_home_and_a_folder_that_cannot_be_read(llama: Path) -> None:
    home = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "LLMFIT_CATALOG"))
    assert llmfit("estimate", llama, *CARD, **home).returncode == 0
    assert llmfit("estimate", llama, *CARD, LLMFIT_CATALOG="/dev/null/none").returncode == 0


def test_a_folder_that_cannot_be_written(llama: Path) -> None:
    done = llmfit("catalog", "add", llama, "--id", "me/mine", LLMFIT_CATALOG="/dev/null/none")
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(b"llmfit: error: ") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode(llama: Path, encoding: str) -> None:
    done = llmfit("estimate", llama, *CARD, LC_ALL="C", PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and done.stderr == b""
    assert b"fits on the GPU" in done.stdout
    as_json = llmfit("estimate", llama, *CARD, "--json", LC_ALL="C", PYTHONIOENCODING=encoding)
    assert json.loads(as_json.stdout)["verdict"] == "fits_gpu"


def test_closed_standard_streams(llama: Path) -> None:
    command = f"{sys.executable} -m llmfit estimate '{llama}' --gpu 'RTX 3090' >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0 and done.stderr == b""
