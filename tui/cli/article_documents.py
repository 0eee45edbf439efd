"""``llmfit.show/1``: the article as one JSON document. Sizes are bytes, speeds tok/s, unknown is null."""

from __future__ import annotations

from llmfit.advisor.recommend.article.values import (
    Article,
    CardsRow,
    ContextLadder,
    Energy,
    Need,
    Pitfall,
    QuantRow,
    Score,
)
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import Loss, Quality, ReducedQuality
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.tui.cli.documents import (
    Document,
    estimate_document,
    machine_document,
    model_document,
    settings_document,
)


def article_document(article: Article) -> Document:
    """Everything that ``llmfit show`` prints, and every score."""
    running = article.running
    return {
        "schema": "llmfit.show/1",
        "model": _model(article),
        "machine": machine_document(article.asked),
        "context": article.context_tokens,
        "asked": _estimate(article.asked),
        "running": None if running is None else _estimate(running),
        "quality": quality_document(article.quality),
        "running_quality": reduced_document(article.running_quality),
        "goals": [
            {
                "goal": choice.goal,
                "quantization": choice.judgement.model.quantization,
                "settings": settings_document(choice.judgement.settings),
                **fit_document(choice.judgement),
                **speeds_document(choice.judgement),
                "loss_points": loss_document(choice.loss),
                "why": list(choice.why),
            }
            for choice in article.goals
        ],
        "quantizations": [_quant(row) for row in article.quants],
        "context_ladder": _ladder(article.ladder),
        "depths": [
            {
                "depth": point.depth_tokens,
                "decode_tok_s": range_document(point.decode_tok_s),
                "basis": point.basis,
            }
            for point in article.depths
        ],
        "prompts": [
            {
                "prompt": row.prompt_tokens,
                "time_to_first_token_s": row.first_token_s,
                "prefill_tok_s": range_document(row.prefill_tok_s),
                "basis": row.basis,
            }
            for row in article.prompts
        ],
        "cards": [_cards(row) for row in article.cards],
        "needs": [_need(need) for need in article.needs],
        "ram_cases": [
            {"ram": case.what, "bandwidth_bytes_per_s": case.bytes_per_s, **speeds_document(case.judgement)}
            for case in article.ram_cases
        ],
        "energy_per_million_tokens": energy_document(article.energy),
        "pitfalls": [_pitfall(pitfall) for pitfall in article.pitfalls],
        "evidence": [_score(score) for score in article.scores],
        "assumed": list(article.subject.assumed),
    }


def _model(article: Article) -> Document:
    about, built, known = article.about, article.architecture, article.knowledge
    return model_document(article.asked.model) | {
        "family": about.family,
        "license": about.license,
        "released": about.released,
        "modalities": list(about.modalities) or None,
        "reasoning": about.reasoning,
        "tool_use": about.tool_use,
        "notes": list(about.notes),
        "context_train": built.context_train_tokens,
        "layers": {"count": built.n_layers} | dict(built.layers),
        "sliding_window": built.window_tokens or None,
        "latent_cache": built.has_latent_cache,
        "experts": built.n_experts,
        "experts_used": built.n_experts_used,
        "knowledge": None
        if known is None
        else {
            "share": known.share,
            "low": known.low_share,
            "high": known.high_share,
            "measured": known.is_measured,
            "basis": known.basis,
        },
    }


def _estimate(judgement: Judgement) -> Document:
    document = estimate_document(judgement, with_machine=False)
    document.pop("schema")
    return document


# ---------------------------------------------------------------- rows


def _quant(row: QuantRow) -> Document:
    return {
        "quantization": row.quant,
        "native": row.is_native,
        "weights_bytes": row.weights_bytes,
        "file_bytes": row.file_bytes,
        **fit_document(row.judgement),
        **speeds_document(row.judgement),
        "loss_points": loss_document(row.loss),
        "quality": reduced_document(row.quality),
    }


def fit_document(judgement: Judgement) -> Document:
    """Totals, verdict and the settings that decide them."""
    memory, settings = judgement.memory, judgement.settings
    return {
        "total_bytes": memory.total_bytes,
        "kv_cache_bytes": memory.kv_cache_bytes,
        "devices": [
            {"name": device.name, "kind": device.kind, "total_bytes": device.total_bytes}
            for device in memory.devices
        ],
        "verdict": judgement.verdict,
        "shortfall_bytes": judgement.shortfall_bytes,
        "cache_type_k": settings.cache_type_k,
        "cache_type_v": settings.cache_type_v,
        "n_cpu_moe": settings.n_cpu_moe,
        "tensor_split": None if settings.tensor_split is None else list(settings.tensor_split),
    }


