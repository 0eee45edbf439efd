"""The doubt of an estimate, and that docs/memory.md states the constants that decide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmfit.advisor.memory.host import PROCESS_BYTES
from llmfit.advisor.memory.margin import gpu_margin_bytes, host_margin_bytes
from llmfit.advisor.memory.overhead import driver_overhead
from llmfit.advisor.units import MIB

DOCS = (Path(__file__).parents[3] / "docs" / "memory.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([a-z, ]+) \| (\d+) MiB \| (\d+) MiB \|$", re.MULTILINE)


def test_a_graph_that_was_met_to_the_byte() -> None:
    assert gpu_margin_bytes(0, 0) == 16 * MIB
    assert gpu_margin_bytes(1000 * MIB, 0) == (16 + 50) * MIB


def test_a_graph_that_nobody_checked_is_doubted_ten_times_as_much() -> None:
    assert gpu_margin_bytes(1000 * MIB, 7 * MIB) == (16 + 500 + 7) * MIB


def test_ram() -> None:
    assert host_margin_bytes(0) == 64 * MIB
    assert host_margin_bytes(1000 * MIB) == (64 + 100) * MIB


def test_docs_state_the_overhead_of_every_backend() -> None:
    stated = {
        backend: (int(counted), int(doubt))
        for backends, counted, doubt in ROW.findall(DOCS)
        for backend in backends.split(", ")
    }
    assert set(stated) == {"cuda", "rocm", "sycl", "vulkan", "metal"}
    for backend, (counted, doubt) in stated.items():
        overhead = driver_overhead(backend)
        assert (overhead.expected_bytes, overhead.doubt_bytes) == (counted * MIB, doubt * MIB), backend


@pytest.mark.parametrize(
    "words",
    [
        f"process itself: {PROCESS_BYTES // MIB} MiB",
        f"{gpu_margin_bytes(0, 0) // MIB} MiB + 5 % of its compute buffer",
        f"{host_margin_bytes(0) // MIB} MiB + 10 % of its compute buffer",
    ],
)
def test_docs_state_the_margins(words: str) -> None:
    assert words in " ".join(DOCS.split())
