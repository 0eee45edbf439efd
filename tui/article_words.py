"""The article's facts in words: the command line and the app say them alike, because both take them from here."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.memory.fitting import FITS_CPU, FITS_GPU, FITS_OFFLOAD
from llmfit.advisor.recommend.article.values import Architecture, Article
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import Loss, Quality, ReducedQuality
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context, format_gib

_REASONING = {
    "always": "always thinks before it answers",
    "hybrid": "thinking can be switched off",
    "effort": "thinking from low to high effort",
    "never": "answers without thinking first",
}
_TOOLS = {"native": "calls tools", "prompt": "calls tools by prompt only", "none": "calls no tools"}
_BILLION = 1e9


def billions_text(n_parameters: int) -> str:
    """``309 billion``, ``30.5 billion``, ``0.6 billion``."""
    billions = n_parameters / _BILLION
    return f"{billions:.0f} billion" if billions >= 100 else f"{billions:.1f} billion"


def about_sentences(article: Article) -> Iterator[str]:
    """What the model is: parameters, layers, training, licence, abilities; what nobody knows is left out."""
    about, built = article.about, article.architecture
    yield f"{_parameters_text(built)}."
    yield f"{_layers_text(built)}."
    facts = [f"Trained for {format_context(built.context_train_tokens)} of context"]
    facts.append(f"licence {about.license}" if about.license else "licence not known")
    if about.released:
        facts.append(f"released {about.released}")
    if about.family:
        facts.append(f"family {about.family}")
    yield f"{printable('; '.join(facts))}."
    manners = [_REASONING.get(about.reasoning or "", ""), _TOOLS.get(about.tool_use or "", "")]
    reads = ", ".join(about.modalities)
    known = [f"takes {reads}" if reads else "", *manners]
    if any(known):
        text = "; ".join(part for part in known if part)
        yield f"{printable(text[0].upper() + text[1:])}."


def _parameters_text(built: Architecture) -> str:
    text = f"{billions_text(built.n_parameters)} parameters"
    if built.is_moe:
        active = built.n_active_parameters
        read = (
            ""
            if active is None
            else f", {billions_text(active).removesuffix(' billion')} of them read a token"
        )
        return f"{text}{read}: a mixture of {built.n_experts} experts, {built.n_experts_used} used at a time"
    return f"{text}, all of them read for each token (dense)"


def _layers_text(built: Architecture) -> str:
    parts = []
    for kind, count in built.layers:
        window = f" of {built.window_tokens} tokens" if kind == "sliding window" else ""
        latent = (
            " (MLA: one compressed row for all heads)" if built.has_latent_cache and "full" in kind else ""
        )
        each = "all" if count == built.n_layers and len(built.layers) == 1 else str(count)
        parts.append(f"{each} with {'a ' if window else ''}{kind}{window}{latent}")
    return f"{built.n_layers} layers, {', '.join(parts)} (llama.cpp: {printable(built.name)})"


def verdict_words(judgement: Judgement) -> str:
    """Short enough for a table: ``on GPU``, ``on 2 GPUs``, ``31.3 GiB in RAM``, ``66.9 GiB short``."""
    if judgement.verdict == FITS_GPU:
        count = len(judgement.settings.devices)
        return "on GPU" if count == 1 else f"on {count} GPUs"
    if judgement.verdict == FITS_OFFLOAD:
        return f"{format_gib(judgement.memory.host.weights_bytes)} in RAM"
    if judgement.verdict == FITS_CPU:
        return "on the CPU"
    return f"{format_gib(judgement.shortfall_bytes)} short"


def loss_words(loss: Loss | None) -> str:
    """``0``, ``<1``, ``1-5`` points for a table; ``?`` where nobody measured."""
    if loss is None:
        return "?"
    band = loss.band_text.removesuffix("s").removesuffix(" point")
    known = {"nothing": "0", "less than a": "<1"}
    return known.get(band) or band.replace("up to ", "0-").replace(" to ", "-")


def quality_text(quality: Quality) -> str:
    """``77 of 100 (80 % interval 72 to 82)``."""
    return f"{quality.score:.0f} of 100 (80 % interval {quality.low:.0f} to {quality.high:.0f})"


def reduced_text(quality: ReducedQuality) -> str:
    return f"{quality.score:.0f} ({quality.low:.0f} to {quality.high:.0f})"
