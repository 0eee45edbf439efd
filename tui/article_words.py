"""The article's facts in words: the command line and the app say them alike, both take them from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import FITS_CPU, FITS_GPU, FITS_OFFLOAD
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.values import Architecture, Article, Knowledge, Need, QuantRow
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import Loss, Quality, ReducedQuality
from llmfit.advisor.units import GB, GIB, format_context, format_gib, two_figures
from llmfit.tui.cli.render import VERDICT_GLYPH
from llmfit.tui.labels import short_gpu_name
from llmfit.tui.speed_words import depth_text, seconds_text, speed_text

USUAL_PROMPT_TOKENS = 8192
MUCH_FASTER = 1.5
"""A smaller gain in reading prompts is not worth a sentence."""
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
    yield f"{'; '.join(facts)}."
    manners = [_REASONING.get(about.reasoning or "", ""), _TOOLS.get(about.tool_use or "", "")]
    reads = ", ".join(about.modalities)
    known = [f"takes {reads}" if reads else "", *manners]
    if any(known):
        text = "; ".join(part for part in known if part)
        yield f"{text[0].upper() + text[1:]}."


def _parameters_text(built: Architecture) -> str:
    text = f"{billions_text(built.n_parameters)} parameters"
    if built.is_moe:
        active = built.n_active_parameters
        read = "" if active is None else f", {billions_text(active)} of them read for each token"
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
    return f"{built.n_layers} layers, {', '.join(parts)} (llama.cpp: {built.name})"


def verdict_words(judgement: Judgement) -> str:
    """Short enough for a table: ``on GPU``, ``on 2 GPUs``, ``31.3 GiB in RAM``, ``66.9 GiB short``."""
    if judgement.verdict == FITS_GPU:
        count = len(judgement.settings.devices)
        return "on GPU" if count == 1 else f"on {count} GPUs"
    if judgement.verdict == FITS_OFFLOAD:
        host = judgement.memory.host
        return f"{format_gib(host.weights_bytes + host.kv_cache_bytes)} in RAM"
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


def quality_text(quality: Quality | ReducedQuality) -> str:
    """``77 of 100 (80 % interval 72 to 82)``."""
    return f"{quality.score:.0f} of 100 (80 % interval {quality.low:.0f} to {quality.high:.0f})"


def share_text(knowledge: Knowledge) -> str:
    return f"{'' if knowledge.is_measured else 'about '}{knowledge.share * 100:.0f} %"


# ---------------------------------------------------------------- verdict and configuration


def verdict_sentences(article: Article) -> Iterator[str]:
    """Whether it runs, how fast, what is lost: what a reader in a hurry takes away."""
    asked = article.asked
    quant, context = asked.model.quantization, format_context(asked.settings.context_tokens)
    if not asked.fits:
        short = format_gib(asked.shortfall_bytes)
        yield (
            f"{VERDICT_GLYPH[asked.verdict]} {quant} with {context} of context cannot run here: "
            f"its file is {file_text(asked.model)}, and {_room_text(article.machine)} are free. "
            f"With cache, buffers and margins {short} are missing."
        )
        yield from _instead(article)
        return
    yield f"{VERDICT_GLYPH[asked.verdict]} {quant} with {context} of context {_where_text(asked)}."
    yield from _worth_text(article, asked)


def file_text(model: Model) -> str:
    """``187.1 GB (174.3 GiB)``: hubs list files in GB, 1e9 bytes."""
    return f"{model.file_bytes / GB:.1f} GB ({format_gib(model.file_bytes)})"


def _room_text(machine: Machine) -> str:
    """What is free: ``48.0 GiB of VRAM and 64.0 GiB of RAM``."""
    cards = [gpu for gpu in machine.gpus if not gpu.unified_memory]
    vram_bytes = sum(gpu.usable_bytes or 0 for gpu in cards)
    shared = [gpu for gpu in machine.gpus if gpu.unified_memory]
    parts = [f"{format_gib(vram_bytes)} of VRAM"] if cards else []
    parts += [f"{format_gib(gpu.usable_bytes)} for the GPU" for gpu in shared if gpu.usable_bytes is not None]
    ram_bytes = machine.memory.available_bytes
    if ram_bytes is not None and not shared:
        parts.append(f"{format_gib(ram_bytes)} of RAM")
    return " and ".join(parts) or "not known amounts of memory"


def _where_text(judgement: Judgement) -> str:
    memory, machine = judgement.memory, judgement.machine
    if judgement.verdict == FITS_CPU:
        return f"runs on the CPU and takes {format_gib(memory.host.total_bytes)} of RAM"
    known = [gpu for gpu in memory.gpus if gpu.free_bytes is not None]
    free = ""
    if known and len(known) == len(memory.gpus):
        taken = " + ".join(f"{gpu.total_bytes / GIB:.1f}" for gpu in known)
        room = _room_of_cards([f"{(gpu.free_bytes or 0) / GIB:.1f}" for gpu in known])
        what = "memory for the GPU" if any(gpu.unified_memory for gpu in machine.gpus) else "VRAM"
        free = f" and takes {taken} of {room} GiB of free {what}"
    if judgement.verdict == FITS_GPU:
        count = len(memory.gpus)
        return f"fits on {'the GPU' if count == 1 else f'{count} GPUs'}{free}"
    host = memory.host
    cache = f" and {format_gib(host.kv_cache_bytes)} of its KV cache" if host.kv_cache_bytes else ""
    return f"runs with {format_gib(host.weights_bytes)} of its weights{cache} in system RAM{free}"


def _room_of_cards(sizes: Sequence[str]) -> str:
    """``24.0``, ``4x 24.0``, ``24.0 + 9.0``."""
    alike = len(sizes) > 1 and len(set(sizes)) == 1
    return f"{len(sizes)}x {sizes[0]}" if alike else " + ".join(sizes)


def _worth_text(article: Article, judgement: Judgement) -> Iterator[str]:
    """How fast it is and what the file type costs, for what writes text."""
    if article.about.is_embedding:
        yield (
            "It turns text into vectors and writes none: of the speeds only prefill means something, and no "
            "ability is rated."
        )
        return
    yield from _speed_text(article, judgement)
    yield from _lost_text(article)


def _speed_text(article: Article, judgement: Judgement) -> Iterator[str]:
    speed = judgement.speed
    if speed is None:
        what = "the RAM's bandwidth" if article.ram_cases else "a bandwidth"
        yield f"How fast it is depends on {what}, which is not known (see below)."
        return
    decode = f"It writes {speed_text(speed.decode_tok_s)} tok/s{depth_text(speed.depth_tokens)}"
    prompts = [row for row in article.prompts if row.prompt_tokens <= USUAL_PROMPT_TOKENS]
    wait = ""
    if prompts:
        row = prompts[-1]
        wait = (
            f" and begins to answer a prompt of {format_context(row.prompt_tokens)} after "
            f"{seconds_text(row.first_token_s)}"
        )
    yield f"{decode}{wait}."


def _lost_text(article: Article) -> Iterator[str]:
    row = next(row for row in article.quants if row.judgement is article.subject)
    if row.loss is None:
        return
    quality = article.quality
    of = " of its ability" if quality is None else f" of its ability, {quality_text(quality)}"
    if row.is_native:
        yield f"It was trained in {row.quant}: nothing is lost{of}."
    else:
        yield f"{row.quant} costs {row.loss.band_text}{of}."


def _instead(article: Article) -> Iterator[str]:
    """What starts in its place, or that nothing does."""
    running = article.running
    if running is None:
        smallest = article.quants[-1]
        if len(article.quants) > 1:
            yield (
                f"No other file type runs either: even {smallest.quant} is "
                f"{format_gib(smallest.judgement.shortfall_bytes)} short."
            )
        return
    quant = running.model.quantization
    larger = any(row.fits for row in _above(article, running))
    what = "largest file type that runs with the GPU" if larger else "largest file type for this machine"
    yield f"{VERDICT_GLYPH[running.verdict]} The {what} is {quant}: it {_where_text(running)}."
    yield from _worth_text(article, running)


def _above(article: Article, running: Judgement) -> Iterator[QuantRow]:
    """The rows of larger file types."""
    for row in article.quants:
        if row.judgement is running:
            return
        yield row


def configuration_sentences(article: Article, running: Judgement) -> Iterator[str]:
    """Why it is placed as it is, and what is left of its ability."""
    yield from running.reasons
    left = article.running_quality
    if article.quality is not None and left is not None and round(left.score) != round(article.quality.score):
        yield f"Ability after the losses of file type and cache: {quality_text(left)}."


def larger_steps_sentences(article: Article, running: Judgement) -> Iterator[str]:
    """Where a goal's micro-batch reads prompts much faster than the usual one of the article's command."""
    here = None if running.speed is None else running.speed.prefill
    for choice in article.goals:
        speed, ubatch = choice.judgement.speed, choice.judgement.settings.ubatch
        same_type = choice.judgement.model.quantization == running.model.quantization
        there = None if speed is None else speed.prefill
        if here is None or there is None or not same_type or ubatch <= running.settings.ubatch:
            continue
        if there.tok_s.expected >= MUCH_FASTER * here.tok_s.expected:
            yield (
                f"With -ub {ubatch} it reads prompts of {there.prompt_tokens} tokens at "
                f"{two_figures(there.tok_s.expected)} tok/s: llmfit command MODEL --goal {choice.goal}."
            )
            return


def unknown_speed_text(article: Article) -> str:
    """Why there is no speed, with what it would be where a bandwidth of RAM is missing."""
    cases = [(case.what, case.judgement.speed) for case in article.ram_cases]
    known = [
        f"{speed_text(speed.decode_tok_s)} tok/s with {what}" for what, speed in cases if speed is not None
    ]
    if not known:
        return "How fast it is is not known: a bandwidth is missing."
    stated = (
        "--ram-bandwidth GB/S states it"
        if article.machine.described_by is not None
        else "llmfit hardware --measure finds it"
    )
    return (
        f"Decode depends on the bandwidth of the RAM, which is not known ({stated}). It would be "
        f"{' and '.join(known)}."
    )


def need_text(need: Need) -> str:
    """``192 GiB of RAM: then it runs with 129.6 GiB of weights there.``"""
    judgement = need.judgement
    fast = "" if judgement.speed is None else f", {speed_text(judgement.speed.decode_tok_s)} tok/s"
    if need.ram_bytes is not None:
        in_ram = format_gib(judgement.memory.host.weights_bytes)
        return f"{format_gib(need.ram_bytes, 0)} of RAM: then it runs with {in_ram} of weights there{fast}."
    name = short_gpu_name(judgement.machine.gpus[0])
    return f"{need.n_cards}x {name}: then all of it fits on the cards{fast}."
