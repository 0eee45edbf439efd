"""Each finding of a diagnosis: when it is there, how loud it is, and what it tells a person to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.diagnosis.diagnose import count_levels, diagnose
from llmfit.advisor.diagnosis.findings import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    DeviceFile,
    Folder,
    ModelFiles,
    Package,
    Surroundings,
    Terminal,
)
from llmfit.advisor.hardware.machine import (
    Cpu,
    Disk,
    Machine,
    Memory,
    Partition,
    VramProcess,
)
from llmfit.advisor.units import GB, GIB
from tests.advisor.diagnosis.machines import AROUND, CARD, SOUND, about, the_one


def test_a_sound_machine_has_nothing_to_complain_about() -> None:
    findings = diagnose(SOUND, AROUND)
    assert {finding.level for finding in findings} == {OK}
    assert count_levels(findings) == "0 problems, 0 warnings."
    assert all(finding.source and finding.text.endswith(".") for finding in findings)


def test_findings_are_grouped_by_subject() -> None:
    machine = replace(SOUND, gpus=(CARD, replace(CARD, index=1)), notes=("a note.",))
    subjects = [finding.subject for finding in diagnose(machine, AROUND)]
    changes = [
        subject for subject, before in zip(subjects, [None, *subjects], strict=False) if subject != before
    ]
    assert len(changes) == len(set(changes)), changes
    assert changes.index("GPU0") < changes.index("GPU1") < changes.index("llama-server")


def test_every_note_of_the_probes_is_there_once() -> None:
    machine = replace(SOUND, notes=("Card 0 does not tell its power draw.", "b.", "b."))
    texts = [finding.text for finding in diagnose(machine, AROUND)]
    assert texts.count("Card 0 does not tell its power draw.") == texts.count("b.") == 1


@pytest.mark.parametrize(
    ("changes", "words", "level", "fix"),
    [
        ({"cpu": Cpu("Old", 4, 8, ("avx",))}, ("no AVX2", "avx"), WARNING, "GGML_NATIVE"),
        ({"memory": Memory(None, None)}, ("its size is not known",), WARNING, "--ram"),
        ({"memory": Memory(64 * GIB, GIB)}, ("only 1.0 GiB are available",), WARNING, "Close"),
        ({"memory": Memory(64 * GIB, 50 * GIB)}, ("its bandwidth is not known",), WARNING, "--measure"),
        ({"memory": Memory(64 * GIB, 9 * GIB, limit_bytes=10 * GIB)}, ("limits", "10.0 GiB"), NOTE, None),
        (
            {"memory": replace(SOUND.memory, peak_bandwidth_bytes_per_s=60 * GB)},
            ("60 GB/s, the peak of its type",),
            NOTE,
            "--measure",
        ),
        (
            {"memory": replace(SOUND.memory, swap_total_bytes=8 * GIB, swap_free_bytes=5 * GIB)},
            ("3.0 GiB of 8.0 GiB swap",),
            WARNING,
            "Close",
        ),
        ({"gpus": ()}, ("everything runs on the CPU",), NOTE, None),
        ({"disks": (Disk("/home", 100 * GIB, GIB),)}, ("1.0 GiB of 100.0 GiB", "/home"), WARNING, "room"),
    ],
)
def test_the_host(changes: dict, words: tuple[str, ...], level: str, fix: str | None) -> None:
    finding = the_one(replace(SOUND, **changes), AROUND, *words)
    assert finding.level == level
    assert (fix is None and finding.fix is None) or (fix or "") in (finding.fix or "")


def test_an_option_gives_the_size_of_the_ram_and_nothing_else_of_it() -> None:
    memory = Memory(8 * GIB, 8 * GIB, swap_total_bytes=8 * GIB, swap_free_bytes=5 * GIB)
    around = replace(AROUND, ram_source="--ram", machine_source="other.json")
    found = about("RAM", replace(SOUND, memory=memory), around)
    assert [finding.source for finding in found] == ["--ram", "--ram", "other.json", "other.json"]


def test_no_avx2_is_no_trouble_of_an_arm_cpu_or_of_an_unknown_one() -> None:
    arm = replace(SOUND, cpu=Cpu("Grace", 72, 72, ("neon", "sve")))
    assert not [f for f in diagnose(arm, replace(AROUND, architecture="aarch64")) if "AVX2" in f.text]
    unknown = replace(SOUND, cpu=Cpu(None, None, None))
    assert not [f for f in diagnose(unknown, AROUND) if "AVX2" in f.text]


@pytest.mark.parametrize(
    ("changes", "words", "level"),
    [
        ({"vram_total_bytes": None}, ("memory size is not known",), WARNING),
        ({"vram_free_bytes": None}, ("what is free is not known",), WARNING),
        ({"bandwidth_bytes_per_s": None}, ("bandwidth is not known",), WARNING),
        ({"sources": {"bandwidth_bytes_per_s": "estimated: middle"}}, ("only estimated",), WARNING),
        ({"pcie_width": 4, "pcie_max_width": 16}, ("4 of 16 PCIe lanes",), WARNING),
        ({"power_limit_w": 250.0}, ("250 W", "350 W"), NOTE),
        ({"vram_reserved_bytes": 300 * 2**20}, ("300 MiB are the driver's",), OK),
        ({"unified_memory": True, "carve_out_bytes": 8 * GIB}, ("shares the RAM", "8.0 GiB"), NOTE),
        ({"partition": Partition("A100", "GPU-1", 0.5, 3 / 7)}, ("slice (MIG)", "50% of the memory"), NOTE),
    ],
)  # fmt: skip
def test_a_card(changes: dict, words: tuple[str, ...], level: str) -> None:
    around = replace(AROUND, default_power_limits_w={0: 350.0})
    finding = the_one(replace(SOUND, gpus=(replace(CARD, **changes),)), around, *words)
    assert (finding.level, finding.subject) == (level, "GPU0")


@pytest.mark.parametrize("driver", ["550.54", "580.10", None])
def test_what_cuda_shows_of_slices_is_left_to_the_note_that_knows_the_driver(driver: str | None) -> None:
    card = replace(CARD, driver=driver, partition=Partition("A100", "GPU-1", 0.5, 3 / 7))
    finding = the_one(replace(SOUND, gpus=(card,)), AROUND, "slice (MIG)")
    assert "CUDA_VISIBLE_DEVICES" in (finding.fix or "")
    assert "shows" not in finding.text + (finding.fix or "")


def test_the_usual_power_limit_is_no_finding() -> None:
    around = replace(AROUND, default_power_limits_w={0: 350.0})
    assert not [finding for finding in diagnose(SOUND, around) if "power limit" in finding.text]


def test_programs_that_hold_vram_with_their_bytes_the_largest_first() -> None:
    programs = (VramProcess(1, "Xorg", GIB), VramProcess(2, "firefox", 12 * GIB), VramProcess(3, "x", None))
    card = replace(CARD, processes=programs, vram_free_bytes=11 * GIB)
    finding = the_one(replace(SOUND, gpus=(card,)), AROUND, "held by")
    assert finding.text == "held by firefox 12.0 GiB, Xorg 1.0 GiB, x size not known."
    assert finding.level == NOTE and finding.fix is not None


# ---------------------------------------------------------------- llama-server


def test_a_described_machine_has_nothing_of_this_computer() -> None:
    machine = replace(SOUND, simulated=True, described_by="--gpu", llama_server=None, llama_servers=())
    around = replace(
        AROUND,
        variables={"CUDA_VISIBLE_DEVICES": "0"},
        device_files=(DeviceFile("/dev/kfd", False, "render"),),
    )
    assert [(found.level, found.source) for found in about("llama-server", machine, around)] == [
        (NOTE, "--gpu")
    ]
    assert the_one(machine, around, "not this computer").level == NOTE
    texts = " ".join(finding.text for finding in diagnose(machine, around))
    assert "CUDA_VISIBLE_DEVICES" not in texts and "/dev/kfd" not in texts


# ---------------------------------------------------------------- what surrounds it


@pytest.mark.parametrize(
    ("changes", "words", "level"),
    [
        ({"packages": (Package("textual", None),)}, ("does not work without",), PROBLEM),
        ({"packages": (Package("xllamacpp", None, "no server"),)}, ("missing: no server",), NOTE),
        ({"container": "Docker"}, ("in a container (Docker)",), NOTE),
        ({"terminal": Terminal()}, ("none: the app needs one",), NOTE),
        ({"terminal": Terminal(59, 40, "xterm", min_columns=60)}, ("59 x 40", "60 x 0"), WARNING),
        ({"terminal": Terminal(60, 17, "xterm", min_lines=18)}, ("60 x 17", "0 x 18"), WARNING),
        ({"terminal": Terminal(60, 18, "xterm", min_columns=60, min_lines=18)}, ("60 x 18",), OK),
        ({"terminal": Terminal(90, 40, "xterm", encoding="ascii")}, ("written as ascii",), WARNING),
        ({"terminal": Terminal(90, 40, "dumb")}, ("TERM is dumb",), WARNING),
        ({"variables": {"CUDA_VISIBLE_DEVICES": "0"}}, ("CUDA_VISIBLE_DEVICES=0: it decides",), NOTE),
        ({"option_variables": ("LLAMA_ARG_DEVICE",)}, ("LLAMA_ARG_DEVICE",), WARNING),
        ({"device_files": (DeviceFile("/dev/kfd", False, "render"),)}, ("/dev/kfd", "render"), WARNING),
        ({"models": ModelFiles(1, GIB, broken=("a.gguf: cut off",))}, ("a.gguf: cut off",), WARNING),
        ({"models": ModelFiles(1, GIB, ("x: y",) * 12)}, ("2 more files",), WARNING),
        ({"models": ModelFiles(1, GIB, notes=("too many files.",))}, ("too many files",), NOTE),
        ({"models": ModelFiles(0, 0)}, ("no GGUF model",), NOTE),
        ({"config_problems": ("c: not TOML.",)}, ("not TOML",), WARNING),
        ({"catalog_problems": ("m.jsonl:3: no id",)}, ("m.jsonl:3: no id",), WARNING),
        ({"folders": (Folder("/c", "cache", "read-only"),)}, ("cannot be written: read-only",), WARNING),
        ({"has_embedded_server": True}, ("embedded", "CPU only", "no command of llmfit starts it"), NOTE),
    ],
)
def test_the_surroundings(changes: dict, words: tuple[str, ...], level: str) -> None:
    assert the_one(SOUND, replace(AROUND, **changes), *words).level == level


def test_a_closed_device_file_names_the_group_to_join() -> None:
    around = replace(AROUND, device_files=(DeviceFile("/dev/dri/renderD128", False, "render"),))
    assert "usermod -aG render" in (the_one(SOUND, around, "renderD128").fix or "")


def test_a_container_without_dev_dri() -> None:
    machine = replace(SOUND, gpus=(replace(CARD, vendor="amd", backend="rocm"),))
    finding = the_one(machine, replace(AROUND, container="Docker"), "no /dev/dri")
    assert "--device /dev/kfd" in (finding.fix or "")


def test_an_empty_machine_and_nothing_known_about_it() -> None:
    nothing = Machine("linux", Cpu(None, None, None), Memory(None, None))
    findings = diagnose(nothing, Surroundings("", "", "", ""))
    assert count_levels(findings) == "0 problems, 3 warnings."
