"""LiveAdvice: the app's questions, answered from this machine (or the simulated one) and the catalogue."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.tui.messages import Pick
from llmfit.tui.session import Values, machine_from, recommendations_for, search_judgements

SEARCH_LIMIT = 12
PICKS = 6


class LiveAdvice:
    """Stateless but for the options that describe the machine; safe to call from worker threads."""

    def __init__(self, machine_values: Values) -> None:
        self._machine_values = machine_values

    def machine(self) -> Machine:
        """Probed anew at each call."""
        return machine_from(self._machine_values, find_server=True)

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]:
        found = recommendations_for(machine, use_case, context_tokens=context_tokens, limit=PICKS)
        return tuple(Pick(pick.purpose, pick.why, pick.judgement) for pick in found)

    def search(self, machine: Machine, text: str, context_tokens: int | None) -> tuple[Pick, ...]:
        found = search_judgements(machine, text, context_tokens, SEARCH_LIMIT)
        return tuple(Pick("search", (), judgement) for judgement in found)
