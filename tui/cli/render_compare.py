"""``llmfit compare`` as plain text: a row a property, a column a configuration, at most 80 columns.

What is longer than its column goes on in the next line: nothing is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.recommend.article.comparison import Comparison, Contender
from llmfit.advisor.recommend.quality import ReducedQuality
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_context, format_gib, two_figures
from llmfit.tui.article_words import billions_text, loss_words, verdict_words
from llmfit.tui.cli.render import TABLE_WIDTH, TEXT_WIDTH, VERDICT_GLYPH, machine_line, wrapped
from llmfit.tui.labels import device_label
from llmfit.tui.speed_words import range_text, seconds_text, speed_text

LABEL_WIDTH = 16
MAX_CELL_WIDTH = 28
_GAP = "  "
_NOTHING, _UNKNOWN = "–", "?"
Cell = Callable[[Contender], str | Sequence[str]]
"""One text, or one a line."""


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    contenders = comparison.contenders
    machines = {machine_line(one.judgement.machine) for one in contenders}
    shared = f" on {machines.pop()}" if len(machines) == 1 else ""
    yield f"{len(contenders)} configurations side by side{shared}"
    yield ""
    width = (TABLE_WIDTH - LABEL_WIDTH) // len(contenders) - len(_GAP)
    width = min(MAX_CELL_WIDTH, width)
    for label, cell in _rows(comparison, has_machines=not shared):
        yield from _row_lines(label, [cell(one) for one in contenders], width)
    if comparison.differences:
        yield ""
        yield "Which"
        for sentence in comparison.differences:
            yield from wrapped(printable(sentence), TEXT_WIDTH, "  - ")
    yield ""
    yield from wrapped(_LEGEND, TEXT_WIDTH)
    for line in dict.fromkeys(line for one in contenders for line in one.judgement.assumed):
        yield from wrapped(printable(f"Assumed: {line}"), TEXT_WIDTH)


_LEGEND = (
    "GiB = 2^30 bytes. Speeds are for one request at a time, expected and range. Ability: 0 to 100 with its "
    "80 % interval, after the losses of file type and cache; less than 6 points apart is a tie. A dash: it "
    "does not run. ?: not known."
)


def _rows(comparison: Comparison, has_machines: bool) -> Iterator[tuple[str, Cell]]:
    yield "", lambda one: one.name
    yield "file type", lambda one: one.judgement.model.quantization
    if has_machines:
        yield "machine", lambda one: machine_line(one.judgement.machine)
    yield "fits", lambda one: f"{VERDICT_GLYPH[one.judgement.verdict]} {verdict_words(one.judgement)}"
    yield "weights", lambda one: format_gib(one.weights_bytes)
    yield "KV cache", _cache_text
    yield "total", _device_texts
    yield "context", _context_text
    yield "decode, tok/s", _decode_text
    yield f"at {format_context(comparison.depth_tokens)}", _deep_text
    yield "prefill, tok/s", _prefill_text
    yield f"{format_context(comparison.prompt_tokens)} prompt", _first_token_text
    yield "ability", lambda one: _ability_text(one.reduced)
    yield "points lost", lambda one: loss_words(one.loss)
    yield "kWh, 1e6 tokens", _energy_text
    yield "parameters", _parameters_text
    yield "licence", lambda one: one.about.license or _UNKNOWN
    yield "released", lambda one: one.about.released or _UNKNOWN


# ---------------------------------------------------------------- cells


def _cache_text(one: Contender) -> str:
    settings = one.judgement.settings
    types = dict.fromkeys((settings.cache_type_k, settings.cache_type_v))
    return f"{format_gib(one.judgement.memory.kv_cache_bytes)} {'/'.join(types)}"


def _device_texts(one: Contender) -> list[str]:
    """A device a line: ``GPU0 20.6 GiB``."""
    return [_device_text(device) for device in one.judgement.memory.devices]


def _device_text(device: DeviceMemory) -> str:
    return f"{device_label(device)} {device.total_bytes / GIB:.1f} GiB"


def _context_text(one: Contender) -> str:
    trained = one.architecture.context_train_tokens
    most = f" of {format_context(trained)}" if trained else ""
    return f"{format_context(one.judgement.settings.context_tokens)}{most}"


def _speed_or(one: Contender, text: str | None) -> str:
    if not one.judgement.fits:
        return _NOTHING
    return _UNKNOWN if text is None else text


def _decode_text(one: Contender) -> str:
    speed = one.judgement.speed
    if speed is None:
        return _speed_or(one, None)
    depth = f" at {format_context(speed.depth_tokens)}" if speed.depth_tokens else ""
    return f"{speed_text(speed.decode_tok_s)}{depth}"


def _deep_text(one: Contender) -> str:
    return _speed_or(one, None if one.deep is None else speed_text(one.deep.decode_tok_s))


def _prefill_text(one: Contender) -> str:
    speed = one.judgement.speed
    prefill = None if speed is None else speed.prefill_tok_s
    if prefill is None:
        return _speed_or(one, None)
    return _speed_or(one, f"{two_figures(prefill.expected)} ({range_text(prefill)})")


def _first_token_text(one: Contender) -> str:
    return _speed_or(one, None if one.prompt is None else f"after {seconds_text(one.prompt.first_token_s)}")


def _ability_text(quality: ReducedQuality | None) -> str:
    return _UNKNOWN if quality is None else f"{quality.score:.0f} ({quality.low:.0f}-{quality.high:.0f})"


def _energy_text(one: Contender) -> str:
    output = one.energy.output
    if output is None:
        return _speed_or(one, None)
    kwh = output.kwh_per_million
    return f"{two_figures(kwh.expected)} ({two_figures(kwh.low)}-{two_figures(kwh.high)})"


def _parameters_text(one: Contender) -> str:
    built = one.architecture
    total = billions_text(built.n_parameters)
    if not built.is_moe or built.n_active_parameters is None:
        return total
    return f"{total}, {billions_text(built.n_active_parameters)} active"


# ---------------------------------------------------------------- layout


def _row_lines(label: str, cells: Sequence[str | Sequence[str]], width: int) -> Iterator[str]:
    """One row of the table; its cells are wrapped to ``width``."""
    texts = [(cell,) if isinstance(cell, str) else cell for cell in cells]
    columns = [[line for text in lines for line in fold(printable(text), width)] for lines in texts]
    for number, parts in enumerate(zip_longest(*columns, fillvalue="")):
        start = label if number == 0 else ""
        line = start.ljust(LABEL_WIDTH) + _GAP.join(part.ljust(width) for part in parts)
        yield line.rstrip()


def fold(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width``: broken at blanks, else after a hyphen, else anywhere."""
    lines, rest = [], text
    while len(rest) > width:
        at = rest.rfind(" ", 1, width + 1)
        if at < 1:
            at = rest.rfind("-", 0, width) + 1 or width
        lines.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*lines, rest]


__all__ = ["comparison_lines", "fold"]
