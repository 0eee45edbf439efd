"""The same model on one, two, four of this machine's card, and the least change with which it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import MAX_GPUS, Gpu, Machine
from llmfit.advisor.memory.fitting import DOES_NOT_FIT, FITS_GPU
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.tables import Case
from llmfit.advisor.recommend.article.values import CardsRow, Need, RamCase
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import QUANT_LADDER
from llmfit.advisor.recommend.search import Variants, judge, judge_on_gpus
from llmfit.advisor.units import GIB

CARD_COUNTS = (1, 2, 4)
RAM_SIZES_BYTES = tuple(
    n * GIB for n in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
)
"""What memory modules add up to in desktops, workstations and servers."""
USUAL_RAM = (
    ("two channels of DDR4-3200", 51_200_000_000),
    ("two channels of DDR5-5600", 89_600_000_000),
)
"""Peaks: channels x 8 bytes x transfers a second (JEDEC JESD79-4 and JESD79-5)."""


def card_of(machine: Machine) -> Gpu | None:
    """The card that more of would be added: the most frequent, of equals the largest. ``None`` without a GPU
    or where its memory is the computer's RAM: such machines are not extended."""
    gpus = [gpu for gpu in machine.gpus if not gpu.unified_memory and gpu.vram_total_bytes is not None]
    if len(gpus) < len(machine.gpus) or not gpus:
        return None
    counts = Counter(_kind(gpu) for gpu in gpus)
    return max(gpus, key=lambda gpu: (counts[_kind(gpu)], gpu.vram_total_bytes or 0, -gpu.index))


def with_cards(machine: Machine, card: Gpu, n_cards: int) -> Machine:
    """``machine`` with ``n_cards`` of ``card`` alone: its own ones as they are, others all free."""
    own = [gpu for gpu in machine.gpus if _kind(gpu) == _kind(card)][:n_cards]
    if len(own) == n_cards == len(machine.gpus):
        return machine
    free_bytes = (card.vram_total_bytes or 0) - (card.vram_reserved_bytes or 0)
    added = replace(
        card, vram_free_bytes=free_bytes, processes=(), uuid=None, pci_bus=None, power_draw_w=None
    )
    gpus = (*own, *(added for _ in range(n_cards - len(own))))
    return replace(machine, gpus=tuple(replace(gpu, index=place) for place, gpu in enumerate(gpus)))


def cards_rows(case: Case, asked: Judgement, build: Variants | None) -> tuple[CardsRow, ...]:
    """``asked``'s file type on one, two, four and the present number of cards; empty where none fit in."""
    return tuple(_cards_rows(case, asked, build))


def _cards_rows(case: Case, asked: Judgement, build: Variants | None) -> Iterator[CardsRow]:
    card = card_of(case.machine)
    if card is None or case.request.tensor_split is not None:
        return  # the user's proportions are for the cards that are there
    here = len(case.machine.gpus)
    counts = {*CARD_COUNTS, here} if with_cards(case.machine, card, here) is case.machine else CARD_COUNTS
    for n_cards in sorted(counts):
        machine = with_cards(case.machine, card, n_cards)
        is_this = machine is case.machine
        judgement = asked if is_this else _judged_on(case, asked.model, machine)
        if judgement is not None:
            best = None if build is None else _best_on_gpus(case, machine, build)
            yield CardsRow(n_cards, is_this, judgement, best)


def _best_on_gpus(case: Case, machine: Machine, build: Variants) -> str | None:
    vram_bytes = sum(gpu.usable_bytes or 0 for gpu in machine.gpus)
    for quant in QUANT_LADDER:
        try:
            model = build(quant)
            if model.file_bytes <= vram_bytes and judge_on_gpus(model, machine, case.request) is not None:
                return quant
        except LlmfitError:
            continue
    return None


def find_needs(case: Case, asked: Judgement, rows: tuple[CardsRow, ...]) -> tuple[Need, ...]:
    """What the machine would need for ``asked``: RAM with which it runs, cards that hold all of it.

    Only what the table of cards does not show; nothing where it stays on the GPUs anyway.
    """
    if asked.verdict == FITS_GPU:
        return ()
    needs = [_ram_need(case, asked)] if asked.verdict == DOES_NOT_FIT else []
    if all(row.judgement.verdict != FITS_GPU for row in rows):
        needs.append(_cards_need(case, asked))
    return tuple(need for need in needs if need is not None)


def _ram_need(case: Case, asked: Judgement) -> Need | None:
    """The smallest usual size of RAM with which it runs on the GPUs that are there."""
    machine, memory = case.machine, case.machine.memory
    total_bytes, available_bytes = memory.capacity_bytes, memory.available_bytes
    if total_bytes is None or available_bytes is None or any(gpu.unified_memory for gpu in machine.gpus):
        return None
    for size_bytes in RAM_SIZES_BYTES:
        free_bytes = size_bytes - (total_bytes - available_bytes)
        if free_bytes <= available_bytes:
            continue
        larger = replace(memory, total_bytes=size_bytes, available_bytes=free_bytes, limit_bytes=None)
        judgement = _judged_on(case, asked.model, replace(machine, memory=larger))
        if judgement is not None and judgement.fits:
            return Need(judgement, ram_bytes=size_bytes)
    return None


def _cards_need(case: Case, asked: Judgement) -> Need | None:
    """The least number of this machine's cards that hold everything."""
    card = card_of(case.machine)
    if card is None or not card.vram_total_bytes or case.request.tensor_split is not None:
        return None
    at_least = asked.memory.weights_bytes // card.vram_total_bytes + 1
    for n_cards in range(at_least, MAX_GPUS + 1):
        machine = with_cards(case.machine, card, n_cards)
        try:
            judgement = judge_on_gpus(asked.model, machine, case.request)
        except LlmfitError:
            return None
        if judgement is not None:
            return Need(judgement, n_cards=n_cards)
    return None


def ram_cases(case: Case, running: Judgement) -> tuple[RamCase, ...]:
    """``running`` with RAM of usual bandwidths, where its own is not known and decides the speed."""
    machine = case.machine
    if machine.memory.bandwidth_bytes_per_s is not None or running.speed is not None:
        return ()
    cases = []
    for what, bytes_per_s in USUAL_RAM:
        memory = replace(machine.memory, bandwidth_bytes_per_s=bytes_per_s, bandwidth_source=what)
        judgement = _judged_on(case, running.model, replace(machine, memory=memory))
        if judgement is not None and judgement.speed is not None:
            cases.append(RamCase(what, bytes_per_s, judgement))
    return tuple(cases)


def _judged_on(case: Case, model: Model, machine: Machine) -> Judgement | None:
    """On a machine that nobody has: by formula alone. ``None`` where the settings do not go there."""
    try:
        return judge(model, machine, case.request, remedies=False)
    except LlmfitError:
        return None


def _kind(gpu: Gpu) -> tuple[str, int | None]:
    return gpu.name, gpu.vram_total_bytes


__all__ = ["CARD_COUNTS", "card_of", "cards_rows", "find_needs", "ram_cases", "with_cards"]
