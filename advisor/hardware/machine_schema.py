"""The shape of a machine file, checked with pydantic. Imported only by machine_file.py, and only when
reading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from llmfit.advisor.hardware.machine import MAX_GPUS
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MAX_SIZE_BYTES

MAX_NOTE_LENGTH = 500

Text = Annotated[str, AfterValidator(clean_text)]
Note = Annotated[str, AfterValidator(lambda text: clean_text(text, MAX_NOTE_LENGTH))]
# Strict: "24" is not a number, 24.0 not a whole one and 1 not a yes.
Size = Annotated[int, Field(ge=0, le=MAX_SIZE_BYTES, strict=True)]
Rate = Annotated[int, Field(gt=0, le=10**18, strict=True)]
Count = Annotated[int, Field(gt=0, le=2**20, strict=True)]
Small = Annotated[int, Field(ge=0, le=32, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
Watts = Annotated[float, Field(gt=0, le=10**5, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CpuDocument(_Part):
    name: Text | None = None
    physical_cores: Count | None = None
    logical_cores: Count | None = None
    features: tuple[Text, ...] = ()
    performance_cores: Count | None = None
    numa_nodes: Count | None = None
    sources: dict[Text, Text] = {}


class RamDocument(_Part):
    total_bytes: Size | None = None
    available_bytes: Size | None = None
    limit_bytes: Size | None = None
    bandwidth_bytes_per_s: Rate | None = None
    bandwidth_source: Text | None = None
    peak_bandwidth_bytes_per_s: Rate | None = None
    memory_type: Text | None = None
    channels: Count | None = None
    transfer_rate_mt_s: Count | None = None
    swap_total_bytes: Size | None = None
    swap_free_bytes: Size | None = None
    sources: dict[Text, Text] = {}


class PcieDocument(_Part):
    generation: Small | None = None
    width: Small | None = None
    max_width: Small | None = None


class ProcessDocument(_Part):
    pid: Annotated[int, Field(ge=0, strict=True)]
    name: Text
    vram_bytes: Size | None = None


class PartitionDocument(_Part):
    card_name: Text
    card_uuid: Text | None = None
    memory_share: Share
    compute_share: Share


class GpuDocument(_Part):
    index: Annotated[int, Field(ge=0, lt=MAX_GPUS, strict=True)] | None = None
    name: Text
    vendor: Literal["nvidia", "amd", "intel", "apple"]
    backend: Literal["cuda", "rocm", "vulkan", "sycl", "metal"]
    uuid: Text | None = None
    catalog_id: Text | None = None
    unified_memory: Flag = False
    vram_total_bytes: Size | None = None
    vram_free_bytes: Size | None = None
    vram_reserved_bytes: Size | None = None
    carve_out_bytes: Size | None = None
    bandwidth_bytes_per_s: Rate | None = None
    fp16_flops: Rate | None = None
    compute_capability: Text | None = None
    driver: Text | None = None
    pcie: PcieDocument = PcieDocument()
    pci_id: Text | None = None
    pci_bus: Text | None = None
    gpu_cores: Count | None = None
    architecture: Text | None = None
    partition: PartitionDocument | None = None
    power_limit_w: Watts | None = None
    power_draw_w: Annotated[float, Field(ge=0, le=10**5, strict=True)] | None = None
    processes: tuple[ProcessDocument, ...] = ()
    sources: dict[Text, Text] = {}

    @model_validator(mode="after")
    def _free_is_part_of_total(self) -> GpuDocument:
        total, free = self.vram_total_bytes, self.vram_free_bytes
        if total is not None and free is not None and free > total:
            raise ValueError("vram_free_bytes is more than vram_total_bytes")
        return self


class ServerDocument(_Part):
    path: str
    version: Text | None = None
    build: Count | None = None
    backends: tuple[Text, ...] = ()
    devices: tuple[Text, ...] = ()
    problem: Note | None = None


class DiskDocument(_Part):
    path: Text
    total_bytes: Size
    free_bytes: Size


class MachineDocument(_Part):
    schema_name: Annotated[str, Field(alias="schema", pattern=r"^llmfit\.hardware/1$")] = "llmfit.hardware/1"
    os: Text = "linux"
    simulated: Flag = False
    cpu: CpuDocument = CpuDocument()
    ram: RamDocument = RamDocument()
    gpus: Annotated[tuple[GpuDocument, ...], Field(max_length=MAX_GPUS)] = ()
    llama_server: ServerDocument | None = None
    llama_servers: Annotated[tuple[ServerDocument, ...], Field(max_length=64)] = ()
    disks: Annotated[tuple[DiskDocument, ...], Field(max_length=64)] = ()
    notes: tuple[Note, ...] = ()
    unseen_gpus: tuple[Note, ...] = ()

    @model_validator(mode="after")
    def _indices_differ(self) -> MachineDocument:
        indices = [position if gpu.index is None else gpu.index for position, gpu in enumerate(self.gpus)]
        if len(set(indices)) < len(indices):
            raise ValueError("two GPUs have the same index")
        return self
