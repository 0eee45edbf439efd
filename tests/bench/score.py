"""One table for every score: how far estimates are from measurements, by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from tests.bench.speed_rows import SpeedRow

HEAD = ("rows", "devices", "median", "P90", "in 20 %", "bias", "in range", "by device")
WIDTH = 18


@dataclass(frozen=True, slots=True)
class Scored:
    """A row and its estimate over what was measured, less 1; ``inside`` the stated low and high or not."""

    row: SpeedRow
    error: float
    inside: bool


def print_table(title: str, scored: Sequence[Scored]) -> None:
    """A line for each class and one for all: the median and the 90th percentile of the absolute error, the
    share within 20 %, the bias (median error), the share inside the stated range, and the median over devices
    of each device's median (three machines make half of the rows)."""
    print(f"\n{title:{WIDTH}s} " + " ".join(f"{name:>9s}" for name in HEAD))
    groups: dict[str, list[Scored]] = defaultdict(list)
    for one in scored:
        groups[one.row.group].append(one)
    for group in sorted(groups):
        print(f"{group:{WIDTH}s} {_figures(groups[group])}")
    print(f"{'all':{WIDTH}s} {_figures(scored)}")


def _figures(scored: Sequence[Scored]) -> str:
    absolute = [abs(one.error) for one in scored]
    p90 = quantiles(absolute, n=10)[-1] if len(absolute) > 1 else absolute[0]
    return " ".join(
        (
            f"{len(scored):9d}",
            f"{len({one.row.device for one in scored}):9d}",
            f"{median(absolute):9.1%}",
            f"{p90:9.1%}",
            f"{sum(one <= 0.2 for one in absolute) / len(absolute):9.0%}",
            f"{median(one.error for one in scored):+9.1%}",
            f"{sum(one.inside for one in scored) / len(scored):9.0%}",
            f"{_by_device(scored):9.1%}",
        )
    )


def _by_device(scored: Iterable[Scored]) -> float:
    errors: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        errors[one.row.device].append(abs(one.error))
    return median(median(found) for found in errors.values())
