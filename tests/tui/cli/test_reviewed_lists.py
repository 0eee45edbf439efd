"""The proposals for fourteen machines: as a person read them in docs/machines, and the rules they keep."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

import pytest

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.ladders import QUANT_LADDER
from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.build import build_model, only_quantization
from llmfit.catalog.models import find_model, list_models
from llmfit.tui.cli.options import parse_arguments
from llmfit.tui.model_facts import known_quality
from llmfit.tui.session import bits_per_weight, machine_from, recommendations_for
from tests.reviewed_lists import command_line, list_text
from tests.reviewed_machines import CONTEXT_TOKENS, MACHINES, USES

FOLDER = Path(__file__).parents[3] / "docs" / "machines"
CASES = [(name, use) for name in MACHINES for use in USES]


@cache
def machine(name: str) -> Machine:
    return machine_from(MACHINES[name])


@cache
def picks(name: str, use: str) -> tuple[Recommendation, ...]:
    return recommendations_for(machine(name), use, context_tokens=CONTEXT_TOKENS)


@pytest.mark.parametrize(("name", "use"), CASES)
def test_the_list_is_the_one_that_was_read(name: str, use: str) -> None:
    """Made anew by ``python -m tests.reviewed_lists``; whoever changes one reads it again."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert list_text(picks(name, use)) in text
    line = command_line(name, use)
    assert line in text
    parsed = vars(parse_arguments(shlex.split(line)[1:]))
    assert parsed["context"] == CONTEXT_TOKENS
    assert {key: parsed[key] for key in MACHINES[name]} == MACHINES[name]


@pytest.mark.parametrize("name", MACHINES)
def test_somebody_wrote_why(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    prose = [part for part in text.split("\n\n") if part[0] not in "#`" and len(part) > 200]
    assert prose, "no paragraph says why the list is right"


@pytest.mark.parametrize(("name", "use"), CASES)
def test_every_proposal_keeps_the_rules(name: str, use: str) -> None:
    found = picks(name, use)
    assert len(found) >= 3
    for pick in found:
        judgement = pick.judgement
        assert judgement.fits and judgement.argv is not None
        assert judgement.speed is not None and judgement.speed.decode_tok_s.expected >= 8
        for device in judgement.memory.gpus:
            assert device.free_bytes is not None and device.required_bytes <= device.free_bytes
    assert found[0].quality.is_tested
    families = [find_model(pick.judgement.model.id).family for pick in found]
    assert len(set(families)) == len(families)


@pytest.mark.parametrize(("name", "use"), CASES)
def test_no_card_stays_half_empty_where_something_abler_would_fill_it(name: str, use: str) -> None:
    """By trying every abler model of the catalogue in every file type of the ladder, not by the ranking."""
    half_bytes = sum(gpu.usable_bytes or 0 for gpu in machine(name).gpus) / 2
    for pick in picks(name, use):
        used_bytes = sum(device.total_bytes for device in pick.judgement.memory.gpus)
        if used_bytes < half_bytes:
            assert not list(_abler_and_larger(name, use, pick, half_bytes))


def _abler_and_larger(name: str, use: str, pick: Recommendation, least_bytes: float) -> list[str]:
    found = []
    request = Request(context_tokens=CONTEXT_TOKENS)
    for entry in list_models():
        quality = known_quality(entry.id, use)
        if entry.kind != "instruct" or not entry.llama_cpp_supported or quality is None:
            continue
        is_abler = quality.score > pick.quality.score or quality.low > pick.quality.low
        if not (quality.is_tested and is_abler):
            continue
        only = only_quantization(entry)
        for quant in (only,) if only else QUANT_LADDER:
            size_bytes = entry.parameters.text * bits_per_weight(quant) / 8
            room_bytes = 2 * least_bytes + (machine(name).memory.available_bytes or 0)
            if not least_bytes * 0.7 <= size_bytes <= room_bytes:
                continue
            try:
                judgement = judge(build_model(entry, quant), machine(name), request, remedies=False)
            except NotModelledError:
                break
            used_bytes = sum(device.total_bytes for device in judgement.memory.gpus)
            if not judgement.fits or used_bytes < least_bytes or judgement.speed is None:
                continue
            if judgement.speed.decode_tok_s.expected >= 8:
                found.append(f"{entry.id} {quant}")
    return found
