"""Long answers one after the other in the whole app: many threads at once would keep the screen waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_TURN = threading.Lock()


def in_turn(is_wanted: Callable[[], bool], answer: Callable[[], T]) -> T | None:
    """Waits for its turn in a background thread; ``None`` where nobody wants the answer any more then."""
    with _TURN:
        return answer() if is_wanted() else None
