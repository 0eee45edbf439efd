"""What each flag of a command does on this machine, in words: for people who want to change one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import DEFAULTS, SAVING_CACHE_TYPE
from llmfit.advisor.units import GIB, format_context

_WITHOUT_VALUE = frozenset(
    {"-kvu", "--swa-full", "-cmoe", "-nkvo", "--no-op-offload", "--no-repack", "--no-mmproj"}
)
_TOLD_TOGETHER = {"-ctk": "-ctv", "-b": "-ub", "--spec-type": "--spec-draft-n-max"}
"""A flag that the next one belongs to: both stand on one line."""


def explained_flags(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """(flag with its value, what it does here), in the order of the command; nothing where there is none."""
    flags = split_flags(judgement.argv or ())
    while flags:
        name, shown = flags.pop(0)
        if flags and _TOLD_TOGETHER.get(name) == flags[0][0]:
            shown = f"{shown} {flags.pop(0)[1]}"
        explain = _TEXTS.get(name)
        yield shown, explain(judgement) if explain else ""


def split_flags(argv: Sequence[str]) -> list[tuple[str, str]]:
    """(name, name with value) of every flag after the program's name."""
    rest = list(argv[1:])
    flags = []
    while rest:
        name = rest.pop(0)
        takes_value = name not in _WITHOUT_VALUE and rest
        flags.append((name, f"{name} {rest.pop(0)}" if takes_value else name))
    return flags


def _file(judgement: Judgement) -> str:
    """A catalogue row without a repository names a file that nobody has yet; every other one is there."""
    model = judgement.model
    is_there = model.source != "catalog" or PurePath(model.launch_args[-1]).is_absolute()
    return "the model file" if is_there else "the model file: write your own path"


def _layers(judgement: Judgement) -> str:
    settings, blocks = judgement.settings, judgement.model.shape.n_layer
    if settings.gpu_layers >= ALL_LAYERS:
        return f"all {blocks} blocks and the output on the GPU"
    if settings.gpu_layers == 0:
        return "no block on a GPU"
    return (
        f"the last {min(settings.gpu_layers, blocks + 1)} of {blocks + 1} layers on the GPU, the rest in RAM"
    )


def _context(judgement: Judgement) -> str:
    tokens = format_context(judgement.settings.context_tokens)
    return f"{tokens} tokens of context: their cache takes {judgement.memory.kv_cache_bytes / GIB:.1f} GiB"


def _slots(judgement: Judgement) -> str:
    slots = judgement.settings.parallel
    return "one conversation at a time" if slots == 1 else f"up to {slots} conversations at a time"


def _flash_attention(judgement: Judgement) -> str:
    if judgement.settings.flash_attn:
        return "flash attention: small buffers, quantised caches possible"
    return "no flash attention: buffers grow with the context"


def _cache_types(judgement: Judgement) -> str:
    bits, plain_bits = (
        CACHE_TYPES[name].bits_per_weight for name in (judgement.settings.cache_type_k, DEFAULTS.cache_type_k)
    )
    size = "exact" if bits >= plain_bits else f"{bits / plain_bits:.0%} of {DEFAULTS.cache_type_k}"
    less_exact = ", less exact" if bits < CACHE_TYPES[SAVING_CACHE_TYPE].bits_per_weight else ""
    return f"KV cache in {judgement.settings.cache_type_k}: {size}{less_exact}"


def _batch(judgement: Judgement) -> str:
    return f"prompts are read {judgement.settings.ubatch} tokens a step; more needs larger buffers"


def _experts(judgement: Judgement) -> str:
    blocks = judgement.model.shape.n_layer
    return f"experts of the first {judgement.settings.n_cpu_moe} of {blocks} blocks in RAM"


_TEXTS: dict[str, Callable[[Judgement], str]] = {
    "-m": _file,
    "-hf": lambda _: "fetched from Hugging Face once, then kept",
    "--device": lambda j: "the cards that take part" if j.settings.devices else "no card takes part",
    "-ngl": _layers,
    "-sm": lambda _: "how the model is split over the cards",
    "-ts": lambda _: "layers for each card, by what is free there",
    "-c": _context,
    "-np": _slots,
    "-kvu": lambda _: "the conversations share one cache",
    "--swa-full": lambda _: "sliding-window layers keep the whole context",
    "-fa": _flash_attention,
    "-ctk": _cache_types,
    "-b": _batch,
    "-cmoe": lambda _: "all experts in RAM, everything else on the GPU",
    "-ncmoe": _experts,
    "-ot": lambda _: "the tensors that match go where the rule says",
    "-nkvo": lambda _: "the KV cache stays in RAM",
    "--no-op-offload": lambda _: "the GPU does not help with weights in RAM",
    "--load-mode": lambda _: "the file is read into RAM, not mapped",
    "--no-repack": lambda _: "the CPU keeps weights as they are in the file",
    "-cram": lambda _: "MiB of RAM for finished prompts, kept for reuse",
    "--spec-type": lambda _: "the model drafts tokens for itself and checks them",
    "--mmproj": lambda _: "the file that lets it see images",
    "--no-mmproj": lambda _: "text only: no projector for images is fetched and loaded",
    "-fit": lambda _: "runs what is shown here: llama.cpp changes nothing",
}
