"""The order that criteria make, on made-up figures: ties, chains of ties, and what is plainest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.recommend.goals.objectives import (
    CRITERIA,
    TIE_LOSS_POINTS,
    TIE_PREFILL_SHARE,
    TIE_SPEED_SHARE,
    Question,
    rank,
)
from llmfit.advisor.recommend.goals.space import Ledger, dimensions_of, longer_contexts
from llmfit.advisor.recommend.goals.values import GOALS, Configuration, Tried
from llmfit.advisor.recommend.judgement import FITS_GPU, FITS_OFFLOAD, Judgement
from llmfit.advisor.recommend.needs import need_of
from llmfit.advisor.recommend.quality import NO_LOSS, Loss, QualityFacts
from llmfit.advisor.recommend.request import Request

LOSSES = {"Q8_0": 0.1, "Q6_K": 0.3, "Q5_K_M": 0.6, "Q4_K_M": 1.2, "Q3_K_M": 3.0}
PLAIN = Configuration("Q4_K_M", "f16", 32768, 512, 1)


def loss_of(name: str) -> Loss:
    points = LOSSES[name]
    return Loss(points, points / 2, points * 2, "made up")


QUESTION = Question(QualityFacts(None, loss_of, lambda k, v: NO_LOSS), need_of("general"), 32768)


class _Verdict:
    """All of a judgement that criteria look at."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict


def judged(verdict: str) -> Judgement:
    return _Verdict(verdict)  # type: ignore[return-value]


def one(
    tok_s: float = 20.0, prefill: float = 500.0, verdict: str = FITS_GPU, wait_s: float = 1.0, **at: object
) -> Tried:
    configuration = PLAIN._replace(**at)  # type: ignore[arg-type]
    loss = loss_of(configuration.file_type)
    return Tried(configuration, judged(verdict), loss, NO_LOSS, tok_s, prefill, 8192, wait_s)


def first(goal: str, *tried: Tried) -> Configuration:
    return rank(tried, QUESTION, goal).order[0].configuration


def test_quality_takes_the_smaller_loss_while_it_reads() -> None:
    better, faster = one(9.0, file_type="Q8_0"), one(30.0, file_type="Q4_K_M")
    assert first("quality", better, faster).file_type == "Q8_0"
    assert first("quality", replace(better, order_tok_s=6.0), faster).file_type == "Q4_K_M"


def test_losses_within_half_a_point_leave_it_to_the_speed() -> None:
    assert 2 * (LOSSES["Q6_K"] - LOSSES["Q8_0"]) < TIE_LOSS_POINTS
    assert first("quality", one(20.0, file_type="Q8_0"), one(24.0, file_type="Q6_K")).file_type == "Q6_K"


def test_speeds_within_the_doubt_leave_it_to_the_prompts_and_then_to_the_plainest() -> None:
    plain, larger = one(20.0), one(20.0 * (1 - TIE_SPEED_SHARE / 2), prefill=600.0, ubatch=2048)
    assert first("quality", plain, larger).ubatch == 2048
    assert (
        first("quality", plain, replace(larger, prefill_tok_s=500 * (1 + TIE_PREFILL_SHARE / 2))).ubatch
        == 512
    )
    assert first("quality", plain, one(cache_type="q8_0")).cache_type == "f16"


def test_speed_goes_no_lower_than_q4_k_m_while_that_fits() -> None:
    assert first("speed", one(10.0), one(40.0, file_type="Q3_K_M")).file_type == "Q4_K_M"
    assert first("speed", one(5.0, file_type="Q3_K_M")).file_type == "Q3_K_M"


def test_context_is_longest_with_the_best_verdict() -> None:
    on_gpu = one(30.0, context_tokens=65536)
    longer = one(20.0, verdict=FITS_OFFLOAD, context_tokens=131072)
    assert first("context", on_gpu, longer).context_tokens == 65536
    too_short = replace(on_gpu, configuration=on_gpu.configuration._replace(context_tokens=16384))
    assert first("context", too_short, longer).context_tokens == 131072


def test_balance_weighs_loss_against_halvings_of_the_speed() -> None:
    assert first("balance", one(15.0, file_type="Q8_0"), one(30.0)).file_type == "Q4_K_M"
    assert first("balance", one(30.0, file_type="Q8_0"), one(45.0)).file_type == "Q8_0"
    long_wait = one(30.0, file_type="Q8_0", wait_s=80.0)
    assert first("balance", long_wait, one(30.0)).file_type == "Q4_K_M"


speeds = st.floats(0.1, 200.0)
tries = st.lists(
    st.builds(
        one,
        tok_s=speeds,
        prefill=st.floats(1.0, 5000.0),
        verdict=st.sampled_from([FITS_GPU, FITS_OFFLOAD]),
        wait_s=st.floats(0.1, 100.0),
        file_type=st.sampled_from(sorted(LOSSES)),
        cache_type=st.sampled_from(["f16", "q8_0"]),
        context_tokens=st.sampled_from([8192, 16384, 32768, 65536]),
        ubatch=st.sampled_from([512, 1024, 2048]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda tried: tried.configuration,
)


@given(tries, st.sampled_from(GOALS), st.randoms())
def test_the_order_in_which_they_come_changes_nothing(tried: list[Tried], goal: str, random: object) -> None:
    shuffled = list(tried)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(tried, QUESTION, goal).order == rank(shuffled, QUESTION, goal).order


@given(tries, st.sampled_from(GOALS))
def test_every_one_is_ranked_once_and_the_first_is_best_by_the_first_criterion(
    tried: list[Tried], goal: str
) -> None:
    ranking = rank(tried, QUESTION, goal)
    assert sorted(x.configuration for x in ranking.order) == sorted(x.configuration for x in tried)
    criterion = CRITERIA[goal][0]
    most = max(criterion.value(QUESTION, x) for x in tried)
    assert criterion.value(QUESTION, ranking.order[0]) >= most - criterion.tie
    assert set(ranking.fell_by) == {x.configuration for x in tried}


@given(tries, st.sampled_from(GOALS))
def test_without_the_others_the_first_stays_first(tried: list[Tried], goal: str) -> None:
    """What fell by no criterion only lost to plainness: it loses to that alone, too."""
    ranking = rank(tried, QUESTION, goal)
    plainer_ones = [x for x in ranking.order if ranking.fell_by[x.configuration] is None]
    assert rank(plainer_ones, QUESTION, goal).order[0] is ranking.order[0]


def test_a_ledger_settles_each_configuration_once() -> None:
    ledger = Ledger.of(dimensions_of(Request(), ("Q8_0", "Q4_K_M"), 32768, 131072, True, True))
    n_all = ledger.n_considered
    ledger.prune("first", lambda c: c.file_type == "Q8_0")
    ledger.prune("second", lambda c: c.file_type == "Q8_0")
    ledger.judge(PLAIN)
    ledger.judge(PLAIN._replace(file_type="Q8_0"))
    ledger.judge(PLAIN._replace(context_tokens=33280))
    ledger.prune_rest("third")
    assert [pruned.why for pruned in ledger.pruned] == ["first", "third"]
    assert ledger.n_considered == n_all + 1
    assert len(ledger.judged) + sum(pruned.n_configurations for pruned in ledger.pruned) == n_all + 1


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (0, ()),
        (32768, ()),
        (40960, (40960,)),
        (131072, (65536, 131072)),
        (2**20, (65536, 131072, 262144, 2**19, 2**20)),
    ],
)
def test_longer_contexts_end_with_the_trained_one(trained: int, expected: tuple[int, ...]) -> None:
    assert longer_contexts(32768, trained) == expected
