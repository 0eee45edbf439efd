"""Placement: which card, which layers, which experts, and the reasons that are given."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Memory
from llmfit.advisor.memory.fitting import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    find_layout,
    largest_context,
)
from llmfit.advisor.memory.fitting_budget import RAM_RESERVE_BYTES
from llmfit.advisor.memory.fitting_costs import slot_costs
from llmfit.advisor.memory.fitting_literal import layout_as_given
from llmfit.advisor.memory.fitting_split import PartialBlock, SlotCosts, Split
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.units import GIB
from tests.advisor.memory.layout_cases import (
    LLAMA_8B,
    MIMO,
    QWEN_32B,
    QWEN_MOE,
    layout_of,
    layout_on,
    within_budgets,
)
from tests.llama_cpp.placement_models import cards_named, known_model, machine_with

# -- whole models on whole machines


def test_one_card_is_enough_and_the_other_stays_free() -> None:
    layout = layout_of(LLAMA_8B, "24564:23900,24564:24200")
    assert layout.verdict == FITS_GPU
    assert layout.settings.devices == (0,)
    assert layout.settings.gpu_layers == ALL_LAYERS
    assert layout.settings.tensor_split is None
    assert "the other card stays free" in layout.reasons[0]


def test_of_equal_cards_the_one_with_less_room_is_taken() -> None:
    layout = layout_of(LLAMA_8B, "24564:24200,24564:14000")
    assert layout.settings.devices == (1,)


def test_the_faster_card_is_taken_where_both_would_do() -> None:
    machine = machine_with(*cards_named("24564:23900,12288:12000"))
    speeds = (1_008_000_000_000, 360_000_000_000)
    gpus = tuple(
        replace(gpu, bandwidth_bytes_per_s=speed) for gpu, speed in zip(machine.gpus, speeds, strict=True)
    )
    assert layout_on(LLAMA_8B, replace(machine, gpus=gpus)).settings.devices == (0,)


def test_two_cards_share_what_one_does_not_hold() -> None:
    layout = layout_of(QWEN_32B, "24564:23900,12288:12000")
    assert layout.verdict == FITS_GPU
    assert layout.settings.devices == (0, 1)
    assert layout.settings.tensor_split is not None
    assert sum(layout.settings.tensor_split) == 65
    first, second = layout.memory.gpus
    assert first.required_bytes / first.free_bytes == pytest.approx(
        second.required_bytes / second.free_bytes, abs=0.06
    )
    assert "No single card holds it" in layout.reasons[0]


def test_only_as_many_cards_as_needed() -> None:
    layout = layout_of(QWEN_32B, "16384:15900,16384:15900,16384:15900,16384:15900")
    assert layout.verdict == FITS_GPU
    assert len(layout.settings.devices) == 2


def test_experts_go_to_ram_before_layers_do() -> None:
    layout = layout_of(QWEN_MOE, "12288:11800")
    assert layout.verdict == FITS_OFFLOAD
    assert layout.settings.gpu_layers == ALL_LAYERS
    assert 0 < layout.settings.n_cpu_moe < 48
    assert "experts of the first" in layout.reasons[0]


def test_one_block_of_experts_more_would_not_fit() -> None:
    layout = layout_of(QWEN_MOE, "12288:11800")
    tighter = layout_of(
        QWEN_MOE,
        "12288:11800",
        fixed=frozenset({"n_cpu_moe", "gpu_layers", "override_tensor"}),
        n_cpu_moe=layout.settings.n_cpu_moe - 1,
        override_tensor=layout.settings.override_tensor,
    )
    assert tighter.verdict == DOES_NOT_FIT


def test_the_cards_share_what_is_left_of_the_experts() -> None:
    layout = layout_of(QWEN_MOE, "8192:7800,8192:7900")
    assert layout.verdict == FITS_OFFLOAD
    assert layout.settings.devices == (0, 1)
    for device in layout.memory.gpus:
        assert device.required_bytes > 0.93 * device.free_bytes


def test_layers_of_a_dense_model_go_to_ram() -> None:
    layout = layout_of(QWEN_32B, "12288:11800")
    assert layout.verdict == FITS_OFFLOAD
    assert 0 < layout.settings.gpu_layers < 65
    assert layout.settings.n_cpu_moe == 0
    one_more = layout_of(
        QWEN_32B, "12288:11800", fixed=frozenset({"gpu_layers"}), gpu_layers=layout.settings.gpu_layers + 1
    )
    assert one_more.verdict == DOES_NOT_FIT


def test_without_a_gpu_everything_is_in_ram() -> None:
    layout = layout_of(LLAMA_8B, "")
    assert layout.verdict == FITS_CPU
    assert layout.settings.devices == ()
    assert layout.settings.gpu_layers == 0
    assert layout.memory.gpus == ()


def test_a_card_too_small_for_anything_is_not_used() -> None:
    layout = layout_of(LLAMA_8B, "1024:500")
    assert layout.verdict == FITS_CPU
    assert layout.settings.devices == ()


def test_mimo_does_not_fit_two_cards_and_64_gib() -> None:
    layout = layout_of(MIMO, "24576:24200,24576:24200")
    assert layout.verdict == DOES_NOT_FIT
    assert 60 * GIB < layout.shortfall_bytes < 80 * GIB
    assert layout.reasons[0].startswith("It does not fit:")
    assert "GiB" in layout.reasons[0]


def test_the_shortfall_is_what_is_missing() -> None:
    """With that much more RAM it fits."""
    small = layout_of(MIMO, "24576:24200,24576:24200", ram_gib=64)
    machine = machine_with(
        *cards_named("24576:24200,24576:24200"), ram_bytes=64 * GIB + small.shortfall_bytes
    )
    assert layout_on(MIMO, machine).verdict == FITS_OFFLOAD


def test_a_cgroup_limit_counts_as_the_ram() -> None:
    machine = machine_with(ram_bytes=64 * GIB)
    limited = replace(machine, memory=replace(machine.memory, limit_bytes=6 * GIB))
    assert layout_on(LLAMA_8B, machine).verdict == FITS_CPU
    assert layout_on(LLAMA_8B, limited).verdict == DOES_NOT_FIT


def test_the_system_keeps_its_reserve() -> None:
    machine = machine_with(ram_bytes=64 * GIB)
    needed = layout_on(LLAMA_8B, machine).memory.host.required_bytes
    enough = replace(machine, memory=Memory(64 * GIB, needed + RAM_RESERVE_BYTES))
    short = replace(machine, memory=Memory(64 * GIB, needed + RAM_RESERVE_BYTES - 1))
    assert layout_on(LLAMA_8B, enough).verdict == FITS_CPU
    assert layout_on(LLAMA_8B, short).verdict == DOES_NOT_FIT
    assert layout_on(LLAMA_8B, short).shortfall_bytes == 1


def test_the_prompt_cache_is_limited_to_what_is_left() -> None:
    layout = layout_of(LLAMA_8B, "24564:23900", ram_gib=6)
    assert layout.verdict == FITS_GPU
    assert 0 < layout.settings.cache_ram_bytes < 5 * GIB
    assert any("-cram" in reason for reason in layout.reasons)
    roomy = layout_of(LLAMA_8B, "24564:23900", ram_gib=64)
    assert roomy.settings.cache_ram_bytes == LaunchSettings(1).cache_ram_bytes


# -- what the user fixed stays


def test_a_fixed_split_is_kept() -> None:
    layout = layout_of(
        LLAMA_8B, "24564:23900,24564:24200", fixed=frozenset({"tensor_split"}), tensor_split=(3.0, 1.0)
    )
    assert layout.settings.devices == (0, 1)
    assert layout.settings.tensor_split == (3.0, 1.0)
    assert layout.verdict == FITS_GPU
    assert layout.memory.gpus[0].weights_bytes > 2 * layout.memory.gpus[1].weights_bytes


def test_a_fixed_split_that_overfills_a_card_moves_layers_to_ram() -> None:
    layout = layout_of(
        QWEN_32B, "24564:23900,24564:24200", fixed=frozenset({"tensor_split"}), tensor_split=(9.0, 1.0)
    )
    assert layout.settings.tensor_split == (9.0, 1.0)
    assert layout.verdict == FITS_OFFLOAD


def test_more_shares_than_cards_is_an_error() -> None:
    with pytest.raises(UsageError, match="3 proportions for 2"):
        layout_of(
            LLAMA_8B,
            "24564:23900,24564:24200",
            fixed=frozenset({"tensor_split"}),
            tensor_split=(1.0, 1.0, 1.0),
        )


def test_fixed_layers_are_kept() -> None:
    layout = layout_of(LLAMA_8B, "24564:23900", fixed=frozenset({"gpu_layers"}), gpu_layers=20)
    assert layout.settings.gpu_layers == 20
    assert layout.verdict == FITS_OFFLOAD
    too_many = layout_of(QWEN_32B, "8192:7800", fixed=frozenset({"gpu_layers"}), gpu_layers=ALL_LAYERS)
    assert too_many.verdict == DOES_NOT_FIT
    assert too_many.settings.gpu_layers == ALL_LAYERS
    assert too_many.shortfall_bytes > 15 * GIB


def test_fixed_experts_are_kept() -> None:
    layout = layout_of(QWEN_MOE, "24564:23900", fixed=frozenset({"n_cpu_moe"}), n_cpu_moe=ALL_LAYERS)
    assert layout.settings.n_cpu_moe == ALL_LAYERS
    assert layout.verdict == FITS_OFFLOAD


def test_what_was_chosen_before_is_chosen_anew() -> None:
    """A base that carries another machine's placement is not bound by it."""
    crowded = layout_of(QWEN_MOE, "8192:7800")
    known = known_model(QWEN_MOE)
    again = find_layout(
        known.shape, known.weights, machine_with(*cards_named("24564:23900")), crowded.settings
    )
    assert again.verdict == FITS_GPU


