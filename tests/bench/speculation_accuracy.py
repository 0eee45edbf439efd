"""How far the gain of MTP drafts is from measured ones: ``python tests/bench/speculation_accuracy.py``.

Reads tests/data/speculation.csv (see speed_further.md there). The acceptance that was measured is given, so
what is scored is the cost of a round. Rows of machines that cannot be laid out are
skipped: they are there for their acceptance.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.plan import plan_decode
from llmfit.advisor.speed.further.acceptance import Acceptance, per_token
from llmfit.advisor.speed.further.batch import plan_batches
from llmfit.advisor.speed.further.speculation import (
    COST_RANGE,
    SpeculativeSpeed,
    plan_mtp,
    speculative_speed,
    state_snapshot_s,
)
from llmfit.advisor.speed.reads import decode_reads
from llmfit.advisor.speed.speed_range import SpeedRange
from tests.bench.speed_names import Unusable, file_type_of, gpu_machine, model_named
from tests.bench.speed_rows import DATA

SETTINGS = LaunchSettings(4096, devices=(0,), spec_type="draft-mtp")


@dataclass(frozen=True, slots=True)
class Scored:
    row: dict[str, str]
    speed: SpeculativeSpeed

    @property
    def gain(self) -> float:
        return float(self.row["tok_s"]) / float(self.row["base_tok_s"])

    @property
    def measured_over_expected(self) -> float:
        return self.gain / self.speed.gain_factor[1]


def scored() -> Iterator[Scored]:
    with (DATA / "speculation.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                yield Scored(row, _speed(row))
            except Unusable:
                continue


def _speed(row: dict[str, str]) -> SpeculativeSpeed:
    model, weights = model_named(row["model"], file_type_of(row["quant"]))
    gpu = gpu_machine((row["gpu"],), "", row["backend"], "", "linux").gpus[0]
    assignment = assign_layers(model.shape, SETTINGS, [gpu.usable_bytes], weights)
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    card = Card.of(gpu)
    plain = plan_decode(reads, [card], None) if card else None
    draft = plan_mtp(model.shape, model.tensors, assignment, [card], None) if card else None
    if card is None or plain is None or draft is None:
        raise Unusable("nothing known")
    n_draft, depth = int(row["n_draft"]), int(row["depth_tokens"])
    share = per_token(float(row["accepted_share"]), n_draft)
    return speculative_speed(
        plan_batches(model.shape, reads, [card], None, [gpu]),
        draft,
        plain.step(depth),
        SpeedRange(1.0, 1.0, 1.0),
        Acceptance(share, share, share, row["source_url"]),
        n_draft,
        depth,
        snapshot_s=state_snapshot_s(reads, [card]),
    )


def main() -> None:
    found = list(scored())
    for one in found:
        row = one.row
        print(
            f"{row['gpu']:22.22s} {row['backend']:6s} {row['model'].split('/')[-1]:18s} {row['quant']:10s} "
            f"{row['n_draft']} drafted, {float(row['accepted_share']):.2f} accepted: "
            f"x{one.speed.gain_factor[1]:.2f} for x{one.gain:.2f}"
        )
    ratios = [one.measured_over_expected for one in found]
    deciles = quantiles(ratios, n=10)
    inside = sum(COST_RANGE[0] <= ratio <= COST_RANGE[1] for ratio in ratios)
    print(
        f"median error {median(abs(1 / ratio - 1) for ratio in ratios):.1%}, in range {inside}/{len(ratios)}"
    )
    print(f"measured over expected: P10 {deciles[0]:.2f}, median {median(ratios):.2f}, P90 {deciles[-1]:.2f}")


if __name__ == "__main__":
    main()
