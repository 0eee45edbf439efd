"""From the files of a model to its summary; every way in which they can be broken becomes a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.gguf_split import merge_parts, parse_split_name, split_count, split_number
from llmfit.catalog.local.header_summary import HeaderSummary, data_end_bytes, half_downloaded, summarize
from llmfit.catalog.local.local_model import OTHER
from llmfit.catalog.sources import LocalFileSource


def read_summary(paths: Sequence[Path]) -> tuple[HeaderSummary, bool]:
    """The summary of one model, its parts in order, and whether it may be remembered.

    Where the first header says that it is whole (``n_parts`` is 1), it is a summary of that file alone.
    Never raises for what is wrong with a file. What the file system refuses (no permission, a disk error) is
    not remembered, because it can change without the file's size or time.
    """
    headers: list[GgufHeader] = []
    problem: str | None = None
    for number, path in enumerate(paths, 1):
        where = f"part {number} of {len(paths)} " if len(paths) > 1 else ""
        try:
            source = LocalFileSource(path)
        except GgufError as error:
            return _broken(where + error.why, headers), False
        with source:
            try:
                header = read_header(source, path.name, require_data=False)
            except GgufError as error:
                return _broken(where + error.why, headers), "cannot be read" not in error.why
        headers.append(header)
        if number == 1 < len(paths) and split_count(header) == 1:
            return summarize(header), False
        whole_bytes = data_end_bytes(header)
        if header.file_bytes < whole_bytes and problem is None:
            problem = where + half_downloaded(header.file_bytes, whole_bytes)
    return _merged(paths, headers, problem), True


def _merged(paths: Sequence[Path], headers: Sequence[GgufHeader], problem: str | None) -> HeaderSummary:
    first = headers[0]
    count = split_count(first)
    if len(paths) == 1 and count > 1:
        is_named = parse_split_name(paths[0].name) is not None
        why = "and the others are not beside it" if is_named else "but not named like one"
        return summarize(first, f"part {split_number(first)} of {count} of a split model, {why}")
    try:
        whole = merge_parts([(path.name, header) for path, header in zip(paths, headers, strict=True)])
    except GgufError as error:
        return summarize(first, problem or f"{error.what}: {error.why}")
    return summarize(whole, problem)


def _broken(problem: str, headers: Sequence[GgufHeader]) -> HeaderSummary:
    """With what the parts before the broken one said, if any."""
    return summarize(headers[0], problem) if headers else HeaderSummary(kind=OTHER, problem=problem)
