"""The machine from near: which program holds what, what if it were closed, every fact with its source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.measuring import Measuring
from llmfit.tui.messages import BandwidthMeasured, BandwidthRound
from llmfit.tui.widgets.cards_view import CardsView
from llmfit.tui.widgets.facts_view import FactsView
from llmfit.tui.widgets.heading import title_text
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.machine_panel import loud_problem
from llmfit.tui.widgets.too_small import TooSmall

if TYPE_CHECKING:
    from llmfit.tui.advice import Advice
    from llmfit.tui.app import LlmfitApp
    from llmfit.tui.known_machine import KnownMachine


class MachineScreen(Screen[None]):
    """Draws what the app knows of the machine, also while that changes. Leaving it stops a measurement."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "back"),
        Binding("m,q", "close", show=False),
        Binding("r", "app.probe", "probe again"),
        Binding("f5", "app.probe", show=False),
        Binding("b", "measure", "measure RAM"),
        Binding("pageup", "page('up')", show=False),
        Binding("pagedown", "page('down')", show=False),
        Binding("home,g", "page('home')", show=False),
        Binding("end", "page('end')", show=False),
        *HELP_KEYS,
    ]

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        self._measuring = Measuring(self, advice)
        self._rounds: list[int] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield Static("", id="title")
            yield Static("", id="machine-problem")
            with VerticalScroll(id="machine-page", can_focus=False):
                yield CardsView(id="cards")
                yield FactsView(id="facts")
            yield Static("", id="machine-status")
        yield TooSmall()
        yield KeysFooter()

    def on_mount(self) -> None:
        self.watch(self.app, "known", self._machine_known)
        self.watch(self.app, "probing", self._draw_title)
        self.watch(self.app, "probe_problem", self._draw_problem)
        self._say("")
        self.query_one(CardsView).focus()

    def on_unmount(self) -> None:
        self._measuring.stop()

    @property
    def _app(self) -> LlmfitApp:
        return cast("LlmfitApp", self.app)

    def on_resize(self) -> None:
        if self.focused is None:
            self.call_after_refresh(self.query_one(CardsView).focus)

    # ---------------------------------------------------------------- drawing

    def _machine_known(self, known: KnownMachine | None) -> None:
        if known is not None:
            self.query_one(CardsView).known = known
            self.query_one(FactsView).machine = known.probed
            self._draw_problem()
            self._draw_title()

    def _draw_title(self) -> None:
        self.query_one("#title", Static).update(title_text(self._app.known, self._app.probing))

    def _draw_problem(self) -> None:
        known, told = self._app.known, []
        if known is not None:
            told.append(loud_problem(known.probed))
        if self._app.probe_problem:
            told.append(f"! It could not be read again: {self._app.probe_problem}")
        problem = self.query_one("#machine-problem", Static)
        problem.update(Text("\n").join([Text(printable(line), "bold red") for line in told if line]))
        problem.display = any(told)

    def _say(self, text: str) -> None:
        """The line above the footer; an empty one takes no room."""
        status = self.query_one("#machine-status", Static)
        status.update(Text(printable(text)))
        status.display = bool(text)

    # ---------------------------------------------------------------- what if

    @on(CardsView.Ticked)
    def _ticked(self, message: CardsView.Ticked) -> None:
        known = self._app.known
        if known is not None:
            self._app.known = known.toggled(message.pid)

    @on(CardsView.Passed)
    def _cursor_moved(self, message: CardsView.Passed) -> None:
        """The page follows the cursor, and scrolls on where the programs end."""
        page, cards = self.query_one("#machine-page", VerticalScroll), self.query_one(CardsView)
        region = cards.cursor_region
        if message.step:
            page.scroll_relative(y=message.step, animate=False)
        elif region is not None:
            page.scroll_to_region(region.translate(cards.virtual_region.offset), animate=False)

    def action_page(self, where: str) -> None:
        page = self.query_one("#machine-page", VerticalScroll)
        scrolls = {
            "up": page.scroll_page_up,
            "down": page.scroll_page_down,
            "home": page.scroll_home,
            "end": page.scroll_end,
        }
        scrolls[where](animate=False)

    # ---------------------------------------------------------------- the RAM's bandwidth

    def action_measure(self) -> None:
        """Starts the measurement, or stops the one that runs."""
        known = self._app.known
        if self._measuring.is_running:
            self._measuring.stop()
            self._say("Stopping the measurement…")
        elif known is not None and known.probed.simulated:
            self._say("This machine is only described: the RAM of another one cannot be measured here.")
        elif known is not None:
            self._rounds = []
            self._measuring.start(known.probed)
            self._say("Measuring the RAM's bandwidth with all cores, a few seconds; b stops it.")

    @on(BandwidthRound)
    def _round_done(self, message: BandwidthRound) -> None:
        self._rounds.append(message.bytes_per_s)
        told = ", ".join(f"{rate / 1e9:.1f}" for rate in self._rounds)
        self._say(f"Measuring the RAM's bandwidth: {told} GB/s; b stops it.")

    @on(BandwidthMeasured)
    def _measured(self, message: BandwidthMeasured) -> None:
        self._measuring.ended()
        known = self._app.known
        if message.machine is None or known is None:
            self._say(message.problem or "The measurement was stopped; nothing was kept.")
            return
        memory = replace(
            known.probed.memory,  # what else is known of it may be newer than the measurement
            bandwidth_bytes_per_s=message.machine.memory.bandwidth_bytes_per_s,
            bandwidth_source=message.machine.memory.bandwidth_source,
        )
        self._app.known = replace(known, probed=replace(known.probed, memory=memory))
        self._say(f"RAM bandwidth: {(memory.bandwidth_bytes_per_s or 0) / 1e9:.1f} GB/s, kept for later.")

    def action_close(self) -> None:
        self.dismiss(None)
