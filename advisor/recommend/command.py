"""LaunchSettings -> argv of llama-server, every decision spelled out, in the dialect of llama.cpp b11434.

``-fit off`` is always there: what runs is what was shown, llama.cpp changes nothing on its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import split_text
from llmfit.advisor.memory.settings import (
    ALL_LAYERS,
    SERVER_DEFAULT_CACHE_RAM_BYTES,
    LaunchSettings,
)
from llmfit.advisor.model.model import NO_POOLING
from llmfit.advisor.units import MIB

UUID_CHARACTERS = 12
"""``GPU-8932f937``"""
_DEVICE_PREFIX = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL", "metal": "MTL"}


def device_name(machine: Machine, gpu_index: int, used: Sequence[int] = ()) -> str:
    """The name llama.cpp gives a GPU: ``CUDA0``. Each backend counts its own devices from 0.

    On a machine with slices (MIG) only the GPUs in ``used`` are shown to it: see ``launch_environment``.
    """
    gpu = next(gpu for gpu in machine.gpus if gpu.index == gpu_index)
    seen = [other.index for other in machine.gpus if other.backend == gpu.backend]
    if _has_slices(machine):
        seen = [index for index in seen if index in used or index == gpu_index]
    ordinal = seen.index(gpu_index)
    return f"{_DEVICE_PREFIX.get(gpu.backend, gpu.backend)}{ordinal}"


def server_argv(
    settings: LaunchSettings, launch_args: Sequence[str], machine: Machine, pooling: str = NO_POOLING
) -> tuple[str, ...]:
    """The complete argument list, beginning with ``llama-server``; ``pooling`` as in Model."""
    argv = ["llama-server", *launch_args, *_pooling_args(pooling)]
    argv += _device_args(settings, machine)
    argv += _slot_args(settings)
    argv += ["-fa", "on" if settings.flash_attn else "off"]
    argv += ["-ctk", settings.cache_type_k, "-ctv", settings.cache_type_v]
    argv += ["-b", str(settings.batch), "-ub", str(settings.ubatch)]
    argv += _offload_args(settings)
    argv += _host_args(settings)
    if settings.spec_type is not None:
        argv += ["--spec-type", settings.spec_type, "--spec-draft-n-max", str(settings.spec_draft_max)]
    if settings.mmproj_path is not None:
        argv += ["--mmproj", settings.mmproj_path]
    elif "-hf" in launch_args and not settings.projector_bytes:
        argv.append("--no-mmproj")  # with -hf llama-server would fetch and load a projector unasked
    argv += ["-fit", "off"]
    return tuple(argv)


def launch_environment(settings: LaunchSettings, machine: Machine) -> tuple[tuple[str, str], ...]:
    """Variables without which CUDA would mean other cards than the arguments do, as (name, value).

    CUDA counts the fastest card first where cards differ (CUDA C programming guide, CUDA_DEVICE_ORDER), so
    they are named in the order of this machine's list, whatever the user's own variables say. Slices (MIG)
    are chosen by their UUIDs.
    """
    cards = [gpu for gpu in machine.gpus if gpu.backend == "cuda"]
    used = [gpu for gpu in cards if gpu.index in settings.devices]
    if not used:
        return ()
    sliced = _has_slices(machine)
    if len(cards) == 1 or (not sliced and len({gpu.name for gpu in cards}) == 1):
        return ()
    shown = used if sliced else cards
    uuids = [gpu.uuid for gpu in shown if gpu.uuid is not None]
    if len(uuids) == len(shown):
        return (("CUDA_VISIBLE_DEVICES", ",".join(_shortened(uuids))),)
    return (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),)


def shell_command(argv: Sequence[str], environment: Sequence[tuple[str, str]] = ()) -> str:
    """One line to copy, quoted for the shell; what cannot be seen is written as bash and zsh read it."""
    variables = (f"{name}={_quoted(value)}" for name, value in environment)
    return " ".join([*variables, *map(_quoted, argv)])


def _shortened(uuids: Sequence[str]) -> list[str]:
    """CUDA takes the beginning of a card's UUID as long as it means one card (CUDA C programming guide,
    CUDA_VISIBLE_DEVICES); those of slices stay whole."""
    short = [uuid[:UUID_CHARACTERS] if uuid.startswith("GPU-") else uuid for uuid in uuids]
    return short if len(set(short)) == len(short) else list(uuids)


def _has_slices(machine: Machine) -> bool:
    return any(gpu.partition is not None for gpu in machine.gpus)


def _quoted(argument: str) -> str:
    if argument.isprintable():
        return shlex.quote(argument)
    return "$'" + "".join(map(_visible, argument)) + "'"


def _visible(character: str) -> str:
    if character in "'\\":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _pooling_args(pooling: str) -> list[str]:
    """Without them the server answers no request for vectors or scores (common/arg.cpp)."""
    if pooling == NO_POOLING:
        return []
    return ["--reranking"] if pooling == "rank" else ["--embedding", "--pooling", pooling]


def _device_args(settings: LaunchSettings, machine: Machine) -> list[str]:
    if not settings.devices:
        # With no GPU named, llama-server would use any it finds for large batches.
        return ["--device", "none", "-ngl", "0"] if machine.gpus else ["-ngl", "0"]
    argv = []
    if len(settings.devices) < len(machine.gpus):
        argv += [
            "--device",
            ",".join(device_name(machine, index, settings.devices) for index in settings.devices),
        ]
    layers = "all" if settings.gpu_layers >= ALL_LAYERS else str(settings.gpu_layers)
    argv += ["-ngl", layers]
    if settings.split_mode != "layer":
        argv += ["-sm", settings.split_mode]
    if settings.tensor_split is not None and len(settings.devices) > 1:
        argv += ["-ts", split_text(settings.tensor_split)]
    return argv


def _slot_args(settings: LaunchSettings) -> list[str]:
    argv = ["-c", str(settings.context_tokens), "-np", str(settings.parallel)]
    if settings.kv_unified:
        argv.append("-kvu")
    if settings.swa_full:
        argv.append("--swa-full")
    return argv


def _offload_args(settings: LaunchSettings) -> list[str]:
    argv = []
    if settings.n_cpu_moe >= ALL_LAYERS:
        argv.append("-cmoe")
    elif settings.n_cpu_moe > 0:
        argv += ["-ncmoe", str(settings.n_cpu_moe)]
    if settings.override_tensor:
        argv += ["-ot", ",".join(settings.override_tensor)]
    if not settings.kv_offload:
        argv.append("-nkvo")
    if not settings.op_offload:
        argv.append("--no-op-offload")
    return argv


def _host_args(settings: LaunchSettings) -> list[str]:
    argv = []
    if not settings.mmap:
        argv += ["--load-mode", "none"]
    if not settings.repack:
        argv.append("--no-repack")
    if settings.cache_ram_bytes != SERVER_DEFAULT_CACHE_RAM_BYTES:
        argv += ["-cram", str(settings.cache_ram_bytes // MIB)]
    return argv


__all__ = ["device_name", "launch_environment", "server_argv", "shell_command"]
