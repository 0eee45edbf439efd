"""Measuring RAM: how much is read, which rounds count, and what is not kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.bandwidth import measure as ram_bandwidth
from llmfit.advisor.hardware.bandwidth.measure import (
    N_ROUNDS,
    BandwidthMeasurement,
    better_half,
    cpus_to_pin,
    last_level_cache_bytes,
    measure_ram_bandwidth,
    share_between,
    thread_bytes,
    thread_counts,
)
from llmfit.advisor.hardware.machine import Cpu, Memory
from llmfit.advisor.units import GB, GIB, KIB, MIB

CPU = Cpu("a CPU", 4, 4)
MEMORY = Memory(16 * GIB, 12 * GIB)
Tree = Callable[[Mapping[str, str | bytes]], Path]


@dataclass
class FakeTeam:
    """Reads at the rates it is told, the first one for the round that is not counted."""

    rates: Sequence[float | None]
    cached_bytes_per_s: float = 100 * GB
    closed: bool = False
    _next: Iterator[float | None] = field(init=False)

    def __post_init__(self) -> None:
        self._next = iter(self.rates)

    def run_round(self, seconds: float) -> float | None:
        return next(self._next)

    def close(self) -> None:
        self.closed = True


class FakeOthers:
    def __init__(self, *shares: float | None) -> None:
        self._shares = list(shares)

    def share(self) -> float | None:
        return self._shares.pop(0) if len(self._shares) > 1 else self._shares[0]


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram_bandwidth, "last_level_cache_bytes", lambda root: 16 * MIB)


def measured(
    rates: Sequence[float | None],
    memory: Memory = MEMORY,
    others: FakeOthers | None = None,
    cached_bytes_per_s: float = 100 * GB,
) -> BandwidthMeasurement:
    """With the unjudged first round at an absurd rate."""
    team = FakeTeam([500 * GB, *rates], cached_bytes_per_s)
    found = measure_ram_bandwidth(CPU, memory, None, None, lambda *_: team, others or FakeOthers(0.0))
    assert found is not None and team.closed
    return found


def test_the_median_of_the_better_half() -> None:
    slow, good = [20.0 * GB] * 6, [50.0 * GB, 51.0 * GB, 52.0 * GB] * 2
    found = measured([*slow, *good])
    assert found.bytes_per_s == 51 * GB
    assert found.spread == pytest.approx(2 / 51)
    assert (found.kept, found.why_not) == (True, None)
    assert found.n_threads == 4 and found.buffer_bytes == 4 * thread_bytes(4, MEMORY)


@given(st.lists(st.floats(1e6, 1e12), min_size=1, max_size=30))
def test_the_better_half_of_any_rounds(rates: list[float]) -> None:
    half = better_half(rates)
    assert len(half) == len(rates) - len(rates) // 2
    assert max(half) == max(rates)
    rest = sorted(rates)[: len(rates) // 2]
    assert not rest or max(rest) <= min(half)


@given(st.lists(st.floats(1e6, 1e12), min_size=N_ROUNDS, max_size=N_ROUNDS), st.integers(0, N_ROUNDS - 1))
def test_a_round_that_was_disturbed_never_raises_the_figure(rates: list[float], which: int) -> None:
    slower = [rate / 2 if number == which else rate for number, rate in enumerate(rates)]
    assert measured(slower).bytes_per_s <= measured(rates).bytes_per_s <= max(rates) + 1


def test_rounds_that_differ_are_not_kept() -> None:
    found = measured([30.0 * GB, 40.0 * GB] * 3 + [50.0 * GB] * 6)
    assert found.kept
    found = measured([30.0 * GB] * 6 + [40.0 * GB] * 3 + [50.0 * GB] * 3)
    assert not found.kept and found.why_not == "the rounds differ by 22%"


@pytest.mark.parametrize("others", [FakeOthers(0.4, 0.0), FakeOthers(0.0, 0.0, 0.2)])
def test_a_busy_machine_is_not_kept(others: FakeOthers) -> None:
    found = measured([50.0 * GB] * N_ROUNDS, others=others)
    assert not found.kept and found.bytes_per_s == 50 * GB
    assert found.why_not is not None and found.why_not.startswith("other programs or the host took ")


def test_one_busy_round_is_forgiven_and_an_unknown_use_is_no_reason() -> None:
    shares = [0.0] * 5 + [0.9] + [0.0] * 20
    assert measured([50.0 * GB] * N_ROUNDS, others=FakeOthers(*shares)).kept
    assert measured([50.0 * GB] * N_ROUNDS, others=FakeOthers(None)).kept


@pytest.mark.parametrize(("rate", "kept"), [(51.1, True), (51.3, False)])
def test_above_the_peak_of_the_modules(rate: float, kept: bool) -> None:
    memory = Memory(16 * GIB, 12 * GIB, peak_bandwidth_bytes_per_s=50_200_000_000)
    found = measured([rate * GB] * N_ROUNDS, memory=memory)
    assert found.kept is kept
    assert kept or found.why_not == "it is above the peak of the RAM, 50.2 GB/s"


def test_a_c_library_that_reads_no_faster_from_a_cache() -> None:
    found = measured([40.0 * GB] * N_ROUNDS, cached_bytes_per_s=11 * GB)
    assert not found.kept and found.why_not is not None and "C library" in found.why_not


def test_cores_and_threads_are_both_tried_and_the_better_counts() -> None:
    teams: dict[int, FakeTeam] = {}
    told: list[tuple[int, int, int]] = []

    def make(n_threads: int, n_bytes: int) -> FakeTeam:
        assert all(team.closed for team in teams.values()), "the buffers of both would not fit"
        teams[n_threads] = FakeTeam([40.0 * GB if n_threads == 4 else 45.0 * GB] * 7)
        return teams[n_threads]

    found = measure_ram_bandwidth(
        Cpu("a CPU", 4, 8), MEMORY, lambda *round_: told.append(round_), None, make, FakeOthers(0.0)
    )
    assert found is not None and (found.n_threads, found.bytes_per_s) == (8, 45 * GB)
    assert [number for number, _, _ in told] == list(range(1, N_ROUNDS + 1))
    assert {total for _, total, _ in told} == {N_ROUNDS}
    assert told[0][2] == 40 * GB and told[-1][2] == 45 * GB


def test_it_can_be_stopped() -> None:
    team = FakeTeam([50.0 * GB] * 20)
    told: list[int] = []
    stopped = measure_ram_bandwidth(
        CPU,
        MEMORY,
        lambda number, *_: told.append(number),
        lambda: len(told) >= 3,
        lambda *_: team,
        FakeOthers(0.0),
    )
    assert stopped is None and told == [1, 2, 3] and team.closed


def test_rounds_without_a_common_time_are_left_out() -> None:
    assert measured([None] * 6 + [50.0 * GB] * 6).bytes_per_s == 50 * GB
    with pytest.raises(LlmfitError, match="no round"):
        measured([None] * N_ROUNDS)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("cpu", "counts"),
    [
        (Cpu(None, 4, 4), (4,)),
        (Cpu(None, 8, 16), (8, 16)),
        (Cpu(None, None, 6), (6,)),
        (Cpu(None, 8, 2), (2,)),
    ],
)
def test_thread_counts(cpu: Cpu, counts: tuple[int, ...]) -> None:
    assert thread_counts(cpu) == counts


def test_threads_of_a_cpu_that_tells_nothing() -> None:
    assert thread_counts(Cpu(None, None, None))[0] >= 1


@given(st.integers(1, 512), st.integers(0, 2 * 1024 * GIB))
def test_buffers_are_beyond_the_caches_and_a_small_part_of_the_free_ram(n: int, available: int) -> None:
    try:
        total = n * thread_bytes(n, Memory(4096 * GIB, available))
    except LlmfitError as refused:
        assert available < 16 * max(16 * MIB, n * MIB) + MIB and "free RAM" in refused.why
    else:
        assert total <= available / 4
        assert total > 4 * 16 * MIB - n * 4096


def test_too_little_ram_is_refused_with_what_it_takes() -> None:
    with pytest.raises(LlmfitError) as refused:
        measure_ram_bandwidth(CPU, Memory(GIB, 100 * MIB))
    assert str(refused.value) == (
        "the RAM's bandwidth: needs 256 MiB of free RAM for buffers beyond the caches, 100 MiB is free. "
        "Close programs, or give it with --ram-bandwidth."
    )
    with pytest.raises(LlmfitError, match="how much RAM is free"):
        measure_ram_bandwidth(CPU, Memory(None, None))


def _cache(cpu: int, index: int, level: str, size: str, shared: str) -> dict[str, str | bytes]:
    folder = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    return {f"{folder}/level": level, f"{folder}/size": size, f"{folder}/shared_cpu_list": shared}


def test_last_level_caches_are_counted_once_each(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(ram_bandwidth, "usable_cpus", lambda: (0, 1, 2))
    files: dict[str, str | bytes] = {}
    for cpu, shared in enumerate(("0-1", "0-1", "2-3", "2-3")):
        files |= _cache(cpu, 0, "1", "32K", str(cpu)) | _cache(cpu, 3, "3", "32768K\n", shared)
    files |= _cache(4, 3, "3", "96M", "4")  # not usable
    assert last_level_cache_bytes(tree(files)) == 2 * 32 * MIB


@pytest.mark.parametrize("size", ["", "many", "-1K", "1" * 40 + "K", "\x00"])
def test_caches_that_cannot_be_read(tree: Tree, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.undo()
    assert last_level_cache_bytes(tree(_cache(0, 0, "3", size, "0"))) is None


def test_an_empty_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert last_level_cache_bytes(tmp_path) is None
    assert 2 * thread_bytes(2, MEMORY, tmp_path) == 512 * MIB


def test_which_cpus_are_pinned(tree: Tree) -> None:
    sys_cpu = "sys/devices/system/cpu"
    root = tree(
        {
            f"{sys_cpu}/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}\n"
            for cpu in range(8)
        }
    )
    assert cpus_to_pin(4, range(8), root) == (0, 1, 2, 3)
    assert cpus_to_pin(8, range(8), root) == tuple(range(8))
    assert cpus_to_pin(2, (1, 2, 5, 6), root) == (1, 2)
    assert cpus_to_pin(3, range(8), root) == (), "a quota: the scheduler spreads them"


# ---------------------------------------------------------------- other programs


def test_share_of_other_programs() -> None:
    assert share_between((100, 50, 10), (110, 54, 12)) == pytest.approx(0.4)
    assert share_between((100, 50, 10), (110, 60, 11)) == 0, "clocks that tick apart"
    assert share_between((100, 50, 10), (100, 50, 10)) is None


def test_a_system_that_does_not_count_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def broken() -> None:
        raise FileNotFoundError("/proc/stat")

    monkeypatch.setattr(ram_bandwidth, "LOOK_S", 0.0)
    monkeypatch.setattr(psutil, "cpu_times", broken)
    assert ram_bandwidth.OtherPrograms().share() is None
    monkeypatch.undo()
    monkeypatch.setattr(ram_bandwidth, "LOOK_S", 0.05)
    share = ram_bandwidth.OtherPrograms().share()
    assert share is not None and 0 <= share <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is not measured")
def test_everything_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram_bandwidth, "ROUND_S", 0.002)
    monkeypatch.setattr(ram_bandwidth, "LOOK_S", 0.0)
    monkeypatch.setattr(ram_bandwidth, "MIN_THREAD_BYTES", MIB)
    monkeypatch.setattr(ram_bandwidth, "last_level_cache_bytes", lambda root: 256 * KIB)
    found = measure_ram_bandwidth(Cpu(None, 1, 2), MEMORY)
    assert found is not None and found.bytes_per_s > 1e6
    assert found.kept is (found.why_not is None)
