"""Machine ⇄ JSON (``llmfit.hardware/1``): what ``llmfit hardware --json`` writes and ``--machine FILE``
reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import (
    Cpu,
    Disk,
    Gpu,
    LlamaServer,
    Machine,
    Memory,
    Partition,
    VramProcess,
)
from llmfit.advisor.text import clean_text

SCHEMA = "llmfit.hardware/1"
MAX_FILE_BYTES = 4 * 2**20
_REASONS = {
    "int_type": "not a whole number",
    "float_type": "not a number",
    "bool_type": "not true or false",
    "string_type": "not text",
    "tuple_type": "not a list",
    "dict_type": "not an object",
    "model_type": "not an object with fields",
    "missing": "is missing",
    "string_pattern_mismatch": f"not {SCHEMA}",
}
"""Words for what pydantic calls these errors; its own words do for the rest."""
_HINT = "Write one with: llmfit hardware --json."


def machine_to_json(machine: Machine) -> dict[str, Any]:
    """The document ``llmfit.hardware/1``; the ``machine`` of every other document is the same object.

    Sizes in bytes, bandwidths in bytes per second; unknown is ``None``. ``machine_from_json`` is the inverse,
    but for ``described_by``: who reads a document knows that it is one.
    """
    memory = machine.memory
    return {
        "schema": SCHEMA,
        "os": machine.os,
        "simulated": machine.simulated,
        "cpu": {
            "name": machine.cpu.name,
            "physical_cores": machine.cpu.physical_cores,
            "logical_cores": machine.cpu.logical_cores,
            "features": list(machine.cpu.features),
            "performance_cores": machine.cpu.performance_cores,
            "numa_nodes": machine.cpu.numa_nodes,
            "sources": dict(machine.cpu.sources),
        },
        "ram": {
            "total_bytes": memory.total_bytes,
            "available_bytes": memory.available_bytes,
            "limit_bytes": memory.limit_bytes,
            "bandwidth_bytes_per_s": memory.bandwidth_bytes_per_s,
            "bandwidth_source": memory.bandwidth_source,
            "peak_bandwidth_bytes_per_s": memory.peak_bandwidth_bytes_per_s,
            "memory_type": memory.memory_type,
            "channels": memory.channels,
            "transfer_rate_mt_s": memory.transfer_rate_mt_s,
            "swap_total_bytes": memory.swap_total_bytes,
            "swap_free_bytes": memory.swap_free_bytes,
            "sources": dict(memory.sources),
        },
        "gpus": [_gpu_to_json(gpu) for gpu in machine.gpus],
        "llama_server": None if machine.llama_server is None else _server_to_json(machine.llama_server),
        "llama_servers": [_server_to_json(server) for server in machine.llama_servers],
        "disks": [asdict(disk) for disk in machine.disks],
        "notes": list(machine.notes),
        "unseen_gpus": list(machine.unseen_gpus),
    }


def _gpu_to_json(gpu: Gpu) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "name": gpu.name,
        "vendor": gpu.vendor,
        "backend": gpu.backend,
        "uuid": gpu.uuid,
        "catalog_id": gpu.catalog_id,
        "unified_memory": gpu.unified_memory,
        "vram_total_bytes": gpu.vram_total_bytes,
        "vram_free_bytes": gpu.vram_free_bytes,
        "vram_reserved_bytes": gpu.vram_reserved_bytes,
        "carve_out_bytes": gpu.carve_out_bytes,
        "bandwidth_bytes_per_s": gpu.bandwidth_bytes_per_s,
        "fp16_flops": gpu.fp16_flops,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "pcie": {
            "generation": gpu.pcie_generation,
            "width": gpu.pcie_width,
            "max_width": gpu.pcie_max_width,
        },
        "pci_id": gpu.pci_id,
        "pci_bus": gpu.pci_bus,
        "gpu_cores": gpu.gpu_cores,
        "architecture": gpu.architecture,
        "partition": None if gpu.partition is None else asdict(gpu.partition),
        "power_limit_w": gpu.power_limit_w,
        "power_draw_w": gpu.power_draw_w,
        "processes": [
            {"pid": process.pid, "name": process.name, "vram_bytes": process.vram_bytes}
            for process in gpu.processes
        ],
        "sources": dict(gpu.sources),
    }


def _server_to_json(server: LlamaServer) -> dict[str, Any]:
    return {
        "path": server.path,
        "version": server.version,
        "build": server.build,
        "backends": list(server.backends),
        "devices": list(server.devices),
        "problem": server.problem,
    }


_TELLING_KEYS = frozenset({"gpus", "ram"})
"""A document with none of these says nothing about a machine: it is some other file."""


def read_machine(path: Path) -> Machine:
    """The machine in a file. Raises UsageError in one line for anything that is not one."""
    what = f"machine file {clean_text(str(path))!r}"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(what, (error.strerror or "cannot be read").lower(), _HINT) from error
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(what, "too large for a machine file", _HINT)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(what, "not JSON", _HINT) from error
    return machine_from_json(document, what)


def machine_from_json(document: object, what: str = "machine") -> Machine:
    """The machine in a document ``llmfit.hardware/1``; unknown fields are ignored, missing ones are unknown.

    ``described_by`` is ``--machine`` from then on, whatever computer it was written on. Raises UsageError
    naming the first field that is wrong; ``what`` names the document in that message.
    """
    from pydantic import ValidationError  # 110 ms: only where a machine is read

    from llmfit.advisor.hardware.machine_schema import MachineDocument

    try:
        read = MachineDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = _REASONS.get(first["type"], first["msg"].removeprefix("Value error, "))
        where = _field_name(first["loc"])
        raise UsageError(
            what, f"{where}: {clean_text(reason)}" if where else clean_text(reason), _HINT
        ) from error
    if isinstance(document, dict) and not document.keys() & _TELLING_KEYS:
        raise UsageError(what, "it has neither gpus nor ram", _HINT)
    return Machine(
        os=clean_text(read.os),
        cpu=Cpu(**read.cpu.model_dump()),
        memory=Memory(**read.ram.model_dump()),
        gpus=tuple(_gpu(index, gpu.model_dump()) for index, gpu in enumerate(read.gpus)),
        llama_server=LlamaServer(**read.llama_server.model_dump()) if read.llama_server else None,
        notes=read.notes,
        simulated=read.simulated,
        llama_servers=tuple(LlamaServer(**server.model_dump()) for server in read.llama_servers),
        unseen_gpus=read.unseen_gpus,
        disks=tuple(Disk(**disk.model_dump()) for disk in read.disks),
        described_by="--machine",
    )


def _gpu(position: int, fields: dict[str, Any]) -> Gpu:
    pcie, processes = fields.pop("pcie"), fields.pop("processes")
    index, partition = fields.pop("index"), fields.pop("partition")
    return Gpu(
        index=position if index is None else index,
        pcie_generation=pcie["generation"],
        pcie_width=pcie["width"],
        pcie_max_width=pcie["max_width"],
        partition=None if partition is None else Partition(**partition),
        processes=tuple(VramProcess(**process) for process in processes),
        **fields,
    )


def _field_name(location: tuple[int | str, ...]) -> str:
    """``gpus[0].vram_total_bytes``; empty for the document itself."""
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.lstrip(".")
