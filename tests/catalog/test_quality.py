from __future__ import annotations

from itertools import pairwise, product

import pytest

from llmfit.advisor.model.quantization import TENSOR_TYPES
from llmfit.advisor.recommend.quality import NO_LOSS
from llmfit.catalog import loader, schema
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model, list_models
from llmfit.catalog.quality import (
    cache_loss,
    qualities,
    quality_loss,
    quality_of,
)
from llmfit.tui.model_facts import quality_facts

USES = ("general", "coding", "reasoning", "chat", "vision", "long-context", "tools")


@pytest.mark.parametrize("use", USES)
def test_every_model_but_the_embedding_ones_has_a_quality(use: str) -> None:
    missing = {model.id for model in list_models() if quality_of(model.id, use) is None}
    assert missing == {model.id for model in list_models() if model.kind == "embedding"}


def test_figures_of_the_study() -> None:
    """Two rows of the table published with the study."""
    found = quality_of("Qwen/Qwen3.6-27B", "general")
    assert found is not None
    assert (found.score, found.lo80, found.hi80, found.grade, found.mode) == (79, 76, 83, "A", "thinking")
    llama = quality_of("meta-llama/Llama-3.3-70B-Instruct", "coding")
    assert llama is not None
    assert (llama.score, llama.lo80, llama.hi80, llama.grade) == (44, 41, 47, "A")
    assert any(source.kind == "independent" for source in llama.sources)
    assert all(source.text and source.n_scores for source in llama.sources)


def test_an_unknown_model_has_no_quality() -> None:
    assert quality_of("nobody/Nothing-7B", "general") is None
    assert qualities("nobody/Nothing-7B", "general") == ()


def test_the_better_mode_is_taken_and_said() -> None:
    modes = {found.mode: found for found in qualities("Qwen/Qwen3.5-0.8B", "general")}
    assert set(modes) == {"thinking", "non-thinking"}
    best = quality_of("Qwen/Qwen3.5-0.8B", "general")
    assert best is not None
    assert best.mode == "non-thinking", "the smallest models loop when they think"
    assert best.lo80 == max(found.lo80 for found in modes.values())


def test_what_was_not_measured_is_said() -> None:
    vision = quality_of("Qwen/Qwen3-8B", "vision")
    assert vision is not None
    assert vision.ability == "general"
    assert "nothing measured for vision" in vision.basis
    untested = quality_of("tencent/Hy3", "general")
    assert untested is not None
    assert not untested.is_tested
    assert "estimated from size, date and family" in untested.basis


def test_more_bits_lose_less() -> None:
    for is_moe, n_parameters in ((False, 10**9), (False, 8 * 10**9), (False, 70 * 10**9), (True, 10**11)):
        losses = [
            quality_loss(name, n_parameters, is_moe=is_moe)
            for name in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XS", "IQ1_S")
        ]
        points = [loss.points for loss in losses if loss is not None]
        assert len(points) == len(losses)
        assert all(less <= more for less, more in pairwise(points))


def test_a_small_model_loses_more_than_a_large_one() -> None:
    small, middle, large = (
        quality_loss("Q4_K_M", n_parameters, is_moe=False) for n_parameters in (10**9, 8 * 10**9, 70 * 10**9)
    )
    assert small is not None
    assert middle is not None
    assert large is not None
    assert small.points > middle.points > large.points > 0
    assert (middle.low, middle.high) == (middle.points / 2, middle.points * 2)


def test_a_format_trained_in_costs_nothing_and_an_unmeasured_one_is_unknown() -> None:
    trained = quality_loss("MXFP4_MOE", 2 * 10**10, is_moe=True, trained_in_it=True)
    assert trained is not None
    assert trained.points == 0
    after = quality_loss("MXFP4_MOE", 2 * 10**10, is_moe=True)
    assert after is not None
    assert after.points > 0
    assert quality_loss("TQ1_0", 10**10, is_moe=False) is None
    assert quality_loss("nonsense", 10**10, is_moe=False) is None


CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl", "q4_0")


