"""Small models with a real vocabulary and weights of zero: llama-server loads them and answers (nonsense).

Files are sparse: they cost no disk, and in RAM what a real load copies there.
"""

from __future__ import annotations

from pathlib import Path

from tests.advisor.model.gguf_builder import ARRAY, INT32, TensorInfo, Typed, build

N_VOCAB = 8192
N_EMBD = 1024


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes (bytes_to_unicode)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    extra = 0
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + extra)
            extra += 1
    return [letters[byte] for byte in range(256)]


def _vocabulary() -> dict[str, object]:
    tokens = _byte_letters()
    tokens += [f"<unused{index}>" for index in range(N_VOCAB - len(tokens))]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Typed(ARRAY, [1] * N_VOCAB, INT32),
        "tokenizer.ggml.merges": ["h e", "l l"],
        "tokenizer.ggml.bos_token_id": N_VOCAB - 2,
        "tokenizer.ggml.eos_token_id": N_VOCAB - 1,
    }


def _metadata(architecture: str, n_layer: int, **more: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "block_count": n_layer,
        "context_length": 32768,
        "embedding_length": N_EMBD,
        "feed_forward_length": 2816,
        "attention.head_count": 16,
        "attention.head_count_kv": 4,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 64,
        **more,
    }
    metadata: dict[str, object] = {"general.architecture": architecture, "general.file_type": 7}
    metadata |= {f"{architecture}.{key}": value for key, value in plain.items()}
    return metadata | _vocabulary()


def _attention(block: int) -> list[TensorInfo]:
    return [
        TensorInfo(f"blk.{block}.attn_norm.weight", (N_EMBD,)),
        TensorInfo(f"blk.{block}.attn_q.weight", (N_EMBD, N_EMBD), "Q8_0"),
        TensorInfo(f"blk.{block}.attn_k.weight", (N_EMBD, 256), "Q8_0"),
        TensorInfo(f"blk.{block}.attn_v.weight", (N_EMBD, 256), "Q8_0"),
        TensorInfo(f"blk.{block}.attn_output.weight", (N_EMBD, N_EMBD), "Q8_0"),
        TensorInfo(f"blk.{block}.ffn_norm.weight", (N_EMBD,)),
    ]


def _model(blocks: list[list[TensorInfo]]) -> list[TensorInfo]:
    tensors = [TensorInfo("token_embd.weight", (N_EMBD, N_VOCAB), "Q8_0")]
    for block in blocks:
        tensors += block
    return [
        *tensors,
        TensorInfo("output_norm.weight", (N_EMBD,)),
        TensorInfo("output.weight", (N_EMBD, N_VOCAB), "Q8_0"),
    ]


def write_dense(folder: Path, n_layer: int = 24) -> Path:
    """A llama of about 300 MB."""
    blocks = [
        [
            *_attention(block),
            TensorInfo(f"blk.{block}.ffn_gate.weight", (N_EMBD, 2816), "Q8_0"),
            TensorInfo(f"blk.{block}.ffn_up.weight", (N_EMBD, 2816), "Q8_0"),
            TensorInfo(f"blk.{block}.ffn_down.weight", (2816, N_EMBD), "Q8_0"),
        ]
        for block in range(n_layer)
    ]
    return _write(folder / "dense.gguf", _metadata("llama", n_layer), _model(blocks))


def write_moe(folder: Path, n_layer: int = 16, n_expert: int = 16) -> Path:
    """A qwen3moe of about 480 MB, nearly all of it experts."""
    width = 512
    blocks = [
        [
            *_attention(block),
            TensorInfo(f"blk.{block}.attn_q_norm.weight", (64,)),
            TensorInfo(f"blk.{block}.attn_k_norm.weight", (64,)),
            TensorInfo(f"blk.{block}.ffn_gate_inp.weight", (N_EMBD, n_expert)),
            TensorInfo(f"blk.{block}.ffn_gate_exps.weight", (N_EMBD, width, n_expert), "Q8_0"),
            TensorInfo(f"blk.{block}.ffn_up_exps.weight", (N_EMBD, width, n_expert), "Q8_0"),
            TensorInfo(f"blk.{block}.ffn_down_exps.weight", (width, N_EMBD, n_expert), "Q8_0"),
        ]
        for block in range(n_layer)
    ]
    metadata = _metadata(
        "qwen3moe",
        n_layer,
        **{
            "expert_count": n_expert,
            "expert_used_count": 4,
            "expert_feed_forward_length": width,
            "attention.key_length": 64,
            "attention.value_length": 64,
        },
    )
    return _write(folder / "moe.gguf", metadata, _model(blocks))


def _write(path: Path, metadata: dict[str, object], tensors: list[TensorInfo]) -> Path:
    from tests.advisor.model.gguf_builder import tensor_list

    head = build(metadata, tensors, with_data=False)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + tensor_list(tensors)[1])
    return path
