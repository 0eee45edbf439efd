"""A sample of the commands proposed for the reviewed machines, put to llama.cpp itself.

All of them: ``python tests/bench/recommended_commands.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from llama_cpp_build import Card, LlamaCppBuild
from memoracle import Memoracle
from proposed_commands import (
    TOLERANCE,
    Checked,
    Proposal,
    check_memory,
    parse_refusal,
    proposals,
    sparse_model,
)

pytestmark = pytest.mark.llama_cpp

SAMPLE = (
    ("rtx-3070-8gb", "coding"),
    ("2x-rtx-3090-one-busy", "general"),
    ("strix-halo-128gb", "coding"),
    ("cpu-32gb", "general"),
)
"""One card with experts in RAM, two uneven ones, a shared memory under Vulkan, no card."""


@cache
def proposed(machine_name: str, use: str) -> tuple[Proposal, ...]:
    """The first three: each costs a start of llama-server, and two more say nothing new."""
    return tuple(proposals(machine_name, use))[:3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proposed")


@pytest.fixture
def first() -> Proposal:
    return proposed("rtx-3070-8gb", "coding")[0]


def asked(build: LlamaCppBuild, found: tuple[Proposal, ...], files: Path) -> Iterator[Checked]:
    with Memoracle(build, found[0].cards, found[0].device_prefix) as oracle:
        for proposal in found:
            yield check_memory(proposal, oracle, sparse_model(proposal, files))


@pytest.mark.parametrize(("machine_name", "use"), SAMPLE)
def test_llama_server_understands_each_and_allocates_what_was_told(
    machine_name: str, use: str, llama_cpp: LlamaCppBuild, files: Path
) -> None:
    found = proposed(machine_name, use)
    assert len(found) == 3
    for proposal in found:
        argv = proposal.argv_for(files / "not there.gguf")
        assert parse_refusal(llama_cpp, argv, proposal.cards, proposal.device_prefix) == ""
    for checked in asked(llama_cpp, found, files):
        assert checked.failures == (), checked.proposal.name
        assert len(checked.devices) == len(checked.proposal.pick["memory"]["devices"])


@pytest.mark.parametrize(
    ("wrong", "word"),
    [(("--frobnicate",), "--frobnicate"), (("--device", "CUDA7"), "CUDA7"), (("-ctk", "q9_9"), "q9_9")],
)
def test_a_refusal_is_noticed(
    wrong: tuple[str, ...], word: str, first: Proposal, llama_cpp: LlamaCppBuild, files: Path
) -> None:
    argv = [*first.argv_for(files / "not there.gguf"), *wrong]
    assert word in parse_refusal(llama_cpp, argv, first.cards)


def test_an_estimate_that_is_off_is_noticed(first: Proposal, llama_cpp: LlamaCppBuild, files: Path) -> None:
    pick = copy.deepcopy(dict(first.pick))
    card = pick["memory"]["devices"][0]
    card["weights_bytes"] = round(card["weights_bytes"] * (1 + 2 * TOLERANCE))
    (checked,) = asked(llama_cpp, (replace(first, pick=pick),), files)
    assert any("GPU0" in failure and "of the estimate" in failure for failure in checked.failures)


def test_a_card_that_is_too_small_is_noticed(first: Proposal, llama_cpp: LlamaCppBuild, files: Path) -> None:
    pick = copy.deepcopy(dict(first.pick))
    pick["memory"]["devices"][0]["free_bytes"] //= 2
    (checked,) = asked(llama_cpp, (replace(first, pick=pick),), files)
    assert any("of what is free" in failure for failure in checked.failures)


def test_a_card_that_was_not_foreseen_is_noticed(
    first: Proposal, llama_cpp: LlamaCppBuild, files: Path
) -> None:
    with Memoracle(llama_cpp, (*first.cards, Card(8192))) as oracle:
        checked = check_memory(first, oracle, sparse_model(first, files))
    assert "GPU1" in " ".join(checked.failures)
