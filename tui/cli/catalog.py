"""``llmfit catalog``: the models known, one with its sources, and adding one from a GGUF header."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB, format_context, format_gib
from llmfit.catalog.models import CatalogModel, find_model, list_models, search_models
from llmfit.tui.cli.output import print_json, print_lines
from llmfit.tui.cli.render import table

DEFAULT_ACTION = "list"


def run(parsed: argparse.Namespace) -> int:
    action = parsed.action or DEFAULT_ACTION
    return {"list": _list, "show": _show, "add": _add}[action](parsed)


def _list(parsed: argparse.Namespace) -> int:
    text = getattr(parsed, "filter", "")
    entries = search_models(text) if text else list_models()
    if parsed.json:
        print_json({"schema": "llmfit.catalog/1", "models": [_document(entry) for entry in entries]})
        return 0
    rows = [["id", "parameters", "active", "context", "licence", "released"]]
    rows += [_row(entry) for entry in entries]
    print_lines([*table(rows, right=(1, 2, 3)), f"{len(entries)} model{'s' * (len(entries) != 1)}"])
    return 0


def _show(parsed: argparse.Namespace) -> int:
    entry = find_model(parsed.model)
    if parsed.json:
        print_json({"schema": "llmfit.catalog/1", "model": _document(entry, whole=True)})
    else:
        print_lines(list(_lines(entry)))
    return 0


def _add(parsed: argparse.Namespace) -> int:
    from llmfit.catalog.add import add_from_header, suggested_id
    from llmfit.catalog.hub import is_hub_reference, read_hub_model
    from llmfit.catalog.sources import read_model_files

    if is_hub_reference(parsed.model):
        found = read_hub_model(parsed.model)
        header, name, source = found.header, found.reference.repo, str(found.reference)
    else:
        files = read_model_files(Path(parsed.model).expanduser())
        header, name, source = files.header, suggested_id(files.paths[0].name), files.paths[0].name
    model_id = parsed.id or name
    path = add_from_header(header, model_id, source, force=parsed.force)
    if parsed.json:
        print_json({"schema": "llmfit.catalog/1", "added": model_id, "path": str(path)})
    else:
        print_lines([f"Added {printable(model_id)} to {printable(str(path))}"])
    return 0


def _row(entry: CatalogModel) -> list[str]:
    return [
        printable(entry.id),
        _billions(entry.parameters.text),
        _billions(entry.parameters.active),
        format_context(entry.context_length) if entry.context_length else "?",
        printable(entry.license or "?"),
        printable(entry.release_date or "?"),
    ]


def _billions(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.1f} B"


def _lines(entry: CatalogModel) -> Iterator[str]:
    yield printable(entry.id)
    if entry.overlay:
        yield f"  your own row  {printable(entry.overlay)}: it stands before any bundled one of this id"
    yield f"  family        {printable(entry.family or 'not known')}"
    yield f"  architecture  {printable(entry.architecture)} (llama.cpp)"
    active = _billions(entry.parameters.active)
    yield f"  parameters    {_billions(entry.parameters.text)}, {active} read per token"
    yield f"  context       {format_context(entry.context_length) if entry.context_length else 'not known'}"
    yield f"  licence       {printable(entry.license or 'not known')}"
    yield f"  released      {printable(entry.release_date or 'not known')}"
    for file in entry.files:
        rounded = "" if not file.rounded_to_bytes else f", rounded to {file.rounded_to_bytes / MIB:.0f} MiB"
        size = f"{format_gib(file.bytes, 2)}{rounded}"
        yield f"  published     {printable(file.file)}: {size} ({printable(file.source)})"
    for note in entry.notes:
        yield f"  note          {printable(note)}"
    for source in entry.sources:
        yield f"  source        {printable(source)}"


def _document(entry: CatalogModel, whole: bool = False) -> dict[str, object]:
    parameters = entry.parameters
    document: dict[str, object] = {
        "id": entry.id,
        "family": entry.family,
        "architecture": entry.architecture,
        "parameters": parameters.text,
        "active_parameters": parameters.active,
        "context_length": entry.context_length,
        "license": entry.license,
        "release_date": entry.release_date,
        "modalities": list(entry.modalities),
        "user_defined": bool(entry.overlay),
    }
    if whole:
        document["gguf_repos"] = list(entry.gguf_repos)
        document["published_files"] = [
            {"file": file.file, "quant": file.quant, "bytes": file.bytes, "source": file.source}
            for file in entry.files
        ]
        document["notes"] = list(entry.notes)
        document["sources"] = list(entry.sources)
    return document
