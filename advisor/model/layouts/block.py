"""What a plan draws with: the numbers of a model, and a block that collects tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.header_values import HeaderValues
from llmfit.advisor.model.tensors import TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """What the tensors depend on and the metadata of a header does not say."""

    vocab_size: int
    """Rows of ``token_embd``; a real header says it by the length of its token list only."""
    tied_embeddings: bool = False
    """There is no ``output.weight``: the embedding is the output matrix, too."""
    qkv_bias: bool = False
    fused_qkv: bool = False
    """``attn_qkv`` instead of three matrices, where an architecture has both."""
    qk_norm: str | None = None
    """``head`` where some models of an architecture have head norms and others have none (glm4moe)."""
    rope_factors: int = 0
    """Elements of ``rope_freqs``, or of each of ``rope_factors_long`` and ``_short``; 0: no such tensor."""
    expert_bias: bool = False
    """Routers have a selection bias, where an architecture leaves it open (deepseek2, ernie4_5-moe)."""
    fused_experts: bool = False
    """``ffn_gate_up_exps`` instead of gate and up experts."""
    state_norm: bool = True
    """Mamba blocks have an inner norm, where an architecture leaves it open (falcon-h1)."""
    value_is_key: bool = False
    """Full-attention layers have no V matrix (gemma4)."""
    layer_scales: bool = True
    """Blocks have output and expert scales (gemma4; files of early converters lack them)."""
    nextn_embeddings: bool = False
    """MTP blocks hold their own copy of the embedding …"""
    nextn_head: bool = False
    """… and of the output matrix."""

    @staticmethod
    def from_row(row: Mapping[str, object]) -> LayoutOptions:
        """The options of a catalogue row. Raises UsageError for a name that is no option."""
        known = {field.name for field in fields(LayoutOptions)}
        if unknown := sorted(row.keys() - known):
            raise UsageError(f"layout option {unknown[0]!r}", "there is no such option")
        if "vocab_size" not in row:
            raise UsageError("layout options", "vocab_size is missing")
        return LayoutOptions(**cast("dict[str, Any]", dict(row)))


class Numbers:
    """The numbers that every plan needs, read once, and the header for the others."""

    __slots__ = ("header", "n_all", "n_embd", "n_ff", "n_head", "n_head_kv", "n_layer", "n_vocab", "options")

    def __init__(self, metadata: Mapping[str, object], options: LayoutOptions) -> None:
        header = HeaderValues(metadata)
        self.header = header
        self.options = options
        self.n_vocab = options.vocab_size
        self.n_embd = header.integer("embedding_length")
        self.n_all = header.integer("block_count")
        self.n_layer = self.n_all - header.integer("nextn_predict_layers", 0)
        self.n_ff = header.per_layer("feed_forward_length", self.n_all, 0)
        self.n_head = header.per_layer("attention.head_count", self.n_all, 0)
        has_kv = header.has("attention.head_count_kv")
        self.n_head_kv = header.per_layer("attention.head_count_kv", self.n_all) if has_kv else self.n_head

    def head_dim(self, which: str) -> int:
        """Width of a ``key`` or ``value`` head (llama.cpp: n_embd / n_head without the key)."""
        heads = self.n_head[0]
        return self.header.integer(f"attention.{which}_length", self.n_embd // heads if heads else 0)

    @property
    def n_ff_expert(self) -> int:
        """``expert_feed_forward_length``, or the plain one where the experts use that."""
        return self.header.integer("expert_feed_forward_length", 0) or max(self.n_ff)


class Block:
    """Collects the tensors of one block, or (``layer`` -1) those outside the blocks."""

    __slots__ = ("layer", "numbers", "prefix", "tensors")

    def __init__(self, numbers: Numbers, layer: int) -> None:
        self.numbers = numbers
        self.layer = layer
        self.prefix = "" if layer < 0 else f"blk.{layer}."
        self.tensors: list[TensorShape] = []

    def raw(self, name: str, *dims: int) -> None:
        """A tensor whose name ends otherwise than in ``.weight`` or ``.bias``."""
        self.tensors.append(TensorShape(self.prefix + name, dims))

    def weight(self, name: str, *dims: int) -> None:
        self.tensors.append(TensorShape(f"{self.prefix}{name}.weight", dims))

    def bias(self, name: str, *dims: int) -> None:
        self.tensors.append(TensorShape(f"{self.prefix}{name}.bias", dims))

    def norms(self, *names: str) -> None:
        for name in names:
            self.weight(name, self.numbers.n_embd)

    @property
    def is_nextn(self) -> bool:
        return self.layer >= self.numbers.n_layer

    @property
    def n_head(self) -> int:
        return self.numbers.n_head[self.layer]

    @property
    def n_head_kv(self) -> int:
        return self.numbers.n_head_kv[self.layer]

    @property
    def n_ff(self) -> int:
        return self.numbers.n_ff[self.layer]


Part = Callable[[Block], None]
"""Draws some tensors of a block."""
Question = Callable[[Block], bool]


def nothing(block: Block) -> None:
    """A part without tensors."""


def either(question: Question, yes: Part, no: Part) -> Part:
    """One part or another, block by block."""

    def draw(block: Block) -> None:
        (yes if question(block) else no)(block)

    return draw


def together(*parts: Part) -> Part:
    def draw(block: Block) -> None:
        for part in parts:
            part(block)

    return draw


def is_nextn(block: Block) -> bool:
    return block.is_nextn


def has_kv_heads(block: Block) -> bool:
    return block.n_head_kv > 0


def is_windowed(block: Block) -> bool:
    """The pattern array of the header says that the layer sees a window only."""
    pattern = block.numbers.header.array("attention.sliding_window_pattern")
    return bool(pattern[block.layer]) if pattern else False
