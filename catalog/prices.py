"""What the catalogue's hardware is sold for: cards by their own rows, whole computers by ``machines.jsonl``.

List prices with date and source; what nobody states is ``None``. Old cards keep the price of their launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import cast

from llmfit.advisor.hardware.machine import GpuFacts
from llmfit.advisor.hardware.offers import BoxOffer, CardOffer, Price
from llmfit.catalog import loader
from llmfit.catalog.gpus import gpu_price, gpu_release, list_gpus

MACHINES = "machines.jsonl"
_PART_OF_A_LAPTOP = frozenset(
    {"nvidia-geforce-gtx-1650-max-q", "amd-radeon-rx-7900m", "amd-radeon-rx-7600m-xt", "intel-arc-a770m"}
)
"""Besides those whose name says Mobile."""
_PART_OF_A_SERVER = frozenset(
    {
        "nvidia-tesla-v100-sxm2-16-gb", "nvidia-tesla-v100-sxm2-32-gb", "nvidia-a100-sxm4-40-gb",
        "nvidia-a100-sxm4-80-gb", "nvidia-h100-sxm5-80-gb", "nvidia-h200-sxm-141-gb", "nvidia-b200",
        "nvidia-b300", "amd-radeon-instinct-mi250", "amd-radeon-instinct-mi250x",
        "amd-radeon-instinct-mi300x", "amd-radeon-instinct-mi325x", "amd-radeon-instinct-mi350x",
        "amd-radeon-instinct-mi355x",
    }
)  # fmt: skip
"""Modules (SXM, OAM) that are soldered or socketed on a server's board: nobody buys one for a slot."""
_SOLD_OTHERWISE = frozenset(
    {
        "nvidia-a10g",  # rented by one cloud, never sold
        "nvidia-a16-pcie",  # one of four GPUs on one card
        "nvidia-geforce-rtx-4090-d",  # for one country
        "nvidia-geforce-rtx-5090-d",
    }
)


def list_cards() -> tuple[CardOffer, ...]:
    """Every graphics card that one can buy for a slot, in the catalogue's order, one a memory size."""
    return tuple(
        CardOffer(
            facts,
            size_bytes,
            _price(gpu_price(facts.id)) if size_bytes == max(sizes) else None,
            gpu_release(facts.id),
        )
        for facts in list_gpus()
        if is_sold_as_card(facts) and (sizes := facts.memory_bytes_options)
        for size_bytes in sizes
    )


def is_sold_as_card(facts: GpuFacts) -> bool:
    """Not built into a processor, a laptop or a server's board."""
    return not (
        facts.unified_memory
        or "Mobile" in facts.name
        or facts.id in _PART_OF_A_LAPTOP
        or facts.id in _PART_OF_A_SERVER
        or facts.id in _SOLD_OTHERWISE
    )


@cache
def list_boxes() -> tuple[BoxOffer, ...]:
    """Computers that are sold whole: those with a price first, then every other memory size of their chips.

    A Mac of the catalogue whose price nobody states is one that may be bought, at a price that is not known.
    """
    by_id = {facts.id: facts for facts in list_gpus()}
    priced = tuple(
        _box(row, by_id[str(row["gpu"])])
        for row in loader.bundled_rows(MACHINES).values()
        if str(row["gpu"]) in by_id
    )
    known = {(box.facts.id, box.memory_bytes) for box in priced}
    others = tuple(
        BoxOffer(_box_name(facts, size_bytes), facts, size_bytes, None)
        for facts in reversed(by_id.values())
        if facts.vendor == "apple"
        for size_bytes in facts.memory_bytes_options
        if (facts.id, size_bytes) not in known
    )
    return (*priced, *others)


def _box(row: Mapping[str, object], facts: GpuFacts) -> BoxOffer:
    withdrawn = cast("str | None", row["withdrawn"])
    size_bytes = cast(int, row["memory_bytes"])
    return BoxOffer(str(row["name"]), facts, size_bytes, _price(row), withdrawn)


def _box_name(facts: GpuFacts, size_bytes: int) -> str:
    """The memory tells chips with different core counts apart."""
    name = facts.name.replace("Apple", "Mac").partition(" (")[0]
    return f"{name} {size_bytes // 2**30} GB"


def _price(row: Mapping[str, object] | None) -> Price | None:
    if row is None:
        return None
    return Price(cast(int, row["usd"]), str(row["date"]), str(row["kind"]), str(row["source"]))


__all__ = ["MACHINES", "is_sold_as_card", "list_boxes", "list_cards"]
