"""Errors that a person can act on.

    LlmfitError                 it failed (exit code 1)
    ├── UsageError              wrong usage or input (exit code 2): an unknown name, a nonsense size
    ├── GgufError               a model file that cannot be read (exit code 2)
    ├── NotModelledError        an architecture or setting whose memory rules are not known (exit code 1)
    └── NetworkError            a download or range request that failed (exit code 1)

The command line prints ``llmfit: error: WHAT: WHY. HINT``; the app shows the same three parts.
"""

from __future__ import annotations


class LlmfitError(Exception):
    """What happened, why, and what to do about it.

    ``what`` names the thing (a file, a model, an option), ``why`` is one clause without a full stop,
    ``hint`` is one sentence, or empty where there is nothing to do.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        sentence = f"{self.what}: {self.why}."
        return f"{sentence} {self.hint}" if self.hint else sentence


class UsageError(LlmfitError):
    """The question itself cannot be understood."""

    code = "usage"
    exit_code = 2


class GgufError(LlmfitError):
    """A model file that is not what it should be."""

    code = "bad_model_file"
    exit_code = 2


class NotModelledError(LlmfitError):
    """llama.cpp may run it, but its memory rules are not known here, so no number is given."""

    code = "not_modelled"


class NetworkError(LlmfitError):
    """The network was asked for and did not answer as it should."""

    code = "network"
