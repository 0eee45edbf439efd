"""MemoryEstimate: where every byte goes. Parts are stored, totals are derived."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.memory.host import HostMemory


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The bytes of one device, split as llama.cpp itself reports them (llama_context::memory_breakdown).

    ``weights``, ``kv_cache`` (with recurrent state) and ``compute`` are llama.cpp's model, context and
    compute buffers. ``overhead`` is what the driver takes on top (GPU) or what the server keeps beside them
    (host). ``margin`` is the doubt of the estimate: not counted in the total, but in what decides "fits".
    """

    name: str
    kind: str
    """``gpu`` or ``host``."""
    gpu_index: int | None
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    overhead_bytes: int
    margin_bytes: int
    capacity_bytes: int | None
    free_bytes: int | None
    draft_bytes: int = 0
    """The part of ``overhead_bytes`` that is the second context of MTP drafting."""

    @property
    def llama_cpp_bytes(self) -> int:
        """What llama.cpp allocates: comparable with its own breakdown."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes

    @property
    def total_bytes(self) -> int:
        return self.llama_cpp_bytes + self.overhead_bytes

    @property
    def required_bytes(self) -> int:
        """What must be free for the verdict "fits"."""
        return self.total_bytes + self.margin_bytes

    @property
    def shortfall_bytes(self) -> int:
        """How much is missing, 0 where it fits or where the free memory is not known."""
        if self.free_bytes is None:
            return 0
        return max(0, self.required_bytes - self.free_bytes)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """All devices of one configuration: the GPUs that take part in order, the host last."""

    devices: tuple[DeviceMemory, ...]
    host_details: HostMemory | None = None
    """How the host's bytes lie in RAM: mapped or private, and what fills only with use."""
    everything_on_gpus: bool = False
    """All weights and the KV cache, but for the tables that rows are looked up in."""

    @property
    def gpus(self) -> tuple[DeviceMemory, ...]:
        return tuple(device for device in self.devices if device.kind == "gpu")

    @property
    def host(self) -> DeviceMemory:
        return self.devices[-1]

    @property
    def weights_bytes(self) -> int:
        return sum(device.weights_bytes for device in self.devices)

    @property
    def kv_cache_bytes(self) -> int:
        return sum(device.kv_cache_bytes for device in self.devices)

    @property
    def compute_bytes(self) -> int:
        return sum(device.compute_bytes for device in self.devices)

    @property
    def overhead_bytes(self) -> int:
        return sum(device.overhead_bytes for device in self.devices)

    @property
    def total_bytes(self) -> int:
        return sum(device.total_bytes for device in self.devices)

    @property
    def shortfall_bytes(self) -> int:
        return sum(device.shortfall_bytes for device in self.devices)

    @property
    def fits(self) -> bool:
        return self.shortfall_bytes == 0
