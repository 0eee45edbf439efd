"""What stands beside the best configuration: alike but for its context, its placement or its slots."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.recommend.goals.space import longer_contexts
from llmfit.advisor.recommend.goals.trials import Trials
from llmfit.advisor.recommend.goals.values import Configuration, Tried
from llmfit.advisor.recommend.judgement import FITS_CPU, FITS_OFFLOAD, Judgement
from llmfit.advisor.recommend.ladders import shorter_contexts
from llmfit.advisor.recommend.search import judge


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Judges what was no candidate, to be shown; ``None`` where it does not fit or llama.cpp refuses it."""

    trials: Trials
    best: Tried

    def changed(self, **changes: object) -> Tried | None:
        """The best with other values of a Configuration."""
        return self._attempt(self.best.configuration._replace(**changes))  # type: ignore[arg-type]

    def with_slots(self, n_slots: int) -> Tried | None:
        """``n_slots`` that have the best one's context each."""
        tokens = self.best.configuration.context_tokens * n_slots
        return self.changed(n_slots=n_slots, context_tokens=tokens)

    def other_context(self) -> Tried | None:
        """The next step up, where there is one that fits; else the next step down."""
        tokens = self.best.configuration.context_tokens
        trained = self.best.judgement.model.shape.context_train_tokens
        up = longer_contexts(tokens, trained)
        down = shorter_contexts(tokens, at_least_tokens=self.trials.request.filled_tokens)
        for n in (*up[:1], *down[:1]):
            tried = self._attempt(self.best.configuration._replace(context_tokens=n))
            if tried is not None:
                return tried
        return None

    def other_placement(self) -> Tried | None:
        """The next of the planner's ways: fewer cards, all cards, whole layers in RAM, or the CPU alone."""
        judgement, machine = self.best.judgement, self.trials.machine
        settings = judgement.settings
        if judgement.verdict == FITS_CPU:
            return None
        if len(settings.devices) > 1:
            first = settings.devices[0]
            return self._placed(gpus=tuple(gpu for gpu in machine.gpus if gpu.index == first))
        if judgement.verdict == FITS_OFFLOAD and settings.n_cpu_moe:
            return self._placed(n_cpu_moe=0)
        if judgement.verdict == FITS_OFFLOAD:
            return self._placed(gpu_layers=0)
        if len(machine.gpus) > 1:
            return self._placed(tensor_split=tuple(float(gpu.usable_bytes or 1) for gpu in machine.gpus))
        return None

    def _placed(self, gpus: tuple[object, ...] | None = None, **fixed: object) -> Tried | None:
        machine = self.trials.machine
        if gpus is not None:
            machine = replace(machine, gpus=gpus)  # type: ignore[arg-type]
        asked = self.trials.request_of(self.best.configuration)
        request = replace(asked, **fixed, search_experts=False)  # type: ignore[arg-type]
        model = self.best.judgement.model
        try:
            judged = judge(model, machine, request, remedies=False, speeds=self.trials.speeds)
        except LlmfitError:
            return None
        return self.trials.tried(self.best.configuration, judged) if judged.fits else None

    def _attempt(self, configuration: Configuration) -> Tried | None:
        try:
            return self.trials.attempt(configuration)
        except LlmfitError:
            return None


def placement_text(judgement: Judgement) -> str:
    """``2 GPUs``, ``GPU0, experts of 20 blocks in RAM``, ``the CPU alone``."""
    settings = judgement.settings
    if judgement.verdict == FITS_CPU or not settings.devices:
        return "the CPU alone"
    cards = " and ".join(f"GPU{index}" for index in settings.devices)
    if len(settings.devices) > 2:
        cards = f"{len(settings.devices)} GPUs"
    slots = judgement.model.shape.n_layer_all + 1
    if settings.gpu_layers < min(slots, ALL_LAYERS):
        cards += f", the first {slots - settings.gpu_layers} blocks in RAM"
    if settings.n_cpu_moe >= ALL_LAYERS:
        cards += ", all experts in RAM"
    elif settings.n_cpu_moe:
        cards += f", experts of {settings.n_cpu_moe} blocks in RAM"
    return cards
