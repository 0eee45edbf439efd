"""How far the estimated decode speeds with weights in RAM are from the measured ones.

Run from the top of the repository: ``python tests/bench/offload_accuracy.py``. Prints by class the median and
the 90th percentile of the absolute error, the share within 20 %, the bias, the share inside the stated range
and the median over devices: with the constants as they are, and (with the extra ``bench``: numpy and scipy)
with each device or each family of models (architecture) left out of the fit. Then the time of a moved layer,
estimated and measured, of the rigs that moved layers one by one.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.decode.host_constants import HOST
from tests.bench.fit_host import fit, fit_samples
from tests.bench.host_samples import HostSample, read_samples
from tests.bench.speed_rows import INTEGRATED

HEAD = ("runs", "devices", "median", "P90", "in 20 %", "bias", "in range", "by device")
SWEEP = 3
"""As many different placements of one model make a sweep."""
Errors = Sequence[tuple[HostSample, float]]


def main() -> None:
    left_out: Counter[str] = Counter()
    samples = read_samples(left_out)
    own = fit_samples(samples)
    _table("constants as they are", [(sample, sample.error(HOST)) for sample in samples])
    for what, key in (("device", _device), ("family", _family)):
        errors = _left_out(own, key)
        if errors is None:
            print(f"Leaving a {what} out needs numpy and scipy: install llmfit with the extra bench.")
            continue
        _table(f"each {what} left out of the fit", errors)
        if what == "device":
            _devices(errors)
    _sweeps(own)
    print("left out:", ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()))


def _device(sample: HostSample) -> str:
    return sample.row.device


def _family(sample: HostSample) -> str:
    return sample.row.model.shape.architecture


def _left_out(
    samples: Sequence[HostSample], key: Callable[[HostSample], str]
) -> list[tuple[HostSample, float]] | None:
    errors: list[tuple[HostSample, float]] = []
    for left in sorted({key(sample) for sample in samples}):
        fitted = fit([sample for sample in samples if key(sample) != left])
        if fitted is None:
            return None
        errors += [(sample, sample.error(fitted)) for sample in samples if key(sample) == left]
    return errors


def _table(title: str, errors: Errors) -> None:
    print(f"\n{title:30s} " + " ".join(f"{name:>9s}" for name in HEAD))
    for group in ("CPU only", "dense offload", "MoE offload", INTEGRATED):
        found = [(sample, error) for sample, error in errors if sample.row.group == group]
        if found:
            print(f"{group:30s} {_figures(found)}")


def _figures(found: Errors) -> str:
    absolute = [abs(error) for _, error in found]
    by_device: dict[str, list[float]] = defaultdict(list)
    for sample, error in found:
        by_device[sample.row.device].append(abs(error))
    inside = [_in_range(sample, error) for sample, error in found]
    p90 = quantiles(absolute, n=10)[-1] if len(absolute) > 1 else absolute[0]
    return " ".join(
        (
            f"{len(found):9d}",
            f"{len(by_device):9d}",
            f"{median(absolute):9.1%}",
            f"{p90:9.1%}",
            f"{sum(one <= 0.2 for one in absolute) / len(absolute):9.0%}",
            f"{median(error for _, error in found):+9.1%}",
            f"{sum(inside) / len(inside):9.0%}",
            f"{median(median(one) for one in by_device.values()):9.1%}",
        )
    )


def _in_range(sample: HostSample, error: float) -> bool:
    low, high = sample.range_factors
    return low <= 1 / (1 + error) <= high


def _devices(errors: Errors) -> None:
    for device in sorted({sample.row.device for sample, _ in errors}):
        found = [error for sample, error in errors if sample.row.device == device]
        print(f"    {device:50s} {len(found):4d} runs, median {median(found):+7.1%}")


def _sweeps(samples: Sequence[HostSample]) -> None:
    rigs: dict[tuple[str, ...], dict[int, HostSample]] = defaultdict(dict)
    for sample in samples:
        if not sample.alone and not sample.row.depth_tokens:
            rigs[_rig(sample)][sample.reads.n_expert_layers or sample.reads.n_layers] = sample
    print("\nms of a moved layer: estimated, measured")
    for rig, found in sorted(rigs.items()):
        if len(found) >= SWEEP:
            estimated = 1e3 * _slope({n: sample.step_s(HOST) for n, sample in found.items()})
            measured = 1e3 * _slope({n: sample.measured_s for n, sample in found.items()})
            print(f"{estimated:7.3f} {measured:7.3f}  {', '.join(rig[:-1])}: layers {sorted(found)}")


def _rig(sample: HostSample) -> tuple[str, ...]:
    """One computer with one file; the file's size over the one laid out here last."""
    ram_gb_s = (sample.machine.memory.bandwidth_bytes_per_s or 0) / 1e9
    backend, model = sample.machine.gpus[0].backend, sample.row.model
    rig = (sample.row.device, backend, f"RAM {ram_gb_s:.0f} GB/s", model.id, model.quantization)
    return (*rig, str(sample.row.scale))


def _slope(time_s: dict[int, float]) -> float:
    """Of the straight line of least squares."""
    x, y = sum(time_s) / len(time_s), sum(time_s.values()) / len(time_s)
    return sum((n - x) * (t - y) for n, t in time_s.items()) / sum((n - x) ** 2 for n in time_s)


if __name__ == "__main__":
    main()
