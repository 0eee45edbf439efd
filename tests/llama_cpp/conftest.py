"""Fixtures of the tests that talk to a real llama.cpp; without its build they skip and say how to get it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from llama_cpp_build import Card, LlamaCppBuild, find_build
from memoracle import Memoracle


@pytest.fixture(scope="session")
def llama_cpp() -> LlamaCppBuild:
    build, reason = find_build()
    if build is None:
        pytest.skip(reason)
    return build


@pytest.fixture(scope="session")
def memoracle(llama_cpp: LlamaCppBuild) -> Iterator[Callable[..., Memoracle]]:
    """``memoracle(Card(24564, 23900), …)``: the oracle for these cards, started once a session."""
    running: dict[tuple[Card, ...], Memoracle] = {}

    def oracle(*cards: Card) -> Memoracle:
        if cards not in running:
            running[cards] = Memoracle(llama_cpp, cards)
        return running[cards]

    yield oracle
    for process in running.values():
        process.close()
