"""PreparedMemory: the same figures as a launch of its own, in whatever order contexts are asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import groupby

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as how
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError, NotModelledError, UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory import compute_buffer, kv_cache
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.compute.allocator import highest_bytes
from llmfit.advisor.memory.compute.builder import Batch, CacheView
from llmfit.advisor.memory.compute_buffer import graph_programs
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.kv_cache import cache_geometry, layer_cache_bytes
from llmfit.advisor.memory.placed_graph import PlacedGraph
from llmfit.advisor.memory.prepared import prepare_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.shape import ModelShape
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model, list_models
from tests.advisor.memory.memory_models import cards, shape_of, table_of
from tests.llama_cpp.oracle_rows import Row, compare, machine_of, oracle_rows, settings_of
from tests.llama_cpp.placement_models import known_model

CACHE_TYPES = ("f16", "f16", "q8_0", "q4_0", "bf16", "q5_1", "iq4_nl", "f32")
CONTEXTS_TOKENS = (0, 256, 512, 1000, 2048, 4096, 8192, 16384, 40960, 131072)
FILE_TYPES = ("Q4_K_M", "Q8_0", "IQ2_S", "TQ1_0", "F16")
MODELS = tuple(entry.id for entry in list_models())
"""Every model of the catalogue; the slowest graphs are drawn as often as others."""


@cache
def known(model_id: str, file_type: str, load_mtp: bool) -> tuple[ModelShape, WeightTable] | None:
    entry = next(entry for entry in list_models() if entry.id == model_id)
    try:
        model = build_model(entry, file_type)
    except LlmfitError:
        return None
    return model.shape, weight_table(model.shape, model.tensors, load_mtp)


@st.composite
def launches(draw: st.DrawFn) -> LaunchSettings:
    n_gpus = draw(st.integers(0, 3))
    shares = st.lists(st.integers(0, 9).map(float), min_size=n_gpus, max_size=n_gpus).map(tuple)
    return LaunchSettings(
        context_tokens=draw(st.sampled_from(CONTEXTS_TOKENS)),
        devices=tuple(range(n_gpus)),
        cache_type_k=draw(st.sampled_from(CACHE_TYPES)),
        cache_type_v=draw(st.sampled_from(CACHE_TYPES)),
        flash_attn=draw(st.sampled_from((True, True, False))),
        ubatch=draw(st.sampled_from((512, 512, 1, 2, 64, 1024))),
        parallel=draw(st.sampled_from((1, 1, 2, 3))),
        kv_unified=draw(st.booleans()),
        swa_full=draw(st.sampled_from((False, False, True))),
        gpu_layers=draw(st.sampled_from((ALL_LAYERS, ALL_LAYERS, 0, 5))),
        n_cpu_moe=draw(st.sampled_from((0, 0, 3, ALL_LAYERS))),
        tensor_split=draw(st.none() | shares) if n_gpus else None,
        kv_offload=draw(st.sampled_from((True, True, False))),
        op_offload=draw(st.sampled_from((True, True, False))),
        outputs=draw(st.sampled_from(("server", "server", "tool"))),
        projector_bytes=draw(st.sampled_from((0, 10**9))),
        spec_type=draw(st.sampled_from((None, None, "draft-mtp"))),
    )


def asked(shape: ModelShape, table: WeightTable, launch: LaunchSettings, machine: Machine) -> object:
    """The estimate of this launch with nothing remembered, or the error as text."""
    compute_buffer._programs.cache_clear()
    kv_cache._plane.cache_clear()
    try:
        return estimate_memory(shape, table, launch, machine)
    except LlmfitError as error:
        return repr(error)


def replayed(
    shape: ModelShape, table: WeightTable, launch: LaunchSettings, machine: Machine
) -> list[tuple[int, int]]:
    """Cache and compute buffers by device, from a graph with the context's own cells and from each layer."""
    geometry = cache_geometry(shape, launch)
    assignment = assign_layers(shape, launch, [gpu.usable_bytes for gpu in machine.gpus], table)
    n_tokens = min(geometry.n_ctx, geometry.n_ubatch)
    n_seqs = geometry.n_seq_max
    view = CacheView(
        type_k=launch.cache_type_k.upper(),
        type_v=launch.cache_type_v.upper(),
        cells=geometry.n_ctx_seq,
        window_cells=geometry.swa_cells,
        n_streams=geometry.n_stream,
        state_copies=1 + geometry.n_rs_seq,
        flash_attn=geometry.flash_attn,
        offload=launch.kv_offload,
    )
    batch = Batch(-(-n_tokens // n_seqs) * n_seqs, n_seqs, min(n_tokens, geometry.n_outputs))
    trace = PlacedGraph(shape, table, launch, assignment).trace(batch, view)
    cached = [0] * (assignment.n_devices + 1)
    sizes = [layer_cache_bytes(shape, launch, geometry, on_gpu=on_gpu) for on_gpu in (False, True)]
    for layer, device in enumerate(assignment.cache_device):
        cached[device] += sizes[device >= 0][layer]
    return list(zip(cached, highest_bytes(trace.events, assignment.n_devices), strict=True))


@how(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    model_id=st.sampled_from(MODELS),
    file_type=st.sampled_from(FILE_TYPES),
    launch=launches(),
    others=st.lists(
        st.tuples(st.sampled_from(CONTEXTS_TOKENS), *[st.sampled_from(CACHE_TYPES)] * 2), max_size=2
    ),
)
def test_prepared_is_what_each_launch_says(
    model_id: str, file_type: str, launch: LaunchSettings, others: list[tuple[int, str, str]]
) -> None:
    found = known(model_id, file_type, launch.load_mtp)
    assume(found is not None)
    assert found is not None
    machine = cards(24, 12, 8)
    base = replace(launch, context_tokens=4096, cache_type_k="f16", cache_type_v="f16")
    try:
        prepared = prepare_memory(*found, base, machine)
    except LlmfitError as error:
        assert repr(error) == asked(*found, base, machine)
        return
    for context, type_k, type_v in [
        *others,
        (launch.context_tokens, launch.cache_type_k, launch.cache_type_v),
    ]:
        one = replace(launch, context_tokens=context, cache_type_k=type_k, cache_type_v=type_v)
        try:
            ours: object = prepared.estimate(context, type_k, type_v)
        except LlmfitError as error:
            ours = repr(error)
        assert ours == asked(*found, one, machine)
        if isinstance(ours, MemoryEstimate):
            parts = [(device.kv_cache_bytes, device.compute_bytes) for device in ours.devices]
            assert parts == replayed(*found, one, machine)
            assert prepared.totals_bytes(context, type_k, type_v) == tuple(
                d.total_bytes for d in ours.devices
            )
            assert prepared.required_bytes(context, type_k, type_v) == tuple(
                d.required_bytes for d in ours.devices
            )


def _placement(row: Row) -> tuple[str, ...]:
    return tuple(row[key] for key in row if key in PLACEMENT_KEYS)


PLACEMENT_KEYS = ("model", "quant", "dev", "ub", "fa", "ngl", "np", "extra", "n_outputs")


def test_one_prepared_placement_answers_every_row_of_the_oracle_that_shares_it() -> None:
    rows = sorted((row for row in oracle_rows() if not row["error"]), key=_placement)
    groups = [list(group) for _, group in groupby(rows, key=_placement)]
    several = [group for group in groups if len(group) > 2][::6]
    assert sum(map(len, several)) > 100
    for group in several:
        model = known_model(f"{group[0]['model']}.{group[0]['quant']}")
        base = settings_of(group[0])
        prepared = prepare_memory(model.shape, model.weights, base, machine_of(len(base.devices)))
        for row in reversed(group):
            wanted = settings_of(row)
            assert replace(wanted, context_tokens=0, cache_type_k="", cache_type_v="") == replace(
                base, context_tokens=0, cache_type_k="", cache_type_v=""
            )
            ours = prepared.estimate(wanted.context_tokens, wanted.cache_type_k, wanted.cache_type_v)
            assert ours.devices == tuple(device.ours for device in compare(row).devices)


def test_what_cannot_be_is_refused_at_every_question() -> None:
    prepared = prepare_memory(
        shape_of("llama3.1-8b"), table_of("llama3.1-8b"), LaunchSettings(4096, devices=(0,)), cards(24)
    )
    for _ in range(2):
        with pytest.raises(UsageError, match="unknown"):
            prepared.estimate(4096, "q3_k", "f16")
        with pytest.raises(UsageError, match="at least one token"):
            prepared.totals_bytes(-5, "f16", "f16")
    latent = prepare_memory(
        shape_of("deepseek-v2-lite"), table_of("deepseek-v2-lite"), LaunchSettings(4096), cards()
    )
    with pytest.raises(UsageError, match="same type for both"):
        latent.required_bytes(4096, "q8_0", "f16")
    with pytest.raises(UsageError, match="2 GPUs"):
        prepare_memory(
            shape_of("llama3.1-8b"), table_of("llama3.1-8b"), LaunchSettings(4096, devices=(3,)), cards(8, 8)
        )


def test_a_graph_that_is_not_known_is_refused_when_asked_for() -> None:
    state = replace(shape_of("granite4-h-tiny").state, kind="rwkv")
    shape = replace(shape_of("granite4-h-tiny"), state=state)
    prepared = prepare_memory(shape, table_of("granite4-h-tiny"), LaunchSettings(4096), cards())
    for context in (4096, 8192, 4096):
        with pytest.raises(NotModelledError, match="not modelled"):
            prepared.estimate(context, "f16", "f16")


def test_file_types_share_what_does_not_depend_on_them() -> None:
    """On the cards; where weights are staged from RAM their types are in the graph."""
    entry = find_model("Qwen3-30B-A3B-Instruct-2507")
    models = [build_model(entry, file_type) for file_type in ("Q4_K_M", "Q8_0")]
    assert models[0].shape is models[1].shape
    norms = [next(t for t in model.tensors if t.name == "blk.7.attn_norm.weight") for model in models]
    assert norms[0] is norms[1]
    whole, staged = (
        [
            graph_programs(
                model.shape,
                table := weight_table(model.shape, model.tensors),
                launch,
                assign_layers(model.shape, launch, [1], table),
            )
            for model in models
        ]
        for launch in (LaunchSettings(4096, devices=(0,)), LaunchSettings(4096, devices=(0,), n_cpu_moe=9))
    )
    assert whole[0] is whole[1]
    assert staged[0] is not staged[1]
