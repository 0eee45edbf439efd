"""The keys and what the numbers mean, on one page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

HELP = """\
Keys
  up, down   choose a row (also j, k)   enter   everything about it
  /          search the catalogue       esc     back; never leaves the app
  c          context                    u       use case
  d          models on this disk        m       the machine from near
  p          hardware that runs it      space   mark a row, v compares
  y          copy the command           r       probe again (also F5)
  t          light or dark              g       top of the list (also Home)
  ?          this page (also F1)        q       quit (on a page: back)

A model from near (enter)
  1 to 9     a section; also left and right. The tables are those of
             llmfit show, each figure judged for this machine
  2          the best for quality, speed, context or balance: up and down
             choose one, y copies its command
  p          which cards and computers run it, and what this machine needs
             for it; s there says how fast it has to be

Compared (space, v)
  +          a marked row, up to four; marks stay through searches

The machine (m)
  up, down   choose a program           space   plan as if it were closed
  r          probe again                b       measure the RAM's bandwidth
  bars       a glyph a program, the one beside its name; ╳ in use by nobody
             who is known, ≡ kept by the driver, · free, ╌ not for the GPU

The list
  ✓          every device has room for the estimate and its margin
  ~          runs, but a part is read from system RAM and is slower
  ✗          does not run here; "short" says how many GiB are missing
  VRAM GiB   on each card: weights, KV cache, compute buffers, driver
             (GiB = 2^30 bytes); 21.4+20.9 are two cards
  RAM GiB    in system RAM: weights left there, and the server itself
  tok/s      tokens per second of one answer at an empty context, and the
             range in which the truth should lie. Never shown for what
             cannot run; ? where a bandwidth is not known
  ●          the file is on this disk, the command starts it from there
  ○          this model in another file type is on this disk
  ability    0 to 100 from published scores, its 80 % interval, and the
             grade of the evidence: A to C tested; a dash is untested

Where the bytes go
  driver     what the driver takes on a card; in RAM the server itself
  total      what will be used, of what is free now. A margin for doubt
             beyond it must fit as well before llmfit says ✓

  Memory follows llama.cpp's own rules and is checked against it. Speed is
  a first, rough model: look at the range, not at the middle.
"""


_KEY_WIDTH = 13
_PAIR = re.compile(r"(  \S.{7}   \S.*?) {3,}(\S.{7})(\S.*)")
"""Two keys side by side."""


def help_text(width: int) -> str:
    """The page as it is; where it is wider than ``width``, one key below the other and texts wrapped."""
    lines = HELP.splitlines()
    if max(map(len, lines)) <= width:
        return HELP
    return "\n".join(line for entry in _entries(lines) for line in _wrapped(entry, width))


def _entries(lines: list[str]) -> Iterator[str]:
    """Each key or paragraph as one line, whatever it was wrapped to."""
    entry = ""
    for line in lines:
        starts = not line.startswith("  ") or (line[10:_KEY_WIDTH] == "   " and line[2] != " ")
        if entry and not starts:
            entry += f" {line.strip()}"
            continue
        if entry:
            yield entry
        pair = _PAIR.fullmatch(line)
        entry = line
        if pair is not None:
            yield pair[1]
            entry = f"  {pair[2]:<11}{pair[3]}"
        elif not line:
            yield ""
            entry = ""
    if entry:
        yield entry


def _wrapped(entry: str, width: int) -> list[str]:
    if not entry.startswith(" "):
        return [entry]  # a title, or a line between
    is_key = entry[10:_KEY_WIDTH] == "   "
    start = entry[: _KEY_WIDTH if is_key else 2]
    rest = entry[len(start) :]
    return textwrap.wrap(rest, width, initial_indent=start, subsequent_indent=" " * len(start))


class _HelpText(Static):
    """The page drawn to the width it has."""

    def on_resize(self) -> None:
        self.update(help_text(self.content_size.width))


class HelpScreen(ModalScreen[None]):
    """Any of the closing keys goes back."""

    _is_closed_by_key = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "back"),
        Binding("question_mark,f1,q,enter", "close", show=False),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            yield _HelpText(HELP, markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one("#help").focus()

    def action_close(self) -> None:
        """Of two keys at once the second finds it closed."""
        if not self._is_closed_by_key:
            self._is_closed_by_key = True
            self.dismiss(None)
