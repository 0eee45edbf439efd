"""How a model is built, in the numbers that people compare: layers by kind, experts, trained context."""

from __future__ import annotations

from collections import Counter

from llmfit.advisor.model.model import Model
from llmfit.advisor.model.shape import LayerKind
from llmfit.advisor.recommend.article.values import Architecture


def architecture_of(model: Model) -> Architecture:
    """What the header says, without what only a catalogue knows."""
    shape = model.shape
    kinds = Counter(kind.value for kind in shape.kinds if kind is not LayerKind.NONE)
    return Architecture(
        name=shape.architecture,
        n_parameters=model.n_parameters,
        n_active_parameters=model.n_active_parameters,
        context_train_tokens=shape.context_train_tokens,
        n_layers=shape.n_layer,
        layers=tuple(kinds.most_common()),
        window_tokens=shape.window_tokens,
        has_latent_cache=shape.mla is not None,
        n_experts=shape.n_expert,
        n_experts_used=shape.n_expert_used,
    )
