"""The JSON of ``llmfit plan``: sizes are bytes, speeds tok/s, money US dollars, unknown is null."""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.hardware.offers import Price
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.plan.upgrade import Gain, Upgrade, decode_tok_s
from llmfit.advisor.recommend.plan.values import CARDS_AND_RAM, Candidate, Cheaper, Option, Plan, Question
from llmfit.tui.cli.documents import (
    Document,
    memory_document,
    model_document,
    settings_document,
    speed_document,
)
from llmfit.tui.plan_words import assumptions


def plan_document(plan: Plan, target_is_given: bool, cheaper: Sequence[Cheaper]) -> Document:
    """``llmfit.plan/1``: ``options`` by price, whatever kind it is of (``price_of``), null last."""
    document = _head(plan.question)
    document |= {
        "target_is_given": target_is_given,
        "reaches_target": bool(plan.options),
        "options": [_option(option) for option in plan.options or plan.nearest],
        "nearest_misses": [_option(option) for option in plan.nearest] if plan.options else [],
        "cheaper": [_cheaper(one) for one in cheaper],
        "assumptions": list(assumptions(plan)),
        "hardware_judged": plan.n_judged,
    }
    return document


def upgrade_document(question: Question, upgrade: Upgrade, instead: Option | None, limit: int) -> Document:
    """``llmfit.plan/1`` with ``upgrade``: options are changes of the machine, each with its gain."""
    described = machine_to_json(upgrade.now.machine)
    gains = upgrade.gains or upgrade.nearest
    return _head(question) | {
        "upgrade": True,
        "machine": {key: value for key, value in described.items() if key != "schema"},
        "now": _state(upgrade.now),
        "enough_already": upgrade.is_enough,
        "reaches_target": upgrade.is_enough or bool(upgrade.gains),
        "options": [_gain(gain) for gain in gains[:limit]],
        "another_machine": None if instead is None else _option(instead),
    }


def _head(question: Question) -> Document:
    tokens = question.request.context_tokens or 0
    return {
        "schema": "llmfit.plan/1",
        "model": model_document(question.model),
        "settings": settings_document(question.request.base_settings(tokens)),
        "target_tok_s": question.target_tok_s,
    }


def _option(option: Option) -> Document:
    candidate, judgement = option.candidate, option.judgement
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "host": candidate.host.id if candidate.host and candidate.kind == CARDS_AND_RAM else None,
        "gpus": [_gpu(gpu) for gpu in judgement.machine.gpus],
        "ram_bytes": judgement.machine.memory.total_bytes,
        "ram_bandwidth_bytes_per_s": judgement.machine.memory.bandwidth_bytes_per_s,
        **_prices(candidate),
        **_state(judgement),
        "reaches_target": option.reaches_target,
        "tdp_w": option.tdp_w,
        "cautions": list(option.cautions),
        "argv": None if judgement.argv is None else list(judgement.argv),
    }


def _prices(candidate: Candidate) -> Document:
    box = candidate.box
    return {
        "price_usd": candidate.price_usd,
        "price_of": candidate.price_of,
        "price_parts_usd": {
            "cards": None if box is not None else candidate.cards_usd,
            "ram": None if box is not None else candidate.ram_usd,
            "host": candidate.costs.host_usd if box is None else None,
        },
        "list_price": _list_price(candidate.price),
        "withdrawn": None if box is None else box.withdrawn,
    }


def _list_price(price: Price | None) -> Document | None:
    """Of one card or of the whole computer."""
    if price is None:
        return None
    return {"usd": price.usd, "date": price.date, "kind": price.kind, "source": price.source}


def _state(judgement: Judgement) -> Document:
    speed = judgement.speed
    prefill = None if speed is None or speed.prefill is None else speed.prefill.tok_s.expected
    return {
        "verdict": judgement.verdict,
        "shortfall_bytes": judgement.shortfall_bytes,
        "decode_tok_s": decode_tok_s(judgement),
        "prefill_tok_s": prefill,
        "speed": speed_document(judgement),
        "memory": memory_document(judgement.memory),
        "settings": settings_document(judgement.settings),
        "warnings": [{"code": warning.code, "text": warning.text} for warning in judgement.warnings],
    }


def _gpu(gpu: Gpu) -> Document:
    return {
        "index": gpu.index,
        "name": gpu.name,
        "vendor": gpu.vendor,
        "backend": gpu.backend,
        "catalog_id": gpu.catalog_id,
        "unified_memory": gpu.unified_memory,
        "vram_total_bytes": gpu.vram_total_bytes,
        "bandwidth_bytes_per_s": gpu.bandwidth_bytes_per_s,
        "power_limit_w": gpu.power_limit_w,
    }


def _cheaper(cheaper: Cheaper) -> Document:
    return {
        "change": dict(cheaper.change),
        "text": cheaper.text,
        "instead_of": cheaper.before.candidate.name,
        "option": _option(cheaper.after),
    }


def _gain(gain: Gain) -> Document:
    change, machine = gain.change, gain.after.machine
    return {
        "change": {
            "kind": change.kind,
            "text": change.text,
            "card": None if change.card is None else change.card.facts.id,
            "count": change.n_added,
            "ram_bytes": change.ram_bytes,
        },
        "gpus": [_gpu(gpu) for gpu in machine.gpus],
        "ram_bytes": machine.memory.total_bytes,
        "price_usd": change.price_usd,
        "price_of": "what is bought",
        "list_price": None if change.card is None else _list_price(change.card.price),
        **_state(gain.after),
        "reaches_target": gain.reaches_target,
        "gain": {
            "verdict_before": gain.before.verdict,
            "decode_tok_s_before": decode_tok_s(gain.before),
            "decode_tok_s_after": decode_tok_s(gain.after),
            "watts_more": change.watts_more,
        },
        "cautions": list(gain.cautions),
    }
