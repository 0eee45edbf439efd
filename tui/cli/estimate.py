"""``llmfit estimate``: one configuration judged in full; many at once with --jsonl."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import MIB
from llmfit.tui.cli import output
from llmfit.tui.cli.documents import estimate_document
from llmfit.tui.cli.settings import flag, request_from
from llmfit.tui.session import MachineCache, ModelChoice, model_choice, with_projector

MAX_LINE_BYTES = 16 * MIB
"""A spec object with every tensor of the largest model takes less than one."""


def run(parsed: argparse.Namespace) -> int:
    if parsed.jsonl:
        return _run_lines(vars(parsed))
    machines = MachineCache()
    if parsed.goal is not None:
        return _run_goal(parsed, machines)
    judgement = judge_from(vars(parsed), machines)
    if parsed.json:
        output.print_json(estimate_document(judgement, explained=parsed.explain))
        return 0
    from llmfit.tui.cli.render import judgement_lines

    output.print_lines(list(judgement_lines(judgement, explained=parsed.explain)))
    output.print_notes(machines.notes)
    return 0


def _run_goal(parsed: argparse.Namespace, machines: MachineCache) -> int:
    """The same answer for the configuration that suits the goal best, and why it was chosen."""
    if parsed.json:
        output.print_json(_goal_document(vars(parsed), machines, parsed.explain))
        return 0
    from llmfit.tui.cli.choices import choice_lines
    from llmfit.tui.cli.render import judgement_lines
    from llmfit.tui.goal_choice import choose_for_goal

    found = choose_for_goal(vars(parsed), machines)
    judgement = found.judgement
    if judgement.fits:  # the first reason is the placement's, which the choices tell
        judgement = replace(judgement, reasons=judgement.reasons[1:])
    lines = list(judgement_lines(judgement, explained=parsed.explain))
    command = [lines.pop(), lines.pop()] if judgement.shell_line is not None else []
    output.print_lines([*lines, "", *choice_lines(found), *reversed(command)])
    output.print_notes(machines.notes)
    return 0


def _goal_document(
    values: Mapping[str, object], machines: MachineCache, explained: bool
) -> Mapping[str, object]:
    from llmfit.tui.cli.choices import choices_document
    from llmfit.tui.goal_choice import choose_for_goal

    found = choose_for_goal(values, machines)
    return estimate_document(found.judgement, explained=explained) | choices_document(found)


def judge_from(values: Mapping[str, object], machines: MachineCache) -> Judgement:
    """One judgement from parsed options or from a JSON line: the same names."""
    request = with_projector(request_from(values))
    known = machines.get(values)
    choice: ModelChoice = model_choice(values)
    model = choice.best_for(known.machine, request)
    return judge(model, known.machine, request, variants=choice.build, speeds=known.speeds)


def _run_lines(options: Mapping[str, object]) -> int:
    """One JSON object a line in, one estimate or error a line out, in order; a bad line stops nothing.

    Options of the command line hold for every line that does not say otherwise.
    """
    machines = MachineCache()
    defaults = {key: value for key, value in options.items() if key in KNOWN_KEYS and value is not None}
    for line in _lines():
        output.print_json(_answer(line, defaults, machines))
        output.flush()
    output.print_notes(machines.notes)
    return 0


def _answer(line: bytes, defaults: Mapping[str, object], machines: MachineCache) -> Mapping[str, object]:
    try:
        values = {**defaults, **_parse(line)}
        explained = flag("explain", values.get("explain")) or False
        if values.get("goal") is not None:
            return _goal_document(values, machines, explained)
        return estimate_document(judge_from(values, machines), explained=explained)
    except LlmfitError as error:
        return output.error_document(error)
    except OSError as error:
        what = str(error.filename) if error.filename else "line"
        return output.error_document(LlmfitError(what, (error.strerror or str(error)).lower()))
    except RecursionError:
        return output.error_document(UsageError("line", "nested too deeply"))
    except Exception as error:  # noqa: BLE001 a bug of ours in one line must not cost the others
        return output.error_document(output.internal_error(error))


def _lines() -> Iterator[bytes]:
    """The lines of stdin that are not blank; of one that is too long only the beginning, which is no JSON."""
    stream = sys.stdin.buffer
    while line := stream.readline(MAX_LINE_BYTES):
        piece = line
        while len(piece) == MAX_LINE_BYTES and not piece.endswith(b"\n"):
            piece = stream.readline(MAX_LINE_BYTES)
        if line.strip():
            yield line


def _parse(line: bytes) -> dict[str, object]:
    try:
        values = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UsageError("line", "not a JSON object", "Write one object a line.") from None
    if not isinstance(values, dict):
        raise UsageError("line", "not a JSON object", "Write one object a line.")
    unknown = sorted(set(values) - KNOWN_KEYS)
    if unknown:
        raise UsageError(f"key {unknown[0]!r}", "unknown", f"Known: {', '.join(sorted(KNOWN_KEYS))}.")
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_MODEL_KEYS = ("model", "quant", "spec")
_MACHINE_KEYS = ("gpu", "ram", "ram_bandwidth", "vram_free", "machine")
_SETTING_KEYS = (
    "context", "cache_type_k", "cache_type_v", "flash_attn", "ubatch", "batch", "parallel", "kv_unified",
    "swa_full", "gpu_layers", "n_cpu_moe", "cpu_moe", "override_tensor", "tensor_split", "split_mode",
    "no_kv_offload", "no_op_offload", "no_mmap", "spec_type", "mmproj", "outputs", "depth",
    "prompt",
)  # fmt: skip
KNOWN_KEYS = frozenset((*_MODEL_KEYS, *_MACHINE_KEYS, *_SETTING_KEYS, "explain", "goal"))
