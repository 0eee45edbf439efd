"""The tables of ``llmfit show``: at most 80 columns, every figure from the article's values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.recommend.article.tables import SEARCH_STEP_TOKENS
from llmfit.advisor.recommend.article.values import Article, CardsRow, ContextLadder, GoalChoice, QuantRow
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import DEFAULTS, QUANT_LADDER
from llmfit.advisor.recommend.quality import TIE_POINTS
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_context, two_figures
from llmfit.tui.article_words import loss_words, verdict_words
from llmfit.tui.cli.render import TEXT_WIDTH, VERDICT_GLYPH, table, wrapped
from llmfit.tui.speed_words import depth_text, range_text, seconds_text

CHART_COLUMNS = 40
ALL_GOALS = 3
SMALL_KWH = 0.1
_NOTHING, _UNKNOWN = "–", "?"
Rows = list[list[str]]


def _indented(rows: Sequence[Sequence[str]], right: Iterable[int]) -> Iterator[str]:
    return (f"  {line}" for line in table(rows, right=right))


def _legend(text: str) -> list[str]:
    return wrapped(text, TEXT_WIDTH, "  ")


def _gib(size_bytes: int, digits: int = 1) -> str:
    return f"{size_bytes / GIB:.{digits}f}"


def _speed_cells(judgement: Judgement) -> tuple[str, str]:
    """Decode and prefill; a dash for what cannot run, a question mark where it is not known."""
    if not judgement.fits:
        return _NOTHING, _NOTHING
    speed = judgement.speed
    if speed is None:
        return _UNKNOWN, _UNKNOWN
    prefill = speed.prefill_tok_s
    return two_figures(speed.decode_tok_s.expected), (
        _UNKNOWN if prefill is None else two_figures(prefill.expected)
    )


def _fits_cell(judgement: Judgement) -> str:
    return f"{VERDICT_GLYPH[judgement.verdict]} {verdict_words(judgement)}"


# ---------------------------------------------------------------- file types


def quant_lines(article: Article) -> Iterator[str]:
    """One row a file type; the cache type has a column only where the rows differ in it."""
    rows = [["", "type", "weights", "total", "KV", "fits", "decode", "prefill", "loss"]]
    rows += [_quant_cells(article, row) for row in article.quants]
    right = {2, 3, 6, 7, 8}
    if len({row[4] for row in rows[1:]}) == 1:
        rows = [row[:4] + row[5:] for row in rows]
        right = {2, 3, 5, 6, 7}
    yield from _indented(rows, right)
    yield from _legend(" ".join(_quant_legend(article)))


def _quant_cells(article: Article, row: QuantRow) -> list[str]:
    judgement = row.judgement
    return [
        ">" if judgement is article.subject else "",
        printable(row.quant),
        _gib(row.weights_bytes),
        _gib(row.total_bytes),
        judgement.settings.cache_type_k,
        _fits_cell(judgement),
        *_speed_cells(judgement),
        loss_words(row.loss),
    ]


def _quant_legend(article: Article) -> Iterator[str]:
    speeds = [row.judgement.speed for row in article.quants if row.judgement.speed is not None]
    depth = depth_text(speeds[0].depth_tokens) if speeds else ""
    prefill = speeds[0].prefill if speeds else None
    prompt = "" if prefill is None else f", prefill of a prompt of {prefill.prompt_tokens}"
    yield (
        "weights: as they are loaded. total: weights, KV cache, buffers, driver and server on all devices. "
        f"in RAM: weights and cache. decode, prefill: tok/s{depth or ' in an empty context'}{prompt}. loss: "
        f"points of ability, 0 to 100, that the file type costs; less than {TIE_POINTS:.0f} are a tie."
    )
    runs = [row.judgement for row in article.quants if row.fits]
    if any(judgement.speed is None for judgement in runs):
        yield f"{_UNKNOWN}: depends on the RAM's bandwidth, which is not known."
    if len(article.quants) == 1:
        yield (
            "It was trained in this type: others are larger or no smaller."
            if article.quants[0].is_native
            else "A file has the type that it has."
        )


def goal_lines(article: Article) -> Iterator[str]:
    """Only where a goal leads to something else than what the article is about; goals that lead to the same
    share a row."""
    goals_of: dict[tuple[str, LaunchSettings], list[GoalChoice]] = {}
    for choice in article.goals:
        goals_of.setdefault(_configuration(choice.judgement), []).append(choice)
    if not goals_of.keys() - {_configuration(article.subject)}:
        return
    rows = [["goal", "type", "KV", "ubatch", "fits", "decode", "prefill", "loss"]]
    for (quant, settings), choices in goals_of.items():
        judgement = choices[0].judgement
        rows.append(
            [
                "all three" if len(choices) == ALL_GOALS else ", ".join(choice.goal for choice in choices),
                printable(quant),
                settings.cache_type_k,
                str(settings.ubatch),
                _fits_cell(judgement),
                *_speed_cells(judgement),
                loss_words(choices[0].loss),
            ]
        )
    right = {3, 5, 6, 7}
    if {row[3] for row in rows[1:]} == {str(DEFAULTS.ubatch)}:
        rows, right = [row[:3] + row[4:] for row in rows], {4, 5, 6}
    yield from _indented(rows, right)
    yield from _legend(
        f"Goals: {', '.join(choice.goal for choice in article.goals)}. llmfit command MODEL --goal "
        f"{article.goals[0].goal} prints the command of one of them."
    )


def _configuration(judgement: Judgement) -> tuple[str, LaunchSettings]:
    return judgement.model.quantization, judgement.settings


# ---------------------------------------------------------------- contexts


def ladder_lines(article: Article) -> Iterator[str]:
    """Cache, total and verdict for each context and cache type; then how far each type reaches."""
    ladder = article.ladder
    if not ladder.columns:
        return
    head = ["context"]
    for column in ladder.columns:
        head += [f"KV {column.cache_type}", "total", ""]
    rows = [head]
    for place, tokens in enumerate(ladder.contexts):
        row = [format_context(tokens)]
        for column in ladder.columns:
            cell = column.cells[place]
            row += [_gib(cell.kv_cache_bytes, 2), _gib(cell.total_bytes), VERDICT_GLYPH[cell.verdict]]
        rows.append(row)
    yield from _indented(rows, right=[0, *(n for n in range(1, len(head)) if n % 3)])
    yield ""
    yield from _indented(_reach_rows(article, ladder), right=range(1, len(ladder.columns) + 1))
    searched = any(0 < column.largest_tokens < ladder.contexts[-1] for column in ladder.columns)
    steps = f" What runs was searched in steps of {SEARCH_STEP_TOKENS:,} tokens." if searched else ""
    yield from _legend(f"✓ on the GPUs, ~ with weights in RAM or on the CPU, ✗ does not fit.{steps}")
    if ladder.advice.reason:
        yield from _legend(printable(f"{ladder.advice.reason} Source: {ladder.advice.source}."))


def _reach_rows(article: Article, ladder: ContextLadder) -> Rows:
    rows = [["type of K and V", *(column.cache_type for column in ladder.columns)]]
    if article.machine.gpus:
        on_gpus = [column.largest_on_gpus_tokens for column in ladder.columns]
        if any(on_gpus):
            rows.append(["most tokens on the GPUs", *(_tokens(tokens) for tokens in on_gpus)])
    running = [column.largest_tokens for column in ladder.columns]
    if any(running) and running != [column.largest_on_gpus_tokens for column in ladder.columns]:
        rows.append(["most tokens that run", *(_tokens(tokens) for tokens in running)])
    rows.append(["points of ability lost", *(loss_words(column.loss) for column in ladder.columns)])
    if ladder.advice.reason:
        advised = ("yes" if column.is_advised else "no" for column in ladder.columns)
        rows.append(["advised for this model", *advised])
    return rows


def _tokens(tokens: int) -> str:
    return f"{tokens:,}" if tokens else _NOTHING


# ---------------------------------------------------------------- speeds


def depth_lines(article: Article) -> Iterator[str]:
    points = article.depths
    if not points:
        return
    most = max(point.decode_tok_s.expected for point in points)
    rows = [["depth", "tok/s", "range", ""]]
    for point in points:
        speed = point.decode_tok_s
        bar = "=" * max(1, round(CHART_COLUMNS * speed.expected / most))
        rows.append([format_context(point.depth_tokens), two_figures(speed.expected), range_text(speed), bar])
    yield from _indented(rows, right=(0, 1, 2))


def prompt_lines(article: Article) -> Iterator[str]:
    if not article.prompts:
        return
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
    yield from _indented(rows, right=(0, 1, 2, 3))


# ---------------------------------------------------------------- cards and electricity


def cards_lines(article: Article) -> Iterator[str]:
    if not article.cards:
        return
    rows = [["cards", "fits", "decode", "prefill", "split", "best type"]]
    rows += [_cards_cells(row) for row in article.cards]
    if all(row.best_on_gpus is None for row in article.cards):
        rows = [row[:5] for row in rows]
    if not any(row[4] for row in rows[1:]):
        rows = [row[:4] + row[5:] for row in rows]
    yield from _indented(rows, right=(2, 3))
    if rows[0][-1] == "best type":
        yield from _legend(f"best type: the largest of {', '.join(QUANT_LADDER)} that stays on the cards.")


def _cards_cells(row: CardsRow) -> list[str]:
    judgement = row.judgement
    split = judgement.settings.tensor_split
    here = " (here)" if row.is_this_machine else ""
    return [
        f"{row.n_cards}{here}",
        _fits_cell(judgement),
        *_speed_cells(judgement),
        "" if split is None or not judgement.fits else "-ts " + ",".join(f"{part:g}" for part in split),
        row.best_on_gpus or _NOTHING,
    ]


def energy_lines(article: Article) -> Iterator[str]:
    """kWh with their range, and what the watts rest on; the reason alone where they are not known."""
    energy = article.energy
    if energy is None or article.subject.speed is None:
        return  # without a speed there is nothing to add to what was said of it
    found = (("generated", energy.output), ("of prompts", energy.prompt))
    rows = [["tokens", "kWh", "range", "watts", "at tok/s"]]
    rows += [_energy_cells(what, one) for what, one in found if one is not None]
    if len(rows) > 1:
        yield from _indented(rows, right=(1, 2, 3, 4))
    assumptions = (line for _, one in found if one is not None for line in one.power.assumptions)
    for line in dict.fromkeys((*assumptions, *energy.unknown)):
        yield from wrapped(printable(line), TEXT_WIDTH, "  - ")


def _kwh(kwh: float) -> str:
    """Small models read a million tokens for watt hours."""
    return two_figures(kwh) if kwh >= SMALL_KWH else f"{kwh:.2g}"


def _energy_cells(what: str, energy: TokenEnergy) -> list[str]:
    kwh, watts = energy.kwh_per_million, energy.power.watts
    return [
        what,
        _kwh(kwh.expected),
        f"{_kwh(kwh.low)}-{_kwh(kwh.high)}",
        two_figures(watts.expected),
        two_figures(energy.tok_s.expected),
    ]


__all__ = [
    "cards_lines",
    "depth_lines",
    "energy_lines",
    "ladder_lines",
    "prompt_lines",
    "quant_lines",
]
