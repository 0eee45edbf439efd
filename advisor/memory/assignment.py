"""Which layer lies on which device, as ``llama_model_base::load_tensors`` decides (src/llama-model.cpp)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from struct import pack, unpack
from types import MappingProxyType

from llmfit.advisor.errors import NotModelledError, UsageError
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import CPU_MOE_PATTERN, WeightTable
from llmfit.advisor.model.shape import ModelShape

HOST_DEVICE = -1
"""System RAM, where a position in ``settings.devices`` stands otherwise."""
LARGEST_SHARE = 1e38
"""llama.cpp adds the proportions up as C floats, which end at 3.4e38."""
_NO_OVERRIDES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Assignment:
    """Devices are positions in ``settings.devices`` (0 is the first that takes part), -1 is the host.

    ``layer_device`` has ``n_layer_all`` entries; ``cache_device`` has the same and differs with ``-nkvo``.
    ``experts_on_host[il]``: all routed experts of the layer are in RAM (its other tensors may be on a GPU).
    ``overrides`` names the tensors that an ``-ot`` rule placed, with their device.
    """

    n_devices: int
    layer_device: tuple[int, ...]
    output_device: int
    cache_device: tuple[int, ...]
    experts_on_host: tuple[bool, ...]
    n_cpu_moe: int
    """Blocks below this have their experts in RAM."""
    has_overrides: bool
    """Any ``-ot``, ``--cpu-moe`` or ``--n-cpu-moe`` was given: pipeline parallelism is off."""
    overrides: Mapping[str, int]

    @property
    def fully_offloaded(self) -> bool:
        """Every layer and the output on a GPU (``-ngl`` at least block_count + 1)."""
        return self.n_devices > 0 and self.output_device >= 0 and min(self.layer_device) >= 0


def assign_layers(
    shape: ModelShape,
    settings: LaunchSettings,
    free_bytes: Sequence[int | None],
    weights: WeightTable | None = None,
) -> Assignment:
    """The assignment that llama.cpp makes.

    Without ``-ts`` the ``free_bytes`` of each of ``settings.devices`` decide. ``weights`` is needed for
    ``-ot`` only (its tensor names). Raises NotModelledError for ``-sm row`` and ``tensor``, UsageError for a
    split that does not match the devices or an ``-ot`` that cannot be read.
    """
    n_devices = len(settings.devices)
    if settings.split_mode == "none":
        n_devices = min(n_devices, 1)
    elif settings.split_mode != "layer" and n_devices > 1:
        raise NotModelledError(f"split mode {settings.split_mode!r}", "not modelled: only layer and none are")
    shares = _shares(settings, free_bytes, n_devices)
    plain = _plain_assignment(
        shape.n_layer_all, settings.gpu_layers, shares, settings.kv_offload, settings.n_cpu_moe
    )
    if not settings.override_tensor:
        return plain
    overrides = tensor_overrides(settings, weights, n_devices)
    return replace(
        plain,
        experts_on_host=_experts_on_host(plain, weights, overrides),
        has_overrides=True,
        overrides=overrides,
    )


@lru_cache(maxsize=4096)
def _plain_assignment(
    n_layer_all: int, gpu_layers: int, shares: tuple[float, ...], kv_offload: bool, n_cpu_moe: int
) -> Assignment:
    """The assignment without ``-ot``; all file types of a model have the same."""
    devices = _layer_devices(n_layer_all, gpu_layers, shares)
    layer_device = devices[:-1]
    return Assignment(
        n_devices=len(shares),
        layer_device=layer_device,
        output_device=devices[-1],
        cache_device=layer_device if kv_offload else (HOST_DEVICE,) * n_layer_all,
        experts_on_host=tuple(
            [il < n_cpu_moe or device == HOST_DEVICE for il, device in enumerate(layer_device)]
        ),
        n_cpu_moe=n_cpu_moe,
        has_overrides=n_cpu_moe != 0,
        overrides=_NO_OVERRIDES,
    )


def _shares(settings: LaunchSettings, free_bytes: Sequence[int | None], n_devices: int) -> tuple[float, ...]:
    if n_devices <= 1:
        return (1.0,) * n_devices
    split = settings.tensor_split
    if split is not None and len(split) != n_devices:
        raise UsageError("tensor split", f"{len(split)} proportions for {n_devices} devices")
    if split is not None and any(part < 0 for part in split):
        raise UsageError("tensor split", "a proportion is negative")
    if split is not None and not sum(split) <= LARGEST_SHARE:
        raise UsageError("tensor split", "a proportion is too large")
    if split is not None and any(split):
        return tuple(split)
    free = [float(size or 0) for size in free_bytes[:n_devices]]
    return tuple(free) if len(free) == n_devices and any(free) else (1.0,) * n_devices


def split_text(shares: Sequence[float]) -> str:
    """``-ts`` with the digits that llama.cpp needs to read the same C floats (std::stof, common/arg.cpp)."""
    return ",".join(_share_text(share) for share in shares)


def _share_text(share: float) -> str:
    """The shortest text that is the same C float; 9 digits always are."""
    single = _f32(share)
    texts = (f"{single:.{digits}g}" for digits in range(6, 9))
    return next((text for text in texts if _f32(float(text)) == single), f"{single:.9g}")


def _f32(value: float) -> float:
    """Rounded to a C float: split points are compared in single precision."""
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded


def _layer_devices(n_layer_all: int, gpu_layers: int, shares: tuple[float, ...]) -> tuple[int, ...]:
    """Device of each block and, last, of the output (load_tensors: splits, i_gpu_start, act_gpu_layers)."""
    if not shares:
        return (HOST_DEVICE,) * (n_layer_all + 1)
    if gpu_layers < 0:
        gpu_layers = n_layer_all + 1
    total, points = 0.0, []
    for share in shares:
        total = _f32(total + _f32(share))
        points.append(total)
    points = [_f32(point / total) for point in points]
    first = max(n_layer_all + 1 - gpu_layers, 0)
    active = min(gpu_layers, n_layer_all + 1)
    return tuple(
        HOST_DEVICE
        if layer < first or layer - first >= active
        else min(bisect_right(points, _f32((layer - first) / active)), len(points) - 1)
        for layer in range(n_layer_all + 1)
    )


def tensor_overrides(
    settings: LaunchSettings, weights: WeightTable | None, n_devices: int
) -> Mapping[str, int]:
    """Tensor name -> device for every tensor that an ``-ot`` pattern matches first.

    Raises UsageError for a rule that cannot be read or names none of the ``n_devices``
    (parse_tensor_buffer_overrides, common/arg.cpp).
    """
    if not settings.override_tensor:
        return _NO_OVERRIDES
    if weights is None:
        raise UsageError("-ot", "tensor names are needed to apply it")
    rules = [_override_rule(text, n_devices) for text in settings.override_tensor]
    found = {}
    for tensor in weights.tensors:
        if 0 <= tensor.layer < settings.n_cpu_moe and CPU_MOE_PATTERN.search(tensor.name):
            continue
        for pattern, device in rules:
            if pattern.search(tensor.name):
                found[tensor.name] = device
                break
    return MappingProxyType(found)


@lru_cache(maxsize=1024)
def _override_rule(text: str, n_devices: int) -> tuple[re.Pattern[str], int]:
    """``pattern=CPU`` or ``pattern=CUDA1``; the number counts the devices that take part."""
    pattern, separator, target = text.partition("=")
    match = re.fullmatch(r"CPU|(?:CUDA|ROCm|Vulkan|SYCL|MTL|Metal)(\d*)", target)
    if not separator or match is None:
        raise UsageError(f"-ot {text!r}", "not of the form pattern=CPU or pattern=CUDA0")
    device = HOST_DEVICE if target == "CPU" else int(match[1] or 0)
    if device >= n_devices:
        raise UsageError(f"-ot {text!r}", f"there is no device {target} among the {n_devices} that take part")
    try:
        return re.compile(pattern), device
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"-ot {text!r}", f"not a regular expression ({error})") from None


def _experts_on_host(
    plain: Assignment, weights: WeightTable | None, overrides: Mapping[str, int]
) -> tuple[bool, ...]:
    """Layers whose routed experts are all in RAM; a layer in RAM has them there anyway."""
    moved = list(plain.experts_on_host)
    if overrides and weights is not None:
        experts: dict[int, list[bool]] = {}
        for tensor in weights.tensors:
            if tensor.layer >= 0 and CPU_MOE_PATTERN.search(tensor.name):
                device = overrides.get(
                    tensor.name, HOST_DEVICE if moved[tensor.layer] else plain.layer_device[tensor.layer]
                )
                experts.setdefault(tensor.layer, []).append(device == HOST_DEVICE)
        for layer, on_host in experts.items():
            moved[layer] = all(on_host)
    return tuple(moved)
