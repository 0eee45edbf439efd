"""The threads that read RAM: what they read together, and the real ones for a few milliseconds."""

from __future__ import annotations

import ctypes
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.bandwidth import measure as ram_bandwidth
from llmfit.advisor.hardware.bandwidth import reader as ram_reader
from llmfit.advisor.hardware.bandwidth.measure import cpus_to_pin
from llmfit.advisor.hardware.bandwidth.reader import ReaderTeam, common_rate, read_for
from llmfit.advisor.units import KIB


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0.01, 0.3), st.integers(4, 40)), min_size=1, max_size=8)
)
def test_the_common_rate_of_steady_threads_is_the_sum_of_theirs(
    threads: list[tuple[float, float, int]],
) -> None:
    """Whatever the time at which each begins and ends."""
    passes = [
        [(start + n * each, start + (n + 1) * each) for n in range(count)] for start, each, count in threads
    ]
    rate = common_rate(passes, 1000)
    if max(start for start, _, _ in threads) >= min(start + each * count for start, each, count in threads):
        assert rate is None or rate <= sum(1000 / each for _, each, _ in threads) * 1.01
    else:
        assert rate == pytest.approx(sum(1000 / each for _, each, _ in threads), rel=1e-3)


def test_the_common_rate_without_a_common_time() -> None:
    assert common_rate([], 1000) is None
    assert common_rate([[(0.0, 1.0)], []], 1000) is None
    assert common_rate([[(0.0, 1.0)], [(1.0, 2.0)]], 1000) is None
    assert common_rate([[(0.0, 0.0)]], 1000) is None
    assert common_rate([[(0.0, 2.0)], [(1.0, 2.0)]], 1000) == 1500


linux_or_mac = pytest.mark.skipif(sys.platform == "win32", reason="Windows is not measured")


@linux_or_mac
def test_the_real_threads_read_their_whole_buffers() -> None:
    """The very path of a real measurement, with small buffers.

    A few milliseconds are enough where two cores are free. On a busy computer the scheduler may let one
    thread read after the other, so a round without a common time is asked again for longer.
    """
    team = ReaderTeam(2, 256 * KIB, cpus_to_pin(2, ram_bandwidth.usable_cpus()))
    try:
        assert team.cached_bytes_per_s > 0
        rate = next(filter(None, map(team.run_round, (0.01, 0.1, 0.5, 2.0, 8.0))), None)
    finally:
        team.close()
    assert rate is not None and rate > 1e6
    assert threading.active_count() < 20 and not any(thread.is_alive() for thread in team._threads)


@linux_or_mac
def test_the_reader_looks_at_every_byte() -> None:
    """A byte that is there is found wherever it is: nothing is skipped."""
    read = ram_reader.c_library_reader()
    buffer = ctypes.create_string_buffer(b"\x01" * 5000, 5000)
    address = ctypes.addressof(buffer)
    assert read(address, 5000) is None
    buffer[4999] = b"\x00"
    assert read(address, 5000) == address + 4999


@linux_or_mac
def test_pages_are_touched_before_they_are_read() -> None:
    seen: list[bytes] = []

    def read(address: int, n_bytes: int) -> object:
        seen.append(ctypes.string_at(address, n_bytes))
        return None

    ReaderTeam(1, 8192, read=read).close()
    assert seen and set(seen) == {b"\x01" * 8192}


def test_a_buffer_is_read_at_least_once() -> None:
    calls: list[tuple[int, int]] = []
    passes = read_for(lambda *arguments: calls.append(arguments), 64, 128, 0.0)
    assert calls == [(64, 128)] and len(passes) == 1


@linux_or_mac
def test_a_reader_that_fails_leaves_nobody_waiting() -> None:
    broken = threading.Event()

    def read(address: int, n_bytes: int) -> object:
        if broken.is_set():
            raise RuntimeError("a reader of no use")
        return None

    team = ReaderTeam(2, 8192, read=read)
    try:
        team.run_round(0.001)
        broken.set()
        with pytest.raises(LlmfitError, match="a reader of no use"):
            team.run_round(0.001)
    finally:
        team.close()
    with pytest.raises(LlmfitError, match="a reader of no use"):
        ReaderTeam(2, 8192, read=read)


@linux_or_mac
def test_memory_that_cannot_be_had_is_one_sentence() -> None:
    with pytest.raises(LlmfitError, match="cannot be measured"):
        ReaderTeam(2, 2**62)


@linux_or_mac
def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Limited(threading.Thread):
        started = 0

        def start(self) -> None:
            Limited.started += 1
            if Limited.started > 2:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(threading, "Thread", Limited)
    with pytest.raises(LlmfitError, match="8 threads could not be started"):
        ReaderTeam(8, 4096)


@pytest.mark.parametrize("error", [OSError("no"), TypeError("no"), AttributeError("no")])
def test_a_system_without_a_c_library(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def missing(name: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(LlmfitError, match="--ram-bandwidth"):
        ram_reader.c_library_reader()
