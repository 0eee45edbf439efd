"""Which type each kind of tensor gets in each file type: the rules of llama-quantize as tables.

Source: llama.cpp b11434, src/llama-quant.cpp: tensor_get_category, tensor_allows_quantization,
llama_tensor_get_type_impl, tensor_type_fallback, tensor_requires_imatrix. ``mixing`` walks the tensors in
llama-quantize's order and asks these rules about each.

A *kind* is a tensor name with its block number taken out (``blk.N.attn_v.weight``), so that a model with a
thousand tensors asks the name rules some dozen times.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.quantization import TENSOR_TYPES, FileType


class Role(Enum):
    """What a tensor does, as far as its quantisation depends on it."""

    OUTPUT = auto()
    TOKEN_EMBD = auto()
    VALUE = auto()
    """attn_v, and the fused attn_qkv and attn_kv_b, which are treated like it."""
    KEY = auto()
    QUERY = auto()
    ATTN_OUTPUT = auto()
    UP = auto()
    GATE = auto()
    DOWN = auto()
    OTHER = auto()


_ROLES = (
    ("attn_qkv.weight", Role.VALUE),
    ("attn_kv_b.weight", Role.VALUE),
    ("attn_v.weight", Role.VALUE),
    ("attn_k.weight", Role.KEY),
    ("attn_q.weight", Role.QUERY),
    ("attn_output.weight", Role.ATTN_OUTPUT),
    ("ffn_up", Role.UP),
    ("ffn_gate", Role.GATE),
    ("ffn_down", Role.DOWN),
)

# Parts of names that keep their source type. The list is llama.cpp's own, grouped as there.
_KEPT_PARTS = (
    *("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight"),
    *("altup", "laurel", "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight"),
    *("indexer.k_proj.weight", "indexer.q_proj.weight", "attn_rel_b.weight"),
    *(f"time_mix_{part}.weight" for part in ("first", "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2")),
    *(f"time_mix_{part}.weight" for part in ("g1", "g2", "decay_w1", "decay_w2", "lerp_fused")),
    *(".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger"),
    *("a.rvq.codebook", "mm.a.code_embd"),
)
_KEPT_NAMES = frozenset({"position_embd.weight", "token_types.weight"})
_KEPT_PARTS_GLM5_NEXT = (
    *("hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate"),
    *("indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight"),
    *("ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight"),
)
_GLM5_NEXT_Q8_PARTS = ("attn_q_a", "attn_q_b", "nextn.eh_proj")

_VERY_LOW = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
"""File types with a set of rules of their own."""
_Q5_OUTPUT = _VERY_LOW | {"IQ3_XXS"}
_TOKEN_EMBD = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}
_VALUE_ALWAYS = {"IQ3_M": "Q4_K", "Q3_K_L": "Q5_K"}
_VALUE_SHARED = {
    **dict.fromkeys(("Q2_K", "Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"), "Q4_K"),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "Q5_K"),
}
"""Where four or more heads share a value head, the tensor is small and important."""
_QUERY_KEY = {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}
_ATTN_OUTPUT = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
_ATTN_OUTPUT_8_EXPERTS_Q5 = frozenset(
    {
        "Q2_K",
        "IQ3_XS",
        "IQ3_XXS",
        "Q3_K_S",
        "Q3_K_M",
        "IQ4_NL",
        "Q4_K_S",
        "Q4_K_M",
        "IQ3_S",
        "IQ3_M",
        "IQ4_XS",
    }
)
_DOWN_ALWAYS = {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}
_DOWN_FIRST_EIGHTH = {"Q2_K_S": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_S": "Q5_K"}
_DOWN_FIRST_EIGHTH_IMATRIX = {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}
_DOWN_FIRST_EIGHTH_NO_IMATRIX = {"IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K", "IQ3_XXS": "Q4_K"}

_FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_NEEDS_IMATRIX = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})
_EMBEDDINGS = frozenset({"token_embd.weight", "per_layer_token_embd.weight"})


@lru_cache(maxsize=2048)
def role(kind: str) -> Role:
    """tensor_get_category."""
    if kind == "output.weight":
        return Role.OUTPUT
    if kind in _EMBEDDINGS:
        return Role.TOKEN_EMBD
    return next((found for part, found in _ROLES if part in kind), Role.OTHER)


@lru_cache(maxsize=2048)
def name_allows_quantization(kind: str, architecture: str) -> bool:
    """The name rules of tensor_allows_quantization; it asks for two dimensions as well."""
    if not kind.endswith("weight") or kind in _KEPT_NAMES:
        return False
    kept = _KEPT_PARTS + (_KEPT_PARTS_GLM5_NEXT if architecture == "glm5-next" else ())
    return not any(part in kind for part in kept)


def requires_imatrix(name: str, type_name: str, file_type: str) -> bool:
    """tensor_requires_imatrix: without one, llama-quantize refuses to write such a tensor."""
    if name == "output.weight" or name in _EMBEDDINGS:
        return False
    return type_name in _NEEDS_IMATRIX or (type_name == "Q2_K" and file_type == "Q2_K_S")


def fallback(type_name: str, row_elements: int) -> str:
    """The type that fits a row which is no whole number of blocks (tensor_type_fallback).

    Raises UsageError where llama-quantize gives up.
    """
    block = TENSOR_TYPES[type_name].block_elements
    if row_elements % block == 0:
        return type_name
    smaller = _FALLBACK.get(type_name, type_name if block <= 32 else None)
    if smaller is None:
        why = f"llama-quantize cannot write rows of {row_elements} elements in it and has no substitute"
        raise UsageError(f"quantization {type_name}", why, "Choose another quantization.")
    return smaller if row_elements % TENSOR_TYPES[smaller].block_elements == 0 else "F16"


def _more_bits(layer: int, n_layer: int) -> bool:
    """use_more_bits: the first and last eighth of the layers and every third between."""
    first = n_layer // 8
    return layer < first or layer >= 7 * n_layer // 8 or (layer - first) % 3 == 2


@dataclass(slots=True)
class Mixer:
    """The choice for one file. It counts the tensors it is asked about: some rules go by that count.

    ``n_expert`` is 0 in dense models; ``n_value`` the number of VALUE tensors in the file.
    """

    file: FileType
    architecture: str
    n_layer: int
    n_expert: int
    n_gqa: int
    is_70b: bool
    tied_embeddings: bool
    imatrix: bool
    n_value: int
    i_value: int = 0
    i_down: int = 0
    i_gate: int = 0
    i_up: int = 0

    def type_for(self, kind: str, layer: int, dims: tuple[int, ...]) -> str:
        """llama_tensor_get_type_impl for a tensor that may be quantised, before the fallback for odd rows.

        ``layer`` is -1 outside the blocks. Raises UsageError where llama-quantize gives up.
        """
        what = role(kind)
        name = self.file.name
        if self.architecture == "glm5-next" and any(part in kind for part in _GLM5_NEXT_Q8_PARTS):
            return "Q8_0"
        if what is Role.OUTPUT or (what is Role.TOKEN_EMBD and self.tied_embeddings):
            return self._output(dims[0])
        if name == "MXFP4_MOE":
            return self._mxfp4_moe(what, dims)
        if what is Role.TOKEN_EMBD:
            return _TOKEN_EMBD.get(name, self.file.base_type)
        if name in _VERY_LOW:
            return self._very_low(what)
        return self._common(what, layer)

    def _output(self, row_elements: int) -> str:
        base = self.file.base_type
        odd = row_elements % TENSOR_TYPES[base].block_elements != 0
        if self.file.name == "MXFP4_MOE" or self.architecture == "falcon" or odd:
            return "Q8_0"
        if self.file.name in _Q5_OUTPUT:
            return "Q5_K"
        return "Q8_0" if base == "Q8_0" else "Q6_K"

    def _mxfp4_moe(self, what: Role, dims: tuple[int, ...]) -> str:
        stacked = len(dims) > 2 and dims[2] > 1
        ffn = what in (Role.UP, Role.GATE, Role.DOWN)
        return "MXFP4" if stacked and (ffn or self.architecture != "bailingmoe3") else "Q8_0"

    def _very_low(self, what: Role) -> str:
        name, base = self.file.name, self.file.base_type
        is_iq2_s_or_m = name in ("IQ2_S", "IQ2_M")
        better = "IQ3_S" if is_iq2_s_or_m else "Q2_K"
        if what is Role.VALUE:
            return "Q4_K" if self.n_gqa >= 4 or self.n_expert >= 4 else better
        if what is Role.KEY and self.n_expert == 8:
            return "Q4_K"
        if what is Role.DOWN:
            self.i_down += 1
            return better if self.i_down <= self.n_layer // 8 else base
        if what is Role.ATTN_OUTPUT:
            if self.n_expert == 8:
                return "Q5_K"
            return "IQ3_S" if is_iq2_s_or_m else "IQ2_XXS" if name in ("IQ1_S", "IQ1_M") else base
        return base

    def _common(self, what: Role, layer: int) -> str:
        base = self.file.base_type
        if what is Role.VALUE:
            return self._value()
        if what is Role.DOWN:
            self.i_down += 1
            return self._down(self._layer(layer, self.i_down - 1))
        if what is Role.KEY and self.n_expert == 8:
            return "Q8_0"
        if what in (Role.KEY, Role.QUERY):
            return _QUERY_KEY.get(self.file.name, base)
        if what is Role.ATTN_OUTPUT:
            return self._attn_output()
        if what is Role.GATE:
            self.i_gate += 1
            return self._gate_or_up(self._layer(layer, self.i_gate - 1))
        if what is Role.UP:
            self.i_up += 1
            return self._gate_or_up(self._layer(layer, self.i_up - 1))
        return base

    def _layer(self, layer: int, count: int) -> int:
        """layer_info: dense models count the tensors; models with experts have several in a layer."""
        if self.n_expert <= 1:
            return count
        if not 0 <= layer < self.n_layer:
            raise UsageError("model tensors", f"a feed-forward tensor outside the {self.n_layer} blocks")
        return layer

    def _value(self) -> str:
        count = self.i_value
        self.i_value += 1
        if self.n_expert == 8:
            return "Q8_0"
        chosen = self._value_by_file(count)
        return "Q5_K" if self.is_70b and chosen in ("Q3_K", "Q4_K") else chosen

    def _value_by_file(self, count: int) -> str:
        name, base = self.file.name, self.file.base_type
        if name in _VALUE_ALWAYS:
            return _VALUE_ALWAYS[name]
        if self.n_gqa >= 4 and name in _VALUE_SHARED:
            return _VALUE_SHARED[name]
        if name == "Q2_K":
            return "Q3_K"
        if name == "IQ3_XXS":
            return base if self.imatrix else "IQ3_S"
        if name == "Q3_K_M":
            return "Q5_K" if count < 2 else "Q4_K"
        if name in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if _more_bits(count, self.n_value) else base
        if name == "Q4_K_S":
            return "Q5_K" if count < 4 else base
        return base

    def _down(self, layer: int) -> str:
        name, base = self.file.name, self.file.base_type
        if self.architecture == "falcon" and name in ("Q3_K_M", "Q3_K_L", "Q4_K_M", "Q4_K_S"):
            return self._down_falcon(layer)
        if name in _DOWN_ALWAYS:
            return _DOWN_ALWAYS[name]
        if name == "Q3_K_M":
            return "Q5_K" if layer < self.n_layer // 16 else "Q4_K"
        if name in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if _more_bits(layer, self.n_layer) else base
        if layer < self.n_layer // 8:
            by_imatrix = _DOWN_FIRST_EIGHTH_IMATRIX if self.imatrix else _DOWN_FIRST_EIGHTH_NO_IMATRIX
            return _DOWN_FIRST_EIGHTH.get(name) or by_imatrix.get(name, base)
        if name == "IQ3_XXS" and not self.imatrix:
            return "Q3_K"
        if name == "IQ3_M" and self.n_expert == 8 and _more_bits(layer, self.n_layer):
            return "Q4_K"
        return base

    def _down_falcon(self, layer: int) -> str:
        name, base = self.file.name, self.file.base_type
        first, more = layer < self.n_layer // 16, _more_bits(layer, self.n_layer)
        if name == "Q3_K_M":
            return "Q5_K" if first else "Q4_K" if more else base
        if name == "Q4_K_M":
            return "Q6_K" if first else "Q5_K" if more else base
        return "Q4_K" if name == "Q3_K_L" else base

    def _attn_output(self) -> str:
        name, base = self.file.name, self.file.base_type
        if self.architecture == "falcon":
            return "Q4_K" if name == "Q3_K_L" else base
        if self.n_expert == 8:
            return "Q5_K" if name in _ATTN_OUTPUT_8_EXPERTS_Q5 else base
        return _ATTN_OUTPUT.get(name, base)

    def _gate_or_up(self, layer: int) -> str:
        middle = self.n_layer // 8 <= layer < 7 * self.n_layer // 8
        return "IQ3_XXS" if self.file.name == "IQ3_XS" and middle else self.file.base_type
