"""One verdict out of those of a claim's parts."""

from __future__ import annotations

from llmfit.advisor.recommend.claims.claim import (
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    UNKNOWN,
    Reason,
    together,
)


def test_the_verdict_of_all_parts() -> None:
    def of(*verdicts: str) -> str:
        return together(Reason("", verdict, "", None, None, "") for verdict in verdicts)

    assert of(SUPPORTED, SUPPORTED) == SUPPORTED
    assert of(SUPPORTED, UNKNOWN) == UNKNOWN
    assert of(UNKNOWN, NEEDS_OFFLOAD, SUPPORTED) == NEEDS_OFFLOAD
    assert of(NEEDS_OFFLOAD, CONTRADICTED, UNKNOWN) == CONTRADICTED
    assert of() == UNKNOWN
