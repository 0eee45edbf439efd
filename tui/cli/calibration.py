"""``llmfit calibration``: the speeds measured here, which of them are used, and what they changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.errors import UsageError
from llmfit.advisor.files import read_start
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.measurements.calibrate import Judged, fit_judged, judge_measurements, subject_of
from llmfit.advisor.measurements.llama_bench import (
    MAX_ROWS,
    BenchOutput,
    BenchRow,
    NotUnderstoodError,
    measurement_of,
    read_output,
)
from llmfit.advisor.measurements.record import SPEED_SETTINGS
from llmfit.advisor.measurements.store import Kept, MeasurementStore
from llmfit.advisor.speed.calibration.factors import PREFILL, Knob
from llmfit.advisor.speed.calibration.fit import Calibration, apply
from llmfit.advisor.speed.calibration.measurement import Measurement, machine_key
from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB
from llmfit.catalog.search import tail
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.cli.render import table, two_figures, wrapped
from llmfit.tui.measured_models import known_model, steps_on
from llmfit.tui.session import machine_from

SCHEMA = "llmfit.calibration/1"
DEFAULT_ACTION = "list"
MAX_FILE_BYTES = 64 * MIB
_HINT = "Write one with: llama-bench -m MODEL.gguf -o json > FILE."
_SCOPES = {
    "gpu_memory": "reading the GPU's memory",
    "experts": "experts, beyond that",
    "kv_cache": "the KV cache, beyond that",
    "file_type": "weights in {name}, beyond that",
    "launch": "starting kernels",
    "family": "layers of {name}, beyond that",
    "system_memory": "what the CPU does",
    "system_file_type": "weights in {name} in RAM, beyond that",
    "system_launch": "handing layers to the CPU",
    "prefill": "prompts on the GPU",
    "prefill_experts": "experts of prompts, beyond that",
    "prefill_attention": "attention of prompts, beyond that",
    "prefill_file_type": "prompts with weights in {name}, beyond that",
    "prefill_family": "prompts of {name}, beyond that",
    "prefill_system": "prompts on the CPU",
    "prefill_pcie": "moving weights to the GPU for a prompt",
}
MAX_NAMED = 6
"""Of those that one sentence is about."""
RESIDUALS_OF = ("on_gpus", "with_weights_in_ram", "prefill")
NOTICED_SHARE = 0.005
"""A factor nearer to 1 says nothing."""


def run(parsed: argparse.Namespace) -> int:
    return {"list": _list, "add": _add, "forget": _forget}[parsed.action or DEFAULT_ACTION](parsed)


# ---------------------------------------------------------------- the list


def _list(parsed: argparse.Namespace) -> int:
    machine = machine_from(vars(parsed))
    store = MeasurementStore()
    found = store.read(None if parsed.all else machine_key(machine))
    judged = judge_measurements(machine, found.kept, steps_on(machine))
    calibration = fit_judged(judged)
    notes = [f"{found.n_broken} measurements in {store.path} cannot be read"] * bool(found.n_broken)
    if parsed.json:
        print_json(_document(machine, store, judged, calibration, notes))
        return 0
    print_lines(list(_lines(judged, calibration, parsed.all)))
    print_notes(notes)
    return 0


def _lines(judged: Sequence[Judged], calibration: Calibration | None, of_all: bool) -> Iterator[str]:
    if not judged:
        yield "Nothing has been measured" + ("." if of_all else " on this machine.")
        yield from wrapped("Add what llama-bench printed: llmfit calibration add FILE. " + _HINT)
        return
    head = ["id", "model", "file", "test", "tok/s", "formula", "calibrated", ""]
    yield from table([head, *(_row(one, calibration) for one in judged)], right=(0, 4, 5, 6))
    yield from _not_used((str(one.kept.id), one.why_not) for one in judged)
    yield ""
    if calibration is None:
        yield "None of them is used: estimates come from the formula alone."
        return
    yield from wrapped(_summary(calibration))
    yield from (f"  {text}" for _, _, text in _factors(calibration))


def _not_used(reasons: Iterable[tuple[str, str | None]], how: str = "used") -> Iterator[str]:
    """A sentence for each reason, with what it is the reason of; those without one are left out."""
    names: dict[str, list[str]] = {}
    for name, why in reasons:
        if why is not None:
            names.setdefault(why, []).append(name)
    for why, mine in names.items():
        some = ", ".join(mine[:MAX_NAMED]) + ", …" * (len(mine) > MAX_NAMED)
        who = f"{some} is" if len(mine) == 1 else f"{len(mine)} ({some}) are"
        yield from wrapped(f"{printable(who)} not {how}: {printable(why)}.")


def _summary(calibration: Calibration) -> str:
    count = f"{calibration.n_used} configuration{'s' * (calibration.n_used != 1)}"
    return f"Calibrated on {count}. Against the formula, on this machine:"


def _row(one: Judged, calibration: Calibration | None) -> list[str]:
    measurement = one.measurement
    formula, calibrated = _predicted(one, calibration)
    return [
        str(one.kept.id),
        printable(tail(measurement.model_id), 32),
        printable(measurement.quantization, 12),
        _test(measurement),
        two_figures(measurement.tok_s),
        "?" if formula is None else two_figures(formula),
        "?" if calibrated is None else two_figures(calibrated),
        "✓ used" if one.why_not is None else "✗ not used",
    ]


def _test(measurement: Measurement) -> str:
    depth = f" at {measurement.depth_tokens}" if measurement.depth_tokens else ""
    if measurement.kind == PREFILL:
        return f"prefill of {measurement.prompt_tokens}{depth}"
    return f"decode{depth}"


def _predicted(one: Judged, calibration: Calibration | None) -> tuple[float | None, float | None]:
    """tok/s by the formula, and with the calibration."""
    if one.step is None:
        return None, None
    n_tokens = one.measurement.prompt_tokens if one.measurement.kind == PREFILL else 1
    formula = n_tokens / one.step.total_s
    if calibration is None:
        return formula, None
    return formula, n_tokens / apply(one.step, calibration, subject_of(one.measurement)).total_s


def _factors(calibration: Calibration) -> Iterator[tuple[Knob, float, str]]:
    """Those that say something, in words."""
    for knob in calibration.knobs:
        factor = calibration.factor(knob)
        if abs(factor - 1) < NOTICED_SHARE:
            continue
        what = _SCOPES[knob[0]].format(name=printable(knob[1], 32))
        change = f"{abs(factor - 1):.0%} {'longer' if factor > 1 else 'less'}"
        yield knob, factor, f"{what}: takes {change}"


def _document(
    machine: Machine,
    store: MeasurementStore,
    judged: Sequence[Judged],
    calibration: Calibration | None,
    notes: Sequence[str],
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "machine_key": machine_key(machine),
        "path": str(store.path),
        "measurements": [_measurement_document(one, calibration) for one in judged],
        "calibration": None if calibration is None else _calibration_document(calibration),
        "notes": list(notes),
    }


def _calibration_document(calibration: Calibration) -> dict[str, object]:
    return {
        "configurations_used": calibration.n_used,
        "effective_parameters": calibration.n_effective,
        "residual_shares": dict(zip(RESIDUALS_OF, calibration.residual_shares, strict=True)),
        "factors": [
            {"scope": knob[0], "of": knob[1] or None, "time_factor": factor, "text": text}
            for knob, factor, text in _factors(calibration)
        ],
    }


def _measurement_document(one: Judged, calibration: Calibration | None) -> dict[str, object]:
    measurement = one.measurement
    formula, calibrated = _predicted(one, calibration)
    settings = {name: getattr(measurement.settings, name) for name in SPEED_SETTINGS}
    return {
        "id": one.kept.id,
        "model": measurement.model_id,
        "quantization": measurement.quantization,
        "file_bytes": measurement.file_bytes,
        "path": measurement.model_path,
        "kind": measurement.kind,
        "depth": measurement.depth_tokens,
        "prompt_tokens": measurement.prompt_tokens or None,
        "tok_s": measurement.tok_s,
        "spread_share": measurement.spread_share,
        "repeats": measurement.n_repeats,
        "backend": measurement.backend,
        "build": measurement.build,
        "measured_at": measurement.measured_at,
        "source": measurement.source,
        "machine_key": measurement.machine_key,
        "settings": {
            name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
        },
        "formula_tok_s": formula,
        "calibrated_tok_s": calibrated,
        "used": one.why_not is None,
        "why_not_used": one.why_not,
    }


# ---------------------------------------------------------------- adding


@dataclass(frozen=True, slots=True)
class _Refused:
    number: int
    name: str
    why: str


def _add(parsed: argparse.Namespace) -> int:
    """0 where at least one row is kept now, 1 where none could be."""
    name = "standard input" if parsed.file == "-" else printable(parsed.file, 200)
    machine = machine_from(vars(parsed))
    if machine.described_by is not None:
        why = "measurements are of this machine, not of one that is described"
        raise UsageError("calibration add", why, "Leave --gpu and --machine away.")
    output = _output(parsed.file, name)
    measurements, refused = _understood(output.rows, machine)
    store = MeasurementStore()
    added = store.add(measurements) if measurements else None
    judged = _judged_of(machine, store, added.ids) if added and added.ids else []
    n_known = added.n_known if added else 0
    notes = [added.note] if added and added.note else []
    if output.n_broken:
        notes.append(f"{name}: {_rows(output.n_broken)} could not be read: broken, or cut off")
    if parsed.json:
        print_json(_added_document(store, judged, n_known, refused, notes))
    else:
        print_lines(list(_added_lines(store, judged, n_known, refused)))
        print_notes(notes)
    return 0 if measurements else 1


def _judged_of(machine: Machine, store: MeasurementStore, ids: Sequence[int]) -> list[Judged]:
    """Those of these numbers, beside all others of the machine: runs of the same may disagree."""
    mine = set(ids)
    everything = judge_measurements(machine, store.all(machine_key(machine)), steps_on(machine))
    return [one for one in everything if one.kept.id in mine]


def _output(file: str, name: str) -> BenchOutput:
    """Raises UsageError where there is no row in it, or too many."""
    output = read_output(_text(file, name))
    if output.has_more:
        raise UsageError(name, f"more than {MAX_ROWS} rows", "Add it in several parts; nothing is kept yet.")
    if not output.rows:
        broken = f"{_rows(output.n_broken)} could not be read: broken, or cut off"
        raise UsageError(name, broken if output.n_broken else "no output of llama-bench in it", _HINT)
    return output


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _understood(rows: Iterable[BenchRow], machine: Machine) -> tuple[list[Measurement], list[_Refused]]:
    measurements, refused = [], []
    for row in rows:
        try:
            measurements.append(measurement_of(row, known_model(row), machine))
        except NotUnderstoodError as error:
            refused.append(_Refused(row.number, row.name, str(error)))
    return measurements, refused


def _text(file: str, name: str) -> str:
    """Raises UsageError for a file that cannot be read."""
    if file == "-" and sys.stdin is None:
        raise UsageError(name, "closed", _HINT)
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            content = read_start(Path(file).expanduser(), MAX_FILE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        raise UsageError(name, why.lower(), _HINT) from None
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(name, f"larger than {MAX_FILE_BYTES // MIB} MiB", _HINT)
    # A redirection in PowerShell writes UTF-16.
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _added_lines(
    store: MeasurementStore, judged: Sequence[Judged], n_known: int, refused: Sequence[_Refused]
) -> Iterator[str]:
    n_used = sum(one.why_not is None for one in judged)
    known = f", {n_known} more had been kept before" if n_known else ""
    yield f"Kept {len(judged)} in {printable(str(store.path))}{known}; {n_used} of them will be used."
    yield from _not_used((_named(one), one.why_not) for one in judged)
    yield from _not_used(((f"row {row.number}: {row.name}", row.why) for row in refused), "kept")


def _named(one: Judged) -> str:
    return f"{one.kept.id}: {tail(one.measurement.model_id)} {_test(one.measurement)}"


def _added_document(
    store: MeasurementStore,
    judged: Sequence[Judged],
    n_known: int,
    refused: Sequence[_Refused],
    notes: Sequence[str],
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "path": str(store.path),
        "added": [_measurement_document(one, None) for one in judged],
        "known_before": n_known,
        "not_kept": [{"row": row.number, "name": row.name, "why": row.why} for row in refused],
        "notes": list(notes),
    }


# ---------------------------------------------------------------- forgetting


def _forget(parsed: argparse.Namespace) -> int:
    """Raises UsageError for numbers that are not there, and without ``--yes`` for all."""
    store = MeasurementStore()
    kept = store.all()
    if parsed.forget_all:
        _check_all(parsed, kept)
        n_forgotten = store.forget(None)
    else:
        _check_ids(parsed.ids, kept)
        n_forgotten = store.forget(parsed.ids)
    if parsed.json:
        print_json({"schema": SCHEMA, "path": str(store.path), "forgotten": n_forgotten})
    else:
        print_lines([f"Forgot {n_forgotten} measurement{'s' * (n_forgotten != 1)}."])
    return 0


def _check_all(parsed: argparse.Namespace, kept: Sequence[Kept]) -> None:
    if parsed.ids:
        raise UsageError("--all", "contradicts the numbers", "Give one of them.")
    if not parsed.yes:
        raise UsageError(
            "--all", f"deletes all {len(kept)} measurements of every machine", "Add --yes to do so."
        )


def _check_ids(ids: Sequence[int], kept: Sequence[Kept]) -> None:
    if not ids:
        raise UsageError(
            "forget", "no measurement is named", "Give numbers of llmfit calibration, or --all --yes."
        )
    there = {one.id for one in kept}
    missing = [number for number in ids if number not in there]
    if missing:
        raise UsageError(f"measurement {missing[0]}", "there is none", "See llmfit calibration --all.")
