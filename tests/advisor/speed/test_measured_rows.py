"""Against what people measured: the constants in use, on one of the collections they were fitted on.

Not how good the model is (tests/bench/speed_accuracy.py leaves models, cards and users out), but that nothing
broke it.
"""

from __future__ import annotations

from collections import Counter
from statistics import median

from llmfit.advisor.speed.doubt import decode_range
from tests.bench.decode_samples import sample_of
from tests.bench.speed_rows import read_developers


def test_four_of_five_rows_of_the_developers_lie_in_the_range() -> None:
    samples = [sample_of(row) for row in read_developers(Counter()) if row.on_gpus]
    assert len(samples) > 200
    ratios = [one.row.tok_s * one.row.scale * one.step().total_s for one in samples]
    assert median(abs(ratio - 1) for ratio in ratios) < 0.12
    ranges = [decode_range(one.reads, one.gpus, one.row.depth_tokens) for one in samples]
    inside = sum(low <= ratio <= high for ratio, (low, high) in zip(ratios, ranges, strict=True))
    assert 0.75 < inside / len(samples) < 0.99, "neither too narrow nor so wide that it says nothing"
    assert all(one.step().bound_s <= one.step().total_s for one in samples)
