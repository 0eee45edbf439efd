"""Claims from a file: its rows turned into the names and values of the options of ``llmfit check``.

``{"spec": {…}, "claims": [{"model", "quant", "gpu", "vram_gb", …}]}``; docs/check.md lists every key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.text import clean_text, printable
from llmfit.advisor.units import MIB
from llmfit.tui.cli.estimate import KNOWN_KEYS

MAX_FILE_BYTES = 4 * MIB
MAX_CLAIMS = 1000
MAX_TEXT_CHARACTERS = 1000
_LARGEST = 1e9
_NUMBERS = {
    "vram_gb": "claim_vram",
    "weights_gb": "claim_weights",
    "kv_gb": "claim_kv",
    "tok_s": "claim_tps",
    "usd_per_mtok": "claim_usd_per_million",
    "bandwidth_ratio": "claim_bandwidth_ratio",
    "watts": "watts",
    "usd_per_kwh": "usd_per_kwh",
}
"""Key of a row → name of the option that says the same."""
_TEXTS = ("id", "source", "claim", "verdict", "why", "than", "cache_type")
_OWN_KEYS = frozenset((*_NUMBERS, *_TEXTS, "ram_gb", "negated"))
ROW_KEYS = _OWN_KEYS | (KNOWN_KEYS - {"explain", "goal", "depth", "prompt"}) | {"depth"}
_FILE_KEYS = frozenset(("spec", "claims", "note"))
Values = dict[str, object]


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One row: its name and stated verdict, if any, and its values under the names of the options, or why it
    has none."""

    name: str
    stated: str | None
    values: Values
    error: LlmfitError | None = None


def read_claims(path: Path) -> list[ClaimRow]:
    """The rows of a file, in order; a wrong row holds its error. Raises UsageError for a wrong file."""
    what = f"--claims {printable(str(path), 200)}"
    document = _document(path, what)
    if isinstance(document, list):
        document = {"claims": document}
    if not isinstance(document, dict):
        raise UsageError(what, "not an object with a list of claims", "See docs/check.md.")
    unknown = sorted(set(document) - _FILE_KEYS)
    if unknown:
        hint = f"Known: {', '.join(sorted(_FILE_KEYS))}."
        raise UsageError(what, f"unknown key {printable(unknown[0], 60)!r}", hint)
    rows = document.get("claims")
    if not isinstance(rows, list) or not rows:
        raise UsageError(what, "no list of claims", 'Write {"claims": [{"model": …}]}.')
    if len(rows) > MAX_CLAIMS:
        raise UsageError(what, f"{len(rows)} claims", f"At most {MAX_CLAIMS} are read.")
    spec = document.get("spec")
    if spec is not None and not isinstance(spec, dict):
        raise UsageError(what, "spec: not an object", "docs/catalogue.md lists the fields.")
    return list(_rows(rows, spec))


def _rows(rows: list[object], spec: Mapping[str, object] | None) -> Iterator[ClaimRow]:
    for number, row in enumerate(rows, 1):
        name, stated = f"claim {number}", None
        try:
            if not isinstance(row, dict):
                raise UsageError(name, "not an object", "Write an object for each claim.")
            shown = row.get("id")
            name = clean_text(shown, 60) or name if isinstance(shown, str) else name
            said = row.get("verdict")
            stated = clean_text(said, 20) if isinstance(said, str) else None
            yield ClaimRow(name, stated, _values(row, spec))
        except LlmfitError as error:
            yield ClaimRow(name, stated, {}, error)


def _values(row: Mapping[str, object], spec: Mapping[str, object] | None) -> Values:
    """A row under the names of the options. Raises UsageError for a key or value that is none."""
    unknown = sorted(set(row) - ROW_KEYS)
    if unknown:
        shown = printable(str(unknown[0]), 60)
        raise UsageError(f"key {shown!r}", "unknown", f"Known: {', '.join(sorted(ROW_KEYS))}.")
    values: Values = {key: value for key, value in row.items() if key in KNOWN_KEYS and value is not None}
    for key in _TEXTS:
        if row.get(key) is not None and not isinstance(row[key], str):
            raise UsageError(f"{key} {printable(repr(row[key]), 60)}", "not a text")
    for key, name in _NUMBERS.items():
        if row.get(key) is not None:
            values[name] = _number(key, row[key])
    if row.get("ram_gb") is not None:
        # RAM is sold in GiB under the name GB
        values["ram"] = f"{_number('ram_gb', row['ram_gb']):f}GiB"
    negated = row.get("negated")
    if negated is not None and not isinstance(negated, bool):
        raise UsageError(f"negated {printable(repr(negated), 60)}", "must be true or false")
    values["claim_does_not_fit"] = bool(negated)
    for key in ("cache_type_k", "cache_type_v"):
        if row.get("cache_type") is not None:
            values.setdefault(key, row["cache_type"])
    values["than"] = row.get("than")
    values["text"] = clean_text(str(row.get("claim") or ""), MAX_TEXT_CHARACTERS)
    return _with_spec(values, spec)


def _with_spec(values: Values, spec: Mapping[str, object] | None) -> Values:
    """The model that exists on paper stands in the file: rows name it by its id or name."""
    named = values.get("model")
    if spec is None or "spec" in values or not isinstance(named, str):
        return values
    names = {str(spec[key]).lower() for key in ("id", "name") if key in spec}
    if named.lower() in names:
        del values["model"]
        values["spec"] = spec
    return values


def _number(key: str, value: object) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    number = float(value) if good and abs(value) <= _LARGEST else math.nan  # type: ignore[arg-type]
    if not 0 < number <= _LARGEST:
        raise UsageError(f"{key} {printable(repr(value), 60)}", "not a positive number")
    return number


def _document(path: Path, what: str) -> object:
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file name"
        raise UsageError(what, f"not readable: {why.lower()}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(what, f"larger than {MAX_FILE_BYTES // MIB} MiB")
    try:
        return json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UsageError(what, "not JSON", "See docs/check.md.") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


__all__ = ["MAX_CLAIMS", "MAX_FILE_BYTES", "ROW_KEYS", "ClaimRow", "read_claims"]
