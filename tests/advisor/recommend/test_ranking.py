"""Recommendations on real machines with the bundled catalogue, and the rules of the ranking by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from llmfit.advisor.recommend.needs import need_of
from llmfit.advisor.recommend.outlook import (
    Candidate,
    Goal,
    best_first,
    find_options,
    slowness_points,
)
from llmfit.advisor.recommend.quality import NO_LOSS, Loss, Quality, QualityFacts
from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.advisor.recommend.request import Request
from llmfit.tui.session import bits_per_weight, machine_from, model_choice, recommendations_for

MACHINES = {
    "8 GB": {"gpu": "RTX 4060", "ram": "32GiB", "ram_bandwidth": "60"},
    "24 GB": {"gpu": "RTX 3090", "ram": "64GiB", "ram_bandwidth": "50"},
    "2x 24 GB": {"gpu": "2x RTX 3090", "ram": "64GiB", "ram_bandwidth": "50"},
    "80 GB": {"gpu": "H100 80GB", "ram": "128GiB"},
    "CPU": {"gpu": "none", "ram": "32GiB", "ram_bandwidth": "60"},
    "Apple": {"gpu": "M4 Max 128GB"},
    "Spark": {"gpu": "DGX Spark"},
}
USES = ("general", "coding", "reasoning", "chat", "vision", "long-context")


@cache
def picks(name: str, use_case: str = "general", **rest: object) -> tuple[Recommendation, ...]:
    return recommendations_for(machine_from(MACHINES[name]), use_case, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_gets_a_short_list_that_fits(name: str) -> None:
    found = picks(name)
    assert 3 <= len(found) <= 5
    assert len({pick.judgement.model.id for pick in found}) == len(found)
    for pick in found:
        judgement = pick.judgement
        assert judgement.fits and judgement.argv is not None
        assert judgement.settings.context_tokens >= 32768
        assert not any(device.shortfall_bytes for device in judgement.memory.gpus)
        assert pick.why and all(line.strip() for line in pick.why)


@pytest.mark.parametrize("name", MACHINES)
def test_the_first_has_evidence_and_is_the_best_of_the_list(name: str) -> None:
    found = picks(name)
    assert found[0].purpose == "best quality"
    assert found[0].quality.is_tested
    assert all(pick.quality.low <= found[0].quality.low + 6 for pick in found)
    graded = [pick.quality.is_tested for pick in found]
    assert graded == sorted(graded, reverse=True), "what has no evidence comes last"


@pytest.mark.parametrize("name", ["24 GB", "2x 24 GB", "80 GB", "Apple", "Spark"])
def test_a_large_machine_is_not_given_a_small_model(name: str) -> None:
    assert picks(name)[0].judgement.model.n_parameters > 20e9


@pytest.mark.parametrize("name", MACHINES)
def test_one_of_a_line_and_the_newer_generation(name: str) -> None:
    ids = [pick.judgement.model.id for pick in picks(name)]
    for line in ("qwen", "gemma", "llama-", "glm", "minimax", "nemotron"):
        assert sum(line in model_id.lower().split("/")[-1] for model_id in ids) <= 1
    for old in ("Llama-3.1", "Qwen2.5", "gemma-2-", "gemma-3-", "Mixtral", "Phi-3", "TinyLlama"):
        assert not any(old in model_id for model_id in ids)


@pytest.mark.parametrize("name", MACHINES)
def test_purposes_are_true(name: str) -> None:
    found = picks(name)
    speeds = [pick.judgement.speed.decode_tok_s.expected if pick.judgement.speed else None for pick in found]
    purposes = [pick.purpose for pick in found]
    assert purposes.count("best quality") == 1
    for purpose in ("fastest", "balanced", "longest context"):
        assert purposes.count(purpose) <= 1
    if "fastest" in purposes and None not in speeds:
        fastest = purposes.index("fastest")
        assert speeds[fastest] == max(speed for speed in speeds if speed is not None)
    if "longest context" in purposes:
        longest = purposes.index("longest context")
        contexts = [pick.judgement.settings.context_tokens for pick in found]
        assert contexts[longest] == max(contexts)


@pytest.mark.parametrize("use_case", USES)
def test_every_use_has_an_answer(use_case: str) -> None:
    found = picks("24 GB", use_case)
    assert found and found[0].purpose == "best quality"
    if use_case == "long-context":
        assert all(pick.judgement.settings.context_tokens >= 131072 for pick in found)


def test_vision_proposes_only_what_sees() -> None:
    from llmfit.catalog.models import find_model

    for pick in picks("24 GB", "vision"):
        assert "image" in find_model(pick.judgement.model.id).modalities


def test_the_same_question_has_the_same_answer() -> None:
    machine = machine_from(MACHINES["24 GB"])
    assert recommendations_for(machine, "general") == recommendations_for(machine, "general")


def test_a_least_speed_is_kept() -> None:
    for pick in picks("24 GB", min_tok_s=60.0):
        assert pick.judgement.speed is not None
        assert pick.judgement.speed.decode_tok_s.expected >= 60


def test_a_context_is_kept() -> None:
    for pick in picks("24 GB", context_tokens=65536):
        assert pick.judgement.settings.context_tokens == 65536


def test_a_limit_is_kept() -> None:
    assert len(picks("24 GB", limit=1)) == 1
    assert picks("24 GB", limit=2)[0].judgement == picks("24 GB")[0].judgement


def test_only_who_sits_at_the_machine_is_sent_to_measure_it() -> None:
    described = machine_from({"gpu": "none", "ram": "32GiB"})
    for machine, way in (
        (described, "--ram-bandwidth states it"),
        (replace(described, simulated=False, described_by="--machine"), "--ram-bandwidth states it"),
        (replace(described, described_by=None), "--measure finds it"),
    ):
        first = recommendations_for(machine, "general", limit=1)[0]
        assert [way in line for line in first.why if "bandwidth of the RAM" in line] == [True]


def test_a_machine_that_holds_nothing_gets_nothing() -> None:
    assert recommendations_for(machine_from({"gpu": "none", "ram": "256MiB"}), "general") == ()


# ---------------------------------------------------------------- the rules by themselves


def candidate(name: str, low: float, grade: str = "A", billions: float = 8, released: str = "") -> Candidate:
    return Candidate(
        model_id=name,
        family=name,
        n_parameters=int(billions * 1e9),
        n_active_parameters=None,
        context_train_tokens=131072,
        quality=Quality(low + 5, low, low + 10, grade, grade in "ABC", "made up"),
        released=released,
        is_moe=False,
        native_quant=None,
        only_quant=None,
        build=lambda quant: pytest.fail("not to be built"),
        facts=lambda model: QualityFacts(None, lambda quant: NO_LOSS, lambda k, v: NO_LOSS),
    )


def points(by_quant: dict[str, float], otherwise: float) -> Callable[[str, Candidate], Loss]:
    def loss(quant: str, _: Candidate) -> Loss:
        lost = by_quant.get(quant, otherwise)
        return Loss(lost, lost, lost, "made up")

    return loss


def options(*candidates: Candidate, name: str = "24 GB") -> list[tuple[str, str]]:
    goal = Goal("general", points({"Q8_0": 0.1, "Q6_K": 0.4}, 2.0), bits_per_weight)
    found = find_options(candidates, machine_from(MACHINES[name]), goal)
    return [(option.candidate.model_id, option.quant) for option in found]


def test_no_evidence_never_comes_before_evidence() -> None:
    names = [name for name, _ in options(candidate("hyped", 90, "E"), candidate("tested", 30, "C"))]
    assert names[0] == "tested" and names.index("hyped") > names.index("tested")
    assert all(name == "hyped" for name in names[names.index("hyped") :])


def test_of_equals_the_newer_comes_first() -> None:
    found = options(candidate("a", 50, released="2025-01-01"), candidate("b", 50, released="2026-01-01"))
    assert found[0][0] == "b"


def test_small_file_types_are_only_for_what_has_no_room() -> None:
    assert ("small", "Q3_K_M") not in options(candidate("small", 50, billions=8))
    assert ("large", "Q3_K_M") in options(candidate("large", 50, billions=46))


def test_what_has_no_room_at_all_is_no_option() -> None:
    assert options(candidate("huge", 99, billions=2000)) == []


def test_a_context_beyond_training_is_no_option() -> None:
    goal = Goal("general", points({}, 0.0), bits_per_weight, context_tokens=262144)
    assert find_options([candidate("short", 50)], machine_from(MACHINES["24 GB"]), goal) == []


def test_slowness_weighs_less_than_a_tie_until_it_hurts() -> None:
    need = need_of("general")
    assert slowness_points(need, 30) == 0
    assert -1 <= slowness_points(need, 300) == slowness_points(need, 3000) < slowness_points(need, 60) < 0
    assert 0 < slowness_points(need, 15) < 6 < slowness_points(need, 5)
    assert slowness_points(need, 30, prompt_s=20) > slowness_points(need, 30, prompt_s=5) == 0
    assert best_first([]) == []


def test_unknown_free_memory_counts_as_all_and_none_free_as_none() -> None:
    """The outlook, the choice of a file type and the placement mean the same by a card's room."""
    computer = machine_from(MACHINES["24 GB"])
    card, goal = computer.gpus[0], Goal("general", points({}, 0.0), bits_per_weight)
    unknown, full = replace(card, vram_free_bytes=None), replace(card, vram_free_bytes=0)
    assert (unknown.usable_bytes, full.usable_bytes) == (card.vram_total_bytes, 0)
    of_unknown, of_full = (replace(computer, gpus=(gpu,)) for gpu in (unknown, full))
    assert all(option.on_gpus for option in find_options([candidate("small", 50)], of_unknown, goal))
    assert not any(option.on_gpus for option in find_options([candidate("small", 50)], of_full, goal))


def test_the_best_file_type_counts_all_of_a_card_whose_free_memory_is_not_known() -> None:
    computer = machine_from(MACHINES["24 GB"])
    unknown = replace(computer, gpus=(replace(computer.gpus[0], vram_free_bytes=None),))
    choice = model_choice({"model": "Llama-3.1-8B-Instruct"})
    assert choice.best_for(unknown, Request()) == choice.best_for(computer, Request())
