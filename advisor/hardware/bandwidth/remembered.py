"""The RAM bandwidths measured on this computer: a small JSON file in llmfit's data folder.

Written whole and atomically. A file that is broken, or of another version, stops nothing: reading says so in
a note, writing puts it aside under another name first, so that nothing is lost.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.folders import data_folder
from llmfit.advisor.hardware.catalog_facts import share_ram_bandwidth
from llmfit.advisor.hardware.fingerprint import machine_fingerprint
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, MIB

if TYPE_CHECKING:
    from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement, OnRound, Stop

FILE_NAME = "ram-bandwidth.json"
SCHEMA = "llmfit.ram-bandwidth/1"
MAX_FILE_BYTES = MIB
MAX_REMEMBERED = 5
"""Measurements of one computer; the oldest go first."""
MAX_MACHINES = 64
"""One computer has several: other cores in a container, RAM that was added."""
MIN_OF_USUAL = 0.85
"""A figure below this share of the median of those remembered was measured while something disturbed."""
_DAY = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]")
_POSSIBLE_BYTES_PER_S = range(GB // 100, 100_000 * GB)


@dataclass(frozen=True, slots=True)
class Remembered:
    """One kept measurement."""

    date: str
    """``2026-11-22``."""
    bytes_per_s: int
    spread: float
    n_threads: int
    buffer_bytes: int
    doubtful: bool = False
    """Far below what was usual: it does not count, but it is one of those whose median is usual next time. So
    a change that stays (a virtual machine on another host) is believed after a few measurements."""


@dataclass(frozen=True, slots=True)
class Store:
    """Measurements by fingerprint, oldest first; ``problem`` is why a file that is there says nothing."""

    machines: Mapping[str, tuple[Remembered, ...]]
    problem: str | None = None


def with_remembered_bandwidth(machine: Machine, folder: Path | None = None) -> Machine:
    """``machine`` with the last kept measurement as its RAM's bandwidth, where there is one.

    It beats the peak of the modules, and the figure of a GPU that shares the RAM: it is what the CPU reads.
    A GPU that has a figure of its own keeps it.
    """
    store = read_store((folder or data_folder()) / FILE_NAME)
    if store.problem is not None:
        note = (
            f"The remembered RAM bandwidth could not be read: {store.problem}; "
            "the next measurement that is kept puts that file aside under another name."
        )
        return replace(machine, notes=(*machine.notes, note))
    known = [one for one in store.machines.get(machine_fingerprint(machine), ()) if not one.doubtful]
    return _with_figure(machine, known[-1].bytes_per_s, known[-1].date) if known else machine


def with_measurement(machine: Machine, measured: BandwidthMeasurement, today: str | None = None) -> Machine:
    """``machine`` with a figure that was just measured, or with a note why it is not used."""
    if not measured.kept:
        return replace(machine, notes=(*machine.notes, measurement_text(measured)))
    return _with_figure(machine, measured.bytes_per_s, today or _today())


def measurement_text(measured: BandwidthMeasurement) -> str:
    """What came of a measurement, in a sentence."""
    threads = f"{measured.n_threads} {'thread' if measured.n_threads == 1 else 'threads'}"
    rate = f"{measured.bytes_per_s / GB:.1f} GB/s with {threads}"
    if not measured.kept:
        return f"The RAM was measured at {rate}, not kept: {measured.why_not}."
    return f"The RAM was measured at {rate}; the figure is kept for later starts."


def _today() -> str:
    from datetime import date  # 2 ms that reading does not need

    return date.today().isoformat()


def _with_figure(machine: Machine, bytes_per_s: int, day: str) -> Machine:
    shared = any(gpu.unified_memory for gpu in machine.gpus)
    source = f"measured {day} by the CPU" if shared else f"measured {day}"
    memory = replace(machine.memory, bandwidth_bytes_per_s=bytes_per_s, bandwidth_source=source)
    return share_ram_bandwidth(replace(machine, memory=memory))


def measure_and_remember(
    machine: Machine, on_round: OnRound | None = None, stop: Stop | None = None
) -> BandwidthMeasurement | None:
    """Measures this computer, about 3 s, and keeps the figure if it is good. ``None`` if ``stop()`` said so.

    Raises LlmfitError where it cannot be measured, and for a machine that is not this computer: the figure
    would be kept under a name that is not its own.
    """
    from llmfit.advisor.hardware.bandwidth.measure import measure_ram_bandwidth

    if machine.described_by is not None:
        why = f"{machine.described_by} describes another machine"
        raise LlmfitError("RAM bandwidth", why, "It measures this computer.")
    measured = measure_ram_bandwidth(machine.cpu, machine.memory, on_round, stop)
    return None if measured is None else remember(machine, measured)


def remember(
    machine: Machine, measured: BandwidthMeasurement, folder: Path | None = None, today: str | None = None
) -> BandwidthMeasurement:
    """Writes a good measurement down; what comes back says whether it counts from now on, and why not.

    An outlier does not, nor what cannot be written.
    """
    if not measured.kept:
        return measured
    path = (folder or data_folder()) / FILE_NAME
    store, key = read_store(path), machine_fingerprint(machine)
    known = store.machines.get(key, ())
    usual = median(one.bytes_per_s for one in known) if known else 0
    new = Remembered(
        date=today or _today(),
        bytes_per_s=measured.bytes_per_s,
        spread=round(measured.spread, 4),
        n_threads=measured.n_threads,
        buffer_bytes=measured.buffer_bytes,
        doubtful=measured.bytes_per_s < MIN_OF_USUAL * usual,
    )
    try:
        if store.problem is not None:
            _put_aside(path)
        others = [item for item in store.machines.items() if item[0] != key][1 - MAX_MACHINES :]
        _write(path, {**dict(others), key: _latest((*known, new))})
    except OSError as error:
        why = f"{printable(str(path))}: {(error.strerror or type(error).__name__).lower()}"
        return replace(measured, kept=False, why_not=why)
    if new.doubtful:
        why = f"{usual / GB:.1f} GB/s is usual here; if that has changed, measure some times more"
        return replace(measured, kept=False, why_not=why)
    return measured


def _latest(rows: Sequence[Remembered]) -> Sequence[Remembered]:
    """The last few, among them the last one that counts."""
    latest = rows[-MAX_REMEMBERED:]
    if any(not one.doubtful for one in latest):
        return latest
    return (*[one for one in rows if not one.doubtful][-1:], *latest[1:])


# ---------------------------------------------------------------- the file


def read_store(path: Path) -> Store:
    """What is remembered. Never raises: a file that cannot be read is a problem, a missing one is none."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Store({}, f"{printable(str(path))} is no file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Store({})
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        return Store({}, f"{printable(str(path))}: {(why or 'not readable').lower()}")
    try:
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES // MIB} MiB")
        return Store(_parsed(content))
    except (ValueError, RecursionError) as error:
        # What json says of a broken file is about its grammar: no help to anybody.
        why = str(error) if type(error) is ValueError else "not JSON"
        return Store({}, f"{printable(str(path))}: {printable(why)}")


