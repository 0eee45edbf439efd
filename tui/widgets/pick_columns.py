"""The columns of the list of picks: widths come from the contents; what finds no room is left out whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU, Judgement
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_context
from llmfit.tui import speed_words
from llmfit.tui.messages import Pick
from llmfit.tui.on_disk import mark_of
from llmfit.tui.speed_words import two_figures

CELL_PADDING = 1
MIN_NAME_WIDTH = 12
COMPARED = "+"
"""Before a row that is marked to be compared."""
_GLYPHS = {FITS_GPU: ("✓", "green"), DOES_NOT_FIT: ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Column:
    """``dropped`` says when it goes if room is short: the highest first, 0 never."""

    label: str
    text: Callable[[Pick], str]
    dropped: int = 0
    right: bool = False


def verdict_glyph(judgement: Judgement) -> tuple[str, str]:
    """The glyph and its style; ``~`` runs with a part in RAM or on the CPU."""
    return _GLYPHS.get(judgement.verdict, ("~", "yellow"))


def name_text(pick: Pick) -> str:
    return printable(pick.judgement.model.id.split("/")[-1])


def ability_text(pick: Pick) -> str:
    """``71 (66-77) B``: score, 80 % interval and grade of evidence; a dash where nobody has measured."""
    quality = pick.quality
    if quality is None or not quality.is_tested:
        return "–"
    return f"{quality.score:.0f} ({quality.low:.0f}-{quality.high:.0f}) {quality.grade}"


def parameters_text(pick: Pick) -> str:
    """``30.5B`` or ``30.5B, 3.3B active``."""
    model = pick.judgement.model
    total, active = model.n_parameters, model.n_active_parameters
    text = f"{two_decimals(total / 1e9)}B"
    if active is not None and active < 0.8 * total:
        text += f" a{two_decimals(active / 1e9)}B"
    return text


def two_decimals(billions: float) -> str:
    return f"{billions:.0f}" if billions >= 99.5 else f"{billions:.1f}"


def vram_text(pick: Pick) -> str:
    """GiB a card: ``21.4+20.9``; many cards as a range; what is missing where it does not fit."""
    judgement = pick.judgement
    if judgement.verdict == DOES_NOT_FIT:
        return f"{judgement.shortfall_bytes / GIB:.1f} short"
    sizes = [device.total_bytes / GIB for device in judgement.memory.gpus]
    if len(sizes) <= 2:
        return "+".join(f"{size:.1f}" for size in sizes) or "–"
    low, high = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
    return f"{len(sizes)}x {low}" if low == high else f"{len(sizes)}x {low}-{high}"


def ram_text(pick: Pick) -> str:
    if pick.judgement.verdict == DOES_NOT_FIT:
        return "–"
    return f"{pick.judgement.memory.host.total_bytes / GIB:.1f}"


def speed_text(pick: Pick) -> str:
    """Never a speed for what cannot run; ``?`` where a bandwidth is not known."""
    if not pick.judgement.fits:
        return "–"
    speed = pick.judgement.speed
    return "?" if speed is None else two_figures(speed.decode_tok_s.expected)


def range_text(pick: Pick) -> str:
    speed = pick.judgement.speed
    if not pick.judgement.fits or speed is None:
        return ""
    return f"({speed_words.range_text(speed.decode_tok_s)})"


def prefill_text(pick: Pick) -> str:
    """Of the prompt that the judgement is for: one micro-batch where nobody says."""
    speed = pick.judgement.speed
    if not pick.judgement.fits:
        return "–"
    prefill = None if speed is None else speed.prefill_tok_s
    return "?" if prefill is None else two_figures(prefill.expected)


COLUMNS = (
    Column("", lambda pick: COMPARED if pick.is_marked else ""),
    Column("", lambda pick: verdict_glyph(pick.judgement)[0]),
    Column("", mark_of),
    Column("purpose", lambda pick: printable(pick.purpose), dropped=4),
    Column("model", name_text),
    Column("params", parameters_text, dropped=7),
    Column("quant", lambda pick: printable(pick.judgement.model.quantization)),
    Column("KV", lambda pick: pick.judgement.settings.cache_type_k, dropped=2),
    Column("ctx", lambda pick: format_context(pick.judgement.settings.context_tokens), right=True),
    Column("VRAM GiB", vram_text, right=True),
    Column("RAM GiB", ram_text, dropped=1, right=True),
    Column("tok/s", speed_text, right=True),
    Column("range", range_text, dropped=3),
    Column("prefill", prefill_text, dropped=5, right=True),
    Column("ability", ability_text, dropped=6),
)
_COMPARED, _VERDICT, _MARK, _NAME = 0, 1, 2, 4
_MARKS = (COLUMNS[_COMPARED], COLUMNS[_MARK])


def planned_columns(picks: Sequence[Pick], width: int) -> list[tuple[Column, int]]:
    """The columns that fit into ``width`` cells, with their widths; only the name may be cut."""
    columns = [
        column for column in COLUMNS if any(map(column.text, picks)) or (not picks and column not in _MARKS)
    ]
    while True:
        widths = [max(map(cell_len, (c.label, *map(c.text, picks)))) for c in columns]
        over = sum(widths) + 2 * CELL_PADDING * len(columns) - width
        last = max(columns, key=lambda column: column.dropped)
        if over <= 0 or last.dropped == 0:
            break
        columns.remove(last)
    if over > 0:
        name = columns.index(COLUMNS[_NAME])
        widths[name] = max(MIN_NAME_WIDTH, widths[name] - over)
    return list(zip(columns, widths, strict=True))


def pick_cells(pick: Pick, columns: Sequence[tuple[Column, int]]) -> list[Text]:
    """Plain texts, never markup; a name that is too long ends in an ellipsis."""
    cells = []
    for column, width in columns:
        cell = Text(column.text(pick), no_wrap=True, justify="right" if column.right else "left")
        cell.truncate(width, overflow="ellipsis")
        cells.append(cell)
    for (column, _), cell in zip(columns, cells, strict=True):
        if column is COLUMNS[_VERDICT]:
            cell.stylize(verdict_glyph(pick.judgement)[1])
        elif column is COLUMNS[_MARK]:
            cell.stylize("green")
    return cells
