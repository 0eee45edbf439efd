"""Prints how long it takes to read a header with 152,000 tokens and 150,000 merges.

Run from the top of the repository: ``python tests/bench/header_read.py``. The ratio is to a plain loop of a
million additions, so that figures of different machines can be compared. No pass, no fail.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llmfit.advisor.model.gguf import read_header
from llmfit.catalog.sources import LocalFileSource
from tests.advisor.model.gguf_builder import TensorInfo, build, with_vocabulary

N_TOKENS = 152_000
N_MERGES = 150_000
N_TENSORS = 600
REPEATS = 9


def best_ms(job: Callable[[], object]) -> float:
    """The fastest of REPEATS runs, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def additions() -> int:
    total = 0
    for number in range(1_000_000):
        total += number
    return total


def main() -> None:
    metadata = {"general.architecture": "qwen3", **with_vocabulary(N_TOKENS, N_MERGES)}
    tensors = [TensorInfo(f"blk.{index}.weight", (256, 4)) for index in range(N_TENSORS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(build(metadata, tensors))
        size_bytes = path.stat().st_size

        def read() -> None:
            with LocalFileSource(path) as source:
                read_header(source, path.name)

        header_ms, loop_ms = best_ms(read), best_ms(additions)
    print(
        f"header of {size_bytes / 1e6:.1f} MB, {N_TOKENS:,} tokens, {N_MERGES:,} merges, {N_TENSORS} tensors"
    )
    print(f"read in {header_ms:.1f} ms, {header_ms / loop_ms:.2f} × a million additions ({loop_ms:.1f} ms)")


if __name__ == "__main__":
    main()
