"""How far the estimated decode speeds are from measured ones, by class.

Run from the top of the repository: ``python tests/bench/speed_accuracy.py``. Prints a table as ``score.py``
describes it for the constants as they are, and (with the extra ``bench``: numpy and scipy) for constants
fitted without the model, the device or the user of the row. ``--quick`` leaves these out. Then how much a
token takes longer with depth, estimated and measured.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from math import exp
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.decode.host_constants import HOST
from llmfit.advisor.speed.doubt import decode_range
from tests.bench.decode_samples import DecodeSample
from tests.bench.decode_samples import read_samples as gpu_samples
from tests.bench.host_samples import HostSample
from tests.bench.host_samples import read_samples as ram_samples
from tests.bench.score import Scored, print_table
from tests.bench.speed_rows import INTEGRATED, SpeedRow

MIN_TOKENS_APART = 8000
LEFT_OUT: dict[str, Callable[[SpeedRow], str]] = {
    "model": lambda row: row.model.id,
    "device": lambda row: row.device,
    "user": lambda row: row.user,
}


def main() -> None:
    left_out: Counter[str] = Counter()
    on_gpus = gpu_samples(left_out)
    in_ram = [sample for sample in ram_samples(Counter()) if sample.row.group != INTEGRATED]
    now = [_scored(one, 1 / one.step().total_s / one.row.scale) for one in on_gpus]
    now += [_scored_in_ram(one, one.error(HOST)) for one in in_ram]
    print_table("constants in use", now)
    if "--quick" not in sys.argv:
        _without_each(on_gpus, in_ram)
    _slopes(on_gpus)
    print("left out:", ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()))


def _scored(sample: DecodeSample, tok_s: float) -> Scored:
    """A file of another mix reads so much more or less of everything but the cache."""
    low, high = decode_range(sample.reads, sample.gpus, sample.row.depth_tokens)
    ratio = tok_s / sample.row.tok_s
    return Scored(sample.row, ratio - 1, low <= 1 / ratio <= high)


def _scored_in_ram(sample: HostSample, error: float) -> Scored:
    low, high = sample.range_factors
    return Scored(sample.row, error, low <= 1 / (1 + error) <= high)


def _without_each(on_gpus: Sequence[DecodeSample], in_ram: Sequence[HostSample]) -> None:
    try:
        import numpy as np

        from tests.bench.fit_decode import DecodeFit, leave_out
    except ImportError:
        print("Leaving rows out of the fit needs numpy and scipy: install llmfit with the extra bench.")
        return
    fit = DecodeFit(on_gpus)
    start = fit.solve(np.full(len(on_gpus), True))
    for what, key in LEFT_OUT.items():
        times = leave_out(fit, start, lambda sample, key=key: key(sample.row))
        found = [_scored(one, exp(-time)) for one, time in zip(on_gpus, times, strict=True)]
        print_table(f"{what} left out", found + _ram_without(in_ram, key))


def _ram_without(samples: Sequence[HostSample], key: Callable[[SpeedRow], str]) -> list[Scored]:
    from tests.bench.fit_host import fit

    found = []
    for left in sorted({key(sample.row) for sample in samples}):
        fitted = fit([sample for sample in samples if key(sample.row) != left])
        if fitted is not None:
            own = [sample for sample in samples if key(sample.row) == left]
            found += [_scored_in_ram(sample, sample.error(fitted)) for sample in own]
    return found


def _slopes(samples: Sequence[DecodeSample]) -> None:
    """From the shallowest to the deepest run of one user, card, backend and file."""
    runs: dict[tuple[str, ...], dict[int, DecodeSample]] = defaultdict(dict)
    for sample in samples:
        row = sample.row
        key = (row.device, sample.gpus[0].backend, row.model.id, row.model.quantization, row.user)
        runs[key][row.depth_tokens] = sample
    print("\nms a token longer for each 1,000 tokens of depth: estimated, measured, their ratio")
    ratios = []
    for key, by_depth in sorted(runs.items()):
        shallow, deep = by_depth[min(by_depth)], by_depth[max(by_depth)]
        thousands = (deep.row.depth_tokens - shallow.row.depth_tokens) / 1000
        if thousands * 1000 >= MIN_TOKENS_APART:
            estimated = (deep.step().total_s - shallow.step().total_s) * 1e3 / thousands
            measured = (deep.measured_s - shallow.measured_s) * 1e3 / thousands
            ratio = estimated / measured if measured > 0 else float("inf")
            print(f"{estimated:7.3f} {measured:7.3f} {ratio:5.2f}  {', '.join(key[:4])}")
            ratios.append(ratio)
    errors = [abs(ratio - 1) for ratio in ratios]
    print(f"{len(ratios)} slopes: median error {median(errors):.1%}, median ratio {median(ratios):.2f}")


if __name__ == "__main__":
    main()
