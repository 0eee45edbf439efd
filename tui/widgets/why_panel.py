"""Why this configuration: the verdict, the reasons, what would help, where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.on_disk import HERE, HERE_WORDS, OTHER_TYPE, OTHER_TYPE_WORDS

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.catalog.local.local_model import LocalModel
    from llmfit.tui.messages import Pick

MAX_SOURCES = 6
MAX_OTHER_FILES = 3


class WhyPanel(Static):
    """Draws the reasons of one pick, or the sentence that stands for an answer that could not be given."""

    pick: reactive[Pick | None] = reactive(None)
    problem: reactive[str] = reactive("")
    left_out: reactive[tuple[str, ...]] = reactive(())
    """What the list does not show, and why; stands below the reasons of whatever is chosen."""

    def watch_left_out(self) -> None:
        self._draw()

    def watch_pick(self) -> None:
        self._draw()

    def watch_problem(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.pick is not None:
            parts = [why_text(self.pick), evidence_text(self.pick)]
        else:
            parts = [Text(printable(self.problem))] if self.problem else []
        if self.left_out:
            parts.append(Text("\n").join([_labelled("Left out", line, "yellow") for line in self.left_out]))
        self.update(Text("\n\n").join(parts))


def why_text(pick: Pick) -> Text:
    """The verdict and the purpose, then one paragraph a reason, what would help, what to mind."""
    from llmfit.tui.cli.render import verdict_text

    judgement = pick.judgement
    head = Text(verdict_text(judgement), verdict_style(judgement))
    if pick.purpose:
        head.append(f" · {printable(pick.purpose)}", "default not dim")
    lines = [head, *_disk_lines(pick)]
    lines += [Text(printable(reason)) for reason in pick.why or judgement.reasons]
    lines += _help_lines(pick)
    lines += [_labelled("Mind", warning.text, "yellow") for warning in judgement.warnings]
    return Text("\n").join(lines)


def verdict_style(judgement: Judgement) -> str:
    """Green, yellow, red: beside the glyph and the word, never instead of them."""
    from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU

    return {FITS_GPU: "bold green", DOES_NOT_FIT: "bold red"}.get(judgement.verdict, "bold yellow")


def _disk_lines(pick: Pick) -> Iterator[Text]:
    """Where the file lies; other files of the same model with their types and sizes."""
    from llmfit.advisor.units import format_gib

    if pick.local is not None:
        yield _labelled(f"{HERE} {HERE_WORDS}", _place(pick.local), "green")
    for local in pick.local_others[:MAX_OTHER_FILES]:
        file = f"{local.quantization or 'file type not known'}, {format_gib(local.file_bytes)}"
        yield _labelled(f"{OTHER_TYPE} {OTHER_TYPE_WORDS}", f"{file}: {_place(local)}", "green")
    if len(pick.local_others) > MAX_OTHER_FILES:
        yield Text(f"{OTHER_TYPE} and {len(pick.local_others) - MAX_OTHER_FILES} more files of it")


def _place(local: LocalModel) -> str:
    return f"{local.path} ({local.store})"


def _help_lines(pick: Pick) -> Iterator[Text]:
    from llmfit.tui.speed_words import two_figures

    judgement = pick.judgement
    for remedy in judgement.remedies:
        speed = "" if remedy.decode_tok_s is None else f", about {two_figures(remedy.decode_tok_s)} tok/s"
        yield _labelled("Helps", remedy.text + speed, "cyan")
    if judgement.fits or judgement.remedies:
        return
    if pick.looked_for_help:
        yield _labelled(
            "Helps", "no setting and no smaller file type; more memory, or another model.", "cyan"
        )
    else:
        yield Text("Looking for what would help…", "dim italic")


def evidence_text(pick: Pick) -> Text:
    """Where the numbers come from, a line each."""
    return Text("\n").join([_labelled(label, text, "dim") for label, text in evidence(pick)])


def evidence(pick: Pick) -> Iterator[tuple[str, str]]:
    """(what, where it comes from) for the figures of a pick."""
    from llmfit.advisor.units import format_gib
    from llmfit.tui.speed_words import speed_sentences

    judgement = pick.judgement
    model, memory = judgement.model, judgement.memory
    margin = sum(device.margin_bytes for device in memory.devices)
    yield "File", f"{format_gib(model.file_bytes)}, {model.file_bytes_source}."
    yield "Memory", f"llama.cpp's own rules, tensor by tensor; {format_gib(margin)} more is kept for doubt."
    yield from speed_sentences(judgement)
    if pick.quality is not None:
        for source in pick.quality.sources[:MAX_SOURCES]:
            yield "Scores", source
        if len(pick.quality.sources) > MAX_SOURCES:
            yield "Scores", f"and {len(pick.quality.sources) - MAX_SOURCES} more sources"


def _labelled(label: str, text: str, style: str) -> Text:
    line = Text(f"{label}: ", f"bold {style}")
    line.append(printable(text), "default not bold" if style != "dim" else "dim not bold")
    return line
