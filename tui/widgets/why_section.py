"""Everything about one configuration: why, where the bytes go, how fast, every setting, the command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.labels import device_label
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.memory_view import MemoryView
from llmfit.tui.widgets.settings_view import SettingsView
from llmfit.tui.widgets.speed_view import SpeedView
from llmfit.tui.widgets.why_panel import evidence_text, why_text

if TYPE_CHECKING:
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.tui.messages import Pick


class WhySection(Container):
    """Draws a pick; the article adds what the model is, and what runs where the pick does not."""

    article: reactive[Article | None] = reactive(None)

    def __init__(self, pick: Pick) -> None:
        super().__init__(id="why-section")
        self.pick = pick

    def compose(self) -> ComposeResult:
        with Vertical(classes="column"):
            yield Static(why_text(self.pick), id="verdict")
            yield CommandPreview(id="details-command")
            yield Static(id="about-model")
            yield Static("Where the numbers come from", classes="heading")
            yield Static(evidence_text(self.pick))
        with Vertical(classes="column"):
            yield Static("Where the bytes go (GiB = 2^30 bytes)", classes="heading first")
            yield MemoryView()
            yield Static(_devices(self.pick))
            yield Static("How fast", classes="heading")
            yield SpeedView()
            yield Static("Settings, one by one", classes="heading")
            yield SettingsView()

    def on_mount(self) -> None:
        self.query_one("#about-model").display = False
        self.query_one(MemoryView).judgement = self.pick.judgement
        self.query_one(SpeedView).judgement = self.pick.judgement
        self.query_one(SettingsView).pick = self.pick
        self.query_one(CommandPreview).pick = self.pick

    def watch_article(self, article: Article | None) -> None:
        if article is None:
            return
        from llmfit.tui.article_words import about_sentences, verdict_sentences

        parts = [
            Text("What the model is", "bold"),
            *(Text(printable(one)) for one in about_sentences(article)),
        ]
        about = self.query_one("#about-model", Static)
        about.update(Text("\n").join(parts))
        about.display = True
        if article.is_compromise and article.running is not None:
            _, *rest = verdict_sentences(article)
            self.query_one("#verdict", Static).update(_sentences(why_text(self.pick), rest))
            command = self.query_one(CommandPreview)
            command.subject = f"{printable(article.running.model.quantization)}, which runs instead"
            command.pick = replace(self.pick, judgement=article.running)

    def copy(self) -> None:
        command = self.query_one(CommandPreview)
        command.copy()
        command.scroll_visible(animate=False)


def _sentences(head: Text, sentences: Iterable[str]) -> Text:
    return Text("\n").join([head, Text(""), *(Text(printable(sentence)) for sentence in sentences)])


def _devices(pick: Pick) -> Text:
    """Which card a label means, and how much is kept for doubt there."""
    from llmfit.advisor.units import format_gib

    lines = []
    for device in pick.judgement.memory.devices:
        name = "" if device.kind == "host" else f"{printable(device.name)}, "
        lines.append(f"{device_label(device)}: {name}{format_gib(device.margin_bytes)} kept for doubt")
    return Text("\n".join(lines), "dim")
