"""llmfit doctor: lines for people, one JSON document for programs, and nothing that names a person."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmfit.advisor.diagnosis.findings import OK, PROBLEM, Finding
from llmfit.advisor.hardware.machine import LlamaServer
from llmfit.advisor.server import find as llama_server
from llmfit.catalog import pitfalls
from llmfit.catalog.pitfalls import general_pitfalls, pitfalls_of_machine
from llmfit.tui import llama_servers, surroundings
from llmfit.tui.cli.doctor import MARKS, finding_lines
from llmfit.tui.config import CONFIG_VARIABLE, user_config
from llmfit.tui.known_pitfalls import MAX_SHOWN, few_of, pitfall_findings
from llmfit.tui.privacy import Mask, user_names
from llmfit.tui.session import machine_from
from tests.advisor.server.fake_servers import server_script, write_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
UUID = "GPU-5c0f2a4e-1111-2222-3333-444455556666"
MACHINE: dict[str, Any] = {
    "ram": {"total_bytes": 2**36, "available_bytes": 2**35},
    "gpus": [
        {
            "name": "NVIDIA GeForce RTX 3090",
            "vendor": "nvidia",
            "backend": "cuda",
            "uuid": UUID,
            "vram_total_bytes": 24 * 2**30,
            "vram_free_bytes": 23 * 2**30,
            "processes": [{"pid": 7, "name": "Xorg", "vram_bytes": 2**30}],
            "sources": {"vram_total_bytes": "nvml"},
        }
    ],
    "llama_server": {
        "path": "/opt/x/llama-server",
        "version": "12000 (a)",
        "build": 12000,
        "backends": ["cpu"],
    },
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with nothing in it, and no llama-server anywhere."""
    folder = tmp_path / "home" / "ann"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(llama_server, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    return folder


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A machine file: one RTX 3090 and a llama-server without CUDA."""
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(MACHINE))
    return path


def test_this_machine_as_json(run, home: Path) -> None:
    answer = run("doctor", "--json")
    assert answer.code == 0 and answer.err == ""
    document = answer.document
    assert list(document) == ["schema", "version", "findings", "machine"]
    assert document["schema"] == "llmfit.doctor/1"
    assert document["machine"]["ram"]["total_bytes"] > 0 and "schema" not in document["machine"]
    for finding in document["findings"]:
        assert list(finding) == ["level", "subject", "text", "source", "fix"]
        assert finding["level"] in MARKS and finding["text"] and finding["source"]
    subjects = {finding["subject"] for finding in document["findings"]}
    assert {
        "llmfit",
        "system",
        "Python",
        "package",
        "terminal",
        "CPU",
        "RAM",
        "llama-server",
        "models",
    } <= subjects
    assert [f["text"] for f in document["findings"]].count(
        "none was found: commands are shown, and cannot be run here."
    ) == 1


def test_lines_carry_a_word_beside_the_glyph_and_the_sum_comes_last(run, card: Path, home: Path) -> None:
    answer = run("doctor", "--machine", card)
    assert answer.code == 0
    *lines, empty, summary = answer.out.splitlines()
    assert empty == "" and summary.startswith("1 problem, ") and summary.endswith(" warnings.")
    assert all(len(line) <= 78 or max(map(len, line.split())) > 40 for line in lines)
    starts = [line for line in lines if not line.startswith(" ")]
    assert starts and all(line.startswith(tuple(MARKS.values())) for line in starts)
    (problem,) = [number for number, line in enumerate(lines) if line.startswith("✗ problem")]
    told = " ".join(" ".join(lines[problem : problem + 8]).split())
    assert "The llama-server is a CPU-only build, but this machine has NVIDIA GeForce RTX 3090" in told
    assert "fix: Take a llama.cpp release for this GPU, or build llama.cpp with cmake -DGGML_CUDA=ON." in told
    assert "held by Xorg 1.0 GiB." in answer.out


def test_a_simulated_machine(run, home: Path) -> None:
    findings = run("doctor", "--gpu", "2x RTX 3090", "--json").document["findings"]
    assert {"GPU0", "GPU1"} <= {finding["subject"] for finding in findings}
    assert not [finding for finding in findings if finding["level"] == "problem"]
    assert [f["source"] for f in findings if f["subject"] == "machine"] == ["--gpu"]


def test_a_machine_file_has_nothing_of_this_computer(run, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "arm.json"
    cpu = {"name": "Neoverse N1", "features": ["neon"]}
    path.write_text(json.dumps({"cpu": cpu, "ram": {"total_bytes": 2**36, "available_bytes": 2**35}}))
    findings = run("doctor", "--machine", path, "--json").document["findings"]
    assert [f["source"] for f in findings if f["subject"] == "machine"] == ["--machine"]
    assert [f["text"] for f in findings if f["subject"] == "llama-server" and f["level"] != "ok"] == [
        "not looked for: the machine is described."
    ]
    told = " ".join(f"{f['text']} {f['fix']}" for f in findings)
    assert "AVX2" not in told and "--measure" not in told and "/dev/dri" not in told


def test_sizes_that_an_option_gives_name_it(
    run, home: Path, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sources(*options: object) -> dict[str, set[str]]:
        findings = run("doctor", *options, "--json").document["findings"]
        subjects = ("RAM", "CPU", "disk")
        found = {what: {f["source"] for f in findings if f["subject"] == what} for what in subjects}
        found["RAM"] = {f["source"] for f in findings if f["text"].startswith(("8.0 GiB", "64.0 GiB"))}
        return found

    document = {**MACHINE, "cpu": {"name": "AMD Ryzen 9 7950X"}}
    card.write_text(json.dumps(document))
    here = sources("--ram", "8GiB")
    assert here["RAM"] == {"--ram"} and here["CPU"] == here["disk"] == {"system"}
    assert sources("--gpu", "RTX 3090")["RAM"] == {"simulated"}
    assert sources("--gpu", "RTX 3090", "--ram", "8GiB")["RAM"] == {"--ram"}
    monkeypatch.chdir(card.parent)  # a long path would be cut
    described = sources("--machine", card.name)
    assert described["RAM"] == described["CPU"] == {"machine.json"}


def test_a_server_that_hangs_is_waited_for_once(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = llama_servers.ask_llama_servers

    def spy(servers: Any, **how: Any) -> Any:
        asked.append(how["afresh"])
        return real(servers, **how)

    monkeypatch.setattr(llama_servers, "ask_llama_servers", spy)
    for command in (("doctor",), ("hardware",), ("hardware", "--json")):
        assert run(*command).code == 0
        assert asked == [True], command
        asked.clear()


def test_llama_servers_are_asked_and_told(run, home: Path) -> None:
    write_program(home / ".local/bin/llama-server", server_script())
    write_program(home / "llama.cpp/build/bin/llama-server", "exit 1")
    findings = run("doctor", "--json").document["findings"]
    told = {f["level"]: f for f in findings if f["subject"] == "llama-server" and "~/" in f["text"]}
    assert told["ok"]["text"].startswith("~/.local/bin/llama-server (llmfit takes this one): 0.6.0-dev")
    assert told["warning"]["text"] == (
        "~/llama.cpp/build/bin/llama-server. It ended with exit code 1: and said nothing."
    )
    assert told["warning"]["fix"]


def test_models_broken_ones_by_name(run, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, config = home / "gguf", tmp_path / "c.toml"
    folder.mkdir()
    (folder / "broken.gguf").write_bytes(b"GGUF")
    config.write_text(f'model_folders = ["{folder}"]\nmodel_folder = 3')
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    user_config.cache_clear()
    findings = run("doctor", "--json").document["findings"]
    assert [f for f in findings if f["subject"] == "models" and "~/gguf/broken.gguf: " in f["text"]]
    assert [
        f for f in findings if f["subject"] == "configuration" and '"model_folder" is no setting' in f["text"]
    ]


def test_the_users_own_rows_that_cannot_be_read(run, home: Path, own_rows: Path) -> None:
    own_rows.mkdir()
    (own_rows / "models.jsonl").write_text("{}\n")
    findings = run("doctor", "--json").document["findings"]
    assert [f for f in findings if f["subject"] == "catalogue" and "models.jsonl:1" in f["text"]]


def test_variables_values_only_of_those_that_cannot_be_secret(
    run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{UUID},\x1b[2J")
    monkeypatch.setenv("LLAMA_ARG_HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LLAMA_API_KEY", "sk-secret")
    out = run("doctor").out
    assert "LLAMA_ARG_HF_TOKEN" in out and "secret" not in out
    assert "CUDA_VISIBLE_DEVICES=GPU-xxxx…" in out and "\x1b" not in out


def test_no_uuid_home_or_user_gets_out(
    run, home: Path, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmfit.tui.cli.doctor.user_names", lambda: frozenset({"ann"}))
    document = dict(MACHINE)
    document["llama_server"] = {"path": f"{home}/llama-server", "problem": "It is at /media/ann/disk."}
    document["notes"] = [f"Card {UUID} is lost. {home}"]
    card.write_text(json.dumps(document))
    for options in ((), ("--json",)):
        out = run("doctor", "--machine", card, *options).out
        assert UUID not in out and UUID[4:12] not in out
        assert str(home) not in out and "/ann/" not in out
        assert "~/llama-server" in out and "/media/USER/disk" in out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/homes/ann/x and /homes/ann", "~/x and ~"),
        ("/homes/anna/x /homes/ann.bak/x", "/homes/anna/x /homes/USER.bak/x"),
        ("It is at /homes/ann.", "It is at ~."),
        ("/media/ann/x /run/user/ann", "/media/USER/x /run/user/USER"),
        ("an announcement to ann", "an announcement to ann"),
        ("MIG-5c0f2a4e-1111-2222-3333-444455556666", "MIG-xxxx…"),
        ("serial 0xabcdef0123", "serial xxxx…"),
        ("/data/ann_models and /data/models-ann", "/data/USER_models and /data/models-USER"),
        ("/data/annex /data/joann", "/data/annex /data/joann"),
        ("/mnt/the disk of ann/x: ann", "/mnt/the disk of USER/x: ann"),
        ("CUDA_VISIBLE_DEVICES=GPU-8932f937,GPU-5c0f2a4e-11", "CUDA_VISIBLE_DEVICES=GPU-xxxx…,GPU-xxxx…"),
        ("MIG-GPU-5c0f2a4e-1111-2222-3333-444455556666/1/0", "MIG-GPU-xxxx…/1/0"),
        ("GPU-0, a GPU-accelerated MIG-1g", "GPU-0, a GPU-accelerated MIG-1g"),
    ],
)
def test_what_is_hidden(text: str, shown: str) -> None:
    assert Mask(Path("/homes/ann"), {"ann"}, frozenset({"0xabcdef0123", "short"}))(text) == shown


@pytest.mark.parametrize("top", ["home", "Users", "var/home"])
def test_every_folder_of_a_person_is_hidden(top: str) -> None:
    """Root sees everybody's."""
    hide = Mask(Path("/") / "root", {"root"})
    assert hide(f"/{top}/eve.smith/llama.cpp: x") == f"/{top}/USER/llama.cpp: x"
    assert hide(f"It is at /{top}/eve.") == f"It is at /{top}/USER."
    for nobody in ("home/linuxbrew/.linuxbrew", "Users/Shared/x"):
        assert hide(f"/{nobody}") == f"/{nobody}"


def test_who_called_sudo_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    assert "ann" in user_names()
    assert Mask(None, user_names())("/data/ann/x") == "/data/USER/x"


def test_a_place_on_the_bus_is_no_secret(run, card: Path, home: Path) -> None:
    """Cards that tell no UUID have their bus in its place; sentences name it so that people find the card."""
    document = json.loads(json.dumps(MACHINE))
    document["gpus"][0] |= {"uuid": "0000:03:00.0", "pci_bus": "0000:03:00.0"}
    document["notes"] = ["The card at 0000:03:00.0 has a note."]
    card.write_text(json.dumps(document))
    assert "The card at 0000:03:00.0 has a note." in run("doctor", "--machine", card).out


def test_nothing_is_hidden_where_nothing_is_known() -> None:
    assert Mask(None)("/homes/ann/x") == "/homes/ann/x"
    assert Mask(Path("/"), {"root", "x"})("/x/root /") == "/x/root /"


def test_long_words_stay_whole_and_escape_sequences_are_shown() -> None:
    path = "/" + "x" * 100
    lines = list(finding_lines([Finding(PROBLEM, "a", f"see {path} \x1b[2J", "b", "do it")], 60))
    assert any(path in line for line in lines) and "\x1b" not in "".join(lines)
    assert lines[-1] == "1 problem, 0 warnings."
    assert any(line.strip() == "fix: do it" for line in lines)
    assert next(finding_lines([Finding(OK, "a", "b.", "c")])) == "✓ ok       a  b. (c)"


def test_an_encoding_without_the_glyphs_keeps_the_words(home: Path) -> None:
    import subprocess

    command = [sys.orig_argv[0], "-m", "llmfit", "doctor", "--gpu", "RTX 3090"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)
    assert done.returncode == 0 and b"+ ok       llmfit" in done.stdout, done.stderr


# ---------------------------------------------------------------- what is read of this computer


@pytest.mark.parametrize(
    ("environ", "file", "container"),
    [
        ({}, None, None),
        ({}, ".dockerenv", "Docker"),
        ({}, "run/.containerenv", "Podman"),
        ({"container": "lxc"}, None, "lxc"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ".dockerenv", "Kubernetes"),
    ],
)
def test_containers(tmp_path: Path, environ: dict[str, str], file: str | None, container: str | None) -> None:
    if file is not None:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert surroundings._container(environ, tmp_path) == container


def test_device_files(tmp_path: Path) -> None:
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    (tmp_path / "dev/kfd").touch(mode=0o000)
    found = {file.path: file for file in surroundings._device_files(tmp_path)}
    assert set(found) == {"/dev/dri/renderD128", "/dev/kfd"}
    assert found["/dev/dri/renderD128"].is_accessible
    assert found["/dev/kfd"].is_accessible is (os.geteuid() == 0)


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert surroundings._folder(tmp_path / "a" / "b", "x").problem is None
    assert "is no folder" in (surroundings._folder(tmp_path / "file", "x").problem or "")
    assert surroundings._folder(tmp_path / ("n" * 300), "x").problem is not None


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm-256color"}, 256),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, 2**24),
        ({"TERM": "xterm"}, 16),
        ({"TERM": "dumb"}, 0),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 0),
        ({}, 0),
    ],
)
def test_colours(environ: dict[str, str], colours: int) -> None:
    assert surroundings._terminal(environ).colours == colours


