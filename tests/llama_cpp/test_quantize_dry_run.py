"""Layouts of models that are in no table, tensor by tensor against ``llama-quantize --dry-run``."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from llama_cpp_build import LlamaCppBuild

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.mixing import layout_needs_imatrix, quantize_layout, source_type
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.model.tensors import TensorShape

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "advisor" / "model"))

from gguf_builder import TensorInfo, build, tensor_list

pytestmark = pytest.mark.llama_cpp

_TENSOR = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) +- \[.*?\], type = +(\w+), .*?(?:\((\w+)\))?$", re.MULTILINE)
_SIZE = re.compile(r"quant size  = +([\d.]+) MiB")


@dataclass(frozen=True, slots=True)
class Spec:
    """A model to lay out; ``keys`` follow the architecture's name in the header."""

    name: str
    architecture: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int | list[int]
    n_ff: int
    n_vocab: int
    head_dim: int
    tied: bool = False
    fused_qkv: bool = False
    gate: bool = True
    n_expert: int = 0
    n_ff_expert: int = 0
    n_dense_lead: int = 0
    n_shared: int = 0
    keys: dict[str, object] = field(default_factory=dict)


SPECS = (
    Spec("70B with grouped queries", "llama", 80, 8192, 64, 8, 28672, 128256, 128),
    Spec("65B without", "llama", 80, 8192, 64, 64, 22016, 32000, 128),
    Spec("8 experts", "llama", 32, 4096, 32, 8, 14336, 32000, 128, n_expert=8, n_ff_expert=14336),
    Spec("odd rows, tied", "qwen2", 24, 896, 14, 2, 4864, 151936, 64, tied=True),
    Spec("72B", "qwen2", 80, 8192, 64, 8, 29568, 152064, 128),
    Spec("4.5 blocks a row", "gemma3", 26, 1152, 4, 1, 6912, 262144, 256, tied=True,
         keys={"attention.sliding_window": 512}),
    Spec("fused attention", "phi3", 32, 3072, 32, 32, 8192, 32064, 96, fused_qkv=True,
         keys={"rope.dimension_count": 96}),
    Spec("falcon 7B", "falcon", 32, 4544, 71, 1, 18176, 65024, 64, fused_qkv=True, gate=False),
    Spec("falcon 40B", "falcon", 60, 8192, 128, 8, 32768, 65024, 64, fused_qkv=True, gate=False),
    Spec("128 experts", "qwen3moe", 94, 4096, 64, 4, 12288, 151936, 128, n_expert=128, n_ff_expert=1536),
    Spec("experts and MTP", "glm4moe", 47, 4096, 96, 8, 10944, 151552, 128, n_expert=128, n_ff_expert=1408,
         n_dense_lead=1, n_shared=1, keys={"nextn_predict_layers": 1, "leading_dense_block_count": 1}),
    Spec("no row fits", "llama", 9, 1000, 10, 5, 2720, 5000, 100),
    Spec("one layer", "qwen3", 1, 512, 4, 1, 1536, 1000, 128, tied=True),
    Spec("some layers without attention", "lfm2", 16, 2048, 32,
         [8 if i in (2, 5, 8, 10, 12, 14) else 0 for i in range(16)], 8192, 65536, 64, tied=True,
         keys={"shortconv.l_cache": 3}),
)  # fmt: skip


def attention(spec: Spec, layer: int) -> list[tuple[str, tuple[int, ...]]]:
    kv_heads = spec.n_head_kv if isinstance(spec.n_head_kv, int) else spec.n_head_kv[layer]
    if not kv_heads:
        rows = [
            ("shortconv.conv.weight", (3, spec.n_embd)),
            ("shortconv.in_proj.weight", (spec.n_embd, 3 * spec.n_embd)),
        ]
        return [*rows, ("shortconv.out_proj.weight", (spec.n_embd, spec.n_embd))]
    query, value = spec.n_head * spec.head_dim, kv_heads * spec.head_dim
    if spec.fused_qkv:
        rows = [("attn_qkv.weight", (spec.n_embd, query + 2 * value))]
    else:
        sizes = (("attn_q", query), ("attn_k", value), ("attn_v", value))
        rows = [(f"{name}.weight", (spec.n_embd, size)) for name, size in sizes]
    return [*rows, ("attn_output.weight", (query, spec.n_embd))]


