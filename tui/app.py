"""The terminal app: one screen that answers what to run here, and the keys to change the question."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from llmfit.advisor.errors import LlmfitError
from llmfit.tui.live_advice import LiveAdvice
from llmfit.tui.screens.advisor import AdvisorScreen


class LlmfitApp(App[None]):
    """Holds nothing but the source of advice; every screen draws values it is given."""

    TITLE = "llmfit"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (100, "-normal"),
        (140, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (34, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, advice: LiveAdvice) -> None:
        super().__init__()
        self.advice = advice

    def on_mount(self) -> None:
        self.push_screen(AdvisorScreen(self.advice))

    def action_help(self) -> None:
        from llmfit.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())


def run_app(parsed: argparse.Namespace) -> int:
    """Opens the app on this machine, or on the simulated one that the options describe."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LlmfitError("llmfit", "the app needs a terminal", "In a script use llmfit recommend --json.")
    advice = LiveAdvice(vars(parsed))
    app = LlmfitApp(advice)
    app.run()
    return app.return_code or 0
