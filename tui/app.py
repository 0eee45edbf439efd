"""The terminal app: one screen that answers what to run here, and the keys to change the question."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Input

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.text import printable
from llmfit.tui.advice import Advice
from llmfit.tui.background import in_background
from llmfit.tui.cli.main import ENDING_SIGNALS
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.known_machine import KnownMachine
from llmfit.tui.live_advice import LiveAdvice
from llmfit.tui.messages import MachineKnown, MachineUnknown
from llmfit.tui.screens.advisor import AdvisorScreen
from llmfit.tui.terminal_size import MIN_COLUMNS, MIN_ROWS

SWITCH_INTERVAL_S = 0.001
"""How long a thread that calculates may keep the screen waiting; Python's own 5 ms are felt while typing."""


class LlmfitApp(App[LlmfitError]):
    """Holds the source of advice and what is known of the machine; every screen draws values it is given.

    Its result is the error that made it close at once (a machine that could not be understood), else None.
    """

    TITLE = "llmfit"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - as textual declares it
        (0, "-too-narrow"),
        (MIN_COLUMNS, "-narrow"),
        (100, "-normal"),
        (140, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-too-short"),
        (MIN_ROWS, "-low"),
        (24, "-short"),
        (34, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        *HELP_KEYS,
        Binding("q", "quit", "quit"),
        Binding("t", "theme", "light or dark", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    known: reactive[KnownMachine | None] = reactive(None, always_update=True)
    probing: reactive[bool] = reactive(False)
    probe_problem: reactive[str] = reactive("")

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        self.advice = advice
        self._told: set[str] = set()

    def on_mount(self) -> None:
        """A closed terminal, or kill, quits as ``q`` does: the screen is restored, nothing is left."""
        loop = asyncio.get_running_loop()
        for name in ENDING_SIGNALS:
            # Not every system has these signals, and only the main thread may handle them.
            with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(getattr(signal, name), self.exit)

    def get_default_screen(self) -> Screen[None]:
        return AdvisorScreen(self.advice)

    def action_probe(self) -> None:
        """Reads the machine (again), because programs come and go; one look at a time."""
        if self.probing:
            return
        self.probing = True

        def job() -> Iterator[Message]:
            machine = self.advice.machine()
            yield MachineKnown(machine, self.advice.notes(), self.advice.speeds())

        in_background(self, job, MachineUnknown)

    @on(MachineKnown)
    def _machine_known(self, message: MachineKnown) -> None:
        self.probe_problem, self.probing = "", False
        before = self.known
        if before is None:
            self.known = KnownMachine(message.machine, speeds=message.speeds)
        else:
            self.known = before.probed_again(message.machine, message.speeds)
        self._tell_notes(message.notes)

    @on(MachineUnknown)
    def _machine_unknown(self, message: MachineUnknown) -> None:
        if self.known is None and isinstance(message.error, UsageError):
            self.exit(message.error)  # the command line was wrong: say so where it was typed
        else:
            self.probing = False
            self.probe_problem = str(message.error)

    def _tell_notes(self, notes: tuple[str, ...]) -> None:
        """Once each: what of the user's own was left out, because models or speeds lack here then."""
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                self.notify(printable(note), title="Not read", severity="warning", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A ``?`` that somebody types into a field is not a key."""
        return not (action == "help" and not parameters and isinstance(self.focused, Input))

    def action_help(self, anywhere: bool = False) -> None:
        """``anywhere``: asked for by a key that is never text."""
        from llmfit.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_help_quit(self) -> None:
        """Ctrl+C: textual would name a key that the footer does not."""
        self.notify("Press q to quit.", timeout=3)

    def action_theme(self) -> None:
        """Between the light and the dark theme: a terminal does not say which it is."""
        self.theme = "textual-dark" if self.theme == "textual-light" else "textual-light"


def run_app(parsed: argparse.Namespace) -> int:
    """Opens the app on this machine, or on the simulated one that the options describe.

    Raises LlmfitError without a terminal, and UsageError for a machine that cannot be understood.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LlmfitError("llmfit", "the app needs a terminal", "In a script use llmfit recommend --json.")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = LlmfitApp(LiveAdvice(vars(parsed)))
    problem = app.run()
    if problem is not None:
        raise problem
    return app.return_code or 0
