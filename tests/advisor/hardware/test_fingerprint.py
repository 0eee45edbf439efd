"""What tells computers apart, and what must not be in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.hardware.fingerprint import machine_fingerprint
from llmfit.advisor.hardware.machine import Cpu, Disk, Gpu, LlamaServer, Machine, Memory
from llmfit.advisor.units import GIB, MIB

MEMORY = Memory(64 * GIB - 700 * MIB, 40 * GIB, memory_type="DDR5", channels=2, transfer_rate_mt_s=5600)
MACHINE = Machine("linux", Cpu("AMD Ryzen 9 7950X", 16, 32), MEMORY)


def test_it_can_be_read_by_people() -> None:
    assert machine_fingerprint(MACHINE) == (
        "linux, AMD Ryzen 9 7950X, 16 cores, 32 threads, 63 GiB, DDR5-5600 x 2"
    )


def test_what_is_unknown_is_a_question_mark() -> None:
    unknown = Machine("linux", Cpu(None, None, None), Memory(None, None))
    assert machine_fingerprint(unknown) == "linux, ?, ? cores, ? threads, ? GiB, ?-? x ?"


@pytest.mark.parametrize(
    "other",
    [
        replace(MACHINE, os="macos"),
        replace(MACHINE, cpu=replace(MACHINE.cpu, name="AMD Ryzen 9 9950X")),
        replace(MACHINE, cpu=replace(MACHINE.cpu, physical_cores=8)),
        replace(MACHINE, cpu=replace(MACHINE.cpu, logical_cores=16)),
        replace(MACHINE, memory=replace(MEMORY, total_bytes=32 * GIB)),
        replace(MACHINE, memory=replace(MEMORY, memory_type="DDR4")),
        replace(MACHINE, memory=replace(MEMORY, transfer_rate_mt_s=6000)),
        replace(MACHINE, memory=replace(MEMORY, channels=1)),
    ],
)
def test_whatever_changes_the_bandwidth_is_another_computer(other: Machine) -> None:
    assert machine_fingerprint(other) != machine_fingerprint(MACHINE)


def test_what_does_not_change_it_is_the_same_computer() -> None:
    other = replace(
        MACHINE,
        memory=replace(MEMORY, total_bytes=64 * GIB - 720 * MIB, available_bytes=GIB, swap_total_bytes=GIB),
        gpus=(Gpu(0, "RTX 3090", "nvidia", "cuda", uuid="GPU-1234-5678"),),
        llama_server=LlamaServer("/opt/ada/llama-server"),
        disks=(Disk("/opt/ada", 1, 1),),
        notes=("a note",),
    )
    assert machine_fingerprint(other) == machine_fingerprint(MACHINE)


def test_names_from_a_driver_stay_one_short_line() -> None:
    hostile = replace(MACHINE, cpu=replace(MACHINE.cpu, name="\x1b[31mevil\n" + "x" * 10_000))
    found = machine_fingerprint(hostile)
    assert found.isprintable() and len(found) < 300
