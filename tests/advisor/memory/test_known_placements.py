"""What a search remembers changes nothing of what it finds, and saves it most of the graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory import compute_buffer, fitting_costs, fitting_search, known_placements, kv_cache
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.fitting import FITS_OFFLOAD, Layout, find_gpu_layout, find_layout
from llmfit.advisor.memory.placed_graph import PlacedGraph
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.units import GIB
from tests.advisor.memory.layout_cases import GEMMA_27B, LLAMA_8B, MIMO, QWEN_32B, QWEN_MOE
from tests.llama_cpp.placement_models import cards_named, known_model, machine_with

MODELS = (LLAMA_8B, QWEN_MOE, GEMMA_27B, QWEN_32B, MIMO)
CARDS = ("12288:11800", "24564:23900,12288:12000", "8192:7800", "24564:9000,24564:23000", "")
CONTEXTS_TOKENS = (4096, 8192, 16384, 32768, 65536, 131072)


@cache
def machine_of(cards: str) -> Machine:
    return machine_with(*(cards_named(cards) if cards else ()), ram_bytes=64 * GIB)


def forget() -> None:
    """What a process that just started knows."""
    for remembered in (
        compute_buffer._programs,
        kv_cache._plane,
        fitting_costs._all_partials,
        fitting_search._reference,
        known_placements._prepared,
    ):
        remembered.cache_clear()


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, str, LaunchSettings, bool]:
    cache_type = draw(st.sampled_from(("f16", "f16", "q8_0")))
    base = LaunchSettings(
        draw(st.sampled_from(CONTEXTS_TOKENS)),
        cache_type_k=cache_type,
        cache_type_v=cache_type,
        parallel=draw(st.sampled_from((1, 1, 1, 3))),
        ubatch=draw(st.sampled_from((512, 512, 512, 64))),
    )
    return draw(st.sampled_from(MODELS)), draw(st.sampled_from(CARDS)), base, draw(st.booleans())


def answer(question: tuple[str, str, LaunchSettings, bool]) -> Layout | str | None:
    model, cards, base, gpus_only = question
    known = known_model(model)
    find = find_gpu_layout if gpus_only else find_layout
    try:
        return find(known.shape, known.weights, machine_of(cards), base)
    except LlmfitError as error:
        return repr(error)


@how(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=st.lists(questions(), min_size=2, max_size=4))
def test_what_was_asked_before_does_not_change_an_answer(
    asked: list[tuple[str, str, LaunchSettings, bool]],
) -> None:
    later = [answer(question) for question in asked]
    for question, found in zip(asked, later, strict=True):
        forget()
        assert answer(question) == found
    again = [answer(question) for question in reversed(asked)]
    assert again == later[::-1]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """One entry for each graph that is built: whether all layers count."""
    found: list[bool] = []
    trace = PlacedGraph.trace

    def counted(graph: PlacedGraph, *args: object) -> object:
        found.append(not graph._sketch)
        return trace(graph, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(PlacedGraph, "trace", counted)
    forget()
    yield found
    forget()


@pytest.mark.parametrize("model", [QWEN_MOE, QWEN_32B, GEMMA_27B])
def test_a_change_of_context_needs_little_more_than_one_new_graph(model: str, traced: list[bool]) -> None:
    known, machine = known_model(model), machine_of("12288:11800")
    for context_tokens in (32768, 16384, 65536, 8192):
        layout = find_layout(known.shape, known.weights, machine, LaunchSettings(context_tokens))
        assert layout.verdict == FITS_OFFLOAD
    assert traced.count(True) <= 6
    assert traced.count(False) == 1
    traced.clear()
    find_layout(known.shape, known.weights, machine, LaunchSettings(16384))
    assert traced == []


def test_the_placement_of_another_context_gives_the_estimate_of_this_one() -> None:
    known, machine = known_model(MIMO), machine_of("24564:23900,12288:12000")
    placed = LaunchSettings(4096, devices=(0, 1), n_cpu_moe=40, tensor_split=(30.0, 19.0))
    forget()
    for context_tokens, cache_type in ((4096, "f16"), (131072, "q8_0"), (16384, "f16"), (4096, "f16")):
        asked = replace(
            placed, context_tokens=context_tokens, cache_type_k=cache_type, cache_type_v=cache_type
        )
        args = (known.shape, known.weights, asked, machine)
        assert known_placements.placement_memory(*args) == estimate_memory(*args)
    assert known_placements._prepared.cache_info().misses == 1


def test_what_every_context_stands_for_may_be_refused_where_this_one_is_not() -> None:
    """Kimi's slots must divide the batch: 3 of them do with 300 tokens of context, not with more."""
    from llmfit.advisor.memory.weights import weight_table
    from llmfit.catalog.build import build_model
    from llmfit.catalog.models import find_model

    model = build_model(find_model("Kimi-Linear-48B-A3B-Instruct"), "Q4_K_M")
    table = weight_table(model.shape, model.tensors)
    machine = machine_of("24564:23900,24564:23900")
    asked = LaunchSettings(300, devices=(0, 1), parallel=3)
    args = (model.shape, table, asked, machine)
    assert known_placements.placement_memory(*args) == estimate_memory(*args)
    with pytest.raises(LlmfitError, match="slots"):
        known_placements.placement_memory(model.shape, table, replace(asked, context_tokens=4096), machine)
