"""Our estimate against every row that llama.cpp itself answered. Needs no build: the answers are a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

import pytest

from tests.llama_cpp.oracle_rows import Comparison, compare, oracle_rows, share_of

N_ROWS = 2401
WEIGHTS_LIMIT, CACHE_LIMIT = 0.0002, 0.0005
TOTAL_LIMITS = {  # setting: (mean, worst) of the absolute error of each GPU's total
    "one GPU": (0.001, 0.015),
    "two GPUs": (0.01, None),
    "experts in RAM": (0.03, None),
    "layers in RAM": (0.03, None),
    "cache in RAM": (0.03, None),
}
REFUSALS = {  # llama.cpp's words: ours
    "does not support different K": "takes the same type for both",
    "does not divide n_embd_head_v": "does not divide the head width",
}


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    return [compare(row) for row in oracle_rows()]


def test_oracle_refuses_what_llama_cpp_refuses(comparisons: list[Comparison]) -> None:
    assert len(comparisons) == N_ROWS
    for one in comparisons:
        theirs = one.row["error"]
        if not theirs:
            assert one.refusal is None, one.label
            continue
        ours = next(words for start, words in REFUSALS.items() if start in theirs)
        assert one.refusal is not None, one.label
        assert ours in one.refusal, one.label


def test_oracle_weights_and_cache_on_every_row(comparisons: list[Comparison]) -> None:
    for one in comparisons:
        for device in one.devices:
            weights = share_of(device.ours.weights_bytes, device.weights_bytes)
            cached = share_of(device.ours.kv_cache_bytes, device.cache_bytes)
            assert abs(weights) <= WEIGHTS_LIMIT, f"weights {weights:+.3%}: {device.name} of {one.label}"
            assert abs(cached) <= CACHE_LIMIT, f"cache {cached:+.3%}: {device.name} of {one.label}"


@pytest.mark.parametrize("setting", TOTAL_LIMITS)
def test_oracle_total_of_each_gpu(comparisons: list[Comparison], setting: str) -> None:
    errors = [
        (abs(device.total_error), device.name, one.label)
        for one in comparisons
        if one.setting == setting
        for device in one.gpus
    ]
    mean, worst = TOTAL_LIMITS[setting]
    assert errors
    assert fmean(error for error, _, _ in errors) <= mean
    assert worst is None or max(errors)[0] <= worst, max(errors)


def test_oracle_margin_covers_every_row(comparisons: list[Comparison]) -> None:
    """Nothing is judged to fit that llama.cpp counts over, even with a driver that takes nothing."""
    for one in comparisons:
        for device in one.devices:
            ours = device.ours.llama_cpp_bytes + device.ours.margin_bytes
            assert ours >= device.total_bytes, f"{device.name} of {one.label}"


def test_oracle_table(comparisons: list[Comparison], capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the errors by architecture and by setting."""
    by_arch, by_setting = defaultdict(list), defaultdict(list)
    for one in comparisons:
        by_arch[one.row["arch"]].append(one)
        by_setting[one.setting].append(one)
    with capsys.disabled():
        print(
            f"\n{'':18}{'rows':>6}{'weights':>10}{'cache':>10}{'compute':>20}{'total: mean':>14}{'worst':>10}"
        )
        for groups in (by_setting, by_arch):
            for name in sorted(groups):
                print(_line(name, groups[name]))
    assert sum(map(len, by_arch.values())) == N_ROWS


def _line(name: str, group: Iterable[Comparison]) -> str:
    devices = [device for one in group for device in one.devices]
    weights = max(abs(share_of(d.ours.weights_bytes, d.weights_bytes)) for d in devices)
    cached = max(abs(share_of(d.ours.kv_cache_bytes, d.cache_bytes)) for d in devices)
    compute = [(d.ours.compute_bytes - d.compute_bytes) / 2**20 for d in devices]
    totals = [abs(d.total_error) for d in devices]
    spread = f"{min(compute):+.2f} … {max(compute):+.2f} MiB"
    rows = len({id(one) for one in group})
    return (
        f"{name:18}{rows:6}{weights:10.4%}{cached:10.4%}{spread:>20}{fmean(totals):14.4%}{max(totals):10.4%}"
    )
