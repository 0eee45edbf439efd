"""The measured prompts: rows of the speed tables and what llama.cpp's developers measured, laid out."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.prefill.constants import CONSTANTS, PrefillConstants
from llmfit.advisor.speed.prefill.plan import PrefillPlan, plan_prefill
from llmfit.advisor.speed.prefill.rates import kernels_of
from llmfit.advisor.speed.reads import DecodeReads, decode_reads
from tests.bench.speed_names import Unusable, gpu_machine, model_labelled
from tests.bench.speed_rows import DATA, DEEP_TOKENS, SpeedRow, read_rows


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured row, laid out."""

    row: SpeedRow
    reads: DecodeReads
    gpus: tuple[Gpu, ...]

    @property
    def kernels(self) -> set[str]:
        return {kernels_of(gpu) for gpu in self.gpus}

    @property
    def classes(self) -> set[tuple[str, str]]:
        return {(gpu.architecture or "", gpu.backend) for gpu in self.gpus}

    @property
    def cards(self) -> frozenset[str]:
        """Which cards or CPU it was measured on: what is left out together."""
        return frozenset(gpu.catalog_id or gpu.name for gpu in self.gpus) or frozenset({self.row.device})

    def plan(self, constants: PrefillConstants = CONSTANTS) -> PrefillPlan:
        row = self.row
        plan = plan_prefill(row.model.shape, self.reads, self.gpus, row.machine, row.settings, constants)
        if plan is None:
            raise ValueError(f"nothing known of the speed of {row.device}")
        return plan

    def predicted(self, constants: PrefillConstants = CONSTANTS) -> float:
        """Tokens per second; of a file of another mix, too (the operations are the same)."""
        return self.row.prompt_tokens / self.plan(constants).prompt_s(
            self.row.prompt_tokens, self.row.depth_tokens
        )


def samples(left_out: Counter[str]) -> list[Sample]:
    """Every prefill row."""
    found = []
    for row in (*read_rows(left_out, "prefill"), *developers_rows(left_out)):
        if not row.prompt_tokens:
            left_out["prompt not told"] += 1
            continue
        gpus = row.machine.gpus_of(row.settings.devices)
        free = [gpu.usable_bytes for gpu in gpus]
        assignment = assign_layers(row.model.shape, row.settings, free, row.weights)
        reads = decode_reads(row.model.shape, row.model.tensors, row.weights, assignment)
        found.append(Sample(row, reads, gpus))
    return found


def developers_rows(left_out: Counter[str]) -> Iterator[SpeedRow]:
    """What llama.cpp's developers measured of cards that nobody else's tables have, ubatch by ubatch."""
    with (DATA / "prefill_developers.csv").open(encoding="utf-8", newline="") as file:
        for fields in csv.DictReader(file):
            try:
                machine = gpu_machine((fields["gpu"],), "", fields["backend"], "", "linux")
                model, weights = model_labelled(fields["model"], float(fields["params_b"]), fields["quant"])
            except Unusable as reason:
                left_out[f"{reason} ({fields['gpu']}, {fields['model']})"] += 1
                continue
            depth = int(fields["depth_tokens"])
            yield SpeedRow(
                source="developers",
                device=machine.gpus[0].catalog_id or machine.gpus[0].name,
                user=fields["user"],
                model=model,
                weights=weights,
                machine=machine,
                settings=LaunchSettings(
                    context_tokens=4096, devices=(0,), batch=2048, ubatch=int(fields["n_ubatch"])
                ),
                kind="prefill",
                depth_tokens=depth,
                prompt_tokens=int(fields["prompt_tokens"]),
                tok_s=float(fields["tok_s"]),
                group=group_of(model, depth),
            )


def group_of(model: Model, depth_tokens: int) -> str:
    """The class that such a row is scored in."""
    if depth_tokens > DEEP_TOKENS:
        return "depth over 9K"
    return "MoE on one GPU" if model.shape.n_expert else "dense on one GPU"
