"""Which model was measured, and what the formula says of it: where the catalogue meets the measurements."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.measurements.calibrate import StepOf
from llmfit.advisor.measurements.llama_bench import BenchRow, KnownModel, NotUnderstoodError
from llmfit.advisor.measurements.steps import StepMaker
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.speed.calibration.measurement import Measurement
from llmfit.advisor.speed.terms import StepTime
from llmfit.catalog.build import build_model
from llmfit.catalog.models import CatalogModel, find_model, list_models
from llmfit.catalog.search import name_key, tail

SAME_PARAMETERS_SHARE = 0.005
"""llama-bench and the catalogue both count what lies in the file."""
SAME_MIX_SHARE = 0.01
"""A file this near in size to what llama-quantize would write is read like it."""
ANOTHER_MIX_SHARE = 0.1
"""One that is further off is another mix of the same name: nothing is known of it without the file."""
_SIZES = {" - Small": "_S", " - Medium": "_M", " - Large": "_L"}
_LABELS = {"IQ3_S mix": "IQ3_M", "MXFP4 MoE": "MXFP4_MOE", "all F32": "F32", "Q2_K_M": "Q2_K"}
"""File types that llama.cpp calls differently (llama_model_ftype_name, src/llama-model-loader.cpp)."""


def steps_on(machine: Machine) -> StepOf:
    """What the formula says of a measurement on ``machine``, uncalibrated, or why it says nothing."""
    maker = StepMaker(machine)

    def step_of(measurement: Measurement) -> StepTime | str:
        try:
            model = _model_of(
                measurement.model_id,
                measurement.quantization,
                measurement.file_bytes,
                measurement.model_path,
            )
            if model is None:
                return "its model is not known here any more"
            return maker.step(measurement, model)
        except LlmfitError as error:
            return f"{error.what}: {error.why}"

    return step_of


def known_model(row: BenchRow) -> KnownModel:
    """What a row of llama-bench measured: its file, or the catalogue's row. Raises NotUnderstoodError."""
    size_bytes = row.whole("model_size", 0) or 0
    model = _file_model(row.model_path)
    if model is not None and _near(_weights_bytes(model), size_bytes, SAME_MIX_SHARE):
        return _known(model, _catalogue_id(row.model_path) or model.id, str(Path(row.model_path).absolute()))
    model = _catalogue_model(row, size_bytes)
    return _known(model, model.id, None)


def _known(model: Model, model_id: str, path: str | None) -> KnownModel:
    return KnownModel(
        id=model_id,
        quantization=model.quantization,
        file_bytes=model.file_bytes,
        family=model.shape.architecture,
        n_layer_all=model.shape.n_layer_all,
        path=path,
    )


@lru_cache(maxsize=64)
def _model_of(model_id: str, quantization: str, file_bytes: int, path: str | None) -> Model | None:
    """The model that was measured: the catalogue's where the size is that of its mix, else the file."""
    mixed = _built(model_id, quantization)
    if mixed is not None and _near(mixed.file_bytes, file_bytes, SAME_MIX_SHARE):
        return mixed
    model = _file_model(path) if path else None
    if model is not None and model.file_bytes == file_bytes:
        return model
    return mixed if mixed is not None and _near(mixed.file_bytes, file_bytes, ANOTHER_MIX_SHARE) else None


@lru_cache(maxsize=64)
def _file_model(path: str) -> Model | None:
    """``None`` for what cannot be read as a model: it may have been measured on another disk."""
    from llmfit.catalog.build import model_from_header
    from llmfit.catalog.sources import read_model_files

    if not path or "\0" in path:
        return None
    try:
        files = read_model_files(Path(path))
        first = files.paths[0]
        return model_from_header(files.header, first.name.removesuffix(".gguf"), ("-m", str(first)))
    except (LlmfitError, OSError):
        return None


def _catalogue_id(path: str) -> str | None:
    """The catalogue's row that a file is, by its header."""
    from llmfit.catalog.local.header_summary import summarize
    from llmfit.catalog.local.identify import identify
    from llmfit.catalog.sources import read_model_files

    return identify(summarize(read_model_files(Path(path)).header)).model_id


def _catalogue_model(row: BenchRow, size_bytes: int) -> Model:
    """By llama.cpp's description (``qwen3 8B Q4_K - Medium``) and sizes. Raises NotUnderstoodError."""
    label, n_parameters = row.text("model_type"), row.whole("model_n_params", 0) or 0
    architecture, _, rest = label.partition(" ")
    quantization = file_type_of_label(rest.partition(" ")[2])
    if quantization is None or not n_parameters:
        raise NotUnderstoodError(
            f"no such file here, and {label or 'no type'} does not say which model it is"
        )
    near = [
        entry
        for entry in list_models()
        if entry.architecture == architecture
        and _near(entry.parameters.text, n_parameters, SAME_PARAMETERS_SHARE)
    ]
    if not near:
        raise NotUnderstoodError(f"no such file here, and no {label} of this size is in the catalogue")
    entry = _called(near, row)
    model = _built(entry.id, quantization)
    if model is None:
        raise NotUnderstoodError(f"{entry.id} {quantization} is not modelled")
    if size_bytes and not _near(_weights_bytes(model), size_bytes, ANOTHER_MIX_SHARE):
        raise NotUnderstoodError(f"no such file here, and it is another mix than {entry.id} {quantization}")
    return model


def file_type_of_label(text: str) -> str | None:
    """``Q4_K_M`` of llama.cpp's ``Q4_K - Medium``; ``None`` of a name that no file type has."""
    text = re.sub(r" - [\d.]+ bpw.*$", "", text.removeprefix("(guessed) "))
    for words, letters in _SIZES.items():
        text = text.replace(words, letters)
    name = _LABELS.get(text, text)
    return name if name in FILE_TYPES else None


def _called(entries: list[CatalogModel], row: BenchRow) -> CatalogModel:
    """Of models of one shape the one with the longest name that is in the file's; they are equally fast."""
    file = name_key(row.name)
    named = [entry for entry in entries if name_key(tail(entry.id)) in file]
    return max(named, key=lambda entry: len(entry.id), default=entries[0])


@lru_cache(maxsize=64)
def _built(model_id: str, quantization: str) -> Model | None:
    """``None`` where the catalogue has no model of exactly this id, or it is not modelled."""
    try:
        entry = find_model(model_id)
        return build_model(entry, quantization) if entry.id == model_id else None
    except LlmfitError:
        return None


def _weights_bytes(model: Model) -> int:
    return sum(tensor.n_bytes for tensor in model.tensors)


def _near(one: int, other: int, share: float) -> bool:
    return abs(one - other) <= share * other
