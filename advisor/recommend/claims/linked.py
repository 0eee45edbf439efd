"""Several computers with unified memory, linked by a cable: ``2x DGX Spark``. Nobody sells them as one."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.units import GIB, format_gib

MAX_BOXES = 8
HOST_BYTES = 8 * GIB
"""Of the first box, kept for the program, the system and the tables that rows are looked up in. A choice."""


def linked_boxes(box: Machine, n_boxes: int) -> Machine:
    """``n_boxes`` of a machine with one unified GPU as one machine with so many cards.

    Memory adds up but for what the first keeps for the program; each box reads its own part. Raises
    UsageError for another kind of machine or count.
    """
    gpu = box.gpus[0] if len(box.gpus) == 1 else None
    if gpu is None or not gpu.unified_memory or gpu.vram_total_bytes is None:
        raise UsageError("linked computers", "only computers with unified memory are linked")
    if not 2 <= n_boxes <= MAX_BOXES:
        raise UsageError(f"{n_boxes} linked computers", f"it must be 2 to {MAX_BOXES}")
    card = replace(gpu, unified_memory=False)
    first_bytes = gpu.vram_total_bytes - HOST_BYTES
    first = replace(card, vram_total_bytes=first_bytes, vram_free_bytes=first_bytes)
    rest = (replace(card, index=index) for index in range(1, n_boxes))
    note = (
        f"{n_boxes} boxes of {gpu.name}, linked: {format_gib(gpu.vram_total_bytes)} each, less "
        f"{format_gib(HOST_BYTES, 0)} of the first for the program. The link itself is taken as free."
    )
    memory = replace(
        box.memory, total_bytes=HOST_BYTES, available_bytes=HOST_BYTES, bandwidth_bytes_per_s=None
    )
    return replace(box, gpus=(first, *rest), memory=memory, notes=(*box.notes, note))
