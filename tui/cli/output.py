"""What is printed: one JSON document or plain lines on stdout, one error line on stderr, and notes there."""

from __future__ import annotations

import codecs
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.text import printable

DEBUG_VARIABLE = "LLMFIT_DEBUG"
_LOST = frozenset({errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO})
_PLAIN = {"✓": "+", "✗": "x", "·": "-", "…": "...", "×": "x", "–": "-", "²": "2"}
"""For terminals and files that cannot hold them: words beside the glyphs say the same."""


class InternalError(LlmfitError):
    """A mistake of llmfit itself."""

    code = "internal"


def prepare_streams() -> None:
    """Makes stdout and stderr take any text: what an encoding cannot hold is written in plain letters."""
    codecs.register_error("llmfit", _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # started with it closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 it lives as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="llmfit")


def flush() -> None:
    """Raises OSError where stdout does not take what was printed."""
    sys.stdout.flush()


def is_lost(error: OSError) -> bool:
    """Whether ``error`` came from printing, not from reading a file."""
    return error.errno in _LOST and error.filename is None


def print_json(document: Mapping[str, object]) -> None:
    """One JSON document and nothing else; ASCII, so that no encoding can spoil it."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def print_lines(lines: Sequence[str]) -> None:
    """Lines for people; text that came from elsewhere has been made printable by the renderers."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def error_document(error: LlmfitError) -> dict[str, object]:
    """The JSON form of an error."""
    return {
        "error": {"code": error.code, "message": f"{error.what}: {error.why}", "hint": error.hint or None}
    }


def print_error(error: LlmfitError, as_json: bool) -> None:
    """``llmfit: error: WHAT: WHY. HINT`` on stderr, or the JSON form on stdout."""
    if as_json:
        print_json(error_document(error))
    else:
        sys.stderr.write(f"llmfit: error: {printable(str(error))}\n")


def print_notes(notes: Sequence[str]) -> None:
    """``llmfit: note: WHAT: WHY`` on stderr, a line each."""
    sys.stderr.write("".join(f"llmfit: note: {printable(note)}\n" for note in notes))


def internal_error(error: Exception) -> InternalError:
    """A bug of ours as one line; ``LLMFIT_DEBUG=1`` prints the traceback on stderr before it."""
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return InternalError("internal", why, f"This is a bug; {DEBUG_VARIABLE}=1 shows where.")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end