# -- every layout


@pytest.mark.parametrize(
    "model", [LLAMA_8B, QWEN_32B, QWEN_MOE, "deepseek-v2-lite.Q4_K_M", "gemma4-e4b.Q4_K_M"]
)
@pytest.mark.parametrize("cards", ["", "4096:3500", "8192:7800", "24564:9000", "12288:6000,8192:7900"])
@pytest.mark.parametrize("ram_gib", [4, 16, 64])
def test_the_verdict_is_what_the_budgets_say(model: str, cards: str, ram_gib: int) -> None:
    machine = machine_with(*cards_named(cards), ram_bytes=ram_gib * GIB)
    layout = layout_on(model, machine, 8192)
    assert (layout.verdict != DOES_NOT_FIT) == within_budgets(layout, machine)
    assert (layout.shortfall_bytes > 0) == (layout.verdict == DOES_NOT_FIT)
    assert layout.reasons
    assert all(reason.endswith(".") for reason in layout.reasons)
    slots = layout.settings.tensor_split
    assert slots is None or len(slots) == len(layout.settings.devices)


@pytest.mark.parametrize("cards", ["8192:7800", "12288:11800", "8192:7800,8192:7900"])
@pytest.mark.parametrize("model", [LLAMA_8B, "gemma4-e4b.Q4_K_M", "qwen2.5-7b.Q4_K_M"])
def test_the_largest_context_fits_and_the_next_does_not(model: str, cards: str) -> None:
    known = known_model(model)
    machine = machine_with(*cards_named(cards))
    base = LaunchSettings(4096)
    tokens = largest_context(known.shape, known.weights, machine, base)
    assert tokens % 256 == 0
    assert tokens <= known.shape.context_train_tokens
    assert layout_on(model, machine, tokens).verdict == FITS_GPU
    if tokens < known.shape.context_train_tokens:
        assert layout_on(model, machine, tokens + 256).verdict != FITS_GPU


