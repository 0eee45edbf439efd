"""LiveAdvice: the app's questions, answered from this machine (or the simulated one) and the catalogue.

Everything heavy is imported by the first question, which is asked in the background after the first paint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.tui.messages import NotModelled, Pick

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.catalog.models import CatalogModel

PICKS = 6
_Question = tuple["Machine", str, int | None]


class LiveAdvice:
    """Safe to call from several threads; remembers its answers, each for exactly one machine."""

    def __init__(self, machine_values: Mapping[str, object]) -> None:
        self._machine_values = machine_values
        self._answers: dict[_Question, tuple[Pick, ...]] = {}

    def machine(self) -> Machine:
        """Probed anew at each call. Raises UsageError for a description that cannot be understood."""
        from llmfit.tui.session import machine_from

        return machine_from(self._machine_values, find_server=True)

    def notes(self) -> tuple[str, ...]:
        """What could not be read of the user's own catalogue rows."""
        from llmfit.tui.own_rows import own_row_notes

        return own_row_notes()

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]:
        """The few models worth running."""
        from llmfit.tui.session import recommendations_for

        question = (machine, use_case, context_tokens)
        if question not in self._answers:
            found = recommendations_for(machine, use_case, context_tokens=context_tokens, limit=PICKS)
            self._answers[question] = tuple(
                Pick(pick.purpose, pick.why, pick.judgement, pick.quality) for pick in found
            )
        return self._answers[question]

    def search(self, machine: Machine, text: str, context_tokens: int | None) -> Iterator[Pick | NotModelled]:
        """Every model of the catalogue that ``text`` describes, judged one by one, the smallest first."""
        from llmfit.catalog.models import search_models

        for entry in sorted(search_models(text), key=lambda entry: entry.parameters.text):
            try:
                yield _judged(entry, machine, context_tokens)
            except LlmfitError as error:
                yield NotModelled(entry.id, error.why)

    def with_help(self, pick: Pick, context_tokens: int | None) -> Pick:
        """The pick with what would help it; other file types of a catalogue model are tried, too."""
        from llmfit.advisor.memory.weights import weight_table
        from llmfit.advisor.recommend.remedies import find_remedies
        from llmfit.advisor.recommend.request import Request
        from llmfit.catalog.build import build_model
        from llmfit.catalog.models import find_model

        judgement = pick.judgement
        model = judgement.model
        variants = partial(build_model, find_model(model.id)) if model.source == "catalog" else None
        projector_bytes = judgement.settings.projector_bytes or None
        request = Request(context_tokens=context_tokens, projector_bytes=projector_bytes)
        remedies = find_remedies(judgement, weight_table(model.shape, model.tensors), request, variants)
        return replace(pick, judgement=replace(judgement, remedies=remedies), looked_for_help=True)


def _judged(entry: CatalogModel, machine: Machine, context_tokens: int | None) -> Pick:
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.recommend.search import judge
    from llmfit.catalog.build import build_model, only_quantization
    from llmfit.tui.candidates import known_quality
    from llmfit.tui.session import ModelChoice

    request = Request(context_tokens=context_tokens)
    choice = ModelChoice(partial(build_model, entry), None, only_quantization(entry), entry.parameters.text)
    judgement = judge(choice.best_for(machine, request), machine, request, remedies=False)
    return Pick("", (), judgement, known_quality(entry.id, "general"))
