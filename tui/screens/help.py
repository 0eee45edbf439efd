"""The keys and what the numbers mean, on one page."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
Keys
  up, down     choose a row            enter   everything about it
  /            search the catalogue    esc     back
  c            context                 u       use case
  y            copy the command        g       top of the list
  ?            this page               q       quit

What the numbers mean
  memory GiB   what each card holds: weights, KV cache, compute buffer and
               driver (GiB = 2^30 bytes). 21.4+20.9 are two cards; "+ RAM"
               means that a part of the weights stays in system RAM.
  decode       tokens per second of one answer at an empty context, with the
               range in which the truth should lie. Never shown for what
               cannot run.
  ✓ fits       every device has room for the estimate and its margin
  ~ offload    runs, but a part is read from system RAM and is slower
  ✗ short      does not run here, and by how many GiB

  Memory follows llama.cpp's own rules and is checked against it. Speed is
  a first, rough model: look at the range, not at the middle.
"""


class HelpScreen(ModalScreen[None]):
    """Any of the closing keys goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "close", "back"),
    ]

    def compose(self) -> ComposeResult:
        box = VerticalScroll(Static(HELP, markup=False), id="help")
        box.border_title = "Help"
        box.border_subtitle = "esc goes back"
        yield box

    def action_close(self) -> None:
        self.dismiss(None)
