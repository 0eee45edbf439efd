"""What calibrating a machine on a few of its own runs is worth.

Run from the top of the repository: ``python tests/bench/calibration_accuracy.py [ROWS]``. For every card with
at least 12 rows of decode with everything on the GPU, many times: calibrate on five (or ROWS) rows taken at
random, and predict the others. Prints the median error before and after, the effective number of parameters
and the share of the other rows inside the range that the calibration states for 80 %. First by card, whoever
measured it and with whichever driver; then by installation: one card, backend and person or repository.
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
from llmfit.advisor.speed.calibration import Observation, Subject, apply, fit_calibration
from llmfit.advisor.speed.decode import Card, plan_decode
from llmfit.advisor.speed.host import Host
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
    """What the model of decode says of a row, uncalibrated; a file of another size reads so much more."""
    gpus = [gpu for index in row.settings.devices for gpu in row.machine.gpus if gpu.index == index]
    assignment = assign_layers(row.model.shape, row.settings, [gpu.usable_bytes for gpu in gpus], row.weights)
    reads = decode_reads(row.model.shape, row.model.tensors, row.weights, assignment)
    cards = [Card.of(gpu, row.machine.os) for gpu in gpus[: assignment.n_devices]]
    known = [card for card in cards if card is not None]
    plan = (
        plan_decode(row.model.shape, reads, known, Host.of(row.machine)) if len(known) == len(cards) else None
    )
    if plan is None:
        return None
    step = plan.step(row.depth_tokens, row.settings.cache_type_k, row.settings.cache_type_v)
    terms = tuple(
        replace(term, time_s=term.time_s * row.scale)
        if term.what != "KV cache" and term.cause in (Cause.GPU_MEMORY, Cause.SYSTEM_MEMORY)
        else term
        for term in step.terms
    )
    return StepTime(terms, step.bound_s)


def observed(row: SpeedRow) -> Observation | None:
    step = step_of(row)
    subject = Subject("decode", row.model.quantization, row.model.shape.architecture)
    return None if step is None else Observation(step, 1 / row.tok_s, subject)


def by_card(row: SpeedRow) -> str:
    return row.device


def by_installation(row: SpeedRow) -> str:
    """Of a public repository its owner and name: every result file there is from one rig."""
    user = "/".join(row.user.split("/")[3:5]) if row.user.startswith("http") else row.user
    return f"{row.device} {row.machine.gpus[0].backend} {user}"


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
    rows = [(row, one) for row in read_rows(Counter()) if row.on_gpus and (one := observed(row)) is not None]
    for title, group in (("by card", by_card), ("by installation", by_installation)):
        print(f"\nCalibrated on {n_known} rows, {title}")
        print(HEAD)
        for line in report(rows, group, n_known):
            print(line)


if __name__ == "__main__":
    main()
