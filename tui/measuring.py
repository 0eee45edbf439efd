"""One measurement of the RAM's bandwidth in the background: rounds as they come, and a way to stop it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from llmfit.tui.background import in_background
from llmfit.tui.messages import BandwidthMeasured, BandwidthRound

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.tui.advice import Advice


class Measuring:
    """Posts BandwidthRound and, at the end, one BandwidthMeasured to ``owner``."""

    def __init__(self, owner: MessagePump, advice: Advice) -> None:
        self._owner = owner
        self._advice = advice
        self._stop: threading.Event | None = None

    @property
    def is_running(self) -> bool:
        return self._stop is not None

    def start(self, machine: Machine) -> None:
        stop = self._stop = threading.Event()

        def told(number: int, total: int, bytes_per_s: int) -> None:
            if not stop.is_set():
                self._owner.post_message(BandwidthRound(number, total, bytes_per_s))

        def job() -> Iterator[Message]:
            yield BandwidthMeasured(self._advice.measure_bandwidth(machine, told, stop.is_set))

        in_background(self._owner, job, lambda error: BandwidthMeasured(None, str(error)))

    def stop(self) -> None:
        """Ends it soon; its BandwidthMeasured comes without a machine."""
        if self._stop is not None:
            self._stop.set()

    def ended(self) -> None:
        self._stop = None
