"""The machine from near: which program holds what, what if it were closed, every fact with its source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.advisor.units import GB
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.measuring import Measuring
from llmfit.tui.messages import BandwidthMeasured, BandwidthRound
from llmfit.tui.screens.base import FullScreen
from llmfit.tui.widgets.cards_view import CardsView
from llmfit.tui.widgets.facts_view import FactsView
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.machine_panel import loud_problems
from llmfit.tui.widgets.title_line import TitleLine
from llmfit.tui.widgets.too_small import TooSmall

if TYPE_CHECKING:
    from llmfit.tui.advice import Advice
    from llmfit.tui.known_machine import KnownMachine


class MachineScreen(FullScreen):
    """Draws what the app knows of the machine, also while that changes. Leaving it stops a measurement."""

    home = CardsView
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

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield TitleLine(id="title")
            yield Static("", id="machine-problem")
            with VerticalScroll(id="machine-page", can_focus=False):
                yield CardsView(id="cards")
                yield FactsView(id="facts")
            yield Static("", id="machine-status")
        yield TooSmall()
        yield KeysFooter()

    def on_mount(self) -> None:
        self.watch(self.app, "known", self._machine_known)
        self.watch(self.app, "probe_problem", self._draw_problem)
        self._say("")
        self.query_one(CardsView).focus()

    def on_unmount(self) -> None:
        self._measuring.stop()

    # ---------------------------------------------------------------- drawing

    def _machine_known(self, known: KnownMachine | None) -> None:
        if known is not None:
            self.query_one(CardsView).known = known
            self.query_one(FactsView).machine = known.probed
            self._draw_problem()

    def _draw_problem(self) -> None:
        known = self.llmfit.known
        if known is None:
            return
        told = [forms[0] for forms in loud_problems(known.probed, self.llmfit.probe_problem)]
        problem = self.query_one("#machine-problem", Static)
        problem.update(Text("\n").join([Text(printable(line), "bold red") for line in told]))
        problem.display = bool(told)

    def _say(self, text: str) -> None:
        """The line above the footer; an empty one takes no room."""
        status = self.query_one("#machine-status", Static)
        status.update(Text(printable(text)))
        status.display = bool(text)

    # ---------------------------------------------------------------- what if

    @on(CardsView.Ticked)
    def _ticked(self, message: CardsView.Ticked) -> None:
        known = self.llmfit.known
        if known is not None:
            self.llmfit.known = known.toggled(message.pid)

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
        known = self.llmfit.known
        if self._measuring.is_running:
            self._measuring.stop()
            self._say("Stopping the measurement…")
        elif known is not None and known.probed.described_by is not None:
            self._say("This machine is only described: the RAM of another one cannot be measured here.")
        elif known is not None:
            self._measuring.start(known.probed)
            self._say("Measuring the RAM's bandwidth with all cores, a few seconds; b stops it.")

    @on(BandwidthRound)
    def _round_done(self, message: BandwidthRound) -> None:
        rate = f"{message.bytes_per_s / GB:.1f} GB/s"
        self._say(
            f"Measuring the RAM's bandwidth: round {message.number} of {message.total}, {rate}; b stops it."
        )

    @on(BandwidthMeasured)
    def _measured(self, message: BandwidthMeasured) -> None:
        self._measuring.ended()
        known = self.llmfit.known
        measured = message.measured
        if measured is None or known is None:
            self._say(message.problem or "The measurement was stopped; nothing was kept.")
            return
        from llmfit.advisor.hardware.bandwidth.remembered import measurement_text, with_measurement

        if measured.kept:
            self.llmfit.known = replace(known, probed=with_measurement(known.probed, measured))
        self._say(measurement_text(measured))
