"""A sound machine and what surrounds it, for the tests of its diagnosis."""

from __future__ import annotations

from llmfit.advisor.diagnosis.diagnose import diagnose
from llmfit.advisor.diagnosis.findings import (
    DeviceFile,
    Finding,
    Folder,
    ModelFiles,
    Package,
    Surroundings,
    Terminal,
)
from llmfit.advisor.hardware.machine import (
    Cpu,
    Disk,
    Gpu,
    LlamaServer,
    Machine,
    Memory,
)
from llmfit.advisor.units import GB, GIB

CARD = Gpu(
    0,
    "NVIDIA GeForce RTX 3090",
    "nvidia",
    "cuda",
    vram_total_bytes=24 * GIB,
    vram_free_bytes=23 * GIB,
    bandwidth_bytes_per_s=936 * GB,
    driver="550.54",
    power_limit_w=350.0,
    sources={"vram_total_bytes": "nvml", "bandwidth_bytes_per_s": "catalog"},
)
CUDA = LlamaServer("/opt/cuda/llama-server", "12000", 12000, ("cuda", "cpu"), ("CUDA0",))
CPU_ONLY = LlamaServer("/usr/bin/llama-server", "12000", 12000, ("cpu",))
BROKEN = LlamaServer("/old/llama-server", problem="The shared library libcudart.so.12 is missing.")
SOUND = Machine(
    "linux",
    Cpu("AMD Ryzen 9 7950X", 16, 32, ("avx", "avx2", "fma")),
    Memory(
        64 * GIB,
        48 * GIB,
        bandwidth_bytes_per_s=60 * GB,
        bandwidth_source="measured 2026-11-22",
        memory_type="DDR5",
        channels=2,
        transfer_rate_mt_s=6000,
    ),
    (CARD,),
    CUDA,
    llama_servers=(CUDA,),
    disks=(Disk("/home", 1000 * GIB, 500 * GIB),),
)
AROUND = Surroundings(
    llmfit_version="1.2.3",
    system="Debian GNU/Linux 12",
    architecture="x86_64",
    python="CPython 3.11.2",
    packages=(Package("textual", "8.2.0"),),
    terminal=Terminal(120, 40, "xterm-256color", 256),
    device_files=(DeviceFile("/dev/nvidiactl", True),),
    path_server=CUDA.path,
    models=ModelFiles(3, 30 * GIB),
    config_path="/c/config.toml",
    folders=(Folder("/c/cache", "answers that are remembered"),),
)


def about(subject: str, machine: Machine = SOUND, around: Surroundings = AROUND) -> list[Finding]:
    return [finding for finding in diagnose(machine, around) if finding.subject == subject]


def the_one(machine: Machine, around: Surroundings, *words: str) -> Finding:
    """The only finding whose text has all of ``words``."""
    found = [finding for finding in diagnose(machine, around) if all(word in finding.text for word in words)]
    assert len(found) == 1, found
    return found[0]
