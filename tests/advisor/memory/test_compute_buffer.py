"""Compute buffers: llama.cpp's own to the byte, the allocator's rules, and what holds for any launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.compute.allocator import Event, FreeList, highest_bytes
from llmfit.advisor.memory.compute.families import CHECKED, FAMILIES
from llmfit.advisor.memory.compute.folding import KEPT_REPEATS, representative_layers
from llmfit.advisor.memory.compute.program import ANY_CELLS, MemoryProgram
from llmfit.advisor.memory.compute_buffer import UNCHECKED_FLOOR_BYTES, ComputeBuffers, compute_buffers
from llmfit.advisor.memory.kv_cache import cache_geometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.architectures import ARCHITECTURES, NOT_MODELLED
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.units import MIB
from tests.advisor.memory.memory_models import shape_of, table_of
from tests.llama_cpp.oracle_rows import ROUNDING_BYTES, Row, compare, oracle_rows

ONE_GPU = LaunchSettings(context_tokens=4096, devices=(0,))


def buffers(model: str, launch: LaunchSettings, shape: ModelShape | None = None) -> ComputeBuffers:
    shape = shape or shape_of(model)
    table = table_of(model)
    assignment = assign_layers(shape, launch, [1] * len(launch.devices), table)
    return compute_buffers(shape, table, launch, assignment, cache_geometry(shape, launch))


def test_every_family_can_be_asked_for() -> None:
    """A row for an architecture that is refused before would never be read."""
    assert set(FAMILIES) | CHECKED <= set(ARCHITECTURES)
    assert not (set(FAMILIES) | CHECKED) & set(NOT_MODELLED)


def _one_row_of_each_kind() -> Iterator[Row]:
    """A row for each architecture and placement."""
    seen = set()
    for row in oracle_rows():
        flags = row["extra"].split(" ")[0]
        kind = (row["arch"], row["dev"], flags, row["ngl"] == "999", row["fa"])
        if not row["error"] and kind not in seen:
            seen.add(kind)
            yield row


def test_equals_llama_cpp_byte_for_byte() -> None:
    rows = list(_one_row_of_each_kind())
    assert len(rows) > 250
    for row in rows:
        one = compare(row)
        for device in one.devices:
            off = device.ours.compute_bytes - device.compute_bytes
            assert abs(off) <= ROUNDING_BYTES, f"{device.name} is {off / MIB:+.3f} MiB off: {one.label}"


def test_best_hole_is_taken_and_neighbours_merge() -> None:
    free = FreeList(128)
    offsets = [free.take(size) for size in (1000, 256, 300, 128)]
    assert offsets == [0, 1024, 1280, 1664]
    free.give(0, 1000)
    free.give(1280, 300)
    assert free.take(200) == 1280, "the smallest hole that fits, not the first"
    free.give(1024, 256)
    assert free.take(1280) == 0, "two freed neighbours are one hole"
    assert free.max_bytes == 1792


def test_empty_tensors_take_nothing() -> None:
    free = FreeList(32)
    assert free.take(0) == 0
    free.give(0, 0)
    assert free.take(64) == 0
    assert free.max_bytes == 64


def test_events_are_replayed_on_their_own_buffer() -> None:
    events = [(0, -1, 0, 100), (1, -1, 0, 33), (0, 0, 0, 100), (0, -1, 0, 64)]
    assert highest_bytes(events, 1) == (128, 64)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4000)), max_size=60))
def test_allocations_never_overlap(steps: list[tuple[bool, int]]) -> None:
    free, live = FreeList(128), list[tuple[int, int]]()
    for take, size in steps:
        if take or not live:
            start = free.take(size)
            end = start + -(-size // 128) * 128
            assert all(end <= other or start >= stop for other, stop in live if stop > other and end > start)
            live.append((start, end))
        else:
            start, end = live.pop(size % len(live))
            free.give(start, end - start)
    assert free.max_bytes >= max((end for _, end in live), default=0)


def test_runs_and_patterns_of_layers_are_folded() -> None:
    kept = representative_layers("a" * 50)
    assert kept[0] == 0
    assert kept[-1] == 49
    assert len(kept) == KEPT_REPEATS
    assert representative_layers("abcdef") == (0, 1, 2, 3, 4, 5)
    assert len(representative_layers("aaab" * 20 + "aa")) < 40


@pytest.mark.parametrize("model", ["llama3.1-8b", "gemma3-27b", "qwen3.5-27b", "glm-4.7-flash"])
@pytest.mark.parametrize("changes", [{}, {"gpu_layers": 9}, {"devices": (0, 1)}, {"n_cpu_moe": 5}])
def test_any_context_follows_from_two(model: str, changes: dict[str, object]) -> None:
    """The line through two graphs gives what a graph of its own would."""
    launch = replace(ONE_GPU, **changes)
    ours = {
        context: buffers(model, replace(launch, context_tokens=context)) for context in (4096, 8192, 40960)
    }
    for context in (12288, 40960):
        fresh = buffers(model, replace(launch, context_tokens=context), replace(shape_of(model), n_vocab=7))
        later = buffers(model, replace(launch, context_tokens=context))
        assert later == fresh
    assert len({one.host_bytes for one in ours.values()}) == 3


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5000), st.sampled_from([0, 0, 0, 1, 3])), max_size=40),
    st.lists(st.integers(1, 300), min_size=1, max_size=12),
)
def test_lines_are_what_the_allocator_does_at_every_step(
    moves: list[tuple[bool, int, int]], steps: list[int]
) -> None:
    """Sizes of so many bytes and so many more a cell: against the same events replayed at each context."""

    def trace(cells: int) -> list[Event]:
        events: list[Event] = []
        live = list[tuple[int, int]]()
        n_takes = 0
        for take, size, slope in moves:
            if take or not live:
                n_bytes = size + slope * cells
                live.append((n_takes, n_bytes))
                n_takes += 1
                events.append((0, -1, 0, n_bytes))
            else:
                number, n_bytes = live.pop(size % len(live))
                events.append((0, number, 0, n_bytes))
        return events

    program = MemoryProgram(1, trace(ANY_CELLS))
    for step in [*steps, *steps]:
        assert program.buffer_bytes(256 * step) == highest_bytes(trace(256 * step), 1)


def test_a_program_of_one_context_refuses_others() -> None:
    program = MemoryProgram(1, [(0, -1, 0, 1000)], fixed_cells=512)
    assert program.buffer_bytes(512) == (1024, 0)
    with pytest.raises(ValueError, match="768 cells"):
        program.buffer_bytes(768)
    with pytest.raises(ValueError, match="100 cells"):
        MemoryProgram(1, []).buffer_bytes(100)


MODELS = ("llama3.2-3b", "qwen3-30b-a3b", "gemma4-e4b", "granite4-h-tiny", "deepseek-v2-lite", "olmo3-7b")


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    context=st.integers(1, 256).map(lambda n: n * 256),
    ubatch=st.sampled_from([64, 256, 512, 1024]),
    layers=st.sampled_from([0, 1, 7, 999]),
    flash_attn=st.booleans(),
    n_gpus=st.integers(0, 3),
    kv_offload=st.booleans(),
)
def test_buffers_hold_at_least_their_inputs(
    model: str, context: int, ubatch: int, layers: int, flash_attn: bool, n_gpus: int, kv_offload: bool
) -> None:
    launch = LaunchSettings(
        context_tokens=context,
        devices=tuple(range(n_gpus)),
        ubatch=ubatch,
        gpu_layers=layers,
        flash_attn=flash_attn,
        kv_offload=kv_offload,
    )
    ours = buffers(model, launch)
    mask = min(context, ubatch) * context * (2 if flash_attn else 4)
    embedded = min(context, ubatch) * shape_of(model).n_embd * 4
    assert len(ours.gpu_bytes) == len(ours.margin_bytes) == n_gpus
    assert ours.host_bytes >= mask + embedded
    assert all(size >= 0 for size in ours.gpu_bytes)
    assert all(margin == 0 for margin in ours.margin_bytes)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("gpu_layers", "dip"), [(3, 0.98), (999, 1.0)])
def test_longer_contexts_and_batches_need_no_less(model: str, gpu_layers: int, dip: float) -> None:
    """With weights in RAM llama.cpp's best-fit holes sometimes save a little at the longer context."""
    for smaller, larger in ((4096, 8192), (8192, 65536)):
        less = buffers(model, replace(ONE_GPU, context_tokens=smaller, gpu_layers=gpu_layers))
        more = buffers(model, replace(ONE_GPU, context_tokens=larger, gpu_layers=gpu_layers))
        wide = buffers(model, replace(ONE_GPU, context_tokens=larger, gpu_layers=gpu_layers, ubatch=1024))
        assert less.gpu_bytes[0] * dip <= more.gpu_bytes[0] <= wide.gpu_bytes[0]
        assert less.host_bytes < more.host_bytes < wide.host_bytes


