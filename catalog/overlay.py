"""The user's own rows: ``models*.jsonl`` and ``gpus*.jsonl`` in llmfit's configuration folder.

A row replaces the bundled row of the same id. Every line is validated; a broken line is left out and named
in ``Overlay.problems``, and the rest counts. Of two lines with one id the later counts, files by name.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from llmfit.advisor.folders import CATALOG_VARIABLE as FOLDER_VARIABLE
from llmfit.advisor.folders import catalog_folder as overlay_folder
from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB

if TYPE_CHECKING:
    from llmfit.catalog.loader import Row

MAX_LINE_BYTES = 4 * MIB
"""A row with the tensors of the largest model takes 100 KB."""
MAX_FILE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The user's rows by id, and what could not be read, one sentence each. Compared by identity."""

    models: Mapping[str, Row]
    gpus: Mapping[str, Row]
    problems: tuple[str, ...] = ()


@cache
def overlay() -> Overlay:
    """The user's rows, read once a process (``overlay.cache_clear()`` after a change)."""
    return read_overlay(overlay_folder())


def read_overlay(folder: Path) -> Overlay:
    """The rows of one folder. Never raises: what cannot be read is a problem, not the end."""
    files: list[Path] = []
    problems: list[str] = []
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
    except FileNotFoundError:
        pass
    except OSError as error:
        problems.append(f"{_shown(folder)}: {error.strerror or 'not readable'}")
    rows: dict[str, dict[str, Row]] = {"models": {}, "gpus": {}}
    for path in files:
        kind = next((kind for kind in rows if path.name.startswith(kind)), None)
        if kind is None:
            problems.append(f"{_shown(path)}: not read, the name must begin with models or gpus")
            continue
        for place, row in _rows(path, kind):
            if isinstance(row, str):
                problems.append(f"{place}: {row}")
            else:
                rows[kind][str(row["id"])] = {**row, "overlay": place}
    return Overlay(rows["models"], rows["gpus"], tuple(problems))


def _rows(path: Path, kind: str) -> Iterator[tuple[str, Row | str]]:
    """``file:line`` with the row, or with what is wrong with it."""
    validate = _validator(kind)
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):  # reading could wait for ever
            yield _shown(path), "not read, not a regular file"
            return
        if status.st_size > MAX_FILE_BYTES:
            yield _shown(path), f"not read, larger than {MAX_FILE_BYTES // MIB} MiB"
            return
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                place = f"{_shown(path)}:{number}"
                if len(line) > MAX_LINE_BYTES:
                    yield place, f"a line longer than {MAX_LINE_BYTES // MIB} MiB; the rest is not read"
                    return
                if line := line.strip():
                    yield place, validate(line)
    except OSError as error:
        yield _shown(path), f"not readable: {error.strerror or type(error).__name__}"


def _validator(kind: str) -> Callable[[bytes], Row | str]:
    """A function that turns a line into a row, or into what is wrong with it."""
    from pydantic import ValidationError  # 110 ms, paid only by people who have a file of their own

    from llmfit.catalog import schema

    def validate(line: bytes) -> Row | str:
        try:
            if kind == "models":
                row = schema.MODEL_ROW.validate_json(line).model_dump(exclude_unset=True)
            else:
                row = schema.GPU_ROW.validate_json(line).model_dump(exclude_unset=True)
        except ValidationError as error:
            return schema.first_problem(error)
        return row

    return validate


def _shown(path: Path) -> str:
    return printable(str(path))


__all__ = ["FOLDER_VARIABLE", "Overlay", "overlay", "overlay_folder", "read_overlay"]
