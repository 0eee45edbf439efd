"""What is printed: one JSON document or plain lines on stdout, one error line on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.text import printable


def print_json(document: Mapping[str, object]) -> None:
    """One JSON document and nothing else."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")


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
