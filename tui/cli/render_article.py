"""``llmfit show`` as plain text: the verdict first, then the model, then the tables, then what to mind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmfit.advisor.recommend.article.values import Article, Pitfall
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context
from llmfit.tui.article_words import (
    about_sentences,
    configuration_sentences,
    larger_steps_sentences,
    need_text,
    unknown_speed_text,
    verdict_sentences,
)
from llmfit.tui.cli.render import TEXT_WIDTH, machine_line, wrapped
from llmfit.tui.cli.render_article_tables import (
    cards_lines,
    depth_lines,
    energy_lines,
    goal_lines,
    ladder_lines,
    prompt_lines,
    quant_lines,
)
from llmfit.tui.cli.render_evidence import evidence_lines
from llmfit.tui.labels import short_gpu_name
from llmfit.tui.speed_words import speed_sentences, two_figures

Lines = Iterable[str]


def article_lines(article: Article, with_scores: bool = False) -> Iterator[str]:
    """The whole answer of ``llmfit show``; prose is wrapped, commands are not: they are to be copied."""
    yield f"{printable(article.about.model_id)} on {machine_line(article.machine)}"
    for sentence in verdict_sentences(article):
        yield from wrapped(printable(sentence))
    for _, title, lines in article_sections(article, with_scores):
        found = list(lines)
        if found:
            yield ""
            yield from wrapped(printable(title))
            yield from found


def article_sections(article: Article, with_scores: bool) -> Iterator[tuple[str, str, Lines]]:
    """Key, title and lines of each section, for the app as well; one without lines is left out."""
    subject = printable(article.subject.model.quantization)
    asked = printable(article.asked.model.quantization)
    context = format_context(article.context_tokens)
    yield "model", "The model", _bullets(about_sentences(article))
    if article.running is not None:
        what = "What runs instead" if article.is_compromise else "What to run"
        yield (
            "running",
            f"{what}: {subject} with {context} of context",
            _running_lines(article, article.running),
        )
    yield "goals", f"The best for a goal, with {context} of context", goal_lines(article)
    yield "quants", f"File types with {context} of context, GiB (2^30 bytes)", quant_lines(article)
    yield "ladder", f"Context by type of KV cache, {subject}, GiB", ladder_lines(article)
    yield "depths", f"Decode of {subject} by tokens in the context", depth_lines(article)
    yield "prompts", f"Time to the first token of {subject}, by length of the prompt", prompt_lines(article)
    yield "cards", f"{asked} by number of cards, {_card_name(article)}", cards_lines(article)
    helps = "What would help" if article.asked.fits else f"What would run {asked}"
    yield "help", helps, _help_lines(article)
    yield (
        "energy",
        f"Electricity for a million tokens with {subject}, one request at a time",
        energy_lines(article),
    )
    yield "pitfalls", "Known pitfalls", _pitfall_lines(article.pitfalls)
    yield "evidence", "Evidence", evidence_lines(article, with_scores)
    yield "assumed", "Assumed", _bullets(article.subject.assumed)


def _card_name(article: Article) -> str:
    gpus = article.cards[0].judgement.machine.gpus if article.cards else ()
    return short_gpu_name(gpus[0]) if gpus else "cards"


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from wrapped(printable(sentence), TEXT_WIDTH, "  - ")


def _running_lines(article: Article, running: Judgement) -> Iterator[str]:
    yield from _bullets(configuration_sentences(article, running))
    yield from _bullets(f"{what} {text}" for what, text in speed_sentences(running))
    if running.speed is None and not article.about.is_embedding:
        yield from _bullets([unknown_speed_text(article)])
    yield from _bullets(larger_steps_sentences(article, running))
    yield from _bullets(f"Mind: {warning.text}" for warning in running.warnings)
    if running.shell_line is not None:
        yield ""
        yield running.shell_line


def _help_lines(article: Article) -> Iterator[str]:
    """What would make it fit or faster: changes of the machine, then changes of settings."""
    asked = article.asked
    if asked.fits and not asked.remedies:
        return
    yield from _bullets(need_text(need) for need in article.needs)
    for remedy in asked.remedies:
        speed = "" if remedy.decode_tok_s is None else f", about {two_figures(remedy.decode_tok_s)} tok/s"
        text = f"{remedy.text}{speed}."
        yield from _bullets([text[0].upper() + text[1:]])
    if not asked.fits:
        name = article.about.model_id.split("/")[-1].lower()
        context = format_context(asked.settings.context_tokens).lower()
        quant = printable(asked.model.quantization)
        yield "  Machines that run it, with prices:"
        yield f"    llmfit plan {printable(name)} --quant {quant} --context {context}"
        yield "  What this machine runs well:"
        yield "    llmfit recommend"


def _pitfall_lines(pitfalls: Iterable[Pitfall]) -> Iterator[str]:
    for pitfall in pitfalls:
        weight = f"{pitfall.severity}: " if pitfall.severity else ""
        yield from wrapped(printable(f"{weight}{pitfall.text}"), TEXT_WIDTH, "  - ")
        for label, text in (
            ("Seen as", pitfall.symptom),
            ("Fix", pitfall.fix),
            ("Status", pitfall.builds),
            ("Source", pitfall.source),
        ):
            if text:
                yield from wrapped(f"{label}: {printable(text)}", TEXT_WIDTH, "    ")
