"""The catalogue's pitfalls of a machine and of llama-server, as findings of a diagnosis.

They are reports of others, not findings here: none counts as a problem or a warning.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.diagnosis.findings import NOTE, Finding
from llmfit.advisor.hardware.machine import Machine
from llmfit.catalog.pitfalls import SEVERITIES, Pitfall, general_pitfalls, pitfalls_of_machine

SUBJECT = "known issue"
TOLD = SEVERITIES[: SEVERITIES.index("high") + 1]
MAX_SHOWN = 3
"""More than that nobody reads under thirty lines about the machine itself."""


def pitfall_findings(machine: Machine) -> tuple[Finding, ...]:
    """The critical and high ones, those of this hardware before those of any: each the worst first."""
    rows = (*pitfalls_of_machine(machine), *general_pitfalls(machine))
    return tuple(_finding(row) for row in rows if row.severity in TOLD)


def few_of(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The first ones; how many more there are, and where."""
    rest = len(findings) - MAX_SHOWN
    if rest <= 0:
        return tuple(findings)
    text = f"{rest} more are known of this hardware or of llama-server: llmfit doctor --json."
    return (*findings[:MAX_SHOWN], Finding(NOTE, SUBJECT, text, "catalogue"))


def _finding(row: Pitfall) -> Finding:
    builds = f" ({row.builds_text})" if row.builds_text else ""
    text = f"{row.pitfall.rstrip('.')}{builds}. Seen as: {row.symptom}"
    return Finding(NOTE, SUBJECT, text, row.source, row.fix)
