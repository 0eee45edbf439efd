"""Models for memory tests: the headers of tests/data/headers, and small ones made up here."""

from __future__ import annotations

from functools import cache

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.shape import ModelShape, shape_from_header
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.units import GIB
from tests.advisor.model.gguf_builder import HEADERS, head_file


@cache
def header_of(model: str) -> GgufHeader:
    """``llama3.1-8b`` and so on: a file of tests/data/headers without its quantisation."""
    (path,) = HEADERS.glob(f"{model}.*.head")
    return read_header(head_file(path.name.removesuffix(".gguf.head")), model, require_data=False)


@cache
def shape_of(model: str) -> ModelShape:
    header = header_of(model)
    return shape_from_header(header.metadata, header.tensors)


@cache
def table_of(model: str, load_mtp: bool = False) -> WeightTable:
    return weight_table(shape_of(model), header_of(model).tensors, load_mtp)


def cards(*free_gib: float, features: tuple[str, ...] = ("avx2",)) -> Machine:
    gpus = tuple(
        Gpu(i, f"card {i}", "nvidia", "cuda", vram_total_bytes=int(g * GIB), vram_free_bytes=int(g * GIB))
        for i, g in enumerate(free_gib)
    )
    return Machine("linux", Cpu("cpu", 8, 16, features), Memory(64 * GIB, 60 * GIB), gpus)


def tensor(name: str, *dims: int, kind: str = "Q4_K") -> Tensor:
    return Tensor(name, dims, kind, tensor_bytes(kind, dims))


def tiny_metadata(architecture: str, **values: object) -> dict[str, object]:
    """8 layers of 1024 with 16 heads of 64; ``values`` with ``__`` for the dot replace or add keys."""
    defaults: dict[str, object] = {
        "context_length": 32768,
        "embedding_length": 1024,
        "block_count": 8,
        "feed_forward_length": 2816,
        "attention.head_count": 16,
        "attention.head_count_kv": 4,
    }
    given = {key.replace("__", "."): value for key, value in values.items()}
    keys = {f"{architecture}.{key}": value for key, value in (defaults | given).items() if value is not None}
    return {"general.architecture": architecture, **keys}


def tiny_tensors(
    n_layer: int = 8, *, tied: bool = False, extra: tuple[Tensor, ...] = ()
) -> tuple[Tensor, ...]:
    """A dense model's tensors in Q4_K."""
    layers = [
        one
        for il in range(n_layer)
        for one in (
            tensor(f"blk.{il}.attn_norm.weight", 1024, kind="F32"),
            tensor(f"blk.{il}.attn_q.weight", 1024, 1024),
            tensor(f"blk.{il}.ffn_gate.weight", 1024, 2816),
            tensor(f"blk.{il}.ffn_up.weight", 1024, 2816),
            tensor(f"blk.{il}.ffn_down.weight", 2816, 1024),
        )
    ]
    output = () if tied else (tensor("output.weight", 1024, 5120, kind="Q6_K"),)
    norm = tensor("output_norm.weight", 1024, kind="F32")
    return (tensor("token_embd.weight", 1024, 5120), *layers, norm, *output, *extra)
