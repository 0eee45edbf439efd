"""The models of tests/data/headers as llama.cpp and llmfit see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.shape import ModelShape, shape_from_header
from llmfit.advisor.units import GIB, MIB
from tests.advisor.model.gguf_builder import HEADERS, head_file
from tests.llama_cpp.llama_cpp_build import Card


@dataclass(frozen=True, slots=True)
class KnownModel:
    name: str
    shape: ModelShape
    weights: WeightTable


def model_names() -> tuple[str, ...]:
    """``llama3.1-8b.Q4_K_M`` and so on, sorted."""
    return tuple(
        sorted(name.removesuffix(".gguf") for name in json.loads((HEADERS / "sizes.json").read_text()))
    )


@cache
def known_model(name: str) -> KnownModel:
    """Raises NotModelledError where llmfit has no rules for the architecture."""
    header = read_header(head_file(name), name, require_data=False)
    shape = shape_from_header(header.metadata, header.tensors)
    return KnownModel(name, shape, weight_table(shape, header.tensors))


def machine_with(*cards: Card, ram_bytes: int = 64 * GIB) -> Machine:
    """A simulated machine with these NVIDIA cards."""
    gpus = tuple(
        Gpu(
            index=index,
            name=f"{card.total_mib // 1024} GB card",
            vendor="nvidia",
            backend="cuda",
            vram_total_bytes=card.total_mib * MIB,
            vram_free_bytes=card.free_bytes,
        )
        for index, card in enumerate(cards)
    )
    return Machine(
        "linux", Cpu("simulated", 8, 16), Memory(ram_bytes, ram_bytes), gpus, notes=(), simulated=True
    )


def cards_named(text: str) -> tuple[Card, ...]:
    """``24564:23900,12288`` as in FAKEGPU."""
    cards = []
    for part in filter(None, text.split(",")):
        total, _, free = part.partition(":")
        cards.append(Card(int(total), int(free) if free else None))
    return tuple(cards)
