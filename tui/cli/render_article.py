"""``llmfit show`` as plain text: the verdict first, then the model, then the tables, then what to mind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmfit.advisor.memory.fitting import DOES_NOT_FIT, FITS_GPU
from llmfit.advisor.recommend.article.values import Article, CardsRow, LadderColumn, Need, QuantRow
from llmfit.advisor.recommend.judgement import VERDICT_PHRASE, Judgement
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_context, format_gib
from llmfit.tui.article_words import (
    about_sentences,
    loss_words,
    quality_text,
    reduced_text,
    verdict_words,
)
from llmfit.tui.cli.render import TEXT_WIDTH, VERDICT_GLYPH, machine_line, table, wrapped
from llmfit.tui.speed_words import range_text, seconds_text, speed_sentences, two_figures

CHART_COLUMNS = 40


def article_lines(article: Article, with_scores: bool = False) -> Iterator[str]:
    """The whole answer of ``llmfit show``; prose is wrapped, commands are not: they are to be copied."""
    yield f"{printable(article.about.model_id)} on {machine_line(article.machine)}"
    for sentence in _verdict_sentences(article):
        yield from wrapped(sentence)
    yield from _section("The model", _bullets(about_sentences(article)))
    yield from _section(_running_title(article), _running_lines(article))
    yield from _section(_quants_title(article), _quant_lines(article))
    yield from _section(_ladder_title(article), _ladder_lines(article))
    yield from _section(*_depth_section(article))
    yield from _section(*_prompt_section(article))
    yield from _section(*_cards_section(article))
    yield from _section(*_needs_section(article))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Nothing where there are no lines."""
    found = list(lines)
    if found:
        yield ""
        yield title
        yield from found


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from wrapped(printable(sentence), TEXT_WIDTH, "  - ")


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f}"


# ---------------------------------------------------------------- the verdict


def _verdict_sentences(article: Article) -> Iterator[str]:
    """What can be said in three lines: whether it runs, how fast, and what is lost."""
    asked, running = article.asked, article.running
    context = format_context(article.context_tokens)
    quant = printable(asked.model.quantization)
    glyph = VERDICT_GLYPH[asked.verdict]
    if asked.verdict == DOES_NOT_FIT:
        yield (
            f"{glyph} {quant} with {context} of context does not fit: it needs "
            f"{format_gib(asked.memory.total_bytes)} and {format_gib(asked.shortfall_bytes)} are missing."
        )
        if running is None:
            yield from _nothing_runs(article)
        else:
            yield _compromise_text(article, running)
        return
    words = VERDICT_PHRASE[asked.verdict]
    if asked.verdict == FITS_GPU and len(asked.settings.devices) > 1:
        words = f"fits on {len(asked.settings.devices)} GPUs"
    yield (
        f"{glyph} {quant} with {context} of context {words}: {format_gib(asked.memory.total_bytes)} in all"
        f"{_in_ram_text(asked)}."
    )


def _in_ram_text(judgement: Judgement) -> str:
    if judgement.verdict == FITS_GPU or not judgement.memory.gpus:
        return ""
    return f", {format_gib(judgement.memory.host.weights_bytes)} of weights in system RAM"


def _nothing_runs(article: Article) -> Iterator[str]:
    smallest = article.quants[-1]
    if len(article.quants) > 1:
        yield (
            f"Nor does any other file type: even {printable(smallest.quant)} is "
            f"{format_gib(smallest.judgement.shortfall_bytes)} short."
        )


def _compromise_text(article: Article, running: Judgement) -> str:
    row = next(row for row in article.quants if row.judgement is running)
    lost = "" if row.loss is None else f" and costs {row.loss.band_text} of its ability"
    return (
        f"~ {printable(row.quant)} is the largest file type that starts here: it {VERDICT_PHRASE[running.verdict]}"
        f"{lost}."
    )


# ---------------------------------------------------------------- what to run


def _running_title(article: Article) -> str:
    if article.running is None:
        return ""
    kind = "What starts here" if article.is_compromise else "What to run"
    return f"{kind}: {printable(article.running.model.quantization)}"


def _running_lines(article: Article) -> Iterator[str]:
    running = article.running
    if running is None:
        return
    yield from _bullets(running.reasons)
    for what, text in speed_sentences(running):
        yield from _bullets([f"{what} {text}"])
    yield from _bullets(_unknown_speed(article, running))
    if article.quality is not None:
        left = article.running_quality
        after = (
            "" if left is None else f"; in {running.model.quantization} about {reduced_text(left)} is left"
        )
        yield from _bullets([f"Ability {quality_text(article.quality)}{after}. {article.quality.basis}."])
    for warning in running.warnings:
        yield from _bullets([f"Mind: {warning.text}"])
    if running.shell_line is not None:
        yield ""
        yield running.shell_line


def _unknown_speed(article: Article, running: Judgement) -> Iterator[str]:
    if running.speed is not None:
        return
    if not article.ram_cases:
        yield "How fast it is is not known: a bandwidth is missing."
        return
    cases = []
    for case in article.ram_cases:
        speed = case.judgement.speed
        if speed is not None:
            cases.append(
                f"{two_figures(speed.decode_tok_s.expected)} ({range_text(speed.decode_tok_s)}) with {case.what}"
            )
    yield (
        "Its speed hangs on the RAM's bandwidth, which nobody stated (--ram-bandwidth GB/S): decode would be "
        f"{', '.join(cases)}, tok/s."
    )