def test_the_largest_context_with_weights_in_ram() -> None:
    known = known_model(QWEN_MOE)
    machine = machine_with(*cards_named("8192:7800"))
    base = LaunchSettings(4096)
    assert largest_context(known.shape, known.weights, machine, base) == 0
    tokens = largest_context(known.shape, known.weights, machine, base, verdicts=(FITS_GPU, FITS_OFFLOAD))
    assert tokens == known.shape.context_train_tokens


def test_slot_costs_add_up() -> None:
    costs = SlotCosts((10, 20, 30, 5), (0, 15, 20, 0), ((),) * 4)
    assert costs.ends(0, 0) == list(accumulate((10, 20, 30, 5), initial=0))
    assert costs.ends(1, 2) == [0, 5, 35, 40]
    split = Split(0, (2, 2), 2, (PartialBlock(2, 7, "x"),))
    assert split.card_bytes(costs) == (15, 28)
    assert split.expert_ram_bytes(costs) == 22


@pytest.mark.parametrize(
    ("model", "changes", "everything"),
    [
        (LLAMA_8B, {}, True),
        (LLAMA_8B, {"n_cpu_moe": 4}, True),
        (LLAMA_8B, {"override_tensor": ("no_such_tensor=CPU",)}, True),
        (LLAMA_8B, {"override_tensor": ("token_embd=CPU",)}, True),
        (LLAMA_8B, {"override_tensor": (r"blk\.0\.ffn_up=CPU",)}, False),
        (LLAMA_8B, {"override_tensor": ("^output\\.weight=CPU",)}, False),
        (LLAMA_8B, {"kv_offload": False}, False),
        (LLAMA_8B, {"gpu_layers": 32}, False),
        (LLAMA_8B, {"gpu_layers": 33}, True),
        ("llama3.2-3b.Q4_K_M", {"override_tensor": ("token_embd=CPU",)}, False),
        (QWEN_MOE, {"n_cpu_moe": 1}, False),
    ],
)
def test_everything_on_the_gpu_means_the_same_found_or_given(
    model: str, changes: dict[str, object], everything: bool
) -> None:
    """What moves nothing to RAM does not count: --n-cpu-moe without experts, -ot that matches no tensor."""
    known, machine = known_model(model), machine_with(*cards_named("24564:23900"))
    base = replace(LaunchSettings(8192), **changes)  # type: ignore[arg-type]
    given_layout = layout_as_given(known.shape, known.weights, machine, base)
    found = find_layout(known.shape, known.weights, machine, base, frozenset(changes))
    wanted = FITS_GPU if everything else FITS_OFFLOAD
    assert (given_layout.verdict, found.verdict) == (wanted, wanted)


