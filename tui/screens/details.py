"""Everything about one configuration: why, where the bytes go, every setting, the evidence, the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.labels import device_label
from llmfit.tui.messages import Pick
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.memory_view import MemoryView
from llmfit.tui.widgets.settings_view import SettingsView
from llmfit.tui.widgets.speed_view import SpeedView
from llmfit.tui.widgets.why_panel import evidence_text, why_text


class DetailsScreen(ModalScreen[None]):
    """Scrolls; Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "back"),
        Binding("q,enter", "close", show=False),
        Binding("y", "copy", "copy"),
        *HELP_KEYS,
        Binding("home,g", "top", show=False),
    ]

    def __init__(self, pick: Pick) -> None:
        super().__init__()
        self.pick = pick

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="details") as box:
            box.border_title = "Details"
            yield Static(_title(self.pick))
            yield from self._sections()
        yield KeysFooter()

    def _sections(self) -> Iterator[Widget]:
        yield Static(why_text(self.pick))
        yield Static("Where the bytes go (GiB = 2^30 bytes)", classes="heading")
        yield MemoryView()
        yield Static(_devices(self.pick))
        yield Static("How fast", classes="heading")
        yield SpeedView()
        yield Static("Settings, one by one", classes="heading")
        yield SettingsView()
        yield CommandPreview(id="details-command")
        yield Static("Where the numbers come from", classes="heading")
        yield Static(evidence_text(self.pick))

    def on_mount(self) -> None:
        self.query_one(MemoryView).judgement = self.pick.judgement
        self.query_one(SpeedView).judgement = self.pick.judgement
        self.query_one(SettingsView).pick = self.pick
        self.query_one(CommandPreview).pick = self.pick
        self.query_one("#details").focus()

    def action_close(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        command = self.query_one(CommandPreview)
        command.copy()
        command.scroll_visible(animate=False)

    def action_top(self) -> None:
        self.query_one("#details").scroll_home(animate=False)


def _title(pick: Pick) -> Text:
    from llmfit.advisor.units import format_context

    settings, model = pick.judgement.settings, pick.judgement.model
    text = Text(f"{printable(model.id)} {printable(model.quantization)}", "bold")
    text.append(f"\n{format_context(settings.context_tokens)} context", "not bold")
    text.append(f" · KV cache {settings.cache_type_k}/{settings.cache_type_v}", "not bold")
    text.append(f" · {model.shape.architecture}, {model.n_parameters / 1e9:.1f}B parameters", "not bold")
    return text


def _devices(pick: Pick) -> Text:
    """Which card a label means, and how much is kept for doubt there."""
    from llmfit.advisor.units import format_gib

    lines = []
    for device in pick.judgement.memory.devices:
        name = "" if device.kind == "host" else f"{printable(device.name)}, "
        lines.append(f"{device_label(device)}: {name}{format_gib(device.margin_bytes)} kept for doubt")
    return Text("\n".join(lines), "dim")
