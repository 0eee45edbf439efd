"""How far tensor splits are from the measured ones: ``python tests/bench/tensor_split_accuracy.py``.

Reads tests/data/tensor_split.csv (see speed_further.md there). Prints each row with the time of a reduction
that would explain it, given how fast the same cards are with a layer split where that was measured.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.further.tensor_split import TensorSplitSpeed, tensor_split_speed
from tests.bench.speed_names import file_type_of, gpu_machine, model_named
from tests.bench.speed_rows import DATA

SETTINGS = LaunchSettings(4096, devices=(0, 1, 2, 3), split_mode="tensor")


def rows() -> Iterator[tuple[dict[str, str], TensorSplitSpeed]]:
    with (DATA / "tensor_split.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            model, weights = model_named(row["model"], file_type_of(row["quant"]))
            names = (row["gpu"],) * int(row["n_gpus"])
            gpus = gpu_machine(names, "", row["backend"], "", "linux").gpus
            found = tensor_split_speed(model, weights, gpus, SETTINGS, int(row["depth_tokens"]))
            if found is None:
                raise ValueError(f"no figure for {row}")
            yield row, found


def main() -> None:
    explaining: dict[str, list[float]] = defaultdict(list)
    errors, inside, n = [], 0, 0
    for row, found in rows():
        measured, layer = float(row["tensor_tok_s"]), float(row["layer_tok_s"] or 0)
        n_reductions = next(term.amount or 1 for term in found.step.terms if term.what == "reductions")
        waiting_s = sum(term.time_s for term in found.step.terms if term.what == "reductions")
        as_measured = found.layer_tok_s / layer if layer else 1.0
        each_s = (1 / measured - as_measured * (found.step.total_s - waiting_s)) / n_reductions
        if layer:
            explaining[row["backend"]].append(each_s)
        errors.append(found.tok_s.expected / measured - 1)
        inside, n = inside + (found.tok_s.low <= measured <= found.tok_s.high), n + 1
        gain = f"x{measured / layer:.2f}" if layer else "    "
        name = row["model"].split("/")[-1]
        print(
            f"{row['n_gpus']}x {row['gpu']:16s} {name:21s} at {row['depth_tokens']:>6s}: "
            f"{found.tok_s.expected:6.1f} for {measured:6.1f} ({errors[-1]:+.0%}), "
            f"x{found.speedup_factor:.2f} for {gain}, a reduction {each_s * 1e6:5.1f} us"
        )
    print(f"median error {median(map(abs, errors)):.1%}, bias {median(errors):+.1%}, in range {inside}/{n}")
    print({backend: f"{median(found) * 1e6:.0f} us" for backend, found in explaining.items()})


if __name__ == "__main__":
    main()
