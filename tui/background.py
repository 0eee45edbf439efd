"""Work beside the screen, in daemon threads: quitting never waits for an answer that nobody will read."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator

from textual.message import Message
from textual.message_pump import MessagePump

from llmfit.advisor.errors import LlmfitError


def in_background(
    owner: MessagePump, job: Callable[[], Iterator[Message]], failed: Callable[[LlmfitError], Message]
) -> threading.Thread:
    """Posts every message of ``job()`` to ``owner``; an exception becomes the message ``failed(error)``.

    The job ends at its next message when the owner has been closed.
    """

    def run() -> None:
        messages = job()
        while True:
            try:
                message = next(messages, None)
            except LlmfitError as error:
                message = failed(error)
            except Exception as error:  # noqa: BLE001 - the edge of a thread: a fault becomes a sentence
                why = f"it failed with {type(error).__name__}: {error}"
                message = failed(LlmfitError("llmfit", why, "This is a fault of llmfit: please report it."))
            if message is None or not _posted(owner, message):
                return

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name=f"llmfit {job.__qualname__}", daemon=True)
    thread.start()
    return thread


def _posted(owner: MessagePump, message: Message) -> bool:
    """False when nobody listens any more: the owner or the whole app has been closed."""
    try:
        return owner.post_message(message)
    except RuntimeError:
        return False