# ---------------------------------------------------------------- tables


def _quants_title(article: Article) -> str:
    return f"File types with {format_context(article.context_tokens)} of context, sizes in GiB (2^30 bytes)"


def _quant_lines(article: Article) -> Iterator[str]:
    rows = [["", "type", "weights", "total", "KV", "fits", "decode", "prefill", "loss"]]
    rows += [_quant_cells(article, row) for row in article.quants]
    yield from _indented(table(rows, right=(2, 3, 6, 7, 8)))


def _quant_cells(article: Article, row: QuantRow) -> list[str]:
    judgement = row.judgement
    mark = ">" if judgement is article.subject else ""
    return [
        mark,
        printable(row.quant),
        _gib(row.weights_bytes),
        _gib(row.total_bytes),
        judgement.settings.cache_type_k,
        f"{VERDICT_GLYPH[judgement.verdict]} {verdict_words(judgement)}",
        *_speed_cells(judgement),
        loss_words(row.loss),
    ]


def _speed_cells(judgement: Judgement) -> tuple[str, str]:
    """Decode and prefill; a dash for what cannot run, a question mark where it is not known."""
    if not judgement.fits:
        return "–", "–"
    speed = judgement.speed
    if speed is None:
        return "?", "?"
    prefill = speed.prefill_tok_s
    return two_figures(speed.decode_tok_s.expected), "?" if prefill is None else two_figures(prefill.expected)


def _ladder_title(article: Article) -> str:
    return f"Context by cache type in {printable(article.ladder.quant)}, GiB"


def _ladder_lines(article: Article) -> Iterator[str]:
    ladder = article.ladder
    head = ["context"]
    for column in ladder.columns:
        head += [f"KV {column.cache_type}", "total", ""]
    rows = [head]
    for place, tokens in enumerate(ladder.contexts):
        cells = [column.cells[place] for column in ladder.columns]
        rows.append(
            [
                format_context(tokens),
                *(
                    text
                    for cell in cells
                    for text in (
                        f"{cell.kv_cache_bytes / GIB:.2f}",
                        _gib(cell.total_bytes),
                        VERDICT_GLYPH[cell.verdict],
                    )
                ),
            ]
        )
    yield from _indented(table(rows, right=[0, *(n for n in range(1, len(head)) if n % 3)]))
    for column in ladder.columns:
        yield from _bullets([_largest_text(column)])
    if ladder.advice.reason:
        yield from _bullets([f"{ladder.advice.reason} Source: {ladder.advice.source}."])


def _largest_text(column: LadderColumn) -> str:
    return f"{column.cache_type}: {column.largest_on_gpus_tokens} {column.largest_tokens}"


def _depth_section(article: Article) -> tuple[str, Sequence[str]]:
    points = article.depths
    if not points:
        return "", ()
    most = max(point.decode_tok_s.expected for point in points)
    rows = [["depth", "tok/s", "range", ""]]
    for point in points:
        bar = "=" * max(1, round(CHART_COLUMNS * point.decode_tok_s.expected / most))
        rows.append(
            [
                format_context(point.depth_tokens),
                two_figures(point.decode_tok_s.expected),
                range_text(point.decode_tok_s),
                bar,
            ]
        )
    return "Decode with so many tokens in the context already", list(_indented(table(rows, right=(0, 1, 2))))


def _prompt_section(article: Article) -> tuple[str, Sequence[str]]:
    if not article.prompts:
        return "", ()
    rows = [["prompt", "first token after", "prefill tok/s", "range"]]
    rows += [
        [
            format_context(row.prompt_tokens),
            seconds_text(row.first_token_s),
            two_figures(row.prefill_tok_s.expected),
            range_text(row.prefill_tok_s),
        ]
        for row in article.prompts
    ]
    return "Time to the first token", list(_indented(table(rows, right=(0, 1, 2, 3))))


def _cards_section(article: Article) -> tuple[str, Sequence[str]]:
    if not article.cards:
        return "", ()
    rows = [["cards", "", "decode", "prefill", "split", "all on GPUs"]]
    rows += [_cards_cells(row) for row in article.cards]
    name = printable(article.cards[0].judgement.machine.gpus[0].name)
    title = f"{printable(article.asked.model.quantization)} on one, two and four {name}"
    return title, list(_indented(table(rows, right=(0, 2, 3))))


def _cards_cells(row: CardsRow) -> list[str]:
    judgement = row.judgement
    split = judgement.settings.tensor_split
    return [
        str(row.n_cards),
        f"{VERDICT_GLYPH[judgement.verdict]} {verdict_words(judgement)}",
        *_speed_cells(judgement),
        "" if split is None or not judgement.fits else "-ts " + ",".join(f"{part:g}" for part in split),
        row.best_on_gpus or "–",
    ]


def _needs_section(article: Article) -> tuple[str, Sequence[str]]:
    lines = [_need_text(need) for need in article.needs]
    lines += [remedy.text for remedy in article.asked.remedies]
    return f"What would run {printable(article.asked.model.quantization)}", list(_bullets(lines))


def _need_text(need: Need) -> str:
    return f"{need.what}: {VERDICT_PHRASE[need.judgement.verdict]}"