def speeds_document(judgement: Judgement) -> Document:
    """Null for what cannot run, and where a bandwidth is not known."""
    speed = judgement.speed
    prefill = None if speed is None else speed.prefill_tok_s
    return {
        "decode_tok_s": None if speed is None else range_document(speed.decode_tok_s),
        "prefill_tok_s": None if prefill is None else range_document(prefill),
        "basis": None if speed is None else speed.basis,
    }


def _ladder(ladder: ContextLadder) -> Document:
    return {
        "quantization": ladder.quant,
        "cells": [
            {
                "context": cell.context_tokens,
                "cache_type": cell.cache_type,
                "kv_cache_bytes": cell.kv_cache_bytes,
                "total_bytes": cell.total_bytes,
                "verdict": cell.verdict,
                "shortfall_bytes": cell.shortfall_bytes,
            }
            for column in ladder.columns
            for cell in column.cells
        ],
        "largest": [
            {
                "cache_type": column.cache_type,
                "on_gpus": column.largest_on_gpus_tokens,
                "running": column.largest_tokens,
                "loss_points": loss_document(column.loss),
                "advised": column.is_advised,
            }
            for column in ladder.columns
        ],
        "advice": ladder.advice.reason or None,
        "advice_source": ladder.advice.source or None,
    }


def _cards(row: CardsRow) -> Document:
    return {
        "cards": row.n_cards,
        "this_machine": row.is_this_machine,
        **fit_document(row.judgement),
        **speeds_document(row.judgement),
        "best_quantization_on_gpus": row.best_on_gpus,
    }


def _need(need: Need) -> Document:
    return {
        "ram_bytes": need.ram_bytes,
        "cards": need.n_cards,
        **fit_document(need.judgement),
        **speeds_document(need.judgement),
        "settings": settings_document(need.judgement.settings),
    }


# ---------------------------------------------------------------- parts


def range_document(speed: SpeedRange | Spread) -> Document:
    return {"low": speed.low, "expected": speed.expected, "high": speed.high}


def loss_document(loss: Loss | None) -> Document | None:
    if loss is None:
        return None
    return {"points": loss.points, "low": loss.low_points, "high": loss.high_points, "basis": loss.basis}


def quality_document(quality: Quality | None) -> Document | None:
    if quality is None:
        return None
    return {
        "score": quality.score,
        "low": quality.low,
        "high": quality.high,
        "grade": quality.grade,
        "basis": quality.basis,
        "sources": list(quality.sources),
    }


def reduced_document(quality: ReducedQuality | None) -> Document | None:
    return None if quality is None else {"score": quality.score, "low": quality.low, "high": quality.high}


def energy_document(energy: Energy | None) -> Document | None:
    """kWh for a million tokens, generated and read."""
    if energy is None:
        return None
    known = [one for one in (energy.output, energy.prompt) if one is not None]
    assumptions = dict.fromkeys(line for one in known for line in one.power.assumptions)
    return {
        "output": _token_energy(energy.output),
        "prompt": _token_energy(energy.prompt),
        "assumptions": list(assumptions),
        "unknown": list(energy.unknown),
    }


def _token_energy(energy: TokenEnergy | None) -> Document | None:
    if energy is None:
        return None
    return {
        "kwh": range_document(energy.kwh_per_million),
        "watts": range_document(energy.power.watts),
        "basis": energy.power.basis,
    }


def _pitfall(pitfall: Pitfall) -> Document:
    return {
        "text": pitfall.text,
        "symptom": pitfall.symptom,
        "fix": pitfall.fix,
        "severity": pitfall.severity,
        "builds": pitfall.builds,
        "source": pitfall.source,
    }


def _score(score: Score) -> Document:
    return {
        "benchmark": score.benchmark,
        "score": score.score,
        "unit": score.unit,
        "mode": score.mode,
        "setting": score.setting or None,
        "counts_for": score.counts_for,
        "shown_for": score.shown_for,
        "kind": score.kind,
        "source": score.source,
        "date": score.date,
        "doubtful": score.is_doubtful,
    }
