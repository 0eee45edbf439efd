"""Prints how fast the estimator is: catalogue models × file types × contexts × cache types on one machine.

Run from the top of the repository: ``python tests/bench/estimator_speed.py [--models N] [--gpu CARD]...``.
Set-up happens once a model and file type (tensors, table of weights, placement) and once a compute graph;
recomputation is what a change of context or cache type costs after that. One core; processor time, so that a
busy machine does not count. No pass, no fail.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeVar

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.prepared import PreparedMemory, prepare_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import CatalogModel, list_models

CONTEXTS_TOKENS = tuple(1024 * size for size in (4, 8, 16, 32, 64, 128))
CACHE_TYPES = ("f16", "q8_0", "q4_0")
CONFIGURATIONS = tuple(product(CONTEXTS_TOKENS, CACHE_TYPES))
AIM_PER_S = 20_000

Answer = Callable[[int, str], object]
"""What is asked of one row at a context (tokens) and a cache type."""
T = TypeVar("T")


def estimators(prepared: PreparedMemory) -> dict[str, Answer]:
    """What is measured, by name: one line each."""
    return {
        "memory": lambda context, kind: prepared.required_bytes(context, kind, kind),
        "memory in full": lambda context, kind: prepared.estimate(context, kind, kind),
    }


@dataclass
class Clock:
    """Seconds of processor time and calls by step."""

    seconds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def time(self, step: str, call: Callable[[], T], n_calls: int = 1) -> T:
        start = time.process_time()
        try:
            return call()
        finally:
            self.seconds[step] += time.process_time() - start
            self.calls[step] += n_calls

    def show(self, step: str) -> None:
        seconds, calls = self.seconds[step], self.calls[step]
        each_us = 1e6 * seconds / max(1, calls)
        print(
            f"  {step:36}{calls:9,} {seconds:9.2f} s {each_us:10.1f} us each {calls / (seconds or 1):12,.0f}/s"
        )


def main() -> None:
    options = _options()
    machine = simulate_machine(options.gpu or [], options.ram, None, None, lookup_gpu)
    entries = (
        list_models()[:: max(1, len(list_models()) // options.models)] if options.models else list_models()
    )
    clock, refused = Clock(), Counter[str]()
    before_bytes = _resident_bytes()
    rows = list(_rows(entries, machine, clock, refused))
    grown_bytes = _resident_bytes() - before_bytes
    cards = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    print(
        f"{len(entries)} models, {len(rows):,} of a model in a file type, on {cards}; Python {sys.version.split()[0]}"
    )
    print(f"not counted: {dict(refused)}")
    print("set-up")
    for step in ("tensors", "table of weights", "placement", "first answers"):
        clock.show(step)
    print(
        f"  resident memory grew by {grown_bytes / 1e6:,.0f} MB: {grown_bytes / max(1, len(rows)) / 1e3:.1f} kB each"
    )
    print("recomputation: every configuration of every row")
    for name in estimators(rows[0]):
        answers = [estimators(prepared)[name] for prepared in rows]
        clock.time(name, lambda answers=answers: _ask(answers), len(rows) * len(CONFIGURATIONS))
        clock.show(name)
    _show_sum(clock, len(rows) * len(CONFIGURATIONS), tuple(estimators(rows[0])))


def _show_sum(clock: Clock, n_configurations: int, steps: Sequence[str]) -> None:
    fastest = [name for name in steps if not name.endswith("in full")]
    seconds = sum(clock.seconds[name] for name in fastest)
    setup_s = sum(clock.seconds.values()) - sum(clock.seconds[name] for name in steps)
    print(
        f"{n_configurations:,} configurations; {' + '.join(fastest)}: {n_configurations / seconds:,.0f} a second",
        end="",
    )
    print(f" (aim {AIM_PER_S:,}), with set-up {n_configurations / (seconds + setup_s):,.0f}")


def _ask(answers: Sequence[Answer]) -> None:
    """As the app does: one configuration at a time, over all rows."""
    for context, kind in CONFIGURATIONS:
        for answer in answers:
            try:
                answer(context, kind)
            except LlmfitError:
                continue  # counted all the same: to be refused is an answer


def _rows(
    entries: Sequence[CatalogModel], machine: Machine, clock: Clock, refused: Counter[str]
) -> Iterator[PreparedMemory]:
    for entry in entries:
        for file_type in FILE_TYPES:
            try:
                model = clock.time("tensors", lambda: build_model(entry, file_type))
                if file_type == "MXFP4_MOE" and not model.shape.n_expert:
                    continue
                weights = clock.time("table of weights", lambda: weight_table(model.shape, model.tensors))
                settings = _settings(model, weights, machine)
                prepared = clock.time(
                    "placement", lambda: prepare_memory(model.shape, weights, settings, machine)
                )
            except LlmfitError as error:
                refused[error.why.split(":")[0]] += 1
                continue
            answers = [estimators(prepared)["memory"]]
            clock.time("first answers", lambda: _ask(answers), len(CONFIGURATIONS))
            yield prepared


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
