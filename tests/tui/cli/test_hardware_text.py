"""llmfit hardware for people: every fact in its line with its source, who holds memory, what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GIB = 2**30
MACHINE: dict[str, Any] = {
    "os": "linux",
    "cpu": {"name": "AMD Ryzen 9 7950X", "physical_cores": 16, "logical_cores": 32, "features": ["avx2"]},
    "ram": {
        "total_bytes": 64 * GIB,
        "available_bytes": 40 * GIB,
        "bandwidth_bytes_per_s": 61 * 10**9,
        "bandwidth_source": "measured 2026-11-22",
        "peak_bandwidth_bytes_per_s": 96 * 10**9,
        "memory_type": "DDR5",
        "channels": 2,
        "transfer_rate_mt_s": 6000,
        "swap_total_bytes": 8 * GIB,
        "swap_free_bytes": 7 * GIB,
    },
    "gpus": [
        {
            "name": "NVIDIA GeForce RTX 3090",
            "vendor": "nvidia",
            "backend": "cuda",
            "vram_total_bytes": 24 * GIB,
            "vram_free_bytes": 20 * GIB,
            "bandwidth_bytes_per_s": 936 * 10**9,
            "driver": "550.54.14",
            "pcie": {"generation": 4, "width": 8, "max_width": 16},
            "processes": [
                {"pid": 812, "name": "Xorg", "vram_bytes": 900 * 2**20},
                {"pid": 2044, "name": "fire\u001b[2Jfox", "vram_bytes": 1536 * 2**20},
                {"pid": 9, "name": "ghost", "vram_bytes": None},
                {"pid": 4000000001, "name": "", "vram_bytes": None},
            ],
            "sources": {"vram_total_bytes": "nvml", "bandwidth_bytes_per_s": "catalog"},
        }
    ],
    "llama_server": {"path": "/b/llama-server", "version": "12000 (a)", "build": 12000, "backends": ["cpu"]},
    "llama_servers": [
        {"path": "/b/llama-server", "version": "12000 (a)", "build": 12000, "backends": ["cpu"]},
        {"path": "/c/llama-server", "problem": "The shared library libcudart.so.12 is missing."},
    ],
    "disks": [{"path": "/data", "total_bytes": 1000 * GIB, "free_bytes": 400 * GIB}],
    "notes": ["The NVIDIA driver keeps something to itself."],
}


@pytest.fixture
def text(run, tmp_path: Path):
    def show(**changes: Any) -> str:
        path = tmp_path / "machine.json"
        path.write_text(json.dumps({**MACHINE, **changes}))
        answer = run("hardware", "--machine", path)
        assert answer.code == 0 and answer.err == ""
        return answer.out

    return show


def line_with(text: str, words: str) -> str:
    (line,) = [line for line in text.splitlines() if words in line]
    return line


def test_facts_stand_in_lines_with_their_sources(text) -> None:
    shown = text()
    assert shown.splitlines()[0] == "RTX 3090 · 64 GiB RAM"
    assert line_with(shown, "(catalog)").split() == ["bandwidth", "936", "GB/s", "(catalog)"]
    assert line_with(shown, "(nvml)").split()[-2:] == ["GiB", "(nvml)"]
    assert "61 GB/s (measured 2026-11-22)" in shown
    for fact in ("DDR5", "6000 MT/s", "550.54.14", "AMD Ryzen 9 7950X", "x16", "/data", "400.0 GiB"):
        assert fact in shown, fact
    assert all(len(line) <= 78 for line in shown.splitlines())


def test_programs_that_hold_vram_the_largest_first(text) -> None:
    shown = text()
    order = [shown.index(name) for name in ("1.50 GiB", "Xorg 900 MiB", "ghost size not known")]
    assert order == sorted(order)
    assert "a program size not known, process 4000000001" in shown and "unknown" not in shown
    assert "process 2044" in shown and "\x1b" not in shown


def test_a_cpu_only_build_is_said_before_everything_else(text) -> None:
    shown = " ".join(text().split())
    assert shown.startswith(
        "RTX 3090 · 64 GiB RAM ! The llama-server is a CPU-only build, but this machine has NVIDIA GeForce "
        "RTX 3090: every command would use the CPU alone (/b/llama-server). Take a llama.cpp release"
    )


def test_every_llama_server_with_its_trouble(text) -> None:
    shown = text()
    assert shown.index("/b/llama-server\n") < shown.index("/c/llama-server\n")
    assert "libcudart.so.12 is missing" in shown


def test_notes_come_last_and_once(text) -> None:
    assert text().rstrip().endswith("- The NVIDIA driver keeps something to itself.")
    assert text().count("keeps something") == 1


def test_a_machine_of_which_nothing_is_known(text) -> None:
    shown = text(cpu={}, ram={}, gpus=[], llama_server=None, llama_servers=[], disks=[], notes=[])
    assert shown.startswith("no GPU\n") and "not known" in shown
