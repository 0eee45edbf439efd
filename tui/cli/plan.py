"""``llmfit plan``: which hardware runs a model at a speed, cheapest first; --upgrade: what to add here."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.hardware.offers import BoxOffer, CardOffer
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.ladders import SMALLER_FILE_TYPES
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.recommend.plan.candidates import worthwhile
from llmfit.advisor.recommend.plan.hosts import DESKTOP, HOSTS, Host, RamFit
from llmfit.advisor.recommend.plan.search import cheapest_option, plan_hardware
from llmfit.advisor.recommend.plan.upgrade import plan_upgrade
from llmfit.advisor.recommend.plan.values import BOX, CARDS, Cheaper, HostCosts, Plan, Question
from llmfit.advisor.recommend.search import default_context, judge
from llmfit.advisor.units import GIB, format_context
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.prices import list_boxes, list_cards
from llmfit.tui.cli import output
from llmfit.tui.cli.settings import request_from
from llmfit.tui.model_facts import quality_facts
from llmfit.tui.session import (
    ModelChoice,
    bits_per_weight,
    machine_from,
    model_choice,
    with_projector,
    with_speeds,
)

EXIT_NOTHING_RUNS_IT = 1
SMALLER_SHARE = 0.88
"""A file type is smaller in earnest below so many of this one's bits."""
NOTABLY_CHEAPER = 0.95
DEFAULT_LIMIT = 16
_COUNTED = re.compile(r"\s*(?:(\d{1,2})\s*[xX×*]\s*)?(.+)", re.DOTALL)

Values = Mapping[str, object]
_Change = tuple[str, tuple[tuple[str, object], ...], Question]


@dataclass(frozen=True, slots=True)
class Asked:
    """The question of the command line; ``target_is_given`` is false where --tps was left out."""

    question: Question
    choice: ModelChoice
    target_is_given: bool
    limit: int


def run(parsed: argparse.Namespace) -> int:
    asked = question_from(vars(parsed))
    return _run_upgrade(parsed, asked) if parsed.upgrade else _run_plan(parsed, asked)


def question_from(values: Values) -> Asked:
    """What is asked, with the catalogue's hardware. Raises UsageError, GgufError or NetworkError."""
    request = with_projector(request_from(values))
    choice = model_choice(values)
    model = choice.sample()  # there is no machine to choose a file type for
    if request.context_tokens is None:
        tokens = max(default_context(model), request.filled_tokens)
        request = replace(request, context_tokens=tokens)
    tps, limit = values.get("tps"), values.get("limit")
    upgrade = bool(values.get("upgrade"))
    if upgrade and values.get("host_usd") is not None:
        raise UsageError("--host-usd", "contradicts --upgrade", "The computer is there already.")
    cards, boxes = (list_cards(), list_boxes()) if upgrade else _hardware(values)
    question = Question(
        model=model,
        request=request,
        target_tok_s=tps if isinstance(tps, float) else COMFORTABLE_TOK_S,
        cards=cards,
        boxes=boxes,
        lookup=lookup_gpu,
        hosts=HOSTS if upgrade else _hosts(values),
        costs=_costs(values),
        budget_usd=_number(values.get("budget_usd")),
        names_hardware=not upgrade and isinstance(values.get("gpu"), list),
    )
    return Asked(question, choice, tps is not None, limit if isinstance(limit, int) else DEFAULT_LIMIT)


def _run_plan(parsed: argparse.Namespace, asked: Asked) -> int:
    plan = plan_hardware(asked.question)
    rows = chosen_rows(plan, asked.limit)
    if parsed.json:
        from llmfit.tui.cli.plan_documents import plan_document

        output.print_json(plan_document(rows, asked.target_is_given, cheaper_ways(asked, plan)))
    else:
        from llmfit.tui.cli.render_plan import plan_lines

        lines = plan_lines(rows, asked.target_is_given, cheaper_ways(asked, plan))
        output.print_lines(list(lines))
    return 0 if plan.options or plan.nearest else EXIT_NOTHING_RUNS_IT


def _run_upgrade(parsed: argparse.Namespace, asked: Asked) -> int:
    known = with_speeds(machine_from(vars(parsed)))
    question = asked.question
    now = judge(question.model, known.machine, question.request, remedies=False, speeds=known.speeds)
    upgrade = plan_upgrade(question, known.machine, now)
    instead = None if upgrade.is_enough else cheapest_option(question, BOX)
    if parsed.json:
        from llmfit.tui.cli.plan_documents import upgrade_document

        output.print_json(upgrade_document(question, upgrade, instead, asked.limit))
    else:
        from llmfit.tui.cli.render_upgrade import upgrade_lines

        lines = upgrade_lines(question, upgrade, instead, asked.target_is_given, asked.limit)
        output.print_lines(list(lines))
    output.print_notes([known.note] if known.note else [])
    return 0


def chosen_rows(plan: Plan, limit: int) -> Plan:
    """At most ``limit`` options: each kind of hardware gives one in turn, its cheapest first."""
    groups: dict[str, list[int]] = {}
    for place, option in enumerate(plan.options):
        candidate = option.candidate
        group = candidate.group if candidate.costs.host_usd is None else "all"
        groups.setdefault(group, []).append(place)
    kept: set[int] = set()
    for turn in range(len(plan.options)):
        for places in groups.values():
            if turn < len(places) and len(kept) < limit:
                kept.add(places[turn])
    return replace(plan, options=tuple(plan.options[place] for place in sorted(kept)))