def feed_forward(spec: Spec, layer: int) -> list[tuple[str, tuple[int, ...]]]:
    def three(suffix: str, width: int, *stack: int) -> list[tuple[str, tuple[int, ...]]]:
        rows = [(f"ffn_{name}{suffix}.weight", (spec.n_embd, width, *stack)) for name in ("gate", "up")]
        rows = rows if spec.gate else rows[1:]
        return [*rows, (f"ffn_down{suffix}.weight", (width, spec.n_embd, *stack))]

    if not spec.n_expert or layer < spec.n_dense_lead:
        return three("", spec.n_ff)
    router: tuple[str, tuple[int, ...]] = ("ffn_gate_inp.weight", (spec.n_embd, spec.n_expert))
    shared = three("_shexp", spec.n_ff_expert * spec.n_shared) if spec.n_shared else []
    return [router, *three("_exps", spec.n_ff_expert, spec.n_expert), *shared]


def shapes_of(spec: Spec) -> list[TensorShape]:
    rows: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (spec.n_embd, spec.n_vocab)),
        ("output_norm.weight", (spec.n_embd,)),
    ]
    if not spec.tied:
        rows.append(("output.weight", (spec.n_embd, spec.n_vocab)))
    for layer in range(spec.n_layer):
        block = [("attn_norm.weight", (spec.n_embd,)), *attention(spec, layer), *feed_forward(spec, layer)]
        if spec.keys.get("nextn_predict_layers") and layer == spec.n_layer - 1:
            block.append(("nextn.eh_proj.weight", (2 * spec.n_embd, spec.n_embd)))
        rows += [(f"blk.{layer}.{name}", dims) for name, dims in block]
    return [TensorShape(name, dims) for name, dims in rows]


def metadata_of(spec: Spec) -> dict[str, object]:
    keys: dict[str, object] = {
        "context_length": 32768,
        "embedding_length": spec.n_embd,
        "block_count": spec.n_layer,
        "feed_forward_length": spec.n_ff,
        "vocab_size": spec.n_vocab,
        "attention.head_count": spec.n_head,
        "attention.head_count_kv": spec.n_head_kv,
        "attention.key_length": spec.head_dim,
        "attention.value_length": spec.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        **spec.keys,
    }
    if spec.n_expert:
        keys |= {
            "expert_count": spec.n_expert,
            "expert_used_count": 2,
            "expert_feed_forward_length": spec.n_ff_expert,
        }
        keys["expert_shared_count"] = spec.n_shared
    named = {f"{spec.architecture}.{key}": value for key, value in keys.items()}
    return {"general.architecture": spec.architecture, "tokenizer.ggml.model": "no_vocab", **named}


@pytest.fixture(scope="module")
def imatrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An importance matrix of one made-up entry: the types depend on its presence only."""
    name = b"blk.0.ffn_down.weight"
    path = tmp_path_factory.mktemp("imatrix") / "imatrix.dat"
    path.write_bytes(struct.pack(f"<ii{len(name)}sii4f", 1, len(name), name, 1, 4, 1, 1, 1, 1))
    return path


def sparse_model(spec: Spec, folder: Path) -> Path:
    infos = [
        TensorInfo(shape.name, shape.dims, source_type(shape.name, shape.dims, spec.architecture))
        for shape in shapes_of(spec)
    ]
    head = build(metadata_of(spec), infos, with_data=False)
    path = folder / "model.gguf"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + tensor_list(infos)[1])
    return path


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_tensor_gets_the_type_llama_quantize_gives_it(
    spec: Spec, llama_cpp: LlamaCppBuild, imatrix: Path, tmp_path: Path
) -> None:
    model = sparse_model(spec, tmp_path)
    for file in FILE_TYPES:
        for options in ([], ["--imatrix", str(imatrix)]):
            command = [str(llama_cpp.quantize), *options, "--dry-run", str(model), file]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            check(spec, file, bool(options), done.returncode, done.stdout + done.stderr)


def check(spec: Spec, file: str, imatrix: bool, return_code: int, output: str) -> None:
    if return_code:
        assert "no tensor type fallback is defined" in output, output
        with pytest.raises(UsageError):
            quantize_layout(metadata_of(spec), shapes_of(spec), file, imatrix)
        return
    layout = quantize_layout(metadata_of(spec), shapes_of(spec), file, imatrix)
    theirs = {name: (new or old).upper() for name, old, new in _TENSOR.findall(output)}
    assert theirs == {tensor.name: tensor.type_name for tensor in layout}, (spec.name, file, imatrix)
    size = _SIZE.search(output)
    assert size is not None
    assert sum(tensor.n_bytes for tensor in layout) / 2**20 == pytest.approx(float(size[1]), abs=0.006)
    if not imatrix:
        assert layout_needs_imatrix(layout, file) == ("will require an imatrix" in output)