def _parsed(content: bytes) -> dict[str, tuple[Remembered, ...]]:
    """Raises ValueError."""
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"not of the form {SCHEMA}")
    machines = document.get("machines")
    if not isinstance(machines, dict):
        raise ValueError("machines: not an object")
    return {key: _measurements(rows) for key, rows in machines.items()}


def _measurements(rows: object) -> tuple[Remembered, ...]:
    if not isinstance(rows, list) or len(rows) > MAX_REMEMBERED:
        raise ValueError(f"not a list of at most {MAX_REMEMBERED} measurements")
    return tuple(_measurement(row) for row in rows)


def _measurement(row: object) -> Remembered:
    if not isinstance(row, dict):
        raise ValueError("a measurement that is not an object")
    day, spread = row.get("date"), row.get("spread")
    if not isinstance(day, str) or _DAY.fullmatch(day) is None:
        raise ValueError("date: not a day")
    if not isinstance(spread, int | float) or isinstance(spread, bool) or not 0 <= spread < 10:
        raise ValueError("spread: not a share")
    rate = _whole(row, "bytes_per_s")
    if rate not in _POSSIBLE_BYTES_PER_S:
        raise ValueError("bytes_per_s: not a possible bandwidth")
    doubtful = row.get("doubtful", False)
    if not isinstance(doubtful, bool):
        raise ValueError("doubtful: neither true nor false")
    sizes = _whole(row, "n_threads"), _whole(row, "buffer_bytes")
    return Remembered(day, rate, float(spread), *sizes, doubtful)


def _whole(row: Mapping[str, object], name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name}: not a whole number")
    return value


def _write(path: Path, machines: Mapping[str, Sequence[Remembered]]) -> None:
    """Raises OSError. A reader sees the old file or the new one, never a part."""
    document = {
        "schema": SCHEMA,
        "machines": {key: [_row(one) for one in known] for key, known in machines.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def _row(one: Remembered) -> dict[str, object]:
    return {
        "date": one.date,
        "bytes_per_s": one.bytes_per_s,
        "spread": one.spread,
        "n_threads": one.n_threads,
        "buffer_bytes": one.buffer_bytes,
        **({"doubtful": True} if one.doubtful else {}),
    }


def _put_aside(path: Path) -> None:
    """Gives a file that cannot be understood a name that nobody has yet. Raises OSError."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.aside-{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            return
    raise FileExistsError(17, "too many files put aside")
