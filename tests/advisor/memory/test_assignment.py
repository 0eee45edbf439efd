"""Layers to devices, as llama.cpp's load_tensors does it."""

from __future__ import annotations

from struct import pack, unpack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmfit.advisor.errors import NotModelledError, UsageError
from llmfit.advisor.memory.assignment import assign_layers, split_text
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import weight_bytes
from tests.advisor.memory.memory_models import shape_of, table_of

LLAMA, MOE = "llama3.1-8b", "qwen3-30b-a3b"


def settings(**values: object) -> LaunchSettings:
    return LaunchSettings(4096, **values)  # type: ignore[arg-type]


def test_first_layers_stay_in_ram_and_the_output_goes_first() -> None:
    shape = shape_of(LLAMA)
    only_output = assign_layers(shape, settings(devices=(0,), gpu_layers=1), [None])
    assert set(only_output.layer_device) == {-1}
    assert only_output.output_device == 0
    half = assign_layers(shape, settings(devices=(0,), gpu_layers=11), [None])
    assert half.layer_device == (-1,) * 22 + (0,) * 10
    assert not half.fully_offloaded
    assert assign_layers(shape, settings(devices=(0,), gpu_layers=33), [None]).fully_offloaded
    assert assign_layers(shape, settings(), []).n_devices == 0


@pytest.mark.parametrize(
    ("free", "split", "first_card"),
    [
        ([1, 1], None, 17),
        ([3, 1], None, 25),
        ([1, 1], (1.0, 3.0), 9),
        ([1, 1], (0.0, 1.0), 0),
        ([None, None], None, 17),
    ],
)
def test_splits_by_free_memory_or_proportions(
    free: list[int | None], split: tuple[float, ...] | None, first_card: int
) -> None:
    found = assign_layers(shape_of(LLAMA), settings(devices=(0, 1), tensor_split=split), free)
    assert found.layer_device.count(0) == first_card
    assert found.output_device == 1


def test_split_mode_none_uses_the_first_card_and_row_is_not_modelled() -> None:
    one = assign_layers(shape_of(LLAMA), settings(devices=(0, 1), split_mode="none"), [1, 1])
    assert (one.n_devices, set(one.layer_device)) == (1, {0})
    with pytest.raises(NotModelledError):
        assign_layers(shape_of(LLAMA), settings(devices=(0, 1), split_mode="row"), [1, 1])


@pytest.mark.parametrize(
    "values",
    [
        {"tensor_split": (1.0,)},
        {"tensor_split": (1.0, -1.0)},
        {"tensor_split": (1.0, 1e39)},
        {"tensor_split": (1.0, float("nan"))},
        {"override_tensor": ("ffn",)},
        {"override_tensor": ("ffn=CUDA7",)},
        {"override_tensor": ("ffn=Floppy",)},
        {"override_tensor": ("(ffn=CPU",)},
        {"override_tensor": ("f{99999999999999999999}=CPU",)},
    ],
)
def test_nonsense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        assign_layers(shape_of(LLAMA), settings(devices=(0, 1), **values), [1, 1], table_of(LLAMA))


@given(st.lists(st.floats(0, 1e30, allow_nan=False), min_size=1, max_size=4))
@example([12345678.0, 12345679.0])
@example([0.1, 16777217.0])
def test_a_split_is_written_so_that_it_is_read_back(shares: list[float]) -> None:
    read = [unpack("f", pack("f", float(text)))[0] for text in split_text(shares).split(",")]
    assert read == [unpack("f", pack("f", share))[0] for share in shares]


def test_a_split_is_written_as_short_as_it_can_be() -> None:
    assert split_text((16.0, 15.0, 0.1, 12345679.0)) == "16,15,0.1,12345679"


def test_cpu_moe_moves_the_experts_of_the_first_blocks() -> None:
    shape, table = shape_of(MOE), table_of(MOE)
    found = assign_layers(shape, settings(devices=(0,), n_cpu_moe=10), [1], table)
    assert found.experts_on_host == (True,) * 10 + (False,) * 38
    assert found.has_overrides
    full = weight_bytes(table, assign_layers(shape, settings(devices=(0,)), [1], table))
    part = weight_bytes(table, found)
    assert full.gpu_bytes[0] - part.gpu_bytes[0] == sum(table.expert_gpu_bytes[:10])
    assert part.host_bytes - full.host_bytes == sum(table.expert_host_bytes[:10])


def test_overrides_equal_the_flags_they_spell_out() -> None:
    shape, table = shape_of(MOE), table_of(MOE)
    spelt = settings(devices=(0, 1), override_tensor=(r"blk\.[0-4]\.ffn_.*_exps=CPU",))
    flagged = settings(devices=(0, 1), n_cpu_moe=5)
    by_pattern = assign_layers(shape, spelt, [2, 1], table)
    by_flag = assign_layers(shape, flagged, [2, 1], table)
    assert by_pattern.experts_on_host == by_flag.experts_on_host
    assert weight_bytes(table, by_pattern) == weight_bytes(table, by_flag)


def test_no_kv_offload_keeps_the_cache_in_ram() -> None:
    found = assign_layers(shape_of(LLAMA), settings(devices=(0,), kv_offload=False), [1])
    assert set(found.layer_device) == {0}
    assert set(found.cache_device) == {-1}


@given(
    model=st.sampled_from([LLAMA, MOE, "gemma3-27b", "glm-4.7-flash"]),
    layers=st.integers(0, 70),
    shares=st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any),
    n_cpu_moe=st.integers(0, 60),
)
def test_no_weight_is_lost_or_doubled_by_a_split(
    model: str, layers: int, shares: list[int], n_cpu_moe: int
) -> None:
    """Devices are contiguous and in order, and the weights of all cards are the same under any split."""
    shape, table = shape_of(model), table_of(model)
    devices = tuple(range(len(shares)))
    many = settings(
        devices=devices, gpu_layers=layers, tensor_split=tuple(map(float, shares)), n_cpu_moe=n_cpu_moe
    )
    one = settings(devices=(0,), gpu_layers=layers, n_cpu_moe=n_cpu_moe)
    spread = assign_layers(shape, many, [None] * len(shares), table)
    assert list(spread.layer_device) == sorted(spread.layer_device)
    placed = weight_bytes(table, spread)
    alone = weight_bytes(table, assign_layers(shape, one, [None], table))
    # small tensors that every layer shares (rope factors) exist once on each device that holds a layer
    copies = len({device for device in spread.layer_device if device >= 0})
    shared = max(0, copies - 1) * table.every_layer_gpu_bytes
    assert sum(placed.gpu_bytes) == sum(alone.gpu_bytes) + shared
    assert placed.host_bytes == alone.host_bytes
    assert min(*placed.gpu_bytes, placed.host_bytes) >= 0
