"""``llmfit.compare/1``. Sizes are bytes, speeds tok/s, unknown is null."""

from __future__ import annotations

from llmfit.advisor.recommend.article.comparison import Comparison, Contender
from llmfit.tui.cli.article_documents import (
    energy_document,
    loss_document,
    quality_document,
    range_document,
    reduced_document,
)
from llmfit.tui.cli.documents import Document, estimate_document


def comparison_document(comparison: Comparison) -> Document:
    """A configuration has everything of an estimate, its machine included."""
    return {
        "schema": "llmfit.compare/1",
        "depth": comparison.depth_tokens,
        "prompt": comparison.prompt_tokens,
        "configurations": [_configuration(one) for one in comparison.contenders],
        "differences": list(comparison.differences),
    }


def _configuration(one: Contender) -> Document:
    estimate = estimate_document(one.judgement)
    estimate.pop("schema")
    deep, prompt = one.deep, one.prompt
    return {
        "name": one.name,
        **estimate,
        "license": one.about.license,
        "released": one.about.released,
        "context_train": one.architecture.context_train_tokens,
        "quality": quality_document(one.quality),
        "quality_after_losses": reduced_document(one.reduced),
        "loss_points": loss_document(one.loss),
        "decode_tok_s_at_depth": None if deep is None else range_document(deep.decode_tok_s),
        "time_to_first_token_s": None if prompt is None else prompt.first_token_s,
        "energy_per_million_tokens": energy_document(one.energy),
    }
