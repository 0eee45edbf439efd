"""The bundled facts: one JSON object a line, found by id without parsing the other lines.

The tests validate every bundled line with ``schema``; at run time the lines are read as they are, because
pydantic alone costs more time than the whole answer may take. The user's own files are validated when
they are read: see ``overlay``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import cast

Row = Mapping[str, object]

DATA_FOLDER = Path(__file__).parent / "data"
MODELS = "models.jsonl"
GPUS = "gpus.jsonl"
ARCHITECTURES = "architectures.jsonl"
ABILITIES = "abilities.jsonl"
EVIDENCE = "evidence.jsonl"
PITFALLS = "pitfalls.jsonl"
_ID_START = '{"id":"'


@cache
def bundled_lines(file_name: str) -> Mapping[str, str]:
    """Id → line of a bundled file, in file order. Every line begins with its ``id``."""
    lines: dict[str, str] = {}
    for line in (DATA_FOLDER / file_name).read_text(encoding="utf-8").splitlines():
        lines[line_id(line)] = line
    return lines


def line_id(line: str) -> str:
    """The id at the start of a bundled line. Raises ValueError where there is none."""
    if not line.startswith(_ID_START):
        raise ValueError(f"a line of the catalogue does not begin with its id: {line[:40]!r}")
    return line[len(_ID_START) : line.index('"', len(_ID_START))]


def bundled_row(file_name: str, row_id: str) -> Row | None:
    """The parsed row of one id, or None."""
    line = bundled_lines(file_name).get(row_id)
    return None if line is None else cast(Row, json.loads(line))


@cache
def bundled_rows(file_name: str) -> Mapping[str, Row]:
    """Id → parsed row of every line."""
    return {row_id: cast(Row, json.loads(line)) for row_id, line in bundled_lines(file_name).items()}


@cache
def quantization_rows() -> Mapping[str, Row]:
    """File type → its row of ``quantizations.json``."""
    rows = cast(Sequence[Row], bundled_document("quantizations.json")["rows"])
    return {str(row["name"]): row for row in rows}


def bundled_document(file_name: str) -> Row:
    """A bundled file that is one JSON object."""
    return cast(Row, json.loads((DATA_FOLDER / file_name).read_text(encoding="utf-8")))
