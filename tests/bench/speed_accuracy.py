"""How far the estimated decode speeds are from measured ones, by class.

Run from the top of the repository: ``python tests/bench/speed_accuracy.py``. Prints for each class the median
and the 90th percentile of the absolute error, the share within 20 %, the bias (median of estimate / measured
- 1), the share of measurements inside the stated low-high range, and the median over devices of each device's
median error (three machines make half of the rows). The constants of today were not fitted on these rows.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.estimate import estimate_speed
from tests.bench.speed_rows import SpeedRow, read_rows

HEAD = ("", "rows", "devices", "median", "P90", "in 20 %", "bias", "in range", "by device")


def main() -> None:
    left_out: Counter[str] = Counter()
    errors: dict[str, list[tuple[SpeedRow, float, bool]]] = defaultdict(list)
    for row in read_rows(left_out):
        estimate = estimate_speed(row.model, row.weights, row.machine, row.settings, row.depth_tokens)
        if estimate is None:
            left_out["no estimate"] += 1
            continue
        speed = estimate.decode_tok_s
        # A file of another mix reads so much more or less of everything but the cache.
        tok_s = row.tok_s * row.scale
        error = speed.expected / tok_s - 1
        errors[row.group].append((row, error, speed.low <= tok_s <= speed.high))
    print(f"{HEAD[0]:18s} " + " ".join(f"{name:>9s}" for name in HEAD[1:]))
    for group in sorted(errors):
        print(_line(group, errors[group]))
    print(_line("all", [one for found in errors.values() for one in found]))
    print("left out:", ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()))


def _line(name: str, found: Sequence[tuple[SpeedRow, float, bool]]) -> str:
    absolute = [abs(error) for _, error, _ in found]
    by_device: dict[str, list[float]] = defaultdict(list)
    for row, error, _ in found:
        by_device[row.device].append(abs(error))
    p90 = quantiles(absolute, n=10)[-1] if len(absolute) > 1 else absolute[0]
    figures = (
        f"{len(found):9d}",
        f"{len(by_device):9d}",
        f"{median(absolute):9.1%}",
        f"{p90:9.1%}",
        f"{sum(one <= 0.2 for one in absolute) / len(absolute):9.0%}",
        f"{median(error for _, error, _ in found):+9.1%}",
        f"{sum(inside for _, _, inside in found) / len(found):9.0%}",
        f"{median(median(one) for one in by_device.values()):9.1%}",
    )
    return f"{name:18s} " + " ".join(figures)


if __name__ == "__main__":
    main()