def cheaper_ways(asked: Asked, plan: Plan) -> tuple[Cheaper, ...]:
    """What the next smaller file type and half the context make of the cheapest cards and whole machine."""
    found = []
    for kind in (CARDS, BOX):
        before = next((one for one in plan.options if one.candidate.kind == kind), None)
        if before is None or before.candidate.price_usd is None:
            continue
        for text, change, question in _changes(asked):
            after = cheapest_option(question, kind)
            price = None if after is None else after.candidate.price_usd
            if after and price is not None and price <= before.candidate.price_usd * NOTABLY_CHEAPER:
                found.append(Cheaper(text, change, before, after))
    return tuple(found)


def _changes(asked: Asked) -> list[_Change]:
    question = asked.question
    changes: list[_Change] = []
    name = _smaller_file_type(question.model)
    if asked.choice.build is not None and name is not None:
        try:
            smaller = replace(question, model=asked.choice.build(name))
            changes.append((_file_type_text(question.model, name), (("quant", name),), smaller))
        except LlmfitError:
            pass  # not a size that this model can be laid out in
    trained = question.model.shape.context_train_tokens or 0
    tokens = question.request.context_tokens or 0
    tokens = trained if 0 < trained < tokens else tokens // 2
    if tokens > question.request.filled_tokens:
        shorter = replace(question, request=replace(question.request, context_tokens=tokens))
        text = f"a context of {format_context(tokens)}"
        changes.append((text, (("context", tokens),), shorter))
    return changes


def _file_type_text(model: Model, name: str) -> str:
    loss = quality_facts(model).file_type_loss(name)
    return f"file type {name}" + (f" (loses {loss.band_text} of 100)" if loss else "")


def _smaller_file_type(model: Model) -> str | None:
    own = sum(tensor.n_bytes for tensor in model.tensors) * 8 / max(1, model.n_parameters)
    return next((name for name in SMALLER_FILE_TYPES if bits_per_weight(name) < own * SMALLER_SHARE), None)


# ---------------------------------------------------------------- hardware


def _hardware(values: Values) -> tuple[tuple[CardOffer, ...], tuple[BoxOffer, ...]]:
    """The catalogue's, or what --gpu names: then also cards that nobody would propose."""
    for name in ("machine", "vram_free"):
        if values.get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(flag, "plan looks for other hardware", "Add --upgrade to start from a machine.")
    named = values.get("gpu")
    if not isinstance(named, list):
        return tuple(worthwhile(list_cards())), list_boxes()
    wanted = {facts for spec in named for facts in _named_facts(str(spec))}
    cards = tuple(card for card in list_cards() if (card.facts.id, None) in wanted or _is_in(card, wanted))
    boxes = tuple(box for box in list_boxes() if (box.facts.id, None) in wanted or _is_in(box, wanted))
    if not cards and not boxes and any(str(spec).strip().lower() != "none" for spec in named):
        raise UsageError("--gpu", "none of these is sold as a card or a computer", "Name a card: RTX 3090.")
    return cards, boxes


def _is_in(offer: CardOffer | BoxOffer, wanted: set[tuple[str, int | None]]) -> bool:
    return (offer.facts.id, offer.memory_bytes) in wanted


def _named_facts(spec: str) -> list[tuple[str, int | None]]:
    """(row, memory size) of ``RTX 3090``, ``M3 Ultra 256GB``; ``none`` is no card."""
    from llmfit.advisor.hardware.simulate import simulate_machine

    if spec.strip().lower() == "none":
        return []
    match = _COUNTED.fullmatch(spec)
    if match is not None and match[1]:
        raise UsageError(f"--gpu {spec!r}", "plan finds the number itself", f"Write {match[2].strip()!r}.")
    gpu = simulate_machine([spec], None, None, None, lookup_gpu).gpus[0]
    sized = re.search(r"(\d+)\s*(?:GB|GiB|G)\)?\s*$", spec, re.IGNORECASE)
    if sized is None:
        return [(gpu.catalog_id or "", None)]
    return [(gpu.catalog_id or "", int(sized[1]) * GIB)]


def _hosts(values: Values) -> tuple[Host, ...]:
    """The two stated ones, or the computer that --ram and --ram-bandwidth describe."""
    ram, rate = values.get("ram"), values.get("ram_bandwidth")
    if ram is None and rate is None:
        return HOSTS
    described = machine_from({"gpu": "none", "ram": ram, "ram_bandwidth": rate}).memory
    fits = DESKTOP.ram_fits
    if ram is not None and described.total_bytes is not None:  # at the speed of two modules, unless stated
        fits = (RamFit(described.total_bytes, fits[0].transfer_rate_mt_s),)
    stated = described.bandwidth_bytes_per_s if rate is not None else None
    return (Host("stated", "this host", DESKTOP.n_channels, fits, max_cards=8, stated_bytes_per_s=stated),)


def _costs(values: Values) -> HostCosts:
    ram_usd, host_usd = _number(values.get("ram_usd_per_gb")), _number(values.get("host_usd"))
    return HostCosts(host_usd=host_usd) if ram_usd is None else HostCosts(ram_usd, host_usd)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


__all__ = ["cheaper_ways", "chosen_rows", "question_from", "run"]
