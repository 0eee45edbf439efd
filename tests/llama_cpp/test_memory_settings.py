"""Weights, cache and compute under settings that are in no table: asked of llama.cpp itself, to the byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.shape import ModelShape
from tests.advisor.memory.memory_models import header_of
from tests.advisor.model.gguf_builder import sparse_file
from tests.llama_cpp.llama_cpp_build import Card
from tests.llama_cpp.memoracle import Memoracle
from tests.llama_cpp.placement_models import known_model, machine_with, model_names

pytestmark = pytest.mark.llama_cpp

CARD_SETS = (
    (Card(990_000, 700_000),),
    (Card(990_000, 700_000), Card(400_000, 399_000)),
    (Card(400_000, 100_000), Card(990_000, 640_000), Card(700_000, 350_000)),
)
N_ASKED = 3
SMALL_BYTES = 4096
"""gemma4 uses its rope factors in full-attention layers only; we count them on every card."""


@dataclass(frozen=True, slots=True)
class Question:
    cards: tuple[Card, ...]
    settings: LaunchSettings
    args: tuple[str, ...]


def question(shape: ModelShape, dice: random.Random) -> Question:
    """A launch that nobody thought of, as settings and as the flags that say the same."""
    cards = dice.choice(CARD_SETS)
    context = dice.choice((300, 1000, 5000, 12345, 40000))
    ubatch = dice.choice((64, 100, 512, 1024, 2048))
    slots, unified = dice.choice((1, 2, 4, 8)), dice.random() < 0.3
    layers = dice.choice((999, 999, dice.randint(0, shape.n_layer_all + 1)))
    moe = dice.randint(0, shape.n_layer) if shape.n_expert and dice.random() < 0.4 else 0
    override = (r"blk\.[0-9]\.ffn_up.*=CPU",) if not moe and dice.random() < 0.2 else ()
    shares = (*(float(dice.choice((0, 1, 2, 7))) for _ in cards[1:]), 1.0)
    split = shares if len(cards) > 1 and dice.random() < 0.5 else None
    offload, drafting = dice.random() > 0.1, shape.n_layer_all > shape.n_layer and dice.random() < 0.5
    settings = LaunchSettings(
        context,
        devices=tuple(range(len(cards))),
        ubatch=ubatch,
        parallel=slots,
        kv_unified=unified,
        gpu_layers=layers,
        n_cpu_moe=moe,
        tensor_split=split,
        override_tensor=override,
        kv_offload=offload,
        spec_type="draft-mtp" if drafting else None,
    )
    flags = f"-fa on -c {context} -ub {ubatch} -np {slots} -ngl {layers}"
    flags += (" --kv-unified" if unified else "") + (f" --n-cpu-moe {moe}" if moe else "")
    flags += f" -ts {','.join(map(str, split))}" if split else ""
    flags += f" -ot {override[0]}" if override else ""
    flags += ("" if offload else " -nkvo") + (" --spec-type draft-mtp" if drafting else "")
    return Question(cards, settings, tuple(flags.split()))


@pytest.mark.parametrize("name", model_names())
def test_any_settings_agree_with_llama_cpp(
    name: str, memoracle: Callable[..., Memoracle], tmp_path: Path
) -> None:
    model, path = known_model(name), sparse_file(name, tmp_path)
    dice = random.Random(name)
    for _ in range(N_ASKED):
        asked = question(model.shape, dice)
        tensors = header_of(name.rsplit(".", 1)[0]).tensors
        weights = weight_table(model.shape, tensors, asked.settings.load_mtp)
        ours = estimate_memory(model.shape, weights, asked.settings, machine_with(*asked.cards))
        theirs = memoracle(*asked.cards).ask(("-m", str(path), *asked.args))
        for device, buffers in zip(ours.devices, (*theirs.gpus, theirs.host), strict=True):
            where = f"{device.name} with {' '.join(asked.args)}"
            assert abs(device.weights_bytes - buffers.model_bytes) <= SMALL_BYTES, where
            assert device.kv_cache_bytes == buffers.context_bytes, where
            assert device.llama_cpp_bytes + device.margin_bytes >= buffers.total_bytes, where
