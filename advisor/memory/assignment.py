"""Which layer lies on which device, as ``llama_model_base::load_tensors`` decides (src/llama-model.cpp)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOST_DEVICE = -1


@dataclass(frozen=True, slots=True)
class Assignment:
    """Devices are positions in ``settings.devices`` (0 is the first that takes part), -1 is the host.

    ``layer_device`` has ``n_layer_all`` entries; ``cache_device`` has the same and differs with ``-nkvo``.
    ``experts_on_host[il]``: all routed experts of the layer are in RAM (its other tensors may be on a GPU).
    ``overrides`` names single tensors that an ``-ot`` or ``--cpu-moe`` rule moved, with their device.
    """

    n_devices: int
    layer_device: tuple[int, ...]
    output_device: int
    cache_device: tuple[int, ...]
    experts_on_host: tuple[bool, ...]
    has_overrides: bool
    """Any ``-ot``, ``--cpu-moe`` or ``--n-cpu-moe`` was given: pipeline parallelism is off."""
    overrides: Mapping[str, int]

    @property
    def fully_offloaded(self) -> bool:
        """Every layer and the output on a GPU (``-ngl`` at least block_count + 1)."""
        return self.n_devices > 0 and self.output_device >= 0 and min(self.layer_device) >= 0

    def layers_on(self, device: int) -> tuple[int, ...]:
        return tuple(il for il, where in enumerate(self.layer_device) if where == device)