def test_logits_of_a_whole_batch_cost_a_vocabulary_each() -> None:
    server = buffers("llama3.1-8b", ONE_GPU)
    tool = buffers("llama3.1-8b", replace(ONE_GPU, outputs="tool"))
    logits = 512 * shape_of("llama3.1-8b").n_vocab * 4
    assert logits < tool.gpu_bytes[0] < server.gpu_bytes[0] + logits


def test_experts_in_ram_are_staged_on_the_gpu_unless_told_not_to() -> None:
    whole = buffers("qwen3-30b-a3b", ONE_GPU)
    staged = buffers("qwen3-30b-a3b", replace(ONE_GPU, n_cpu_moe=999))
    left = buffers("qwen3-30b-a3b", replace(ONE_GPU, n_cpu_moe=999, op_offload=False))
    assert staged.gpu_bytes[0] > whole.gpu_bytes[0] + 50 * MIB
    assert left.gpu_bytes[0] < whole.gpu_bytes[0]
    assert left.host_bytes > staged.host_bytes


def test_cache_type_that_cuda_cannot_attend_over_moves_attention_to_the_cpu() -> None:
    fast = buffers("llama3.1-8b", replace(ONE_GPU, cache_type_k="q4_0", cache_type_v="q4_0"))
    slow = buffers("llama3.1-8b", replace(ONE_GPU, cache_type_k="iq4_nl", cache_type_v="iq4_nl"))
    assert slow.gpu_bytes[0] < fast.gpu_bytes[0], "no f16 copy of the cache on the card"
    assert slow.host_bytes >= fast.host_bytes