# ---------------------------------------------------------------- known pitfalls


def known_issues(run, *options: object) -> list[dict[str, Any]]:
    findings = run("doctor", *options, "--json").document["findings"]
    return [finding for finding in findings if finding["subject"] == "known issue"]


def test_known_pitfalls_are_those_of_this_hardware_and_of_llama_server(run, home: Path) -> None:
    here = known_issues(run, "--gpu", "RTX 5090")
    wanted = [
        row
        for row in (*pitfalls_of_machine(machine_from({"gpu": "RTX 5090"})), *general_pitfalls())
        if row.severity in ("critical", "high")
    ]
    assert len(wanted) > MAX_SHOWN and wanted[0].id == "cuda/iq-files-cuda-13.2"
    assert [(f["source"], f["fix"]) for f in here] == [(row.source, row.fix) for row in wanted]
    assert all(row.symptom in f["text"] for f, row in zip(here, wanted, strict=True))
    assert {f["level"] for f in here} == {"note"}, "a report of others is not a finding here"
    told = " ".join(f["text"] for f in here)
    assert "CUDA 13.2" in told and "Metal" not in told and "AMD" not in told
    others = " ".join(f["text"] for f in known_issues(run, "--gpu", "2x RX 7900 XTX"))
    assert "several AMD cards" in others and "CUDA" not in others
    assert len(known_issues(run, "--gpu", "none")) == len(here) - 2, "those of llama-server are for all"


def test_few_of_them_are_shown_and_the_rest_is_counted(run, home: Path) -> None:
    out = run("doctor", "--gpu", "RTX 5090").out
    rows = [line for line in out.splitlines() if "known issue" in line]
    rest = len(known_issues(run, "--gpu", "RTX 5090")) - MAX_SHOWN
    assert len(rows) == MAX_SHOWN + 1 and rest > 0
    assert f"{rest} more are known" in rows[-1]
    assert "CUDA 13.2" in rows[0], "what is of this hardware comes first"
    assert few_of(()) == () and "known issue" not in " ".join(finding_lines(few_of(())))


def test_what_a_server_is_too_new_for_is_left_out(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [replace(row, min_build=11000) for row in pitfalls.all_pitfalls() if not row.is_of_models]
    monkeypatch.setattr(pitfalls, "all_pitfalls", lambda: rows)
    old, new = (
        replace(machine_from({"gpu": "RTX 5090"}), llama_server=LlamaServer("llama-server", build=build))
        for build in (10999, 11000)
    )
    assert pitfall_findings(new) == ()
    assert "gone since b11000" in pitfall_findings(old)[-1].text
