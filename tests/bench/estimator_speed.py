"""Prints how fast the estimator is: catalogue models × file types × contexts × cache types on one machine.

Run from the top of the repository: ``python tests/bench/estimator_speed.py [--models N] [--gpu CARD]...``.
Set-up happens once a model and file type (tensors, table of weights, placement) and once a compute graph;
recomputation is what a change of context or cache type costs after that. One core; processor time, so that a
busy machine does not count. No pass, no fail.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.prepared import PreparedMemory, prepare_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.speed.estimate import SpeedPlan, plan_speed
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import CatalogModel, list_models

CONTEXTS_TOKENS = tuple(1024 * size for size in (4, 8, 16, 32, 64, 128))
CACHE_TYPES = ("f16", "q8_0", "q4_0")
CONFIGURATIONS = tuple(product(CONTEXTS_TOKENS, CACHE_TYPES))
AIM_PER_S = 20_000

Answer = Callable[[int, str], object]
"""What is asked of one row at a context (tokens) and a cache type."""
PROMPT_TOKENS = 512
RAM_GB_PER_S = "64"
SETUP = ("tensors", "table of weights", "placement", "speed plan", "first answers")
IN_FULL = ("memory in full", "speed in full")
"""Shown, but not counted beside the lean way to the same figures."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model in a file type, placed: ready for any context and cache type."""

    memory: PreparedMemory
    speed: SpeedPlan

    def estimators(self) -> dict[str, Answer]:
        """What is measured, by name: one line each. Speeds are those in the middle of the context."""
        return {
            "memory": lambda context, kind: self.memory.required_bytes(context, kind, kind),
            "decode": lambda context, kind: self.speed.expected_tok_s(context // 2, kind, kind),
            "prefill": lambda context, kind: self._prefill_s(context // 2),
            "memory in full": lambda context, kind: self.memory.estimate(context, kind, kind),
            "speed in full": lambda context, kind: self.speed.estimate(context // 2),
        }

    def _prefill_s(self, depth_tokens: int) -> float | None:
        plan = self.speed.prefill
        return None if plan is None else plan.prompt_s(PROMPT_TOKENS, depth_tokens)


@dataclass
class Clock:
    """Seconds of processor time and calls by step."""

    seconds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def step(self, name: str, n_calls: int = 1) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.process_time() - start
            self.calls[name] += n_calls

    def show(self, name: str) -> None:
        seconds, calls = self.seconds[name], self.calls[name]
        each_us, per_s = 1e6 * seconds / max(1, calls), calls / (seconds or 1)
        print(f"  {name:20}{calls:10,}{seconds:10.2f} s{each_us:10.1f} us each{per_s:12,.0f} a second")


def main() -> None:
    options = _options()
    machine = simulate_machine(options.gpu, options.ram, RAM_GB_PER_S, None, lookup_gpu)
    models = list_models()
    entries = models[:: max(1, len(models) // options.models)] if options.models else models
    clock, refused = Clock(), Counter[str]()
    before_bytes = _resident_bytes()
    rows = list(_rows(entries, machine, clock, refused))
    grown_bytes = _resident_bytes() - before_bytes
    cards = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    print(f"{len(entries)} models, {len(rows):,} rows (a model in a file type), on {cards}")
    for why, times in refused.most_common():
        print(f"  left out {times}: {why}")
    print("set-up")
    setup_s = sum(clock.seconds.values())
    for name in SETUP:
        clock.show(name)
    each_kb = grown_bytes / max(1, len(rows)) / 1e3
    print(f"  {setup_s:.1f} s in all; RAM grew by {grown_bytes / 1e6:,.0f} MB, {each_kb:.1f} kB a row")
    print("recomputation of every row for another context or cache type")
    for name in rows[0].estimators():
        answers = [row.estimators()[name] for row in rows]
        with clock.step(name, len(rows) * len(CONFIGURATIONS)):
            _ask(answers)
        clock.show(name)
    _show_sum(clock, setup_s, [name for name in rows[0].estimators() if name not in IN_FULL])


def _show_sum(clock: Clock, setup_s: float, names: Sequence[str]) -> None:
    seconds = sum(clock.seconds[name] for name in names)
    n_configurations = clock.calls[names[0]]
    per_s, with_setup = n_configurations / seconds, n_configurations / (seconds + setup_s)
    each_ms = 1e3 * seconds / len(CONFIGURATIONS)
    print(
        f"{n_configurations:,} configurations: {' + '.join(names)} {per_s:,.0f} a second (aim {AIM_PER_S:,}),"
    )
    print(f"with set-up {with_setup:,.0f}; {each_ms:.0f} ms for one change of all rows")


def _ask(answers: Sequence[Answer]) -> None:
    """As the app does: one configuration at a time, over all rows."""
    for context, kind in CONFIGURATIONS:
        for answer in answers:
            with suppress(LlmfitError):  # counted all the same: to be refused is an answer
                answer(context, kind)


def _rows(
    entries: Sequence[CatalogModel], machine: Machine, clock: Clock, refused: Counter[str]
) -> Iterator[Row]:
    for entry in entries:
        for file_type in FILE_TYPES:
            try:
                with clock.step("tensors"):
                    model = build_model(entry, file_type)
                if file_type == "MXFP4_MOE" and not model.shape.n_expert:
                    continue  # llama-quantize makes one, but nobody does
                with clock.step("table of weights"):
                    weights = weight_table(model.shape, model.tensors)
                settings = _settings(model, weights, machine)
                with clock.step("placement"):
                    prepared = prepare_memory(model.shape, weights, settings, machine)
                with clock.step("speed plan"):
                    plan = plan_speed(model, weights, machine, settings)
            except LlmfitError as error:
                refused[f"{entry.name} {error}" if file_type == "Q4_K_M" else "cannot be made"] += 1
                continue
            with clock.step("first answers", len(CONFIGURATIONS)):
                _ask([lambda context, kind, it=prepared: it.required_bytes(context, kind, kind)])
            if plan is not None:
                yield Row(prepared, plan)


def _settings(model: Model, weights: WeightTable, machine: Machine) -> LaunchSettings:
    """All on the cards, or the experts in RAM, or as many layers on the cards as have room there."""
    room_bytes = sum((gpu.usable_bytes or 0) * 0.85 for gpu in machine.gpus)
    whole_bytes = sum(weights.layer_gpu_bytes) + weights.output_gpu_bytes + weights.tied_copy_gpu_bytes
    devices = tuple(gpu.index for gpu in machine.gpus)
    settings = LaunchSettings(CONTEXTS_TOKENS[0], devices=devices)
    if not devices or whole_bytes <= room_bytes:
        return settings
    if whole_bytes - sum(weights.expert_gpu_bytes) <= room_bytes:
        return LaunchSettings(CONTEXTS_TOKENS[0], devices=devices, n_cpu_moe=ALL_LAYERS)
    gpu_layers = int((model.shape.n_layer_all + 1) * room_bytes / whole_bytes)
    return LaunchSettings(CONTEXTS_TOKENS[0], devices=devices, gpu_layers=gpu_layers)


def _resident_bytes() -> int:
    """What the process holds in RAM (Linux), 0 where that is not told."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=0, help="only about so many of the models")
    parser.add_argument("--gpu", action="append", help="a card, as for llmfit; '2x RTX 3090' without")
    parser.add_argument("--cpu-only", action="store_true", help="no card at all")
    parser.add_argument("--ram", default="64GiB")
    options = parser.parse_args()
    options.gpu = [] if options.cpu_only else options.gpu or ["2x RTX 3090"]
    return options


if __name__ == "__main__":
    main()