def test_a_rule_splits_at_its_first_equals_sign_for_the_costs_too() -> None:
    """As llama.cpp's parser does: what follows is the buffer, and there is no such buffer."""
    known, machine = known_model(LLAMA_8B), machine_with(*cards_named("24564:23900"))
    for rule in ("ffn=x=CPU", "(ffn=CPU", "ffn"):
        base = LaunchSettings(8192, override_tensor=(rule,))
        with pytest.raises(UsageError):
            slot_costs(known.shape, known.weights, base)
        with pytest.raises(UsageError):
            find_layout(known.shape, known.weights, machine, base, frozenset({"override_tensor"}))


def test_the_costs_leave_out_what_the_users_rules_move() -> None:
    known = known_model(LLAMA_8B)
    plain = slot_costs(known.shape, known.weights, LaunchSettings(8192))
    rules = (r"blk\.3\.ffn_up=CUDA1", r"blk\.[34]\.ffn_=CPU")
    moved = slot_costs(known.shape, known.weights, LaunchSettings(8192, override_tensor=rules))
    less = [before - after for before, after in zip(plain.slot_bytes, moved.slot_bytes, strict=True)]
    assert [slot for slot, n_bytes in enumerate(less) if n_bytes] == [3, 4]

    assert 0 < less[3] < less[4]
