from __future__ import annotations

from itertools import pairwise

import pytest

from llmfit.catalog.models import list_models
from llmfit.catalog.quality import (
    qualities,
    quality_loss,
    quality_of,
)

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
