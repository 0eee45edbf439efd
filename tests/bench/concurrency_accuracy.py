"""How far steps of several tokens are from measured ones: ``python tests/bench/concurrency_accuracy.py``.

Reads tests/data/concurrency.csv (see speed_further.md there). Scored is the growth, the step of n tokens over
that of one in the same table, and the speed itself. ``--fit`` fits the constants of
advisor/speed/further/batch_constants.py (needs scipy), each device weighing the same.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from statistics import median, quantiles
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.plan import plan_decode
from llmfit.advisor.speed.further.batch import Tokens, plan_batches
from llmfit.advisor.speed.further.batch_constants import BATCH, BatchConstants
from llmfit.advisor.speed.further.concurrency import growth_range
from llmfit.advisor.speed.reads import DecodeReads, decode_reads
from llmfit.advisor.speed.terms import StepTime
from tests.bench.speed_names import gpu_machine, model_named
from tests.bench.speed_rows import DATA


@dataclass(frozen=True, slots=True)
class Sample:
    """A row with n > 1, what was measured with n = 1 in the same table (0: nothing), and its placement."""

    device: str
    model: Model
    reads: DecodeReads
    card: Card
    gpu: Gpu
    one: StepTime
    tokens: Tokens
    depth_tokens: int
    n: int
    tok_s: float
    one_tok_s: float

    def step_s(self, constants: BatchConstants = BATCH) -> float:
        plan = plan_batches(self.model.shape, self.reads, [self.card], None, [self.gpu], constants)
        return plan.step(self.one, self.n, self.tokens, self.depth_tokens).total_s

    def growth_error(self, constants: BatchConstants = BATCH) -> float | None:
        """Logarithm of the estimated over the measured growth of the speed."""
        if not self.one_tok_s:
            return None
        estimated = self.n * self.one.total_s / self.step_s(constants)
        return log(estimated / (self.tok_s / self.one_tok_s))

    def speed_error(self, constants: BatchConstants = BATCH) -> float:
        return log(self.n / self.step_s(constants) / self.tok_s)

    def error(self, constants: BatchConstants) -> float:
        """Of the growth where it is known, else of the speed."""
        grown = self.growth_error(constants)
        return self.speed_error(constants) if grown is None else grown


def samples() -> Iterator[Sample]:
    tables: dict[tuple[str, ...], list[tuple[int, float]]] = defaultdict(list)
    with (DATA / "concurrency.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            names = ("gpu", "backend", "model", "quant", "what", "depth_tokens", "source_url")
            tables[tuple(row[name] for name in names)].append((int(row["n"]), float(row["tok_s"])))
    for (gpu_name, backend, name, quant, what, depth, _), rows in tables.items():
        model, weights = model_named(name, quant)
        gpu = gpu_machine((gpu_name,), "", backend, "", "linux").gpus[0]
        assignment = assign_layers(
            model.shape, LaunchSettings(4096, devices=(0,)), [gpu.usable_bytes], weights
        )
        reads = decode_reads(model.shape, model.tensors, weights, assignment)
        card = Card.of(gpu)
        plan = plan_decode(reads, [card], None) if card else None
        if card is None or plan is None:
            raise ValueError(f"nothing known of {gpu_name}")
        one, tokens = plan.step(int(depth)), Tokens.STREAMS if what == "streams" else Tokens.DRAFTED
        alone = dict(rows).get(1, 0.0)
        for n, tok_s in rows:
            if n > 1:
                yield Sample(gpu_name, model, reads, card, gpu, one, tokens, int(depth), n, tok_s, alone)


def main() -> None:
    found = list(samples())
    if "--fit" in sys.argv:
        _print_constants(_fit(found))
    print(f"{'':22s} {'rows':>5s} {'median':>8s} {'P90':>8s} {'bias':>8s} {'in range':>9s}")
    grown = [(one, error) for one in found if (error := one.growth_error()) is not None]
    _table("growth", grown)
    for title, kind in (("growth, dense", False), ("growth, MoE", True)):
        _table(title, [pair for pair in grown if bool(pair[0].model.shape.n_expert) is kind])
    for n in (2, 4, 8, 16, 32):
        _table(f"growth at {n}", [pair for pair in grown if pair[0].n == n])
    for device in sorted({one.device for one in found}):
        _table(f"growth, {device}", [pair for pair in grown if pair[0].device == device])
    _table("speed", [(one, one.speed_error()) for one in found])


def _table(title: str, scored: Sequence[tuple[Sample, float]]) -> None:
    if not scored:
        return
    errors = [exp(error) - 1 for _, error in scored]
    absolute = [abs(error) for error in errors]
    p90 = quantiles(absolute, n=10)[-1] if len(absolute) > 1 else absolute[0]
    inside = sum(_inside(one, error) for one, error in scored) / len(scored)
    figures = f"{median(absolute):8.1%} {p90:8.1%} {median(errors):+8.1%} {inside:9.0%}"
    print(f"{title:22s} {len(scored):5d} {figures}")


def _inside(one: Sample, error: float) -> bool:
    low, high = growth_range(one.n)
    return low <= exp(-error) <= high


def _fit(found: Sequence[Sample]) -> BatchConstants:
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    each = Counter(one.device for one in found)
    start = _numbers(BATCH)

    def loss(x: Sequence[float]) -> float:
        constants = _constants(x)
        total = sum(abs(one.error(constants)) / each[one.device] ** 0.5 for one in found)
        return float(total + 0.5 * sum((a - log(b)) ** 2 for a, b in zip(x, start, strict=True)))

    best = minimize(loss, [log(value) for value in start], method="Powell", options={"maxiter": 40})
    return _constants(best.x)


def _numbers(constants: BatchConstants) -> list[float]:
    maps = (constants.column_bytes, constants.pair_bytes, constants.matrix_token_factor)
    each = [of[backend] for of in (*maps, constants.kernels_factor) for backend in ("cuda", "metal")]
    return [*each, constants.matrix_read_factor, constants.touch_exponent]


def _constants(x: Sequence[float]) -> BatchConstants:
    values = [exp(value) for value in x]
    pairs = [
        MappingProxyType({"cuda": values[i], "metal": values[i + 1]}) for i in range(0, len(values) - 2, 2)
    ]
    return replace(
        BATCH,
        column_bytes=pairs[0],
        pair_bytes=pairs[1],
        matrix_token_factor=pairs[2],
        kernels_factor=MappingProxyType({name: min(2.0, max(1.0, of)) for name, of in pairs[3].items()}),
        matrix_read_factor=max(1.0, values[-2]),
        touch_exponent=min(1.0, values[-1]),
    )


def _print_constants(constants: BatchConstants) -> None:
    names = ("column_bytes", "pair_bytes", "matrix_token_factor", "kernels_factor")
    for name in names:
        print(name, {key: round(value, 3) for key, value in getattr(constants, name).items()})
    print("matrix_read_factor", round(constants.matrix_read_factor, 3))
    print("touch_exponent", round(constants.touch_exponent, 3))


if __name__ == "__main__":
    main()
