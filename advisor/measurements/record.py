"""A Measurement as a JSON document and back, every field checked: the file is anybody's."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.factors import DECODE, PREFILL
from llmfit.advisor.speed.calibration.measurement import Measurement

MAX_DOCUMENT_CHARACTERS = 65536
MAX_TEXT_CHARACTERS = 4096
MAX_WHOLE = 2**60
MAX_REAL = sys.float_info.max
SPEED_SETTINGS = (
    "context_tokens", "devices", "cache_type_k", "cache_type_v", "flash_attn", "batch", "ubatch", "parallel",
    "kv_unified", "swa_full", "gpu_layers", "n_cpu_moe", "tensor_split", "split_mode", "override_tensor",
    "kv_offload", "op_offload", "repack",
)  # fmt: skip
"""Of a launch what is kept of a measurement: the rest moves no speed, or names files."""
_TUPLES = frozenset({"devices", "tensor_split", "override_tensor"})


def to_document(measurement: Measurement) -> str:
    """One line of JSON, the same for the same measurement."""
    document = asdict(measurement)
    document["settings"] = {name: document["settings"][name] for name in SPEED_SETTINGS}
    return json.dumps(document, sort_keys=True, allow_nan=False)


def from_document(text: str) -> Measurement:
    """Raises ValueError for what is no measurement."""
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        raise ValueError("too long")
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")
    known = {field.name: str(field.type) for field in fields(Measurement)}
    values = {name: _checked(name, kind, document) for name, kind in known.items() if name != "settings"}
    if values["kind"] not in (DECODE, PREFILL):
        raise ValueError("kind: neither decode nor prefill")
    return Measurement(settings=_settings(document.get("settings")), **values)


def _settings(document: object) -> LaunchSettings:
    if not isinstance(document, dict):
        raise ValueError("settings: not an object")
    known = {field.name: str(field.type) for field in fields(LaunchSettings) if field.name in SPEED_SETTINGS}
    values = {name: _checked(name, kind, document) for name, kind in known.items() if name in document}
    return LaunchSettings(**values)


def _checked(name: str, kind: str, document: Mapping[str, object]) -> Any:
    """The value of a field of the type that its dataclass states. Raises ValueError."""
    value = document.get(name)
    if value is None and "None" in kind:
        return None
    if name in _TUPLES:
        if not isinstance(value, list):
            raise ValueError(f"{name}: not a list")
        inner = {"devices": "int", "tensor_split": "float", "override_tensor": "str"}[name]
        return tuple(_one(name, inner, item) for item in value)
    return _one(name, kind.removesuffix(" | None"), value)


def _one(name: str, kind: str, value: object) -> str | int | float | bool:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str) and len(value) <= MAX_TEXT_CHARACTERS:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind == "int" and isinstance(value, int) and -1 <= value <= MAX_WHOLE:
            return value
        if kind == "float" and 0 <= value <= MAX_REAL:
            return float(value)
    raise ValueError(f"{name}: not what it should be")