def cache_points(
    k: str, v: str, is_mla: bool = False, delicate: bool = False, rotated: bool = True
) -> float | None:
    found = cache_loss(k, v, is_mla=is_mla, delicate_keys=delicate, rotated=rotated)
    return None if found is None else found.points


def test_cache_losses_follow_their_schema_and_name_their_sources() -> None:
    document = schema.CacheLosses.model_validate(loader.bundled_document("cache_losses.json"))
    used = {source for row in document.rows for source in row.sources}
    assert used == set(document.sources)
    for row in document.rows:
        assert set(row.k) | set(row.v) <= set(CACHE_TYPES) and (row.sources or not row.points)


@pytest.mark.parametrize(
    ("k", "v", "facts", "points"),
    [
        ("f16", "f16", {}, 0.0),
        ("q8_0", "q8_0", {}, 0.2),
        ("q8_0", "q4_0", {}, 0.5),
        ("q8_0", "q5_1", {}, 0.5),
        ("q5_0", "q5_1", {}, 0.6),
        ("q4_0", "q4_0", {}, 1.0),
        ("q4_0", "q4_0", {"rotated": False}, 3.0),
        ("q4_0", "q4_0", {"delicate": True}, 6.0),
        ("q8_0", "q4_0", {"delicate": True}, 0.5),
        ("q8_0", "q8_0", {"is_mla": True}, None),
        ("f16", "f16", {"is_mla": True}, 0.0),
        ("q4_1", "q4_1", {}, None),
        ("nonsense", "f16", {}, None),
    ],
)
def test_cache_losses_are_those_of_the_notes(
    k: str, v: str, facts: dict[str, bool], points: float | None
) -> None:
    """The table of the study on quantisation, and None for what it did not measure."""
    assert cache_points(k, v, **facts) == points


@pytest.mark.parametrize("delicate", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_smaller_cache_types_never_lose_less(delicate: bool, rotated: bool) -> None:
    def bits(name: str) -> float:
        return TENSOR_TYPES[name.upper()].bits_per_weight

    for k, v in product(CACHE_TYPES, repeat=2):
        for k2, v2 in product(CACHE_TYPES, repeat=2):
            larger, smaller = (cache_points(*pair, False, delicate, rotated) for pair in ((k, v), (k2, v2)))
            if larger is not None and smaller is not None and bits(k2) <= bits(k) and bits(v2) <= bits(v):
                assert smaller >= larger, (k, v, k2, v2)


def test_cache_losses_reach_the_facts_of_a_model() -> None:
    plain, mla, small = (
        quality_facts(build_model(find_model(name), "Q4_K_M"))
        for name in ("Llama-3.1-8B", "GLM-4.7-Flash", "Qwen2.5-7B-Instruct")
    )
    assert plain.cache_loss("f16", "f16") == NO_LOSS == mla.cache_loss("f16", "bf16")
    q8 = plain.cache_loss("q8_0", "q8_0")
    assert q8 is not None and (q8.low_points, q8.points, q8.high_points) == (0.1, 0.2, 0.4)
    assert q8.band_text == "less than a point" and "KLD" in q8.basis
    assert mla.cache_loss("q8_0", "q8_0") is None
    broken = small.cache_loss("q4_0", "q4_0")
    assert broken is not None and broken.band_text == "3 to 12 points"


@pytest.mark.parametrize(
    ("file_type", "small", "middle", "large", "moe"),
    [("Q4_K_M", 4.3, 2.5, 1.3, 1.8), ("Q5_K_M", 2.5, 1.4, 0.8, 1.0), ("Q6_K", 1.2, 0.7, 0.4, 0.5)],
)
def test_file_type_losses_are_those_of_the_notes(
    file_type: str, small: float, middle: float, large: float, moe: float
) -> None:
    """The study reads its table off a curve in bits, the catalogue takes the KLD measured for the very type:
    they differ, by less than the band from half to double."""
    for n_parameters, is_moe, points in (
        (10**9, False, small),
        (8 * 10**9, False, middle),
        (70 * 10**9, False, large),
        (10**11, True, moe),
    ):
        found = quality_loss(file_type, n_parameters, is_moe=is_moe)
        assert found is not None and points / 1.5 < found.points < points * 1.5