def test_two_rows_a_slot_still_need_an_f16_copy_of_a_bf16_cache() -> None:
    """CUDA's vector kernel reads bf16 for one row only, quantised caches for two."""
    launch = replace(ONE_GPU, context_tokens=65536, parallel=8, ubatch=16)
    plain = buffers("llama3.1-8b", launch)
    wide = buffers("llama3.1-8b", replace(launch, cache_type_k="bf16", cache_type_v="bf16"))
    packed = buffers("llama3.1-8b", replace(launch, cache_type_k="q8_0", cache_type_v="q8_0"))
    copy = 2 * 65536 * shape_of("llama3.1-8b").key_width(0) * 2
    assert wide.gpu_bytes[0] >= plain.gpu_bytes[0] + copy // 2
    assert packed.gpu_bytes[0] < wide.gpu_bytes[0]


def test_doubt_is_stated_for_architectures_that_were_not_checked() -> None:
    shape = replace(shape_of("llama3.2-3b"), architecture="deci")
    ours = buffers("llama3.2-3b", ONE_GPU, shape)
    assert ours.gpu_bytes == buffers("llama3.2-3b", ONE_GPU).gpu_bytes
    assert ours.margin_bytes[0] > UNCHECKED_FLOOR_BYTES


def test_layers_built_otherwise_are_refused_not_guessed() -> None:
    state = replace(shape_of("granite4-h-tiny").state, kind="rwkv")
    shape = replace(shape_of("granite4-h-tiny"), state=state)
    with pytest.raises(NotModelledError, match="not modelled"):
        buffers("granite4-h-tiny", ONE_GPU, shape)
