"""The JSON documents of the command line. Sizes are bytes, speeds tok/s, unknown is null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.memory.fitting_budget import RAM_RESERVE_BYTES
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import Judgement, Remedy
from llmfit.advisor.speed.estimate import CALIBRATED, SpeedEstimate, SpeedRange
from llmfit.advisor.speed.terms import Term

if TYPE_CHECKING:
    from llmfit.advisor.recommend.other_speeds import Concurrency
    from llmfit.advisor.recommend.ranking import Recommendation
    from llmfit.advisor.speed.further.speculation import SpeculativeSpeed

Document = dict[str, object]


def estimate_document(judgement: Judgement, with_machine: bool = True, explained: bool = False) -> Document:
    """``llmfit.estimate/1``; ``explained`` adds the terms that the speeds are sums of."""
    document: Document = {"schema": "llmfit.estimate/1", "model": model_document(judgement.model)}
    if with_machine:
        document["machine"] = machine_document(judgement)
    document |= {
        "settings": settings_document(judgement.settings),
        "memory": memory_document(judgement.memory),
        "verdict": judgement.verdict,
        "shortfall_bytes": judgement.shortfall_bytes,
        "speed": speed_document(judgement),
        "reasons": list(judgement.reasons),
        "remedies": [_remedy_document(remedy) for remedy in judgement.remedies],
        "warnings": [{"code": warning.code, "text": warning.text} for warning in judgement.warnings],
        "assumed": list(judgement.assumed),
        "argv": None if judgement.argv is None else list(judgement.argv),
        "environment": None if judgement.argv is None else dict(judgement.environment),
    }
    if explained:
        document["terms"] = terms_document(judgement.speed)
    return document


def machine_document(judgement: Judgement) -> Document:
    document = dict(machine_to_json(judgement.machine))
    document.pop("schema", None)
    return document


def model_document(model: Model) -> Document:
    return {
        "id": model.id,
        "architecture": model.shape.architecture,
        "parameters": model.n_parameters,
        "active_parameters": model.n_active_parameters,
        "quantization": model.quantization,
        "weights_bytes": sum(tensor.n_bytes for tensor in model.tensors),
        "file_bytes": model.file_bytes,
        "file_bytes_source": model.file_bytes_source,
        "source": model.source,
    }


def settings_document(settings: LaunchSettings) -> Document:
    return {
        "context": settings.context_tokens,
        "devices": list(settings.devices),
        "cache_type_k": settings.cache_type_k,
        "cache_type_v": settings.cache_type_v,
        "flash_attn": settings.flash_attn,
        "batch": settings.batch,
        "ubatch": settings.ubatch,
        "parallel": settings.parallel,
        "kv_unified": settings.kv_unified,
        "swa_full": settings.swa_full,
        "gpu_layers": settings.gpu_layers,
        "n_cpu_moe": settings.n_cpu_moe,
        "tensor_split": None if settings.tensor_split is None else list(settings.tensor_split),
        "split_mode": settings.split_mode,
        "override_tensor": list(settings.override_tensor),
        "kv_offload": settings.kv_offload,
        "op_offload": settings.op_offload,
        "mmap": settings.mmap,
        "spec_type": settings.spec_type,
        "outputs": settings.outputs,
    }


def memory_document(memory: MemoryEstimate) -> Document:
    return {
        "devices": [_device_document(device) for device in memory.devices],
        "weights_bytes": memory.weights_bytes,
        "kv_cache_bytes": memory.kv_cache_bytes,
        "compute_bytes": memory.compute_bytes,
        "overhead_bytes": memory.overhead_bytes,
        "total_bytes": memory.total_bytes,
    }


def speed_document(judgement: Judgement) -> Document | None:
    speed = judgement.speed
    if speed is None:
        return None
    prefill, plan, decodes = speed.prefill, judgement.speed_plan, not judgement.model.is_embedding
    calibration = None if plan is None or plan.speeds is None else plan.speeds.calibration
    is_calibrated = CALIBRATED in (speed.basis, None if prefill is None else prefill.basis)
    return {
        "decode_tok_s": _range_document(speed.decode_tok_s) if decodes else None,
        "prefill_tok_s": None if prefill is None else _range_document(prefill.tok_s),
        "depth": speed.depth_tokens,
        "bound_tok_s": speed.bound_tok_s if decodes else None,
        "limited_by": speed.limited_by if decodes else None,
        "basis": speed.basis if decodes else None,
        "prompt": None if prefill is None else prefill.prompt_tokens,
        "time_to_first_token_s": None if prefill is None else prefill.first_token_s,
        "prefill_bound_tok_s": None if prefill is None else prefill.bound_tok_s,
        "prefill_limited_by": None if prefill is None else prefill.limited_by,
        "prefill_basis": None if prefill is None else prefill.basis,
        "calibrated_on": calibration.n_used if is_calibrated and calibration is not None else None,
    } | _other_speeds(judgement)


def _other_speeds(judgement: Judgement) -> Document:
    """Figures of their own, where the settings ask for them."""
    document: Document = {}
    if judgement.settings.parallel > 1:
        from llmfit.advisor.recommend.other_speeds import concurrency_of

        found = concurrency_of(judgement)
        document["concurrency"] = None if found is None else _concurrency_document(found)
    if judgement.settings.spec_type is not None:
        from llmfit.advisor.recommend.other_speeds import speculation_of

        speculation = speculation_of(judgement)
        document["speculation"] = None if speculation is None else _speculation_document(speculation)
    return document


def _concurrency_document(found: Concurrency) -> Document:
    pool, together = found.pool, found.all_slots
    return {
        "slots": pool.n_slots,
        "kv_unified": pool.unified,
        "pool_tokens": pool.pool_tokens,
        "slot_tokens": pool.slot_tokens,
        "depth": together.depth_tokens,
        "aggregate_tok_s": _range_document(together.aggregate_tok_s),
        "stream_tok_s": _range_document(together.stream_tok_s),
        "bound_tok_s": together.bound_tok_s,
        "limited_by": together.limited_by,
        "by_streams": [
            {
                "streams": one.n_streams,
                "aggregate_tok_s": _range_document(one.aggregate_tok_s),
                "stream_tok_s": _range_document(one.stream_tok_s),
            }
            for one in found.by_streams
        ],
    }


def _speculation_document(found: SpeculativeSpeed) -> Document:
    acceptance = found.acceptance
    low, expected, high = found.gain_factor
    return {
        "drafted_tokens": found.n_draft,
        "acceptance": {
            "low": acceptance.low_share,
            "expected": acceptance.expected_share,
            "high": acceptance.high_share,
            "source": acceptance.source,
        },
        "tokens_a_round": found.tokens_a_round,
        "decode_tok_s": _range_document(found.tok_s),
        "gain": {"low": low, "expected": expected, "high": high},
        "pays": found.pays,
    }


def terms_document(speed: SpeedEstimate | None) -> Document | None:
    """The summands of one decoded token and of the whole prompt."""
    if speed is None:
        return None
    return {
        "decode": [_term_document(term) for term in speed.step.terms],
        "prefill": None if speed.prefill is None else [_term_document(t) for t in speed.prefill.step.terms],
    }


def recommendation_document(recommendation: Recommendation) -> Document:
    """One entry of ``llmfit.recommend/1``: purpose, why and quality, then everything of an estimate."""
    quality, left, loss = recommendation.quality, recommendation.reduced, recommendation.loss
    estimate = estimate_document(recommendation.judgement, with_machine=False)
    estimate.pop("schema")
    return {
        "purpose": recommendation.purpose,
        "why": list(recommendation.why),
        "quality": {
            "score": quality.score,
            "low": quality.low,
            "high": quality.high,
            "grade": quality.grade,
            "basis": quality.basis,
            "sources": list(quality.sources),
            "after_losses": {"score": left.score, "low": left.low, "high": left.high},
            "file_type_loss_points": {
                "low": loss.low_points,
                "expected": loss.points,
                "high": loss.high_points,
                "basis": loss.basis,
            },
        },
    } | estimate


def _device_document(device: DeviceMemory) -> Document:
    return {
        "name": device.name,
        "kind": device.kind,
        "index": device.gpu_index,
        "weights_bytes": device.weights_bytes,
        "kv_cache_bytes": device.kv_cache_bytes,
        "compute_bytes": device.compute_bytes,
        "overhead_bytes": device.overhead_bytes,
        "margin_bytes": device.margin_bytes,
        "reserve_bytes": RAM_RESERVE_BYTES if device.kind == "host" else 0,
        "total_bytes": device.total_bytes,
        "capacity_bytes": device.capacity_bytes,
        "free_bytes": device.free_bytes,
    }


def _range_document(speed: SpeedRange) -> Document:
    return {"low": speed.low, "expected": speed.expected, "high": speed.high}


def _term_document(term: Term) -> Document:
    amount = term.amount
    if amount is not None and term.unit == "B":
        amount = round(amount)
    return {
        "what": term.what,
        "where": term.where,
        "cause": term.cause.value,
        "seconds": term.time_s,
        "amount": amount,
        "unit": None if amount is None else term.unit,
        "rate_per_s": term.rate_per_s,
    }


def _remedy_document(remedy: Remedy) -> Document:
    return {
        "change": dict(remedy.change),
        "text": remedy.text,
        "saves_bytes": remedy.saves_bytes,
        "shortfall_bytes": remedy.shortfall_bytes,
        "decode_tok_s": remedy.decode_tok_s,
        "verdict": remedy.verdict,
    }
