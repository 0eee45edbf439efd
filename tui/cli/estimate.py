"""``llmfit estimate``: one configuration judged in full; many at once with --jsonl."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.search import judge
from llmfit.tui.cli.documents import estimate_document
from llmfit.tui.cli.options import request_from
from llmfit.tui.cli.output import error_document, print_json, print_lines
from llmfit.tui.cli.render import judgement_lines
from llmfit.tui.session import MachineCache, ModelChoice, machine_from, model_choice


def run(parsed: argparse.Namespace) -> int:
    if parsed.jsonl:
        return _run_lines()
    judgement = judge_from(vars(parsed))
    if parsed.json:
        print_json(estimate_document(judgement))
    else:
        print_lines(list(judgement_lines(judgement)))
    return 0


def judge_from(
    values: Mapping[str, object], machine_of: Callable[[Mapping[str, object]], Machine] = machine_from
) -> Judgement:
    """One judgement from parsed options or from a JSON line: the same names."""
    request = request_from(dict(values))
    machine = machine_of(values)
    choice: ModelChoice = model_choice(values)
    return judge(choice.best_for(machine, request), machine, request, variants=choice.variants)


def _run_lines() -> int:
    """One JSON object a line in, one estimate or error a line out, in order; a bad line stops nothing."""
    machines = MachineCache()
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            print_json(estimate_document(judge_from(_parse(line), machines.get)))
        except LlmfitError as error:
            print_json(error_document(error))
        sys.stdout.flush()
    return 0


def _parse(line: str) -> dict[str, object]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("line", "not a JSON object", "Write one object a line.") from None
    if not isinstance(values, dict):
        raise UsageError("line", "not a JSON object", "Write one object a line.")
    unknown = sorted(set(values) - KNOWN_KEYS)
    if unknown:
        raise UsageError(f"key {unknown[0]!r}", "unknown", f"Known: {', '.join(sorted(KNOWN_KEYS))}.")
    return values


_MODEL_KEYS = ("model", "quant", "spec")
_MACHINE_KEYS = ("gpu", "ram", "ram_bandwidth", "vram_free", "machine")
_SETTING_KEYS = (
    "context", "cache_type_k", "cache_type_v", "flash_attn", "ubatch", "batch", "parallel", "kv_unified",
    "swa_full", "gpu_layers", "n_cpu_moe", "cpu_moe", "override_tensor", "tensor_split", "split_mode",
    "no_kv_offload", "no_op_offload", "no_mmap", "spec_type", "mmproj", "outputs", "depth",
)  # fmt: skip
KNOWN_KEYS = frozenset((*_MODEL_KEYS, *_MACHINE_KEYS, *_SETTING_KEYS))
