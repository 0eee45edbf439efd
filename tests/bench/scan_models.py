"""Prints how long it takes to find the models of this computer: none, 43 headers, 1,000 files, 10,000 names.

Run from the top of the repository: ``python tests/bench/scan_models.py``. ``first`` reads every header,
``again`` finds them remembered; the ratio is to a plain loop of a million additions, so that figures of
different machines can be compared. No pass, no fail.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llmfit.catalog.local.find import find_local_models
from tests.advisor.model.gguf_builder import HEADERS, TensorInfo, build, sparse_file, with_vocabulary

N_MODELS = 1000
N_NAMES = 10_000
REPEATS = 5


def timed_ms(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) * 1e3


def additions() -> int:
    total = 0
    for number in range(1_000_000):
        total += number
    return total


def main() -> None:
    loop_ms = min(timed_ms(additions) for _ in range(REPEATS))
    print(f"a million additions: {loop_ms:.1f} ms")
    print(f"{'':34}{'first':>12}{'again':>12}{'x additions':>14}")
    with tempfile.TemporaryDirectory() as temporary:
        for name, fill in (
            ("an empty home", _nothing),
            ("43 headers", _heads),
            ("1,000 models", _many),
            ("1,000 models, all of the catalogue", _known),
            ("10,000 names", _names),
        ):
            folder = Path(temporary) / name
            folder.mkdir()
            fill(folder)
            _print(name, folder, Path(temporary), loop_ms)


def _print(name: str, folder: Path, home: Path, loop_ms: float) -> None:
    environ = {"LLMFIT_CACHE": str(home / "cache" / name)}

    def scan() -> None:
        find_local_models((folder,), environ, home / "nobody", root=home)

    first_ms = timed_ms(scan)
    again_ms = min(timed_ms(scan) for _ in range(REPEATS))
    print(f"{name:34}{first_ms:9.1f} ms{again_ms:9.1f} ms{again_ms / loop_ms:14.2f}")


def _nothing(folder: Path) -> None:
    pass


def _heads(folder: Path) -> None:
    for path in HEADERS.glob("*.head"):
        sparse_file(path.name.removesuffix(".gguf.head"), folder)


def _many(folder: Path) -> None:
    """Small vocabularies, so that writing them does not take minutes: a first look costs more in life."""
    metadata = {"general.architecture": "qwen3", **with_vocabulary(2000, 2000)}
    tensors = [TensorInfo(f"blk.{index}.weight", (256, 4)) for index in range(300)]
    content = build(metadata, tensors)
    for number in range(N_MODELS):
        (folder / f"{number}.gguf").write_bytes(content)


def _known(folder: Path) -> None:
    models = [path.name.removesuffix(".gguf.head") for path in sorted(HEADERS.glob("*.head"))]
    for number in range(N_MODELS):
        sparse_file(models[number % len(models)], folder).rename(folder / f"{number}.gguf")


def _names(folder: Path) -> None:
    for number in range(N_NAMES):
        (folder / f"{number}.txt").touch()


if __name__ == "__main__":
    main()
