"""What a computer draws while it generates: stated by its owner, or reckoned from rated figures.

A rated figure is a reckoning, not a reading: it is shown with its range and its assumptions, and any reading
of the very computer is better. All figures are watts at the wall socket.

The shares and spreads below were taken from the readings in ``tests/data/power.csv``, each with its source
(``tests/advisor/recommend/test_cost_power.py`` holds them against each other).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.recommend.cost.boxes import whole_box
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.speed.decode.host import PLACE
from llmfit.advisor.speed.terms import StepTime

STATED, RATED = "stated", "rated"

DECODE_SHARE = Spread(0.55, 0.90, 1.0)
"""Of its power limit, what a card draws that decodes one stream: least, middle and most of eight readings
(V100 to RTX 5090). Decode waits for memory, and the memory alone takes most of what a card may draw."""
PREFILL_SHARE = Spread(0.88, 0.96, 1.0)
"""The same while a prompt is read: least, middle and most of four readings."""
WAITING_SHARE = Spread(0.02, 0.25, 0.45)
"""Of its limit, what a card draws that holds layers and waits for its turn. Thin evidence: averages over two
layer splits, taken apart (six RTX 3090: llmgarage.ai; an RTX 3090 beside an RTX 4090: ollama issue 7104)."""
UNUSED_CARD_W = Spread(5.0, 15.0, 30.0)
"""A card that holds nothing of the model: idle readings of RTX 3090, 2080 Ti and an 8 GB card, 6 to 26 W."""
REST_W = Spread(30.0, 50.0, 80.0)
"""Board, RAM, disk, fans and a CPU that only feeds the card: what one desktop took more at the wall than a
single-board computer with the same card, and what it took idle."""
WORKING_CPU_W = Spread(65.0, 120.0, 250.0)
"""What a CPU adds that computes with its share of the weights. Not measured: from the socket limit of a small
desktop CPU (AMD: 1.35 x TDP, 88 W for the 65 W class) less what it takes idle, to the maximum turbo power of
a large one (Intel Core Ultra 9 285K: 250 W). The catalogue knows no CPU."""
SUPPLY_SHARE = Spread(0.85, 0.90, 0.94)
"""Of what the socket gives, what a power supply hands on at half load: 80 PLUS Bronze, Gold and Titanium."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Generating or reading a prompt: what a busy card draws of its limit."""

    doing: str
    """``decodes``"""
    busy_share: Spread


DECODE = Phase("decodes", DECODE_SHARE)
PREFILL = Phase("reads a prompt", PREFILL_SHARE)


