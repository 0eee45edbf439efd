"""Measuring how fast all usable cores together read RAM: what bounds decode on the CPU.

Figure: of the rounds, the better half (other work only ever makes a round slower), and of that the median.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Protocol

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Cpu, Memory
from llmfit.advisor.hardware.small_files import read_text
from llmfit.advisor.units import GB, MIB, format_gib

WHAT = "the RAM's bandwidth"
BY_HAND = "Give it with --ram-bandwidth."
ROUND_S = 0.2
N_ROUNDS = 12
"""Of all thread counts together."""
LOOK_S = 0.3
"""How long other programs are watched before the first round."""
MAX_OTHERS = 0.10
"""Share of all CPU time that others, the host of a virtual machine too, may take while a figure is kept."""
MAX_SPREAD = 0.15
MAX_OF_PEAK = 1.02
"""A figure above the modules' peak comes from a cache, or the peak is read wrongly."""
MIN_READER_LEAD = 1.2
"""One thread must read this much faster from a cache than from RAM, or the loop itself was measured."""
CACHES_WANTED, CACHES_NEEDED = 8, 4
"""Buffers as multiples of the last-level caches: a cache keeps part of what is read in circles."""
MIN_THREAD_BYTES = 32 * MIB
DEFAULT_CACHE_BYTES = 64 * MIB
"""Where the system does not tell; 4 × this is above the largest cache of a desktop or Mac (96 MiB)."""
PAGE_BYTES = 4096
MAX_RAM_SHARE = 0.25
"""Of the available RAM, for buffers."""

OnRound = Callable[[int, int, int], None]
"""Told after each round: its number from 1, how many there will be, bytes per second."""
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class BandwidthMeasurement:
    """``spread`` is that of the better half of the rounds: (highest − lowest) / median."""

    bytes_per_s: int
    spread: float
    n_threads: int
    buffer_bytes: int
    """Of all threads together."""
    seconds: float
    kept: bool = True
    why_not: str | None = None
    """Why it is not kept, one clause without a full stop."""


class Team(Protocol):
    """What measures: see reader.ReaderTeam, and the tests."""

    @property
    def cached_bytes_per_s(self) -> float: ...

    def run_round(self, seconds: float) -> float | None: ...

    def close(self) -> None: ...


MakeTeam = Callable[[int, int], Team]
"""From the number of threads and the bytes each of them reads."""


