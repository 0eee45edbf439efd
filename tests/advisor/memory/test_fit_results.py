"""Our placement beside what llama.cpp's own ``--fit`` decides on the same cards (tests/data/fit_results.csv).

"Never worse" means: where ``--fit`` keeps everything on the cards, at least its context; where it moves
weights to RAM, at least as many bytes of weights on the cards. The safety is not the same and is compared as
it is: ``--fit`` leaves 1024 MiB free on each card, we leave the stated driver overhead and the margin of the
estimate (616 MiB and up). Rows in which ``--fit`` itself plans more than a card has free are named and not
compared.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmfit.advisor.memory.fitting import FITS_GPU, find_layout, largest_context
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.units import GIB
from tests.llama_cpp.placement_models import cards_named, known_model, machine_with

RESULTS = Path(__file__).resolve().parents[2] / "data" / "fit_results.csv"
RAM_BYTES = 1024 * GIB
"""--fit takes RAM for unlimited."""
OVERFULL = {
    ("mimo-v2-flash.Q4_K_M", cards)
    for cards in ("24564:23900,24564:24200", "24564:23900,12288:12000", "8192:7800,8192:7900")
}
"""--fit of b11434 plans 4.6 to 6.2 GiB more for the first card than it has free."""


@dataclass(frozen=True, slots=True)
class Row:
    model: str
    cards: str
    args: str
    context_tokens: int
    everything_on_cards: bool
    card_bytes: tuple[tuple[int, int, int], ...]

    @property
    def settings(self) -> LaunchSettings:
        """llama-server's own defaults: four slots over one cache."""
        kind = "q8_0" if "q8_0" in self.args else "f16"
        return LaunchSettings(
            self.context_tokens, parallel=4, kv_unified=True, cache_type_k=kind, cache_type_v=kind
        )

    @property
    def weights_bytes(self) -> int:
        return sum(model for model, _, _ in self.card_bytes)

    @property
    def overfull(self) -> bool:
        free = [card.free_bytes for card in cards_named(self.cards)]
        return any(sum(parts) > room for parts, room in zip(self.card_bytes, free, strict=True))


def rows() -> Iterator[Row]:
    with RESULTS.open(newline="") as file:
        for row in csv.DictReader(file):
            cards = tuple(
                (int(model), int(context), int(compute))
                for model, context, compute in (card.split("+") for card in row["cards"].split())
            )
            yield Row(row["model"], row["gpus"], row["args"], int(row["n_ctx"]), row["ngl"] == "-1", cards)


ROWS = tuple(rows())
MODELS = tuple(dict.fromkeys(row.model for row in ROWS))


def test_all_rows_are_there() -> None:
    assert len(ROWS) == 450
    assert len(MODELS) == 15


def test_where_fit_itself_overfills_a_card() -> None:
    """Keeps the list of rows that are not compared from growing silently."""
    assert {(row.model, row.cards) for row in ROWS if row.overfull} == OVERFULL
    assert sum(row.overfull for row in ROWS) == 9


@pytest.mark.parametrize("model", MODELS)
def test_never_worse_than_fit(model: str) -> None:
    known = known_model(model)
    worse = []
    for row in ROWS:
        if row.model != model or row.overfull:
            continue
        machine = machine_with(*cards_named(row.cards), ram_bytes=RAM_BYTES)
        if row.everything_on_cards and "-c" not in row.args:
            tokens = largest_context(known.shape, known.weights, machine, row.settings)
            if tokens < min(row.context_tokens, known.shape.context_train_tokens):
                worse.append(f"{row.cards}: {tokens} tokens, --fit has {row.context_tokens}")
            continue
        layout = find_layout(known.shape, known.weights, machine, row.settings)
        mine = sum(device.weights_bytes for device in layout.memory.gpus)
        if layout.verdict != FITS_GPU and mine < row.weights_bytes:
            worse.append(f"{row.cards} {row.args}: {mine} bytes on the cards, --fit has {row.weights_bytes}")
        if row.everything_on_cards and layout.verdict != FITS_GPU:
            worse.append(f"{row.cards} {row.args}: {layout.verdict}, --fit keeps everything on the cards")
    assert not worse
