"""Asks in the background, and knows which of the answers that come back is still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer

from llmfit.tui.background import in_background
from llmfit.tui.messages import HelpFound, NotModelled, Pick, PicksReady

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.tui.advice import Advice
    from llmfit.tui.question import Question

RESTING_PAUSE_S = 0.25
"""What would help is looked for when the cursor has stayed on a row for this long."""
PROGRESS_EVERY_S = 0.25
FORESEEN_AFTER_S = 0.4
"""Other contexts are answered in advance when nothing has been asked for this long."""
PART_EVERY_S = 0.15
"""A search shows what it has found so far no more often than this."""


class Asking:
    """Posts PicksReady and HelpFound to ``owner``. Each question has a ticket, the last one counts."""

    def __init__(self, owner: MessagePump, advice: Advice) -> None:
        self.thinking = True
        self._owner = owner
        self._advice = advice
        self._looking_for_help = False
        self._ticket = 0
        self._resting: Timer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked has been answered."""
        return not self.thinking and not self._looking_for_help

    def while_thinking(self, draw: Callable[[], None]) -> None:
        """From now on calls ``draw`` every PROGRESS_EVERY_S while an answer is awaited."""

        def step() -> None:
            if self.thinking:
                draw()

        self._owner.set_interval(PROGRESS_EVERY_S, step)

    def is_current(self, ticket: int) -> bool:
        return ticket == self._ticket

    def ask(self, machine: Machine, question: Question) -> None:
        """Asks anew; an answer to an older question is dropped when it comes."""
        self._ticket += 1
        self.thinking = True
        ticket = self._ticket

        def job() -> Iterator[Message]:
            found = self._found(machine, question)
            if isinstance(found, tuple):
                yield PicksReady(ticket, found)
                with suppress(Exception):  # what fails here is said when somebody asks for it
                    time.sleep(FORESEEN_AFTER_S)
                    self._advice.foresee(machine, question, lambda: self._is_idle(ticket))
            else:
                yield from _in_parts(ticket, found, lambda: self.is_current(ticket))

        in_background(self._owner, job, lambda error: PicksReady(ticket, (), str(error)))

    def _is_idle(self, ticket: int) -> bool:
        """Waits until nothing else is worked at; False where something else has been asked."""
        while self.is_current(ticket) and self._owner.is_running:
            if not self._looking_for_help and not self._is_elsewhere():
                return True
            time.sleep(PROGRESS_EVERY_S)
        return False

    def _is_elsewhere(self) -> bool:
        """Another screen is looked at, which may ask questions of its own; a dialog is not one."""
        top = self._owner.app.screen
        return top is not self._owner and not top.is_modal

    def _found(self, machine: Machine, question: Question) -> tuple[Pick, ...] | Iterable[Pick | NotModelled]:
        if question.search_text:
            return iter(self._advice.search(machine, question.search_text, question.context_tokens))
        if question.on_disk:
            return iter(self._advice.local_picks(machine, question.context_tokens))
        return self._advice.picks(machine, question.use_case, question.context_tokens)

    def look_for_help_soon(self, pick: Pick | None, context_tokens: int | None) -> None:
        """Looks for what would help a pick that stays chosen and is not all on the GPUs."""
        if self._resting is not None:
            self._resting.stop()
        self._looking_for_help = pick is not None and not pick.looked_for_help and not _is_all_on_gpus(pick)
        if pick is not None and self._looking_for_help:
            self._resting = self._owner.set_timer(
                RESTING_PAUSE_S, lambda: self._look_for_help(pick, context_tokens)
            )

    def _look_for_help(self, pick: Pick, context_tokens: int | None) -> None:
        ticket = self._ticket

        def job() -> Iterator[Message]:
            yield HelpFound(ticket, self._advice.with_help(pick, context_tokens))

        in_background(self._owner, job, lambda _: HelpFound(ticket, replace(pick, looked_for_help=True)))


def _in_parts(
    ticket: int, found: Iterable[Pick | NotModelled], still_wanted: Callable[[], bool]
) -> Iterator[PicksReady]:
    """All that was found so far, again and again, then all; stops when nobody wants it any more."""
    picks: list[Pick] = []
    not_modelled: list[NotModelled] = []
    shown_at_s, n_shown = 0.0, 0
    for one in found:
        if not still_wanted():
            return
        if isinstance(one, Pick):
            picks.append(one)
        else:
            not_modelled.append(one)
        if (picks and not n_shown) or time.monotonic() - shown_at_s > PART_EVERY_S:
            yield PicksReady(ticket, tuple(picks), "", tuple(not_modelled), finished=False)
            shown_at_s, n_shown = time.monotonic(), len(picks)
    yield PicksReady(ticket, tuple(picks), "", tuple(not_modelled))


def _is_all_on_gpus(pick: Pick) -> bool:
    from llmfit.advisor.recommend.judgement import FITS_GPU

    return pick.judgement.verdict == FITS_GPU