class Others(Protocol):
    """Share of all CPU time that other programs used since the last question; ``None`` if unknown.

    The first question is answered for a short time from now.
    """

    def share(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class _Series:
    """The rounds of one thread count."""

    n_threads: int
    buffer_bytes: int
    rates: tuple[float, ...]
    others: tuple[float, ...]
    cached_bytes_per_s: float

    @property
    def bytes_per_s(self) -> float:
        return median(better_half(self.rates))


def measure_ram_bandwidth(
    cpu: Cpu,
    memory: Memory,
    on_round: OnRound | None = None,
    stop: Stop | None = None,
    make_team: MakeTeam | None = None,
    others: Others | None = None,
) -> BandwidthMeasurement | None:
    """Bytes per second that all usable cores read together; about 3 s. ``None`` if ``stop()`` said so.

    One thread a physical core, then one a logical core where there are more; the better counts. Safe in a
    thread of the background: ``stop`` is asked and ``on_round`` told between rounds. ``make_team`` and
    ``others`` stand in for the computer in tests. Raises LlmfitError where it cannot be measured.
    """
    began = perf_counter()
    plan = [(n_threads, thread_bytes(n_threads, memory)) for n_threads in thread_counts(cpu)]
    watch = others or OtherPrograms()
    before = watch.share() or 0.0
    done: list[_Series] = []
    for n_threads, n_bytes in plan:
        told = _Telling(on_round, stop, len(done) * (N_ROUNDS // len(plan)), N_ROUNDS)
        team = (make_team or _reader_team)(n_threads, n_bytes)
        try:
            series = _run(team, n_threads, n_bytes, N_ROUNDS // len(plan), watch, told)
        finally:
            team.close()
        if series is None:
            return None
        done.append(series)
    best = max(done, key=lambda series: series.bytes_per_s)
    return _judged(best, before, memory, perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Telling:
    on_round: OnRound | None
    stop: Stop | None
    first: int
    total: int

    def stopped(self) -> bool:
        return self.stop is not None and self.stop()

    def tell(self, number: int, rate: float) -> None:
        if self.on_round is not None:
            self.on_round(self.first + number, self.total, round(rate))


def _run(
    team: Team, n_threads: int, n_bytes: int, n_rounds: int, watch: Others, told: _Telling
) -> _Series | None:
    """The first, unjudged round wakes the cores up. Raises LlmfitError where no round gave a figure."""
    rates: list[float] = []
    used: list[float] = []
    for number in range(n_rounds + 1):
        if told.stopped():
            return None
        rate = team.run_round(ROUND_S)
        share = watch.share()
        if not number or rate is None:
            continue
        rates.append(rate)
        if share is not None:
            used.append(share)
        told.tell(number, rate)
    if not rates:
        raise LlmfitError(WHAT, "no round gave all threads time to read", "Try again on a quieter machine.")
    return _Series(n_threads, n_threads * n_bytes, tuple(rates), tuple(used), team.cached_bytes_per_s)


def _judged(best: _Series, before: float, memory: Memory, seconds: float) -> BandwidthMeasurement:
    half = better_half(best.rates)
    spread = (max(half) - min(half)) / best.bytes_per_s
    during = sum(best.others) / len(best.others) if best.others else 0.0
    why_not = _why_not(best, max(before, during), spread, memory)
    return BandwidthMeasurement(
        bytes_per_s=round(best.bytes_per_s),
        spread=spread,
        n_threads=best.n_threads,
        buffer_bytes=best.buffer_bytes,
        seconds=seconds,
        kept=why_not is None,
        why_not=why_not,
    )


def _why_not(best: _Series, others: float, spread: float, memory: Memory) -> str | None:
    """Why a figure is no measure of the RAM, or ``None``."""
    peak = memory.peak_bandwidth_bytes_per_s
    if peak is not None and best.bytes_per_s > peak * MAX_OF_PEAK:
        return f"it is above the peak of the RAM, {peak / GB:.1f} GB/s"
    if others > MAX_OTHERS:
        return f"other programs or the host took {others:.0%} of the CPU"
    if spread > MAX_SPREAD:
        return f"the rounds differ by {spread:.0%}"
    if best.cached_bytes_per_s < MIN_READER_LEAD * best.bytes_per_s / best.n_threads:
        return "the C library of this system reads no faster from a cache, so the RAM may be faster"
    return None


def better_half(rates: Sequence[float]) -> list[float]:
    """The higher half of the rounds, the middle one included, lowest first."""
    return sorted(rates)[len(rates) // 2 :]


def thread_counts(cpu: Cpu) -> tuple[int, ...]:
    """One thread a physical core; also one a logical core where there are more."""
    logical = cpu.logical_cores or len(usable_cpus()) or os.cpu_count() or 1
    physical = min(cpu.physical_cores or logical, logical)
    return (physical,) if physical == logical else (physical, logical)


def thread_bytes(n_threads: int, memory: Memory, root: Path = Path("/")) -> int:
    """Size of each thread's buffer: far above the caches, and a small part of the free RAM.

    Raises LlmfitError where both cannot be had.
    """
    if memory.available_bytes is None:
        raise LlmfitError(WHAT, "cannot be measured without knowing how much RAM is free", BY_HAND)
    caches = last_level_cache_bytes(root) or DEFAULT_CACHE_BYTES
    allowed = int(memory.available_bytes * MAX_RAM_SHARE)
    total = min(max(CACHES_WANTED * caches, MIN_THREAD_BYTES * n_threads), allowed)
    if total < max(CACHES_NEEDED * caches, MIB * n_threads):
        free, needed = format_gib(memory.available_bytes), CACHES_NEEDED * caches / MAX_RAM_SHARE
        why = f"needs {format_gib(int(needed))} of free RAM for buffers beyond the caches, {free} is free"
        raise LlmfitError(WHAT, why, "Close programs, or give it with --ram-bandwidth.")
    return total // n_threads // PAGE_BYTES * PAGE_BYTES


_CACHE_SIZE = re.compile(r"(\d{1,9})([KMG]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def last_level_cache_bytes(root: Path) -> int | None:
    """All last-level caches of the usable CPUs together, each counted once.

    Linux: Documentation/ABI/testing/sysfs-devices-system-cpu, ``cache/index*/{level,size,shared_cpu_list}``.
    """
    usable = usable_cpus()
    caches: dict[tuple[int, str], int] = {}
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        number = int("".join(filter(str.isdigit, folder.parts[-3])))
        size = _CACHE_SIZE.fullmatch(read_text(folder / "size"))
        level = read_text(folder / "level")
        if size and level.isdecimal() and (not usable or number in usable):
            shared = read_text(folder / "shared_cpu_list") or folder.parts[-3]
            caches[int(level), shared] = int(size[1]) * _UNITS[size[2]]
    last = max((level for level, _ in caches), default=0)
    return sum(size for (level, _), size in caches.items() if level == last) or None


def _reader_team(n_threads: int, n_bytes: int) -> Team:
    from llmfit.advisor.hardware.bandwidth.reader import ReaderTeam

    return ReaderTeam(n_threads, n_bytes, cpus_to_pin(n_threads, usable_cpus()))


def cpus_to_pin(n_threads: int, usable: Sequence[int], root: Path = Path("/")) -> tuple[int, ...]:
    """A CPU for each thread if that covers every core (or every logical CPU); else none.

    Fewer threads than cores (a container's quota) are left to the scheduler, which spreads them.
    ``thread_siblings_list``: Linux, Documentation/admin-guide/cputopology.rst.
    """
    if n_threads == len(usable):
        return tuple(usable)
    firsts: dict[str, int] = {}
    for cpu in usable:
        siblings = read_text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        firsts.setdefault(siblings or str(cpu), cpu)
    return tuple(firsts.values()) if len(firsts) == n_threads else ()


def usable_cpus() -> tuple[int, ...]:
    """Numbers of the logical CPUs that this process may run on; empty where the system does not tell."""
    if sys.platform == "linux":
        with suppress(OSError):
            return tuple(sorted(os.sched_getaffinity(0)))
    return ()


class OtherPrograms:
    """CPU time that is neither idle nor this process's own, as the system counts it (psutil).

    On a virtual machine that includes time taken by its neighbours (``steal``).
    """

    def __init__(self) -> None:
        self._last: tuple[float, float, float] | None = None

    def share(self) -> float | None:
        if self._last is None:
            self._last = self._read()
            sleep(LOOK_S)
        now = self._read()
        last, self._last = self._last, now
        return None if last is None or now is None else share_between(last, now)

    def _read(self) -> tuple[float, float, float] | None:
        """Seconds of all CPUs, idle seconds of them, seconds of this process."""
        import psutil  # type: ignore[import-untyped]

        try:
            times: Mapping[str, float] = psutil.cpu_times()._asdict()
        except (psutil.Error, OSError, RuntimeError, ValueError):
            return None
        # Guests are counted in user and nice already (man 5 proc_stat).
        total = sum(value for name, value in times.items() if not name.startswith("guest"))
        return total, times.get("idle", 0.0) + times.get("iowait", 0.0), process_time()


def share_between(last: tuple[float, float, float], now: tuple[float, float, float]) -> float | None:
    """Of (all, idle, own) seconds at two times: the share that was neither idle nor own, 0 to 1."""
    total, idle, own = (after - before for before, after in zip(last, now, strict=True))
    return min(1.0, max(0.0, (total - idle - own) / total)) if total > 0 else None
