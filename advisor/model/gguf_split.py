"""Split models: which files belong together, and one header out of theirs.

llama-gguf-split writes ``NAME-00001-of-00003.gguf`` and so on; the first file holds the metadata, and
``split.no``, ``split.count`` and ``split.tensors.count`` stand in each. Rules: llama.cpp b11434,
src/llama-model-loader.cpp (llama_model_loader) and src/llama.cpp (llama_split_path).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import GgufHeader
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.text import printable

_SPLIT_NAME = re.compile(r"(?s)(.+)-(\d{5})-of-(\d{5})\.gguf")
_DAMAGED = "Download all parts again, from one place."


@dataclass(frozen=True, slots=True)
class SplitName:
    """The file name of one part; ``number`` counts from 1."""

    prefix: str
    number: int
    count: int

    def part(self, number: int) -> str:
        """The name of another part of the same model."""
        return f"{self.prefix}-{number:05d}-of-{self.count:05d}.gguf"

    def parts(self) -> tuple[str, ...]:
        """The names of all parts, in order."""
        return tuple(self.part(number) for number in range(1, self.count + 1))


def parse_split_name(name: str) -> SplitName | None:
    """The parts of a split file's name; None for any other name."""
    match = _SPLIT_NAME.fullmatch(name)
    if match is None or not match[2].isascii() or not match[3].isascii():
        return None
    split = SplitName(match[1], int(match[2]), int(match[3]))
    return split if 1 <= split.number <= split.count else None


def split_count(header: GgufHeader) -> int:
    """How many files the model has, by ``split.count``; 1 where it is not split."""
    return _count(header, "split.count") or 1


def split_number(header: GgufHeader) -> int:
    """Which of them this is, from 1; ``split.no`` counts from 0."""
    return (_count(header, "split.no") or 0) + 1


def merge_parts(parts: Sequence[tuple[str, GgufHeader]]) -> GgufHeader:
    """One header for a model in several files, given in order with their names.

    Metadata, version and offsets are the first file's, tensors and bytes those of all. Raises GgufError where
    the files do not belong together.
    """
    name, first = parts[0]
    if len(parts) == 1:
        return first
    tensors: dict[str, Tensor] = {}
    for number, (part_name, header) in enumerate(parts, 1):
        if split_number(header) != number or split_count(header) != len(parts):
            said = f"it says it is part {split_number(header)} of {split_count(header)}"
            _fail(part_name, f"expected as part {number} of {len(parts)}, but {said}")
        for tensor in header.tensors:
            if tensor.name in tensors:
                _fail(part_name, f"tensor '{printable(tensor.name, 80)}' is in an earlier part too")
            tensors[tensor.name] = tensor
    expected = _count(first, "split.tensors.count")
    if expected is not None and expected != len(tensors):
        _fail(name, f"the model has {expected} tensors, its parts hold {len(tensors)}")
    file_bytes = sum(header.file_bytes for _, header in parts)
    return replace(first, tensors=tuple(tensors.values()), file_bytes=file_bytes)


def _count(header: GgufHeader, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and value >= 0 else None


def _fail(name: str, why: str) -> NoReturn:
    raise GgufError(printable(name), why, _DAMAGED)
