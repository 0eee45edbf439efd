"""Measured decode steps that lie wholly on GPUs, laid out: what is read on which card."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.constants import DECODE, DecodeConstants
from llmfit.advisor.speed.decode.plan import PLAIN_CACHE, plan_decode
from llmfit.advisor.speed.reads import DecodeReads, PlaceReads, decode_reads
from llmfit.advisor.speed.terms import StepTime
from tests.bench.speed_rows import SpeedRow, read_rows


@dataclass(frozen=True, slots=True)
class DecodeSample:
    """``bound_s`` is bytes over bandwidth, of the file that was measured."""

    row: SpeedRow
    gpus: tuple[Gpu, ...]
    reads: DecodeReads
    bound_s: float

    @property
    def measured_s(self) -> float:
        return 1 / self.row.tok_s

    def cache_bytes(self, place: PlaceReads) -> float:
        """What the cache takes as long as: f16, or more where it is larger."""
        row, depth = self.row, self.row.depth_tokens
        plain = place.cache.n_bytes(depth, PLAIN_CACHE, PLAIN_CACHE)
        return max(plain, place.cache.n_bytes(depth, row.settings.cache_type_k, row.settings.cache_type_v))

    def step(self, constants: DecodeConstants = DECODE) -> StepTime:
        """As the estimator has it, for the file that is laid out here."""
        return _step(self.row, self.gpus, self.reads, constants)


def read_samples(left_out: Counter[str]) -> list[DecodeSample]:
    """Every decode row that lies wholly on GPUs."""
    return [sample_of(row) for row in read_rows(left_out) if row.on_gpus]


def sample_of(row: SpeedRow) -> DecodeSample:
    """A row on GPUs, laid out."""
    gpus = row.machine.gpus_of(row.settings.devices)
    usable = [gpu.usable_bytes for gpu in gpus]
    assignment = assign_layers(row.model.shape, row.settings, usable, row.weights)
    reads = decode_reads(row.model.shape, row.model.tensors, row.weights, assignment)
    bound_s = _step(row, gpus, reads, DECODE).bound_s
    weights_s = sum(
        place.weight_bytes() / (gpu.bandwidth_bytes_per_s or 1)
        for gpu, place in zip(gpus, reads.gpus, strict=True)
    )
    return DecodeSample(row, gpus, reads, bound_s + (row.scale - 1) * weights_s)


def _step(row: SpeedRow, gpus: tuple[Gpu, ...], reads: DecodeReads, constants: DecodeConstants) -> StepTime:
    cards = [card for gpu in gpus if (card := Card.of(gpu, constants)) is not None]
    plan = plan_decode(reads, cards, None, constants)
    if plan is None:
        raise ValueError("a row on GPUs reads nothing from RAM")
    return plan.step(row.depth_tokens, row.settings.cache_type_k, row.settings.cache_type_v)
