"""What a row of ``machines.jsonl`` must look like: a computer that is sold whole. Imports pydantic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmfit.catalog.schema import Date, Id, Positive, Text


class MachineRow(BaseModel):
    """``gpu`` is the id of its row in ``gpus.jsonl``; the price is of the cheapest build with this memory."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    id: Id
    name: Text
    gpu: Id
    memory_bytes: Annotated[int, Field(gt=0, le=2**45)]
    usd: Positive
    date: Date
    kind: Literal["launch", "list"]
    source: Text
    launch_usd: Positive | None
    withdrawn: Date | None
    notes: Annotated[list[Text], Field(max_length=20)]
