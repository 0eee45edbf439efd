"""Why a layout is what it is, in plain sentences."""

from __future__ import annotations

from llmfit.advisor.memory.assignment import split_text
from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.memory.fitting_budget import CardBudget
from llmfit.advisor.memory.fitting_search import Attempt, LayoutSearch
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.units import format_gib


def layout_reasons(search: LayoutSearch, attempt: Attempt, everything_on_gpu: bool) -> tuple[str, ...]:
    """What was decided first, then what stands in its way, then what is not known."""
    reasons = [_decision(search, attempt)] if attempt.fits else [_shortfall(search, attempt)]
    if not everything_on_gpu:
        reasons += _after_closing(search)
    return (*reasons, *search.budgets.notes)


def _decision(search: LayoutSearch, attempt: Attempt) -> str:
    gpus = attempt.memory.gpus
    if attempt.gpu_weights_bytes == 0:
        return _on_cpu(search, attempt)
    where = _cards_named(gpus)
    if not attempt.memory.everything_on_gpus:
        return f"{_what_is_in_ram(search, attempt)}; {where}."
    if len(gpus) == 1:
        others = len(search.budgets.cards) - 1
        left = {0: "", 1: "; the other card stays free"}.get(others, f"; the other {others} cards stay free")
        return f"Everything is on {where}{left}."
    largest = max(search.budgets.cards, key=lambda card: card.budget_bytes)
    counts = split_text(attempt.settings.tensor_split or ())
    return (
        f"No single card holds it (the largest has {format_gib(largest.budget_bytes)} free), so the layers "
        f"are split over {where}, by what is free there (-ts {counts})."
    )


def _cards_named(gpus: tuple[DeviceMemory, ...]) -> str:
    parts = []
    for device in gpus:
        free = f" of {format_gib(device.free_bytes)} free" if device.free_bytes is not None else ""
        parts.append(f"GPU{device.gpu_index} ({format_gib(device.required_bytes)} needed{free})")
    return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _what_is_in_ram(search: LayoutSearch, attempt: Attempt) -> str:
    settings = attempt.settings
    ram = format_gib(attempt.memory.host.weights_bytes)
    said = []
    layers = search.n_slots - settings.gpu_layers
    if settings.gpu_layers < search.n_slots:
        said.append(f"the first {layers} of {search.n_slots - 1} blocks are in RAM")
    if settings.n_cpu_moe >= ALL_LAYERS:
        said.append("all experts are in RAM")
    elif settings.n_cpu_moe > 0:
        blocks = "block" if settings.n_cpu_moe == 1 else f"{settings.n_cpu_moe} blocks"
        said.append(f"the experts of the first {blocks} of {search.shape.n_layer} are in RAM")
    if settings.override_tensor and "override_tensor" in search.fixed:
        said.append("-ot keeps what it names in RAM")
    elif settings.override_tensor:
        parts = len(settings.override_tensor)
        said.append(
            f"a part of the experts of {'one block' if parts == 1 else f'{parts} blocks'} is in RAM (-ot)"
        )
    if not settings.kv_offload:
        said.append("the KV cache is in RAM")
    text = ", ".join(said) or "a part is in RAM"
    return f"Not everything fits on the GPU: {text} ({ram} of weights there)"


def _on_cpu(search: LayoutSearch, attempt: Attempt) -> str:
    host = attempt.memory.host
    need = f"{format_gib(host.required_bytes)} of RAM"
    if search.base.gpu_layers == 0 and "gpu_layers" in search.fixed:
        return f"All layers are in RAM as asked: {need} needed."
    if not search.machine.gpus:
        return f"No GPU to use: everything is in RAM, {need} needed."
    if not search.cards:
        return f"There is no GPU that can be used: everything is in RAM, {need} needed."
    return f"Not one layer fits on the GPU with what it needs besides: everything is in RAM, {need} needed."


def _shortfall(search: LayoutSearch, attempt: Attempt) -> str:
    parts = []
    for device in attempt.memory.gpus:
        missing = search.budgets.card_shortfall_bytes(device)
        if missing:
            parts.append(f"{format_gib(missing)} on GPU{device.gpu_index}")
    missing = search.budgets.ram_shortfall_bytes(attempt.memory)
    if missing:
        parts.append(f"{format_gib(missing)} of RAM")
    if len(parts) == 1:
        return f"It does not fit: {parts[0]} are missing."
    return f"It does not fit: {format_gib(attempt.shortfall_bytes)} are missing ({' and '.join(parts)})."


def _after_closing(search: LayoutSearch) -> list[str]:
    """For each card that other programs hold memory of: what would have to be closed to fit all on it."""
    said = []
    for card in search.cards:
        if not card.held_bytes:
            continue
        attempt = search.on_freed_card(card)
        if attempt is None:
            continue
        missing = attempt.memory.gpus[0].required_bytes - card.budget_bytes
        if missing > 0 and not search.budgets.ram_shortfall_bytes(attempt.memory):
            said.append(f"{_closing(card, missing)} it would fit on {card.label} alone.")
    return said


def _closing(card: CardBudget, missing_bytes: int) -> str:
    """``After closing firefox (1.5 GiB)``: the largest programs that together free enough."""
    freed, names = 0, []
    holders = [process for process in card.gpu.processes if process.vram_bytes]
    for process in sorted(holders, key=lambda process: -(process.vram_bytes or 0)):
        if freed >= missing_bytes:
            break
        freed += process.vram_bytes or 0
        names.append(f"{process.name} ({format_gib(process.vram_bytes or 0)})")
    if freed >= missing_bytes:
        return "After closing " + " and ".join(names)
    return f"After closing what holds {format_gib(card.held_bytes)} of {card.label}"
