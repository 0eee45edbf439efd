"""Value objects for a computer. No detection here: see probe.py and simulate.py.

Unknown is ``None``, never 0. Sizes are bytes, bandwidths bytes per second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

MAX_GPUS = 16
"""As many as llama.cpp takes: GGML_CUDA_MAX_DEVICES (ggml/include/ggml-cuda.h), llama_max_devices
(src/llama.cpp)."""
UNKNOWN_SIZE = "size not known"
"""How every screen and every document for people says it of what a program holds."""
UNKNOWN_PROGRAM = "a program"
"""The name of one that no source names: it belongs to another container, or has ended."""
_NO_SOURCES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class VramProcess:
    """A program that holds memory of a GPU."""

    pid: int
    name: str
    vram_bytes: int | None


@dataclass(frozen=True, slots=True)
class Partition:
    """A slice of a card that its driver offers as a device of its own (NVIDIA MIG).

    CUDA_VISIBLE_DEVICES chooses one by its UUID; drivers before 570 show a program no more than one.
    """

    card_name: str
    card_uuid: str | None
    memory_share: float
    """Of the card's memory and of its bandwidth: memory slices / all of them."""
    compute_share: float
    """Of the card's multiprocessors."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device that llama.cpp can place layers on, with what is free at the time of the probe."""

    index: int
    name: str
    vendor: str
    """``nvidia``, ``amd``, ``intel`` or ``apple``."""
    backend: str
    """The llama.cpp backend it is planned for: ``cuda``, ``rocm``, ``vulkan``, ``sycl`` or ``metal``."""
    uuid: str | None = None
    unified_memory: bool = False
    """The memory is the system's RAM: what the GPU uses, the host cannot."""
    vram_total_bytes: int | None = None
    vram_free_bytes: int | None = None
    bandwidth_bytes_per_s: int | None = None
    fp16_flops: int | None = None
    compute_capability: str | None = None
    driver: str | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    power_limit_w: float | None = None
    processes: tuple[VramProcess, ...] = ()
    catalog_id: str | None = None
    vram_reserved_bytes: int | None = None
    """What the driver keeps of the total for itself: never free, even when no program runs."""
    carve_out_bytes: int | None = None
    """The part of a unified memory that the firmware keeps for the GPU alone: the system's RAM lacks it."""
    pci_id: str | None = None
    """``1002:744c rev c8``: vendor, device and revision as lower-case hexadecimal; without the revision
    where that tells nothing."""
    pci_bus: str | None = None
    """``0000:03:00.0``."""
    pcie_max_width: int | None = None
    """Lanes that card and slot could use; ``pcie_width`` are those in use."""
    gpu_cores: int | None = None
    """Where one name is sold with several core counts (Apple)."""
    partition: Partition | None = None
    """Set for a slice of a card (NVIDIA MIG)."""
    architecture: str | None = None
    """As the maker calls it: ``Ampere``, ``RDNA3``, ``Xe2``; from the catalogue."""
    power_draw_w: float | None = field(default=None, compare=False)
    """At the time of the probe."""
    sources: Mapping[str, str] = field(default_factory=lambda: _NO_SOURCES, hash=False)
    """Field name -> where its value was read (``nvml``, ``catalog``, ``simulated`` …)."""

    @property
    def usable_bytes(self) -> int | None:
        """What a launch counts on, and what llama.cpp splits by: free memory; where that is unknown, what no
        listed program holds."""
        if self.vram_free_bytes is not None or self.vram_total_bytes is None:
            return self.vram_free_bytes
        held_bytes = sum(process.vram_bytes or 0 for process in self.processes)
        return max(0, self.vram_total_bytes - held_bytes)

    @property
    def holders(self) -> tuple[VramProcess, ...]:
        """``processes``, the one that holds most first; those of unknown size last, of equals by number."""
        return tuple(sorted(self.processes, key=lambda one: (-(one.vram_bytes or 0), one.pid)))


@dataclass(frozen=True, slots=True)
class Cpu:
    """Cores and threads that this process may use (affinity, container quota), not all that are built in."""

    name: str | None
    physical_cores: int | None
    logical_cores: int | None
    features: tuple[str, ...] = ()
    performance_cores: int | None = None
    """Of the physical ones, where a CPU has fast and slow cores (Intel hybrid, Apple); else ``None``."""
    numa_nodes: int | None = None
    sources: Mapping[str, str] = field(default_factory=lambda: _NO_SOURCES, hash=False)
    """As ``Gpu.sources``."""


