"""What calibrating a machine on a few of its own runs is worth.

Run from the top of the repository: ``python tests/bench/calibration_accuracy.py [ROWS]``. For every card with
at least 12 rows, many times: calibrate on five (or ROWS) rows taken at random, and predict the others. Prints
the median error before and after, the effective number of parameters and the share of the other rows inside
the range that the calibration states for 80 %. By card, whoever measured it and with whichever driver, and by
installation: one card, backend and person or repository.
"""

from __future__ import annotations

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.speed.calibration.factors import DECODE, PREFILL, Subject
from llmfit.advisor.speed.calibration.fit import Observation, apply, fit_calibration
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.host import Host
from llmfit.advisor.speed.decode.plan import plan_decode
from llmfit.advisor.speed.prefill.plan import plan_prefill
from llmfit.advisor.speed.reads import decode_reads
from llmfit.advisor.speed.terms import Cause, StepTime
from tests.bench.speed_rows import SpeedRow, read_rows

MIN_ROWS = 12
REPEATS = 20
SEED = 1
OF_80_PERCENT = 1.2816
"""Standard deviations of a normal distribution that 80 % lie within."""
HEAD = f"{'':58s} {'rows':>5s} {'before':>8s} {'after':>8s} {'params':>7s} {'in 80 %':>8s}"
Labelled = tuple[SpeedRow, Observation]


@dataclass(slots=True)
class Score:
    """Errors of the rows that were not calibrated on."""

    before: list[float]
    after: list[float]
    n_effective: list[float]
    inside: list[bool]

    def line(self, name: str, n_rows: int) -> str:
        return (
            f"{name[:58]:58s} {n_rows:5d} {median(self.before):8.1%} {median(self.after):8.1%} "
            f"{sum(self.n_effective) / len(self.n_effective):7.1f} {sum(self.inside) / len(self.inside):8.0%}"
        )


def step_of(row: SpeedRow) -> StepTime | None:
    """What the formula says of a row, uncalibrated: one token, or the prompt that was timed."""
    shape, settings, machine = row.model.shape, row.settings, row.machine
    gpus = machine.gpus_of(settings.devices)
    assignment = assign_layers(shape, settings, [gpu.usable_bytes for gpu in gpus], row.weights)
    reads = decode_reads(shape, row.model.tensors, row.weights, assignment)
    gpus = gpus[: assignment.n_devices]
    if row.kind == PREFILL:
        prompts = plan_prefill(shape, reads, gpus, machine, settings)
        return prompts and prompts.prompt(row.prompt_tokens, row.depth_tokens)
    cards = [card for gpu in gpus if (card := Card.of(gpu)) is not None]
    plan = plan_decode(reads, cards, Host.of(machine)) if len(cards) == len(gpus) else None
    return plan and _of_this_size(
        plan.step(row.depth_tokens, settings.cache_type_k, settings.cache_type_v), row
    )


def _of_this_size(step: StepTime, row: SpeedRow) -> StepTime:
    """A file of another mix of the same name reads so much more or less."""
    terms = tuple(
        replace(term, time_s=term.time_s * row.scale)
        if term.what != "KV cache" and term.cause in (Cause.GPU_MEMORY, Cause.SYSTEM_MEMORY)
        else term
        for term in step.terms
    )
    return StepTime(terms, step.bound_s)


def observed(row: SpeedRow) -> Observation | None:
    step = step_of(row)
    if step is None or (row.kind == PREFILL and not row.prompt_tokens):
        return None
    measured_s = (row.prompt_tokens if row.kind == PREFILL else 1) / row.tok_s
    return Observation(
        step, measured_s, Subject(row.kind, row.model.quantization, row.model.shape.architecture)
    )


def by_card(row: SpeedRow) -> str:
    """Without the backend it would be another card: ROCm and Vulkan differ by up to 1.8 times."""
    return f"{row.device} {row.machine.gpus[0].backend}"


def by_installation(row: SpeedRow) -> str:
    """Of a public repository its owner and name: every result file there is from one rig."""
    user = "/".join(row.user.split("/")[3:5]) if row.user.startswith("http") else row.user
    backend = row.machine.gpus[0].backend if row.machine.gpus else "cpu"
    return f"{row.device} {backend} {user}"


def score(rows: Sequence[Labelled], n_known: int, chance: random.Random) -> Score:
    found = Score([], [], [], [])
    for _ in range(REPEATS):
        shuffled = chance.sample(rows, len(rows))
        calibration = fit_calibration([one for _, one in shuffled[:n_known]])
        found.n_effective.append(calibration.n_effective)
        for _, one in shuffled[n_known:]:
            known = apply(one.step, calibration, one.subject)
            found.before.append(abs(one.measured_s / one.step.total_s - 1))
            found.after.append(abs(one.measured_s / known.total_s - 1))
            reach = exp(OF_80_PERCENT * calibration.doubt_share(one.step, one.subject))
            found.inside.append(known.total_s / reach <= one.measured_s <= known.total_s * reach)
    return found


def report(rows: Sequence[Labelled], group: Callable[[SpeedRow], str], n_known: int) -> Iterator[str]:
    groups: Mapping[str, list[Labelled]] = defaultdict(list)
    for labelled in rows:
        groups[group(labelled[0])].append(labelled)
    chance = random.Random(SEED)
    whole = Score([], [], [], [])
    medians: list[tuple[float, float]] = []
    for name, mine in sorted(groups.items(), key=lambda item: -len(item[1])):
        if len(mine) < MIN_ROWS:
            continue
        found = score(mine, n_known, chance)
        medians.append((median(found.before), median(found.after)))
        for field in ("before", "after", "n_effective", "inside"):
            getattr(whole, field).extend(getattr(found, field))
        yield found.line(name, len(mine))
    yield whole.line("all rows", sum(len(mine) for mine in groups.values() if len(mine) >= MIN_ROWS))
    before, after = (median(side) for side in zip(*medians, strict=True))
    yield f"{'median of these medians':58s} {len(medians):5d} {before:8.1%} {after:8.1%}"


def main() -> None:
    n_known = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    decode, prefill = (
        [(row, one) for row in read_rows(Counter(), kind) if (one := observed(row)) is not None]
        for kind in (DECODE, PREFILL)
    )
    resident = [labelled for labelled in decode if labelled[0].on_gpus]
    offloaded = [labelled for labelled in decode if not labelled[0].on_gpus]
    for title, rows, group in (
        ("decode on GPUs, by card", resident, by_card),
        ("decode on GPUs, by installation", resident, by_installation),
        ("decode with weights in RAM, by installation", offloaded, by_installation),
        ("prefill, by installation", prefill, by_installation),
    ):
        print(f"\nCalibrated on {n_known} rows: {title}")
        print(HEAD)
        for line in report(rows, group, n_known):
            print(line)


if __name__ == "__main__":
    main()
