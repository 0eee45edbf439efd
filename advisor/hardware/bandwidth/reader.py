"""Threads that read RAM as fast as the C library can: the machinery behind measure.py.

A call through ctypes releases the interpreter's lock, so one Python thread a core can stand in ``memchr``
at the same time, looking for a byte that is not there. The C library's ``memchr`` reads with the widest
vectors that the CPU has and does next to nothing else (``tests/bench/ram_bandwidth.py`` holds it against
vector code made by a C compiler).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.bandwidth.measure import BY_HAND, WHAT
from llmfit.advisor.units import MIB

Reader = Callable[[int, int], object]
"""Reads that many bytes from an address on, outside of the interpreter's lock."""
Pass = tuple[float, float]
"""When one reading of a whole buffer began and ended, seconds of one clock."""

_FILL = 1
"""Any byte but the 0 that is looked for; writing it gives every page memory of its own."""
_CACHED_BYTES = MIB
"""Fits the second or third cache of any CPU of the last ten years."""
_CACHED_S = 0.01


def c_library_reader() -> Reader:
    """``memchr`` for a byte that is not there. Raises LlmfitError where no C library can be called."""
    try:
        memchr = ctypes.CDLL(None).memchr
    except (AttributeError, OSError, TypeError):  # TypeError: Windows takes no None
        raise LlmfitError(WHAT, f"cannot be measured on {sys.platform}", BY_HAND) from None
    memchr.restype = ctypes.c_void_p
    memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

    def read(address: int, n_bytes: int) -> object:
        return memchr(address, 0, n_bytes)

    return read


def common_rate(passes: Sequence[Sequence[Pass]], bytes_per_pass: int) -> float | None:
    """Bytes per second that all threads read together while every one of them was reading.

    A pass that lies partly outside of that time counts by its share. ``None`` where there was no such time.
    """
    if not passes or not all(passes):
        return None
    start = max(thread[0][0] for thread in passes)
    end = min(thread[-1][1] for thread in passes)
    if end <= start:
        return None
    shares = (
        max(0.0, min(done, end) - max(began, start)) / (done - began)
        for thread in passes
        for began, done in thread
        if done > began
    )
    return bytes_per_pass * sum(shares) / (end - start)


class ReaderTeam:
    """``n_threads`` threads, each with a buffer of its own that it has touched first.

    So the buffer lies on the memory node of the core that reads it. ``cpus`` pins thread i to ``cpus[i]``
    where the system can (Linux). Raises LlmfitError where threads or memory cannot be had. Call ``close``.
    """

    def __init__(
        self, n_threads: int, bytes_per_thread: int, cpus: Sequence[int] = (), read: Reader | None = None
    ) -> None:
        self.n_threads = n_threads
        self.bytes_per_thread = bytes_per_thread
        self._read = read or c_library_reader()
        self._cpus = cpus
        self._passes: list[list[Pass]] = [[] for _ in range(n_threads)]
        self._round_s = 0.0
        self._cached_rate = 0.0
        self._gate = threading.Barrier(n_threads + 1)
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        try:
            for number in range(n_threads):
                thread = threading.Thread(target=self._work, args=(number,), daemon=True)
                thread.start()
                self._threads.append(thread)
            self._wait()  # until every buffer has its memory
        except RuntimeError as error:
            self.close()
            threads = f"{n_threads} {'thread' if n_threads == 1 else 'threads'}"
            raise LlmfitError(WHAT, f"{threads} could not be started ({error})") from None
        except BaseException:
            self.close()
            raise

    @property
    def cached_bytes_per_s(self) -> float:
        """What one thread reads where the data lie in a cache: no thread can show more of the RAM."""
        return self._cached_rate

    def run_round(self, seconds: float) -> float | None:
        """Reads for about ``seconds``; bytes per second of all threads together."""
        self._round_s = seconds
        self._wait()
        self._wait()
        return common_rate(self._passes, self.bytes_per_thread)

    def close(self) -> None:
        """Ends the threads and gives their memory back."""
        self._gate.abort()
        for thread in self._threads:
            thread.join()

    def _wait(self) -> None:
        try:
            self._gate.wait()
        except threading.BrokenBarrierError:
            why = str(self._error) or type(self._error).__name__
            raise LlmfitError(WHAT, f"cannot be measured ({why})", "Close programs, try again.") from None

    def _work(self, number: int) -> None:
        with suppress(threading.BrokenBarrierError):
            try:
                self._pin(number)
                self._read_in_rounds(number)
            except threading.BrokenBarrierError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for this thread
                self._error = error
                self._gate.abort()

    def _pin(self, number: int) -> None:
        if number < len(self._cpus) and sys.platform == "linux":
            with suppress(OSError):  # a container may forbid it; the scheduler then spreads them
                os.sched_setaffinity(0, {self._cpus[number]})

    def _read_in_rounds(self, number: int) -> None:
        n_bytes = self.bytes_per_thread
        with mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as buffer:
            first_byte = ctypes.c_char.from_buffer(buffer)
            try:
                address = ctypes.addressof(first_byte)
                ctypes.memset(address, _FILL, n_bytes)
                if number == 0:
                    self._cached_rate = self._rate_in_cache(address)
                self._gate.wait()
                while True:
                    self._gate.wait()
                    self._passes[number] = read_for(self._read, address, n_bytes, self._round_s)
                    self._gate.wait()
            finally:
                del first_byte  # a buffer cannot be closed while something points into it

    def _rate_in_cache(self, address: int) -> float:
        n_bytes = min(_CACHED_BYTES, self.bytes_per_thread)
        passes = read_for(self._read, address, n_bytes, _CACHED_S)
        return common_rate([passes], n_bytes) or 0.0


def read_for(read: Reader, address: int, n_bytes: int, seconds: float) -> list[Pass]:
    """Reads a buffer again and again, at least once, until ``seconds`` are over."""
    passes: list[Pass] = []
    now = perf_counter()
    end = now + seconds
    while True:
        began, _ = now, read(address, n_bytes)
        now = perf_counter()
        passes.append((began, now))
        if now >= end:
            return passes