@dataclass(frozen=True, slots=True)
class Memory:
    """System RAM. ``limit_bytes`` is a cgroup limit below the total, where there is one."""

    total_bytes: int | None
    available_bytes: int | None
    limit_bytes: int | None = None
    bandwidth_bytes_per_s: int | None = None
    """The best known figure: given, measured, or the peak of the memory's type; the source says which."""
    bandwidth_source: str | None = None
    peak_bandwidth_bytes_per_s: int | None = None
    """Channels × width × transfer rate, where the modules can be read."""
    memory_type: str | None = None
    """``DDR5``, ``LPDDR5``."""
    channels: int | None = None
    """Channels of 64 bits that are populated (two 32-bit channels of DDR5 count as one)."""
    transfer_rate_mt_s: int | None = None
    """At which the modules run now, millions of transfers a second."""
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = field(default=None, compare=False)
    sources: Mapping[str, str] = field(default_factory=lambda: _NO_SOURCES, hash=False)
    """As ``Gpu.sources``; the bandwidth's is ``bandwidth_source``."""

    @property
    def capacity_bytes(self) -> int | None:
        """What this process could use at most: the total or the smaller cgroup limit."""
        known = [size for size in (self.total_bytes, self.limit_bytes) if size is not None]
        return min(known) if known else None


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """A llama-server binary found on this machine."""

    path: str
    version: str | None = None
    build: int | None = None
    backends: tuple[str, ...] = ()
    """``cuda``, ``vulkan`` …, and ``cpu`` of every binary that starts; empty where it was not asked."""
    devices: tuple[str, ...] = ()
    """As ``--device`` names them: ``CUDA0``."""
    problem: str | None = None
    """Why it does not start or answer, one plain sentence."""

    @property
    def sees_a_gpu(self) -> bool | None:
        """``None`` where it was not asked or did not answer."""
        return bool(self.devices) if self.backends else None


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a folder in which models lie."""

    path: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    os: str
    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...] = ()
    llama_server: LlamaServer | None = None
    """The one that llmfit takes: configured, or the first that sees a GPU, or the first that works."""
    notes: tuple[str, ...] = ()
    """What could not be read and why, one plain sentence each."""
    simulated: bool = False
    """Some of it is stated by options, not read from a computer."""
    llama_servers: tuple[LlamaServer, ...] = ()
    """Every one that was found, ``llama_server`` among them."""
    disks: tuple[Disk, ...] = field(default=(), compare=False)
    unseen_gpus: tuple[str, ...] = ()
    """Those of ``notes`` that tell of GPUs which are or may be there and could not be read: what is planned
    without them is not what this computer can do."""
    described_by: str | None = None
    """The option that describes it (``--gpu``, ``--machine``): nobody looked at this computer for it, and
    nothing on this computer is about it. ``None``: it was probed here."""

    def gpus_of(self, devices: Sequence[int]) -> tuple[Gpu, ...]:
        """The GPUs with these indices, in that order; an index that none has is passed over."""
        by_index = {gpu.index: gpu for gpu in self.gpus}
        return tuple(by_index[index] for index in devices if index in by_index)


SAME_SIZE = 0.12
"""Memory sizes that differ by no more than this share are one: drivers show up to 7 % less than the size sold
(ECC, firmware, a DGX Spark's 119.7 of 128 GiB)."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What is known of a card before anybody looks into a computer: one row of the catalogue.

    ``memory_bytes_options`` are the sizes this row is sold with (empty where nobody states one, as for an
    integrated GPU), ``default_memory_bytes`` the one to take when none was named (the larger standard one).
    Cards sold under one name with different bandwidth (RTX 3060 12 GB and 8 GB) are different rows.
    ``bandwidth_bytes_per_s`` is its memory's peak; ``fp16_flops`` the dense FP16 rate of matrix units with
    FP32 accumulation where there are such units, else of the shaders.
    """

    id: str
    name: str
    vendor: str
    backend: str
    memory_bytes_options: tuple[int, ...] = ()
    default_memory_bytes: int | None = None
    bandwidth_bytes_per_s: int | None = None
    fp16_flops: int | None = None
    compute_capability: str | None = None
    unified_memory: bool = False
    driver_names: tuple[str, ...] = ()
    """Names that drivers report for it (``NVIDIA GeForce RTX 3090``)."""
    pcie_generation: int | None = None
    pcie_width: int | None = None
    power_limit_w: float | None = None
    pci_ids: tuple[str, ...] = ()
    """As ``Gpu.pci_id``; without a revision where every revision is this card."""
    gpu_cores: int | None = None
    architecture: str | None = None


GpuLookup = Callable[[str], Sequence[GpuFacts]]
"""Every row sold under exactly this name, the most usual first; one name may have several rows.

The name is a marketing name, a driver's name or an alias; case, spaces, hyphens and the maker's name do not
matter. Raises UsageError naming the nearest names when there is none. A memory size at the end of the name is
taken off before the lookup is asked, unless the name with the size is itself known (``GTX 1060 6GB``).
"""
