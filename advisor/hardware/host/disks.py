"""Free space where models lie."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmfit.advisor.hardware.machine import Disk

TIMEOUT_S = 0.5
"""A network mount whose server is gone holds every call for minutes: it is left out after this long."""
MAX_FOLDERS = 64


def read_disks(folders: Sequence[Path], timeout_s: float = TIMEOUT_S) -> tuple[Disk, ...]:
    """One ``Disk`` for each file system under ``folders``, in their order, all within ``timeout_s`` seconds.

    ``path`` is the folder, or the nearest one above it that exists. Never raises: a folder whose file system
    cannot be read or does not answer is left out. Free is what this user may fill.
    """
    answers: list[list[tuple[int, Disk]]] = [[] for _ in folders[:MAX_FOLDERS]]
    threads = [
        threading.Thread(target=_ask, args=(folder, answer.append), daemon=True)
        for folder, answer in zip(folders, answers, strict=False)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    disks: dict[int, Disk] = {}
    for answer in answers:
        for device, disk in tuple(answer):
            disks.setdefault(device, disk)
    return tuple(disks.values())


def _ask(folder: Path, answer: Callable[[tuple[int, Disk]], None]) -> None:
    try:
        nearest = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
        if nearest is None:
            return
        usage = shutil.disk_usage(nearest)
        if usage.total > 0:
            answer((nearest.stat().st_dev, Disk(str(nearest), usage.total, usage.free)))
    except (OSError, ValueError):
        return
