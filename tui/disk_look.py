"""Looks at this computer's disks in the background: after the first answer, and after each probe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from llmfit.tui.background import in_background
from llmfit.tui.messages import LocalFound

if TYPE_CHECKING:
    from llmfit.catalog.local.local_model import LocalModels
    from llmfit.tui.advice import Advice


class DiskLook:
    """Posts LocalFound to ``owner``. Models come and go as programs do: each probe makes a look due."""

    def __init__(self, owner: MessagePump, advice: Advice) -> None:
        self.found: LocalModels | None = None
        """``None`` before the first look has ended."""
        self._is_due = False
        self._n_probes = 0
        self._is_running = False
        self._owner = owner
        self._advice = advice

    @property
    def is_settled(self) -> bool:
        return not self._is_due and not self._is_running

    def due_after(self, n_probes: int) -> None:
        """A look is due once after each probe."""
        self._is_due = self._is_due or n_probes != self._n_probes
        self._n_probes = n_probes

    def look_if_due(self) -> None:
        """One look at a time; one that became due meanwhile follows."""
        if not self._is_due or self._is_running:
            return
        self._is_due, self._is_running = False, True

        def job() -> Iterator[Message]:
            yield LocalFound(self._advice.local_models())

        in_background(self._owner, job, lambda error: LocalFound(_no_models(str(error))))

    def busy_text(self, is_about_disk: bool) -> str:
        """What stands beside a question that is being answered."""
        progress = self._advice.disk_progress() if is_about_disk else None
        if progress is None:
            return "thinking…"
        n_read, n_files = progress
        return f"read {n_read:,} of {n_files:,} headers…" if n_files else "looking for files…"

    def ended(self, found: LocalModels) -> None:
        self.found, self._is_running = found, False
        self.look_if_due()


def _no_models(note: str) -> LocalModels:
    from llmfit.catalog.local.local_model import LocalModels

    return LocalModels(notes=(note,))
