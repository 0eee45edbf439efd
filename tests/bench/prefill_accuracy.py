"""How far the estimated prefill speeds are from measured ones.

Run from the top of the repository: ``python tests/bench/prefill_accuracy.py``. Prints by class the median and
the 90th percentile of the absolute error, the share within 20 %, the bias (median of estimate / measured
- 1), the share inside the stated range and the median over devices of each device's median: with the
constants as they are and (with the extra ``bench``) with each model or each card left out of the fit, in
pairs, too. Then by placement the range that holds four of five of the cards left out, the slope with depth,
and what a larger ubatch brings with experts in RAM.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.prefill.plan import prefill_range
from tests.bench.prefill_samples import Sample, samples

HEAD = ("rows", "devices", "median", "P90", "in 20 %", "bias", "in range", "by device")
N_LEFT_OUT_STEPS = 3
FAR_APART_TOKENS = 4000
"""Two depths tell of a slope from this difference on."""
Found = tuple[Sample, float]
"""A row and its estimate over what was measured."""


def main() -> None:
    left_out: Counter[str] = Counter()
    data = samples(left_out)
    now = [(one, one.predicted() / one.row.tok_s) for one in data]
    _table("constants as they are", now)
    unseen = _without(data, lambda one: one.cards) if _can_fit() else None
    if unseen is None:
        print("Leaving models or cards out needs numpy: install llmfit with the extra bench.")
    else:
        _table("each model left out", _without(data, lambda one: {one.row.model.shape.architecture}))
        _table("each card left out", unseen)
        _ranges(unseen)
    _slopes(data)
    _ubatches(data)
    print("left out:", ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()))


def _can_fit() -> bool:
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


def _without(data: Sequence[Sample], keys: Callable[[Sample], Iterable[str]]) -> list[Found]:
    """Each row, estimated by constants fitted on the rows that share no key with it."""
    import numpy as np

    from tests.bench.fit_prefill import Fit

    fit = Fit(data)
    full = fit.solve(np.zeros(len(fit.names)), np.ones(len(data)))
    found = []
    for left in sorted({frozenset(keys(one)) for one in data}, key=sorted):
        keep = np.array([0.0 if left & set(keys(one)) else 1.0 for one in data])
        constants = fit.constants(fit.solve(full, keep, N_LEFT_OUT_STEPS, derive=False))
        rows = (one for one in data if frozenset(keys(one)) == left)
        found += [(one, one.predicted(constants) / one.row.tok_s) for one in rows]
    return found


def _table(title: str, found: Sequence[Found]) -> None:
    print(f"{title:24s} " + " ".join(f"{name:>9s}" for name in HEAD))
    groups = sorted({one.row.group for one, _ in found})
    for group in groups:
        print(_line(group, [pair for pair in found if pair[0].row.group == group]))
    print(_line("all", found), flush=True)


def _line(name: str, found: Sequence[Found]) -> str:
    errors = [abs(ratio - 1) for _, ratio in found]
    by_device: dict[str, list[float]] = defaultdict(list)
    inside = 0
    for one, ratio in found:
        by_device[one.row.device].append(abs(ratio - 1))
        low, high = prefill_range(one.plan())
        inside += low <= 1 / ratio <= high
    figures = (
        f"{len(found):9d}",
        f"{len(by_device):9d}",
        f"{median(errors):9.1%}",
        f"{quantiles(errors, n=10)[-1] if len(errors) > 1 else errors[0]:9.1%}",
        f"{sum(error <= 0.2 for error in errors) / len(errors):9.0%}",
        f"{median(ratio for _, ratio in found) - 1:+9.1%}",
        f"{inside / len(found):9.0%}",
        f"{median(median(each) for each in by_device.values()):9.1%}",
    )
    return f"{name:24s} " + " ".join(figures)


def _ranges(found: Sequence[Found]) -> None:
    """Tenths of measured over estimated by placement, each device with the weight that the fit gives it."""
    from tests.bench.fit_prefill import DEVICE_POWER

    rows_of = Counter(one.row.device for one, _ in found)
    by_placement: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one, ratio in found:
        weight = rows_of[one.row.device] ** (DEVICE_POWER - 1)
        by_placement[one.plan().placement.value].append((1 / ratio, weight))
    for name, pairs in sorted(by_placement.items()):
        print(f"four of five, {name:16s} {_tenth(pairs, 0.1):.2f} to {_tenth(pairs, 0.9):.2f}")


def _tenth(pairs: Sequence[tuple[float, float]], share: float) -> float:
    total, so_far = sum(weight for _, weight in pairs), 0.0
    for value, weight in sorted(pairs):
        so_far += weight
        if so_far >= share * total:
            return value
    return max(value for value, _ in pairs)


def _slopes(data: Sequence[Sample]) -> None:
    """Seconds a token that a depth costs over those of a smaller one, estimated over measured."""
    ratios = []
    for rows in _sweeps(data, lambda one: (one.row.settings, one.row.prompt_tokens)):
        for low, high in pairwise(sorted(rows, key=lambda one: one.row.depth_tokens)):
            measured = 1 / high.row.tok_s - 1 / low.row.tok_s
            if high.row.depth_tokens - low.row.depth_tokens >= FAR_APART_TOKENS and measured > 0:
                ratios.append((1 / high.predicted() - 1 / low.predicted()) / measured)
    _ratios("slope with depth", ratios)


def _ubatches(data: Sequence[Sample]) -> None:
    """What a larger ubatch brings with weights in RAM, estimated over measured."""
    offload = [one for one in data if "offload" in one.row.group]
    ratios = []
    for rows in _sweeps(offload, lambda one: (one.row.prompt_tokens, one.row.settings.n_cpu_moe)):
        for low, high in pairwise(sorted(rows, key=lambda one: one.row.settings.ubatch)):
            if high.row.settings.ubatch > low.row.settings.ubatch:
                measured = high.row.tok_s / low.row.tok_s
                ratios.append(high.predicted() / low.predicted() / measured)
    _ratios("gain by a larger ubatch", ratios)


def _sweeps(data: Sequence[Sample], key: Callable[[Sample], object]) -> Iterable[list[Sample]]:
    """Rows of one user with one model on one device that are alike in ``key``."""
    groups: dict[object, list[Sample]] = defaultdict(list)
    for one in data:
        row = one.row
        backends = tuple(gpu.backend for gpu in one.gpus)
        groups[row.user, row.device, backends, id(row.model), row.scale, key(one)].append(one)
    return groups.values()


def _ratios(name: str, ratios: Sequence[float]) -> None:
    error = median(abs(ratio - 1) for ratio in ratios)
    typical = median(log(ratio) if ratio > 0 else float("-inf") for ratio in ratios)
    print(f"{name:24s} {len(ratios):9d} pairs, median error {error:.1%}, bias {typical:+.2f} (logarithm)")


if __name__ == "__main__":
    main()
