"""Where the header of a model file comes from on this computer: one file, or the parts of a split one.

No model data is read and nothing is written.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.gguf_split import merge_parts, parse_split_name, split_count, split_number
from llmfit.advisor.text import printable

_CHECK_NAME = "Check the name: a path to a .gguf file is needed."


class LocalFileSource:
    """The bytes of a regular file, read at offsets. Close it, or use it in a ``with``.

    Raises GgufError where the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._name = printable(str(path))
        self._descriptor = -1
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                self._fail(
                    "a directory, not a file", "Name the .gguf file in it; of a split model the first."
                )
            if not stat.S_ISREG(mode):
                self._fail("not a regular file", _CHECK_NAME)
            self._descriptor = os.open(path, os.O_RDONLY)
            self._size_bytes = os.fstat(self._descriptor).st_size
        except FileNotFoundError:
            self._fail("no such file", _CHECK_NAME)
        except OSError as error:
            self._fail(f"cannot be opened ({error.strerror})", _CHECK_NAME)
        except ValueError:
            self._fail("not a file name", _CHECK_NAME)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            self._fail(
                f"cannot be read ({error.strerror})", "Check the disk or the network share it lies on."
            )

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fail(self, why: str, hint: str) -> NoReturn:
        raise GgufError(self._name, why, hint) from None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk: its files in order, and one header for all of them.

    ``paths[0]`` is the file that llama-server is started with.
    """

    paths: tuple[Path, ...]
    header: GgufHeader


def read_model_files(path: Path, *, require_data: bool = True) -> ModelFiles:
    """The model that ``path`` is, or is a part of: any part of a split model finds the others beside it.

    ``require_data=False`` also reads files that end after their header. Raises GgufError for a file that is
    no sound GGUF file and for a part that is missing.
    """
    header = _read_file(path, require_data)
    count = split_count(header)
    if count == 1:
        return ModelFiles((path,), header)
    name = parse_split_name(path.name)
    if name is None or name.count != count:
        what = f"part {split_number(header)} of {count} of a split model"
        hint = "llama.cpp finds the parts by their names: give them back their names, …-00001-of-0000N.gguf."
        raise GgufError(printable(str(path)), f"{what}, but not named like one", hint)
    paths = tuple(path.with_name(part) for part in name.parts())
    for number, part in enumerate(paths, 1):
        if not part.exists():
            why = f"missing, part {number} of {count} of the model"
            raise GgufError(printable(str(part)), why, "Download it beside the others.")
    headers = [header if part == path else _read_file(part, require_data) for part in paths]
    return ModelFiles(
        paths, merge_parts([(str(part), read) for part, read in zip(paths, headers, strict=True)])
    )


def _read_file(path: Path, require_data: bool) -> GgufHeader:
    with LocalFileSource(path) as source:
        return read_header(source, str(path), require_data=require_data)