@dataclass(frozen=True, slots=True)
class PowerPart:
    """One summand of a reckoning."""

    what: str
    draw_w: Spread


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Power of the whole computer. ``basis`` is ``stated`` or ``rated``."""

    watts: Spread
    basis: str
    parts: tuple[PowerPart, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoPower:
    """Nothing is known that the power could follow from; ``why`` is a whole sentence."""

    why: str


def stated_power(watts: float) -> PowerReading:
    """What the user says the whole computer draws. Raises ValueError where it is not above 0."""
    if not watts > 0:
        raise ValueError("power must be above 0")
    said = f"Power: {watts:g} W for the whole computer, as stated, whatever it does."
    return PowerReading(Spread.exactly(watts), STATED, (), (said,))


def rated_power(
    machine: Machine, gpus: Sequence[Gpu], step: StepTime, phase: Phase
) -> PowerReading | NoPower:
    """What the computer draws on average over ``step``, from the power limits of its cards.

    ``gpus`` are those that hold layers. Devices work one after the other (layer split): each draws its busy
    share for as long as its own terms of the step last, and waits for the rest of it.
    """
    if not gpus:
        return NoPower("No power is known of a CPU: read it at the socket and give it with --watts.")
    shared = next((gpu for gpu in gpus if gpu.unified_memory), None)
    if shared is not None:
        return _box_power(shared, gpus)
    unrated = next((gpu for gpu in gpus if gpu.power_limit_w is None), None)
    if unrated is not None:
        return NoPower(
            f"No power limit is known of GPU {unrated.index}: give the computer's draw with --watts."
        )
    return _computer_power(machine, gpus, step, phase)


def _box_power(gpu: Gpu, gpus: Sequence[Gpu]) -> PowerReading | NoPower:
    """A Mac or a box with one memory: only the whole of it was ever measured."""
    box = whole_box(gpu.catalog_id) if len(gpus) == 1 else None
    if box is None:
        return NoPower(
            "No reading of such a computer is known, and what is rated of a chip that shares its memory "
            "is not what the computer draws: give its draw with --watts."
        )
    said = (
        f"Power: {box.watts.low:.0f} to {box.watts.high:.0f} W at the socket, {box.what}; not this computer."
    )
    return PowerReading(box.watts, RATED, (PowerPart("whole computer", box.watts),), (said,))


def _computer_power(machine: Machine, gpus: Sequence[Gpu], step: StepTime, phase: Phase) -> PowerReading:
    parts = [PowerPart(f"GPU {gpu.index}", _card_w(gpu, step, phase)) for gpu in gpus]
    said = [_cards_said(gpus, phase)]
    used = {gpu.index for gpu in gpus}
    idle = sum(not gpu.unified_memory and gpu.index not in used for gpu in machine.gpus)
    if idle:
        parts.append(PowerPart("GPUs not used", UNUSED_CARD_W.times(idle)))
    parts.append(PowerPart("rest of the computer", REST_W))
    cpu_share = _busy_share(step, PLACE)
    if cpu_share:
        parts.append(PowerPart("CPU at work", WORKING_CPU_W.times(cpu_share)))
        said.append(
            f"The CPU works for {cpu_share:.0%} of the time and then draws {_watts_text(WORKING_CPU_W)} "
            "more: no figure of this CPU is known."
        )
    parts_w = _sum(part.draw_w for part in parts)
    watts = Spread(
        parts_w.low / SUPPLY_SHARE.high,
        parts_w.expected / SUPPLY_SHARE.expected,
        parts_w.high / SUPPLY_SHARE.low,
    )
    lost = Spread(watts.low - parts_w.low, watts.expected - parts_w.expected, watts.high - parts_w.high)
    said.append(
        f"The rest of the computer draws {_watts_text(REST_W)}, the power supply hands on "
        f"{SUPPLY_SHARE.expected:.0%} ({SUPPLY_SHARE.low:.0%} to {SUPPLY_SHARE.high:.0%}) of what it takes."
    )
    return PowerReading(watts, RATED, (*parts, PowerPart("lost in the supply", lost)), tuple(said))


def _card_w(gpu: Gpu, step: StepTime, phase: Phase) -> Spread:
    limit_w, busy = gpu.power_limit_w or 0.0, _busy_share(step, f"GPU {gpu.index}")
    return phase.busy_share.times(limit_w * busy).plus(WAITING_SHARE.times(limit_w * (1 - busy)))


def _busy_share(step: StepTime, where: str) -> float:
    """Of the step's time, how much goes by in one place; several may be busy at once."""
    return min(1.0, sum(term.time_s for term in step.terms if term.where == where) / step.total_s)


def _cards_said(gpus: Sequence[Gpu], phase: Phase) -> str:
    is_read = all(gpu.sources.get("power_limit_w", "catalog") != "catalog" for gpu in gpus)
    origin = "as set now" if is_read else "from the catalogue"
    start = "Power is rated, not measured: a" if phase is DECODE else "A"
    share = phase.busy_share
    said = (
        f"{start} card that {phase.doing} draws {share.expected:.0%} "
        f"({share.low:.0%} to {share.high:.0%}) of its limit ({_limits_text(gpus)}, {origin})"
    )
    if len(gpus) == 1:
        return said + "."
    waiting = WAITING_SHARE
    return (
        f"{said}; the cards take turns, and one that waits draws {waiting.expected:.0%} "
        f"({waiting.low:.0%} to {waiting.high:.0%}) of it."
    )


def _limits_text(gpus: Sequence[Gpu]) -> str:
    """``350 W``; ``8 x 700 W``; ``2 x 350 W + 450 W``, in the order of the cards."""
    counts = Counter(f"{gpu.power_limit_w:.0f} W" for gpu in gpus)
    return " + ".join(limit if count == 1 else f"{count} x {limit}" for limit, count in counts.items())


def _watts_text(watts: Spread) -> str:
    return f"{watts.expected:.0f} W ({watts.low:.0f} to {watts.high:.0f})"


def _sum(spreads: Iterable[Spread]) -> Spread:
    total = Spread.exactly(0.0)
    for one in spreads:
        total = total.plus(one)
    return total
