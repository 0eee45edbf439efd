"""Proposed command lines, as ``llmfit recommend --json`` prints them, put to llama.cpp itself.

Two questions to each: does the real llama-server understand it, and what would llama.cpp allocate on cards of
those sizes? Only ``-hf`` and ``-m`` are replaced: by a file with the model's header and a hole for data, laid
out as the catalogue has it (test_layout.py, test_quantize_dry_run.py: llama.cpp loads and writes the same).
The cards are fake: they bear the names of the machine's backend (``Vulkan0``, ``MTL0``), so that ``--device``
is taken as it stands, and reserve memory as CUDA does, which is what the estimate models for every backend.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_cpp_build import Card, LlamaCppBuild
from memoracle import Buffers, Memoracle, MemoracleError
from sparse_gguf import write_sparse_gguf

from llmfit.advisor.model.layout import LayoutOptions
from llmfit.advisor.units import MIB
from llmfit.catalog import loader
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.cli.main import main
from tests.reviewed_lists import command_line

TOLERANCE = 0.015
"""Of the estimate, a device: what llama.cpp may allocate more or less."""
DEVICE_PREFIX = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "MTL", "sycl": "SYCL"}
"""ggml/src/ggml-BACKEND: the names under which the backends register their devices."""
_ANSWER_S = 60
_PARSED = re.compile(r"failed to load model")
"""What llama-server says of a missing file, after it has taken every argument."""
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One entry of ``llmfit.recommend/1`` and the machine that it is for."""

    machine_name: str
    use: str
    machine: Document
    pick: Document

    @property
    def name(self) -> str:
        return f"{self.pick['model']['id'].split('/')[-1]} {self.pick['model']['quantization']}"

    @property
    def cards(self) -> tuple[Card, ...]:
        return tuple(
            Card(gpu["vram_total_bytes"] // MIB, gpu["vram_free_bytes"] // MIB)
            for gpu in self.machine["gpus"]
        )

    @property
    def device_prefix(self) -> str:
        backends = {gpu["backend"] for gpu in self.machine["gpus"]} or {"cuda"}
        (backend,) = backends
        return DEVICE_PREFIX[backend]

    def argv_for(self, path: Path) -> list[str]:
        """The arguments as proposed, with ``path`` for the model."""
        argv = list(self.pick["argv"][1:])
        at = next(i for i, word in enumerate(argv) if word in ("-hf", "-m"))
        argv[at : at + 2] = ["-m", str(path)]
        return argv


@dataclass(frozen=True, slots=True)
class DeviceCheck:
    """One device: estimate and llama.cpp's own figure, both without the driver's overhead."""

    name: str
    estimated: Buffers
    asked: Buffers
    overhead_bytes: int
    free_bytes: int | None

    @property
    def deviation(self) -> float:
        """llama.cpp's total over the estimated one, less 1."""
        difference = self.asked.total_bytes - self.estimated.total_bytes
        if difference == 0:
            return 0.0
        return difference / self.estimated.total_bytes if self.estimated.total_bytes else float("inf")

    @property
    def use(self) -> float:
        """What llama.cpp and the driver take, over what is free."""
        needed = self.asked.total_bytes + self.overhead_bytes
        return needed / self.free_bytes if self.free_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Checked:
    """A proposal and what llama.cpp says to it."""

    proposal: Proposal
    devices: tuple[DeviceCheck, ...]
    refusal: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        if self.refusal:
            return (self.refusal,)
        found = []
        for device in self.devices:
            if abs(device.deviation) > TOLERANCE:
                found.append(f"{device.name}: {device.deviation:+.2%} of the estimate")
            if device.use > 1:
                found.append(f"{device.name}: {device.use:.1%} of what is free")
        return tuple(found)


def proposals(machine_name: str, use: str) -> Iterator[Proposal]:
    """What ``llmfit recommend --json`` prints for a machine of ``tests.reviewed_machines``."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([*shlex.split(command_line(machine_name, use))[1:], "--json"])
    assert code == 0, printed.getvalue()
    document = json.loads(printed.getvalue())
    for pick in document["recommendations"]:
        yield Proposal(machine_name, use, document["machine"], pick)


def sparse_model(proposal: Proposal, folder: Path) -> Path:
    """The model's file without its data; made once a folder."""
    model_id, quant = proposal.pick["model"]["id"], proposal.pick["model"]["quantization"]
    path = folder / f"{model_id.replace('/', '--')}.{quant}.gguf"
    if not path.exists():
        row = loader.bundled_row(loader.ARCHITECTURES, model_id)
        assert row is not None, model_id
        metadata, options = row["metadata"], row.get("options") or {}
        assert isinstance(metadata, Mapping) and isinstance(options, Mapping)
        tensors = build_model(find_model(model_id), quant).tensors
        write_sparse_gguf(path, metadata, tensors, LayoutOptions.from_row(options).vocab_size)
    return path


def check_memory(proposal: Proposal, oracle: Memoracle, path: Path) -> Checked:
    """Device by device, and the host; ``oracle`` has the proposal's cards."""
    try:
        answer = oracle.ask(proposal.argv_for(path))
    except MemoracleError as error:
        return Checked(proposal, (), str(error))
    checks = []
    for device in proposal.pick["memory"]["devices"]:
        on_gpu = device["kind"] == "gpu"
        checks.append(
            DeviceCheck(
                name=f"GPU{device['index']}" if on_gpu else "RAM",
                estimated=Buffers(device["weights_bytes"], device["kv_cache_bytes"], device["compute_bytes"]),
                asked=answer.gpus[device["index"]] if on_gpu else answer.host,
                overhead_bytes=device["overhead_bytes"],
                free_bytes=device["free_bytes"],
            )
        )
    told = {device["index"] for device in proposal.pick["memory"]["devices"] if device["kind"] == "gpu"}
    unforeseen = [f"GPU{i}" for i, one in enumerate(answer.gpus) if one.total_bytes and i not in told]
    return Checked(proposal, tuple(checks), f"used unforeseen: {', '.join(unforeseen)}" if unforeseen else "")


def parse_refusal(
    build: LlamaCppBuild, argv: Sequence[str], cards: tuple[Card, ...], device_prefix: str = "CUDA"
) -> str:
    """What the real llama-server has against these arguments; empty where it takes them all.

    The model must be a file that is not there: llama-server gets as far as to look for it.
    """
    done = subprocess.run(
        [str(build.server), *argv, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=_ANSWER_S,
        env=build.environment(cards, device_prefix),
        check=False,
    )
    said = done.stdout + done.stderr
    if _PARSED.search(said):
        return ""
    return next((line for line in said.splitlines() if "error" in line), said[-300:] or "no answer")
