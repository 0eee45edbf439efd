"""``catalog add``: a row of the user's own out of a GGUF header."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.model.gguf import GgufHeader
from llmfit.advisor.model.shape import shape_from_header
from llmfit.advisor.model.tensor_names import active_parameters
from llmfit.advisor.text import printable
from llmfit.catalog import loader
from llmfit.catalog.build import quantization_name
from llmfit.catalog.overlay import overlay, overlay_folder
from llmfit.catalog.tensor_rows import fold

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_QUANT = re.compile(
    r"[-._](?:UD-|QAT-)?(?:I?Q\d(?:_[A-Z\d]+)*|TQ\d_\d|B?F16|F32|MXFP4(?:_MOE)?)$", re.IGNORECASE
)
_NOT_ID = re.compile(r"[^\w.+-]+", re.ASCII)


def suggested_id(file_name: str) -> str:
    """An id out of a file's name: without folder, ending, part number and quantisation."""
    stem = Path(file_name).name.removesuffix(".gguf")
    stem = _QUANT.sub("", _SHARD.sub("", stem))
    return _NOT_ID.sub("-", stem).strip("-._+")[:150] or "model"


def add_from_header(header: GgufHeader, model_id: str, source: str, *, force: bool = False) -> Path:
    """Write a row for the model and return the file it stands in, one file a model.

    The row keeps the numbers of the header and the folded tensor list, so that a model works whose
    architecture has no layout here. ``source`` says where the header was read; a model of ``hf:OWNER/REPO``
    is also started from there. The file appears whole or not at all. Raises UsageError for an id that is
    known already (unless ``force``) or is no id, NotModelledError for an architecture whose memory rules are
    not known, LlmfitError where the folder cannot be written.
    """
    known = model_id in overlay().models or model_id in loader.bundled_lines(loader.MODELS)
    if known and not force:
        hint = "Choose another with --id, or replace it with --force."
        raise UsageError(f"model {printable(model_id, 80)!r}", "already in the catalogue", hint)
    line = json.dumps(_row(header, model_id, source), ensure_ascii=False, separators=(",", ":"))
    _check(line, model_id)
    path = overlay_folder() / f"models-{model_id.replace('/', '__')}.jsonl"
    try:
        _write_whole(path, line + "\n")
    except OSError as error:
        why = f"not written: {error.strerror or type(error).__name__}"
        raise LlmfitError(printable(str(path)), why) from None
    overlay.cache_clear()
    return path


def _row(header: GgufHeader, model_id: str, source: str) -> Mapping[str, object]:
    shape = shape_from_header(header.metadata, header.tensors)
    return {
        "id": model_id,
        "architecture": shape.architecture,
        "parameters": {
            "text": sum(tensor.n_elements for tensor in header.tensors),
            "active": active_parameters(shape, header.tensors),
        },
        "context_length": shape.context_train_tokens,
        "gguf_repos": [source.removeprefix("hf:").split(":")[0]] if source.startswith("hf:") else [],
        "sources": [printable(source, 500)],
        "header": {
            "metadata": _kept_metadata(header.metadata, shape.architecture),
            "tensors": fold(header.tensors),
            "file_bytes": header.file_bytes,
            "quantization": quantization_name(header.metadata, header.tensors),
        },
    }


def _kept_metadata(metadata: Mapping[str, object], architecture: str) -> Mapping[str, object]:
    """What decides memory: the numbers of the architecture. No vocabulary, no chat template."""
    kept: dict[str, object] = {"general.architecture": architecture}
    if isinstance(metadata.get("general.file_type"), int):
        kept["general.file_type"] = metadata["general.file_type"]
    for key, value in metadata.items():
        if not key.startswith(f"{architecture}."):
            continue
        if isinstance(value, tuple):
            kept[key] = list(value)
        elif isinstance(value, bool | int | float) or (isinstance(value, str) and value.isprintable()):
            kept[key] = value
    return kept


def _check(line: str, model_id: str) -> None:
    """A row that could not be read back is not written."""
    from pydantic import ValidationError

    from llmfit.catalog.schema import MODEL_ROW, first_problem

    try:
        MODEL_ROW.validate_json(line)
    except ValidationError as error:
        what = f"model {printable(model_id, 80)!r}"
        raise UsageError(what, f"no row of the catalogue can hold it: {first_problem(error)}") from None


def _write_whole(path: Path, text: str) -> None:
    """Write beside the place and rename, so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".adding-", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
