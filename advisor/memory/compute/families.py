"""What the tensor list of a model does not tell about its graph: one row per architecture that differs.

Read from ``src/models/*.cpp`` of llama.cpp b11434. Norms, biases, gates and shared experts are told by the
tensors themselves; element-wise operations that overwrite their operand cost nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmfit.advisor.memory.compute.feed_forward import Routing

_PLAIN = Routing()
_SIGMOID = Routing("sigmoid")
_DECLARED = Routing("sigmoid", normalised=None)


@dataclass(frozen=True, slots=True)
class Family:
    """``crop``: where rows without an output are dropped: last ``layer``, ``before norm`` or ``after norm``.

    ``gate``: how attention output is gated: ``""``, ``width`` (one value an element), ``head`` (one a head).
    """

    layer_norm: bool = False
    bare_norms: bool = False
    """Norms without weights (olmo)."""
    crop: str = "layer"
    positions: int = 1
    embedding: str = ""
    """``scaled``: token rows are multiplied by a factor of their own; ``scale``: all rows by one."""
    norm_after_rope: bool = False
    norm_without_weight: bool = False
    q_scale: bool = False
    temperature: bool = False
    """Queries are multiplied by a per-token factor."""
    routing: Routing = _PLAIN
    activation_steps: int = 1
    dense_beside_experts: bool = False
    residual_first: str = ""
    """Which sums name the residual first: ``both``, ``second``; it decides whose memory the sum takes."""
    mixed_input: bool = True
    alibi: bool = False
    score_passes: int = 0
    gate: str = ""
    parallel_order: str = "ffn residual attention"
    """With a parallel residual: the order in which the three are summed."""


_DEFAULT = Family()
_AFTER_NORM = Family(crop="after norm")
_MROPE = Family(positions=4)
_DELTA = Family(positions=4, crop="after norm")
_LAYER_NORM = Family(layer_norm=True)

_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("qwen2vl", "qwen3vl", "qwen3vlmoe", "paddleocr", "hunyuan_vl"), _MROPE),
    **dict.fromkeys(("qwen35", "qwen35moe"), _DELTA),
    **dict.fromkeys(
        [
            "starcoder2",
            "gptneox",
            "phi2",
            "command-r",
            "orion",
            "nemotron",
            "stablelm",
            "olmo",
            "falcon",
            "jais2",
            "starcoder",
        ],
        _LAYER_NORM,
    ),
    "falcon": Family(layer_norm=True, parallel_order="ffn attention residual"),
    "phi2": Family(layer_norm=True, q_scale=True, parallel_order="attention ffn residual"),
    "grok": Family(embedding="scale"),
    "cohere2": _LAYER_NORM,
    "cohere2moe": Family(layer_norm=True, routing=_DECLARED),
    "bloom": Family(layer_norm=True, alibi=True),
    "mpt": Family(layer_norm=True, alibi=True),
    "gpt2": _LAYER_NORM,
    "dbrx": Family(layer_norm=True),
    "gemma": Family(embedding="scale", q_scale=True),
    "gemma2": Family(embedding="scale", q_scale=True, score_passes=1),
    "gemma3": Family(embedding="scaled", q_scale=True),
    "gemma3n": Family(embedding="scaled", crop="own"),
    "gemma4": Family(embedding="scaled", crop="after norm"),
    **dict.fromkeys(("granite", "granitemoe", "granitehybrid", "minicpm"), Family(embedding="scale")),
    "afmoe": Family(embedding="scale", routing=_DECLARED, gate="width"),
    "hunyuan-moe": Family(norm_after_rope=True),
    "hunyuan-dense": Family(norm_after_rope=True),
    "gpt-oss": Family(crop="before norm", routing=Routing("softmax of the chosen", normalised=False)),
    "llama4": Family(
        norm_without_weight=True,
        temperature=True,
        routing=Routing("sigmoid", normalised=False, weight_before=True),
    ),
    "deepseek2": Family(routing=_DECLARED),
    "hy_v3": Family(routing=_DECLARED, crop="after norm"),
    **dict.fromkeys(("rwkv6", "rwkv7"), Family(layer_norm=True)),
    "olmo": Family(layer_norm=True, bare_norms=True),
    "maincoder": Family(norm_after_rope=True),
    "phimoe": Family(q_scale=True, residual_first="second"),
    "phi3": Family(q_scale=True, residual_first="second"),
    "mistral4": Family(routing=Routing("softmax", normalised=None, strict_down=True)),
    "glm4moe": Family(routing=_DECLARED),
    "bailingmoe2": Family(routing=_DECLARED),
    "minimax-m2": Family(routing=_SIGMOID),
    "dots1": Family(routing=_DECLARED),
    "exaone-moe": Family(routing=_DECLARED),
    "lfm2moe": Family(routing=_SIGMOID, residual_first="both"),
    "lfm2": Family(residual_first="both"),
    "jamba": Family(residual_first="both", routing=Routing(normalised=False)),
    "kimi-linear": Family(routing=_SIGMOID),
    **dict.fromkeys(("deepseek32", "glm-dsa", "bailingmoe"), Family(routing=_DECLARED)),
    "deepseek": Family(routing=Routing(normalised=False)),
    "mimo2": Family(routing=_SIGMOID),
    "step35": Family(routing=_DECLARED, gate="head", crop="before norm"),
    "laguna": Family(routing=_DECLARED, gate="head"),
    "qwen2moe": Family(routing=Routing(normalised=False)),
    "olmoe": Family(routing=Routing(normalised=False)),
    "nemotron_h": Family(crop="after norm", activation_steps=2),
    "nemotron_h_moe": Family(
        crop="after norm", activation_steps=2, routing=Routing("sigmoid", normalised=None, steps=2)
    ),
    "qwen3next": _AFTER_NORM,
}
FAMILIES: Mapping[str, Family] = MappingProxyType(_FAMILIES)


_CHECKED_NAMES = """
    afmoe apertus arcee baichuan bailingmoe bailingmoe2 bitnet bloom chatglm cohere2 command-r dbrx deepseek
    deepseek2 deepseek32 dots1 ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon falcon-h1 gemma
    gemma2 gemma3 gemma3n gemma4 glm-dsa glm4 glm4moe gpt-oss gptneox granite granite_swa granitehybrid
    granitemoe grok grovemoe hunyuan-dense hunyuan-moe hy_v3 internlm2 jais jais2 jamba kimi-linear
    laguna lfm2 lfm2moe llama llama4 maincoder mamba mamba2 mellum mimo2 minicpm minimax-m2 mistral3
    mistral4 mpt nemotron nemotron_h nemotron_h_moe olmo olmo2 olmoe orion paddleocr pangu-embedded phi2
    phi3 phimoe plamo3 qwen qwen2 qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3vl
    qwen3vlmoe refact rwkv6 rwkv7 seed_oss smollm3 spark2_5 stablelm starcoder2 step35 xverse
"""
CHECKED = frozenset(_CHECKED_NAMES.split())
"""Architectures whose buffers came out byte for byte as llama.cpp's own, in every setting tried."""


def family_of(architecture: str) -> Family:
    return FAMILIES.get(architecture, _DEFAULT)
