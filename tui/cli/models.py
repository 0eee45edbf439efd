"""``llmfit models``: the GGUF files on this machine, what each is, and which of them are broken."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmfit.advisor.errors import UsageError
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_context, format_gib
from llmfit.catalog.local.find import find_local_models
from llmfit.catalog.local.local_model import MODEL, LocalModel, LocalModels
from llmfit.catalog.search import contains_words, tail
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.cli.render import table, wrapped
from llmfit.tui.config import config_path, missing_folders, user_config

MIN_NAME_CHARACTERS = 18
"""A name is cut to no less; before that the columns of DISPENSABLE go, one after the other."""
_HEAD = ("model", "catalogue", "quant", "GiB", "context", "store")
DISPENSABLE = ("store", "context", "catalogue")
NOTHING_FOUND = (
    "Name a folder with --folder DIR, or write model_folders into {config}. "
    "Looked for are the caches of Hugging Face and llama.cpp, and the stores of LM Studio and Ollama."
)


def run(parsed: argparse.Namespace) -> int:
    """Prints the list. Raises UsageError for a ``--folder`` that is no folder."""
    named = {text: _folder(text) for text in parsed.folder}
    config = user_config()
    found = find_local_models((*config.model_folders, *named.values()))
    for text, folder in named.items():
        _check(text, folder, found)
    notes = (*config.problems, *missing_folders(config, found.missing), *found.notes)
    models = [model for model in found.models if _fits(parsed.filter, model)]
    if parsed.json:
        print_json(_document(models, found, notes))
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines(list(_lines(models, found, parsed.filter, width)))
    print_notes(notes)
    return 0


def _folder(text: str) -> Path:
    try:
        if text and "\0" not in text:
            return Path(text).expanduser().absolute()
    except RuntimeError:  # ~nobody
        pass
    raise _no_folder(text, "not the name of a folder")


def _check(text: str, folder: Path, found: LocalModels) -> None:
    """Raises UsageError for a folder that is none; one that does not answer is a note and no error.

    After the search, which waits for a disk that hangs only so long.
    """
    why = dict(found.missing).get(folder)
    if why is not None:
        raise _no_folder(text, why)


def _no_folder(text: str, why: str) -> UsageError:
    return UsageError(f"--folder {printable(text, 200)}", why, "Name a folder that holds .gguf files.")


def _fits(text: str, model: LocalModel) -> bool:
    called = (model.name, model.model_id, model.path.name, model.quantization, *model.candidates)
    return contains_words(text, [name for name in called if name])


def _lines(models: Sequence[LocalModel], found: LocalModels, text: str, width: int | None) -> Iterator[str]:
    sound = [model for model in models if model.problem is None]
    broken = [model for model in models if model.problem is not None]
    served = [model for model in sound if model.kind == MODEL]
    others = [model for model in sound if model.kind != MODEL]
    if served:
        yield from _table([_HEAD, *map(_row, served)], names=(0, 1), width=width)
    if others:
        yield from ("", "No models of their own:") if served else ("No models of their own:",)
        rows = [("file", "kind", "GiB", "store"), *map(_other_row, others)]
        yield from _table(rows, names=(0,), width=width)
    if broken:
        yield from ("", "Cannot be used:") if sound else ("Cannot be used:",)
        for model in broken:
            yield from _broken_lines(model)
    if models:
        yield ""
        yield _totals(models)
    elif text and found.models:
        here = "1 file is" if len(found.models) == 1 else f"{len(found.models)} files are"
        yield f"Nothing is called {printable(text, 60)!r}; {here} here."
    else:
        yield "No GGUF files found."
        yield from wrapped(NOTHING_FOUND.format(config=printable(str(config_path()))))
    if found.folders:
        yield from ("Looked in:", *(f"  {printable(str(folder))}" for folder in found.folders))


def _table(rows: Sequence[Sequence[str]], names: Sequence[int], width: int | None) -> list[str]:
    """Aligned lines within ``width``, if there is one: names are cut, then whole columns left out."""
    head = rows[0]
    left_out = [column for column in DISPENSABLE if column in head]
    kept, lines = list(range(len(head))), _aligned(rows)
    for last in (None, *left_out):
        if last is not None:
            kept.remove(head.index(last))
        shown = [[row[column] for column in kept] for row in rows]
        cut = [kept.index(column) for column in names if column in kept]
        lines = _aligned(_with_names_cut(shown, cut, width))
        if width is None or max(map(len, lines)) <= width:
            break
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    return table(rows, right=[column for column, name in enumerate(rows[0]) if name in ("GiB", "context")])


def _with_names_cut(
    rows: Sequence[Sequence[str]], names: Sequence[int], width: int | None
) -> Sequence[Sequence[str]]:
    """The names, longest first, so short that the rows fit into ``width``, but not below the shortest."""
    if width is None:
        return rows
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    too_wide = sum(widths) + 2 * (len(widths) - 1) - width
    while too_wide > 0:
        longest = max(names, key=lambda column: widths[column])
        if widths[longest] <= MIN_NAME_CHARACTERS:
            break
        widths[longest] -= 1
        too_wide -= 1
    return [
        [printable(cell, widths[column]) if column in names else cell for column, cell in enumerate(row)]
        for row in rows
    ]


def _row(model: LocalModel) -> list[str]:
    context = model.context_train_tokens
    return [
        printable(model.name),
        printable(_catalogue_text(model)),
        printable(model.quantization or "?"),
        f"{model.file_bytes / GIB:.1f}",
        format_context(context) if context else "?",
        model.store,
    ]


def _catalogue_text(model: LocalModel) -> str:
    """The row that it is, or how many have its shape."""
    if model.model_id is not None:
        return tail(model.model_id)
    if not model.candidates:
        return "not in it"
    first = tail(model.candidates[0])
    more = len(model.candidates) - 1
    return f"shape of {first}" + (f" and {more} more" if more else "")


def _other_row(model: LocalModel) -> list[str]:
    architecture = printable(model.architecture or "no architecture", 24)
    kind = model.kind if model.kind != "other" else f"other ({architecture})"
    name = model.name if model.name == model.path.name else f"{model.name}: {model.path.name}"
    return [printable(name), kind, f"{model.file_bytes / GIB:.1f}", model.store]


def _broken_lines(model: LocalModel) -> Iterator[str]:
    quant = f" {printable(model.quantization)}" if model.quantization else ""
    yield from wrapped(f"✗ {printable(model.name)}{quant} ({model.store}): {printable(model.problem or '')}")
    yield f"    {printable(str(model.path))}"


def _totals(models: Sequence[LocalModel]) -> str:
    n_models = sum(model.kind == MODEL and model.problem is None for model in models)
    n_broken = sum(model.problem is not None for model in models)
    stores = Counter(model.store for model in models)
    where = ", ".join(f"{store} {count}" for store, count in stores.items())
    size = format_gib(sum(model.file_bytes for model in models))
    broken = f", {n_broken} cannot be used" if n_broken else ""
    word = "model" if n_models == 1 else "models"
    return f"{n_models} {word}{broken}; {size} in all ({where})"


def _document(models: Sequence[LocalModel], found: LocalModels, notes: Sequence[str]) -> dict[str, object]:
    return {
        "schema": "llmfit.models/1",
        "models": [_model_document(model) for model in models],
        "folders": [str(folder) for folder in found.folders],
        "notes": list(notes),
    }


def _model_document(model: LocalModel) -> dict[str, object]:
    return {
        "name": model.name,
        "store": model.store,
        "path": str(model.path),
        "paths": [str(path) for path in model.paths],
        "file_bytes": model.file_bytes,
        "kind": model.kind,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "parameters": model.n_parameters,
        "context_train_tokens": model.context_train_tokens,
        "model_id": model.model_id,
        "candidates": list(model.candidates),
        "problem": model.problem,
    }
