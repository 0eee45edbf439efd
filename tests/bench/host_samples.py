"""Measured decode steps with weights in RAM, taken apart: what the CPU reads, and what the cards take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.speed.decode.host import PLACE, Host, cache_bytes_per_s, host_range, host_terms
from llmfit.advisor.speed.decode.host_constants import HostConstants
from llmfit.advisor.speed.decode.plan import PLAIN_CACHE, Card, plan_decode
from llmfit.advisor.speed.reads import PlaceReads, decode_reads
from tests.bench.speed_rows import SpeedRow, read_rows


@dataclass(frozen=True, slots=True)
class HostSample:
    """``cards_s`` is what the plan says of everything outside the RAM; ``measured_s`` the time of one token,
    scaled to the file that is laid out here."""

    row: SpeedRow
    machine: Machine
    reads: PlaceReads
    alone: bool
    cards_s: float
    bound_s: float
    cache_bytes: float
    measured_s: float
    range_factors: tuple[float, float]

    @property
    def model(self) -> str:
        return self.row.model.id

    def step_s(self, constants: HostConstants) -> float:
        host = Host.of(self.machine, constants)
        assert host is not None
        cpu_s = sum(term.time_s for term in host_terms(self.reads, host, self.alone))
        cache_s = self.cache_bytes / cache_bytes_per_s(host)
        return max(self.bound_s, self.cards_s + cpu_s + cache_s)

    def error(self, constants: HostConstants) -> float:
        """Estimated speed over the measured one, less 1."""
        return self.measured_s / self.step_s(constants) - 1


def read_samples(left_out: Counter[str]) -> list[HostSample]:
    """One for every row of a machine, model, placement and depth; repeated rows are one, their mean time."""
    same: dict[tuple[object, ...], list[SpeedRow]] = defaultdict(list)
    for row in read_rows(left_out):
        if not row.on_gpus:
            key = (row.device, row.user, row.machine.memory.bandwidth_bytes_per_s, row.machine.cpu.name,
                   tuple(gpu.backend for gpu in row.machine.gpus), row.model.id, row.model.quantization,
                   row.settings, row.depth_tokens, round(row.scale, 3))  # fmt: skip
            same[key].append(row)
    found = (_sample(rows) for rows in same.values())
    return [sample for sample in found if sample is not None]


def _sample(rows: list[SpeedRow]) -> HostSample | None:
    row = rows[0]
    gpus = row.machine.gpus_of(row.settings.devices)
    usable = [gpu.usable_bytes for gpu in gpus]
    assignment = assign_layers(row.model.shape, row.settings, usable, row.weights)
    reads = decode_reads(row.model.shape, row.model.tensors, row.weights, assignment)
    cards = [card for gpu in gpus if (card := Card.of(gpu)) is not None]
    plan = plan_decode(reads, cards, Host.of(row.machine))
    if plan is None:
        return None
    step = plan.step(row.depth_tokens, row.settings.cache_type_k, row.settings.cache_type_v)
    return HostSample(
        row=row,
        machine=row.machine,
        reads=reads.host,
        alone=not any(place.is_used for place in reads.gpus),
        cards_s=sum(term.time_s for term in step.terms if term.where != PLACE),
        bound_s=step.bound_s,
        cache_bytes=reads.host.cache.n_bytes(row.depth_tokens, PLAIN_CACHE, PLAIN_CACHE),
        measured_s=sum(1 / (one.tok_s * one.scale) for one in rows) / len(rows),
        range_factors=host_range(reads),
    )


def by_device(samples: Iterable[HostSample]) -> dict[str, list[HostSample]]:
    found: dict[str, list[HostSample]] = defaultdict(list)
    for sample in samples:
        found[sample.row.device].append(sample)
    return found
