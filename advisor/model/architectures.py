"""What is known of each llama.cpp architecture: its attention pattern, its state, or why it is not modelled.

One row per name of ``general.architecture`` (llama.cpp b11434, ``src/llama-arch.cpp``). Every row was read
from ``load_arch_hparams`` in ``src/models/*.cpp`` and ``create_memory`` in ``src/llama-model.cpp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How llama.cpp decides which layers see a sliding window, and how wide it is.

    ``default_tokens`` holds without the key ``attention.sliding_window`` (0: no window then).
    ``fixed_tokens`` overrides the key's value. ``period``: layer ``il`` is windowed if
    ``il % period < period - 1``, or with ``dense_first`` if ``il % period != 0``; 0 means that the file must
    carry the pattern itself.
    """

    period: int
    dense_first: bool = False
    default_tokens: int = 0
    fixed_tokens: int | None = None
    only_n_layer: int | None = None
    all_attention_layers: bool = False


@dataclass(frozen=True, slots=True)
class ArchitectureRule:
    """``recurrent``: which layers keep a state: ``none``, ``all``, ``every layer too`` (with attention),
    ``no kv heads``, ``no kv heads, no ffn`` or ``interval``. ``state``: what the state is made of.
    ``rope``: which attention layers rotate: ``all``, ``none``, ``windowed``, ``not every 4th``,
    ``not first of 4`` or ``if finetuned``.
    """

    window: WindowRule | None = None
    recurrent: str = "none"
    state: str = ""
    rope: str = "all"
    parallel_residual: bool = False
    indexer: bool = False
    n_layer_kv: int | None = None


def _words(text: str) -> list[str]:
    return text.split()


_PLAIN = ArchitectureRule()
_NO_ROPE = ArchitectureRule(rope="none")
_PARALLEL = ArchitectureRule(parallel_residual=True)
_DELTA_NET = ArchitectureRule(recurrent="interval", state="delta net")
_KDA = ArchitectureRule(recurrent="no kv heads", state="kda", rope="none")
_NEMOTRON_H = ArchitectureRule(recurrent="no kv heads, no ffn", state="mamba2", rope="none")
_RWKV = ArchitectureRule(recurrent="all", state="rwkv", rope="none")
_INDEXER = ArchitectureRule(indexer=True)

_PLAIN_NAMES = _words(
    """
    llama deci grok starcoder2 qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe phi3 phimoe plamo
    orion internlm2 minicpm minicpm3 gemma xverse dbrx olmo olmoe openelm arctic deepseek deepseek2
    deepseek2-ocr chatglm glm4 glm4moe bitnet jais2 nemotron exaone granitemoe chameleon bailingmoe
    bailingmoe2 dots1 arcee ernie4_5 ernie4_5-moe hunyuan-moe hunyuan-dense hunyuan_vl hy_v3 seed_oss grovemoe
    apertus minimax-m2 cogvlm pangu-embedded mistral3 mistral4 paddleocr maincoder talkie baichuan
    """
)

