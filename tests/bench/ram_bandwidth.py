"""Prints the RAM's bandwidth as llmfit measures it, its spread, and its ratio to vector code in C.

Run from the top of the repository, on a quiet machine: ``python tests/bench/ram_bandwidth.py [TIMES]``. Where
a C compiler (cc) exists, the same threads read the same buffers by turns with the C library's memchr, as
llmfit does, and with a plain loop that the compiler turns into the widest vector reads of this CPU
(-O3 -march=native). Nothing is remembered. No pass, no fail.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from llmfit.advisor.hardware.bandwidth import measure as ram_bandwidth
from llmfit.advisor.hardware.bandwidth.reader import Reader, ReaderTeam, c_library_reader
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.units import GB, MIB

TIMES = 3
TURNS = 12
C_SOURCE = """
#include <stddef.h>
#include <stdint.h>
uint64_t read_all(const uint64_t *data, size_t n_bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n_bytes / sizeof *data; i++) sum += data[i];
    return sum;
}
"""


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    machine = detect_machine()
    peak = machine.memory.peak_bandwidth_bytes_per_s
    print(f"{machine.cpu.name}, {machine.cpu.physical_cores} cores, {machine.cpu.logical_cores} threads")
    print("peak of the RAM: " + ("not known" if peak is None else f"{peak / GB:.1f} GB/s"))
    for _ in range(times):
        _measure(machine, peak)
    with tempfile.TemporaryDirectory() as folder:
        in_c = c_reader(Path(folder))
        if in_c is None:
            print("no C compiler (cc) here: nothing to compare with")
            return
        for n_threads in sorted({1, *ram_bandwidth.thread_counts(machine.cpu)}):
            _compare(machine, n_threads, in_c)


def _measure(machine: Machine, peak: int | None) -> None:
    found = ram_bandwidth.measure_ram_bandwidth(machine.cpu, machine.memory)
    if found is None:
        return
    of_peak = "" if peak is None else f", {found.bytes_per_s / peak:.0%} of the peak"
    kept = "kept" if found.kept else f"not kept: {found.why_not}"
    print(
        f"measured {found.bytes_per_s / GB:6.1f} GB/s{of_peak}, spread {found.spread:.1%}, "
        f"{found.n_threads} threads, {found.buffer_bytes // MIB} MiB, {found.seconds:.1f} s, {kept}"
    )


def c_reader(folder: Path) -> Reader | None:
    """The loop of ``C_SOURCE`` as machine code; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "read.c", folder / "read.so"
    source.write_text(C_SOURCE)
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    read_all = ctypes.CDLL(str(library)).read_all
    read_all.restype = ctypes.c_uint64
    read_all.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

    def read(address: int, n_bytes: int) -> object:
        return read_all(address, n_bytes)

    return read


def _compare(machine: Machine, n_threads: int, in_c: Reader) -> None:
    """Both readers by turns in the same threads, so that whatever disturbs disturbs both."""
    current: list[Callable[[int, int], object]] = [in_c]
    n_bytes = ram_bandwidth.thread_bytes(n_threads, machine.memory)
    cpus = ram_bandwidth.cpus_to_pin(n_threads, ram_bandwidth.usable_cpus())
    readers = {"memchr": c_library_reader(), "C": in_c}
    rates: dict[str, list[float]] = {name: [] for name in readers}
    team = ReaderTeam(n_threads, n_bytes, cpus, lambda address, size: current[0](address, size))
    try:
        for _ in range(TURNS):
            for name, read in readers.items():
                current[0] = read
                rates[name].append(team.run_round(ram_bandwidth.ROUND_S) or 0.0)
    finally:
        team.close()
    figures = {name: median(ram_bandwidth.better_half(found)) for name, found in rates.items()}
    print(
        f"{n_threads} threads: memchr {figures['memchr'] / GB:.1f} GB/s, C {figures['C'] / GB:.1f} GB/s, "
        f"ratio {figures['memchr'] / figures['C']:.3f}"
    )


if __name__ == "__main__":
    main()
