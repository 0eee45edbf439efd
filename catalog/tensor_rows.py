"""Tensor lists as rows of a catalogue file: blocks of the same shape and type folded into one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from llmfit.advisor.model.gguf import MAX_TENSORS
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.tensors import Tensor

_BLOCK = re.compile(r"(blk\.)(\d{1,4})(\..+)")


def fold(tensors: Iterable[Tensor]) -> list[dict[str, object]]:
    """Rows ``{"name": "blk.{}.attn_q.weight", "dims": […], "type": "Q4_K", "layers": "0-31"}``."""
    layers: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    for tensor in tensors:
        match = _BLOCK.fullmatch(tensor.name)
        name = f"{match[1]}{{}}{match[3]}" if match else tensor.name
        found = layers.setdefault((name, tensor.dims, tensor.type_name), [])
        if match:
            found.append(int(match[2]))
    rows: list[dict[str, object]] = []
    for (name, dims, type_name), numbers in layers.items():
        row: dict[str, object] = {"name": name, "dims": list(dims), "type": type_name}
        if numbers:
            row["layers"] = _ranges(sorted(numbers))
        rows.append(row)
    return rows


def unfold(rows: Sequence[Mapping[str, object]]) -> tuple[Tensor, ...]:
    """The tensors that ``fold`` folded, block by block.

    Raises ValueError for more than MAX_TENSORS, an unknown type, or a row that is no whole number of blocks.
    """
    unfolded: list[tuple[int, Tensor]] = []
    for row in rows:
        name, type_name = str(row["name"]), str(row["type"])
        dims = tuple(cast(Sequence[int], row["dims"]))
        try:
            size_bytes = tensor_bytes(type_name, dims)
        except KeyError:
            raise ValueError(f"{name} has the unknown type {type_name!r}") from None
        for layer in _numbers(cast("str | None", row.get("layers"))):
            shown = name if layer < 0 else name.replace("{}", str(layer))
            unfolded.append((layer, Tensor(shown, dims, type_name, size_bytes)))
            if len(unfolded) > MAX_TENSORS:
                raise ValueError(f"more than {MAX_TENSORS} tensors")
    return tuple(tensor for _, tensor in sorted(unfolded, key=lambda pair: pair[0]))


def _ranges(numbers: Sequence[int]) -> str:
    """``0-3,7`` for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def _numbers(ranges: str | None) -> Iterator[int]:
    if ranges is None:
        yield -1
        return
    for run in ranges.split(","):
        first, _, last = run.partition("-")
        yield from range(int(first), int(last or first) + 1)