_RULES: dict[str, ArchitectureRule] = {
    **dict.fromkeys(_PLAIN_NAMES, _PLAIN),
    **dict.fromkeys(("gpt2", "mpt", "starcoder", "refact", "bloom", "jais"), _NO_ROPE),
    **dict.fromkeys(("falcon", "gptneox", "phi2", "stablelm", "command-r"), _PARALLEL),
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), _DELTA_NET),
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), _NEMOTRON_H),
    **dict.fromkeys(("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), _RWKV),
    **dict.fromkeys(("deepseek32", "glm-dsa"), _INDEXER),
    "granite": ArchitectureRule(rope="if finetuned"),
    "smollm3": ArchitectureRule(rope="not every 4th"),
    "gemma2": ArchitectureRule(WindowRule(2, default_tokens=4096)),
    "gemma3": ArchitectureRule(WindowRule(6)),
    "gemma3n": ArchitectureRule(WindowRule(5), n_layer_kv=20),
    "gemma4": ArchitectureRule(WindowRule(0)),
    "cohere2": ArchitectureRule(WindowRule(4), rope="windowed", parallel_residual=True),
    "cohere2moe": ArchitectureRule(WindowRule(4, dense_first=True), rope="windowed", parallel_residual=True),
    "olmo2": ArchitectureRule(WindowRule(4)),
    "exaone4": ArchitectureRule(WindowRule(4, default_tokens=4096, only_n_layer=64), rope="windowed"),
    "exaone-moe": ArchitectureRule(WindowRule(4, default_tokens=128), rope="windowed"),
    "gpt-oss": ArchitectureRule(WindowRule(2)),
    "llama4": ArchitectureRule(WindowRule(4, default_tokens=8192, fixed_tokens=8192), rope="not every 4th"),
    "smallthinker": ArchitectureRule(
        WindowRule(4, dense_first=True, fixed_tokens=4096), rope="not first of 4"
    ),
    "afmoe": ArchitectureRule(WindowRule(4), rope="not every 4th"),
    "laguna": ArchitectureRule(WindowRule(4, dense_first=True)),
    "mellum": ArchitectureRule(WindowRule(4)),
    "plamo3": ArchitectureRule(WindowRule(8)),
    "muse-glimmer": ArchitectureRule(WindowRule(4), rope="windowed"),
    "mimo2": ArchitectureRule(WindowRule(0)),
    "step35": ArchitectureRule(WindowRule(0)),
    "spark2_5": ArchitectureRule(WindowRule(0)),
    "maple": ArchitectureRule(WindowRule(0)),
    "granite_swa": ArchitectureRule(WindowRule(0)),
    "mamba": ArchitectureRule(recurrent="all", state="mamba", rope="none"),
    "mamba2": ArchitectureRule(recurrent="all", state="mamba2", rope="none"),
    "jamba": ArchitectureRule(recurrent="no kv heads", state="mamba", rope="none"),
    "plamo2": ArchitectureRule(recurrent="no kv heads", state="plamo2"),
    "granitehybrid": ArchitectureRule(recurrent="no kv heads", state="mamba2", rope="if finetuned"),
    "falcon-h1": ArchitectureRule(recurrent="every layer too", state="mamba2"),
    "lfm2": ArchitectureRule(
        WindowRule(0, all_attention_layers=True), recurrent="no kv heads", state="shortconv"
    ),
    "lfm2moe": ArchitectureRule(recurrent="no kv heads", state="shortconv"),
    "kimi-linear": _KDA,
    "minimax-01": ArchitectureRule(recurrent="interval", state="lightning"),
}
ARCHITECTURES: Mapping[str, ArchitectureRule] = MappingProxyType(_RULES)

NOT_MODELLED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            _words("""
            bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert
            gemma-embedding llama-embed t5encoder clef"""),
            "it computes embeddings or scores and keeps no KV cache",
        ),
        **dict.fromkeys(
            _words("dream llada llada-moe rnd1"),
            "it is a diffusion language model without a KV cache, which llama-server does not serve",
        ),
        **dict.fromkeys(
            _words("eagle3 dflash gemma4-assistant"),
            "it is a draft model whose cache depends on the model it drafts for",
        ),
        **dict.fromkeys(
            _words("clip wavtokenizer-dec qwen3tts pockettts"),
            "it is a vision or speech part, not a text model",
        ),
        "t5": "it has an encoder and a decoder with cross attention",
        "gptj": "llama.cpp names it but has no loader for it",
        "graniteswitch": "its adapter router keeps an extra layer whose memory was not read",
        "hrm_text": "its looped layer stacks were not read",
        "nanbeige": "its looped layers were not read",
        "bailingmoe3": "its mixture of linear attention and MLA with draft layers was not checked",
        "kimi-k3": "its latent experts and attention residuals were not checked",
        "glm5-next": "its pooled sparse-attention index was not checked",
        "qwen4exp": "its pooled sparse-attention index and n-gram embeddings were not checked",
        "minimax-m3": "its compute buffers for block-sparse attention were not replayed",
        "plm": "its cache was not checked",
        "codeshell": "its token embedding lies under the output's name, which was not followed",
        "deepseek4": "its compressed caches were not checked",
        "dots3note": "its windowed sparse-attention caches were not checked",
        "hy_v4": "its sparse attention with hyper connections was not checked",
    }
)
