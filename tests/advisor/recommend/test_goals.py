"""The search by goal: what every answer must keep, on machines of every kind, with the bundled catalogue."""

from __future__ import annotations

from functools import cache

import pytest

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.goals.objectives import CRITERIA, Question
from llmfit.advisor.recommend.goals.search import search_configurations
from llmfit.advisor.recommend.goals.space import Ledger, dimensions_of
from llmfit.advisor.recommend.goals.trials import Trials
from llmfit.advisor.recommend.goals.values import DIMENSIONS, GOALS, Configuration, ConfigurationSearch, Tried
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement
from llmfit.advisor.recommend.needs import need_of
from llmfit.advisor.recommend.quality import QualityFacts
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import format_gib
from llmfit.tui.model_facts import quality_facts
from llmfit.tui.session import machine_from, model_choice

DENSE, SMALL, MOE = "qwen3-32b", "qwen3-14b", "qwen3-30b-a3b-instruct"
CASES = {
    "2x 24 GB": (DENSE, {"gpu": "2x RTX 3090", "ram": "64GiB", "ram_bandwidth": "60"}),
    "24 GB": (DENSE, {"gpu": "RTX 3090", "ram": "64GiB", "ram_bandwidth": "60"}),
    "24 GB, RAM not known": (DENSE, {"gpu": "RTX 3090", "ram": "64GiB"}),
    "12 GB": (SMALL, {"gpu": "RTX 3060", "ram": "32GiB", "ram_bandwidth": "45"}),
    "8 GB with experts in RAM": (MOE, {"gpu": "RTX 3060 Ti", "ram": "64GiB", "ram_bandwidth": "50"}),
    "CPU": (DENSE, {"gpu": "none", "ram": "32GiB", "ram_bandwidth": "60"}),
    "Apple": (DENSE, {"gpu": "M4 Max 128GB"}),
}
TIE = 0.95
PLAIN: dict[str, dict[str, object]] = {
    "cache type": {"cache_type_k": "f16"},
    "micro-batch": {"ubatch": 512},
    "context": {"context_tokens": 32768},
}


@cache
def computer(name: str) -> Machine:
    return machine_from(CASES[name][1])


@cache
def build(model_id: str, quant: str) -> Model:
    choice = model_choice({"model": model_id})
    assert choice.build is not None
    return choice.build(quant)


@cache
def facts(model_id: str) -> QualityFacts:
    return quality_facts(build(model_id, "Q4_K_M"))


def search(
    model_id: str, machine: Machine, goal: str, quant: str | None = None, **fixed: object
) -> ConfigurationSearch:
    what = (lambda name: build(model_id, name)) if quant is None else build(model_id, quant)
    request = Request(**fixed)  # type: ignore[arg-type]
    return search_configurations(what, facts(model_id), machine, goal, request)


@cache
def found(name: str, goal: str) -> ConfigurationSearch:
    return search(CASES[name][0], computer(name), goal)


def best(name: str, goal: str) -> Judgement:
    judgement = found(name, goal).best
    assert judgement is not None
    return judgement


def decode(judgement: Judgement) -> float:
    assert judgement.speed is not None
    return judgement.speed.decode_tok_s.expected


every_case = pytest.mark.parametrize("name", CASES)
every_goal = pytest.mark.parametrize("goal", GOALS)


@every_case
@every_goal
def test_all_that_is_ranked_fits_and_no_configuration_twice(name: str, goal: str) -> None:
    ranked = found(name, goal).ranked
    assert ranked
    assert all(one.judgement.fits and one.judgement.argv for one in ranked)
    launches = [(one.judgement.model.quantization, one.judgement.settings) for one in ranked]
    assert len(set(launches)) == len(launches)


@every_case
@every_goal
def test_every_configuration_is_judged_or_pruned_for_a_reason(name: str, goal: str) -> None:
    result = found(name, goal)
    assert result.n_judged + sum(pruned.n_configurations for pruned in result.pruned) == result.n_considered
    assert result.n_judged < 50 < result.n_considered
    assert all(pruned.why and pruned.n_configurations > 0 for pruned in result.pruned)


@every_case
@every_goal
def test_each_dimension_has_a_reason_and_figures_beside_it(name: str, goal: str) -> None:
    choices = found(name, goal).ranked[0].choices
    assert tuple(choice.dimension for choice in choices) == DIMENSIONS
    for choice in choices:
        assert choice.reason.endswith(".") and "None" not in choice.reason
        for runner_up in choice.runner_ups:
            assert runner_up.value != choice.chosen
            assert runner_up.total_bytes > 0
            assert runner_up.decode_tok_s is None or runner_up.decode_tok_s > 0
    by_name = {choice.dimension: choice for choice in choices}
    assert by_name["file type"].runner_ups and by_name["context"].runner_ups


@every_case
def test_speed_is_not_slower_than_quality_or_balance(name: str) -> None:
    if best(name, "speed").speed is None:
        pytest.skip("no speed is known")
    for other in ("quality", "balance"):
        judgement = best(name, other)
        assert judgement.speed is None or decode(best(name, "speed")) >= TIE * decode(judgement)


@every_case
def test_context_is_not_shorter_than_any_other_goal(name: str) -> None:
    longest = best(name, "context").settings.context_tokens
    assert all(longest >= best(name, goal).settings.context_tokens for goal in GOALS)


@every_case
def test_quality_loses_no_more_than_speed(name: str) -> None:
    loss_of = facts(CASES[name][0]).file_type_loss
    quality, speed = (loss_of(best(name, goal).model.quantization) for goal in ("quality", "speed"))
    assert quality is not None and speed is not None
    assert quality.points <= speed.points


@pytest.mark.parametrize("name", ["24 GB", "8 GB with experts in RAM"])
@every_goal
def test_the_same_question_has_the_same_answer(name: str, goal: str) -> None:
    assert search(CASES[name][0], computer(name), goal) == found(name, goal)


@every_goal
def test_what_is_fixed_is_kept_and_said(goal: str) -> None:
    fixed = {"context_tokens": 16384, "cache_type_k": "q4_0", "ubatch": 256, "parallel": 2, "gpu_layers": 20}
    result = search(DENSE, computer("24 GB"), goal, "Q5_K_M", **fixed)
    for one in result.ranked:
        settings = one.judgement.settings
        assert one.judgement.model.quantization == "Q5_K_M"
        assert (settings.context_tokens, settings.ubatch, settings.parallel) == (16384, 256, 2)
        assert (settings.cache_type_k, settings.cache_type_v, settings.gpu_layers) == ("q4_0", "q4_0", 20)
    assert all(choice.is_fixed for choice in result.ranked[0].choices)
    assert result.n_considered == result.n_judged == 1


@pytest.mark.parametrize("name", ["24 GB", "8 GB with experts in RAM"])
@pytest.mark.parametrize("removed", PLAIN)
@pytest.mark.parametrize("goal", ["quality", "balance"])
def test_fewer_choices_make_nothing_better(name: str, removed: str, goal: str) -> None:
    model_id, machine = CASES[name][0], computer(name)
    fewer = search(model_id, machine, goal, **PLAIN[removed]).best
    assert fewer is not None
    with_all, with_fewer = (tried(model_id, machine, one) for one in (best(name, goal), fewer))
    if with_all.configuration == with_fewer.configuration:
        return
    question = Question(facts(model_id), need_of("general"), 32768)
    for criterion in CRITERIA[goal]:
        one, other = criterion.value(question, with_all), criterion.value(question, with_fewer)
        margin = criterion.tie + criterion.tie_share * abs(max(one, other))
        assert other - one <= margin + 1e-9, criterion
        if one > other:
            break


def tried(model_id: str, machine: Machine, judgement: Judgement) -> Tried:
    """A judgement with the figures that goals weigh."""
    settings = judgement.settings
    configuration = Configuration(
        judgement.model.quantization, settings.cache_type_k, settings.context_tokens, settings.ubatch, 1
    )
    dimensions = dimensions_of(Request(), ("Q4_K_M",), 32768, 0, True, False)
    trials = Trials(
        lambda name: build(model_id, name), facts(model_id), machine, Request(), need_of("general"), None,
        Ledger.of(dimensions),
    )  # fmt: skip
    return trials.tried(configuration, judgement)


def test_where_nothing_fits_the_nearest_says_what_is_missing() -> None:
    result = search("Llama-3.3-70B", machine_from({"gpu": "RTX 3060", "ram": "8GiB"}), "quality")
    assert result.ranked == ()
    assert result.best is result.nearest is not None
    assert result.nearest.shortfall_bytes > 0
    assert "Not even IQ2_XXS fits" in result.nothing_fits and "it lacks" in result.nothing_fits


def test_a_worse_file_than_q4_k_m_only_where_nothing_better_fits() -> None:
    tight = machine_from({"gpu": "RTX 3090", "ram": "12GiB", "ram_bandwidth": "50"})
    for goal in GOALS:
        judgement = search("Llama-3.3-70B", tight, goal).best
        assert judgement is not None and judgement.model.quantization == "Q3_K_M"
    roomy = machine_from({"gpu": "RTX 3090", "ram": "64GiB", "ram_bandwidth": "50"})
    choice = search("Llama-3.3-70B", roomy, "speed").ranked[0].choices[0]
    assert choice.chosen in {"Q4_K_M", "IQ4_XS"}
    assert any(runner_up.verdict == FITS_GPU for runner_up in choice.runner_ups)


def test_experts_in_ram_get_the_micro_batch_that_reads_prompts_faster() -> None:
    """With all weights on the GPU it would gain nothing, and stays as llama-server has it."""
    judgement = best("8 GB with experts in RAM", "quality")
    assert judgement.settings.ubatch > 512 and judgement.settings.batch >= judgement.settings.ubatch
    assert best("2x 24 GB", "quality").settings.ubatch == 512


def test_a_smaller_cache_only_where_it_buys_something() -> None:
    assert best("2x 24 GB", "quality").settings.cache_type_k == "f16"
    assert best("24 GB", "speed").settings.cache_type_k == "q8_0"


def test_models_that_suffer_by_a_quantised_cache_keep_f16() -> None:
    for goal in GOALS:
        model = model_choice({"model": "gpt-oss-20b"}).sample()
        machine = machine_from({"gpu": "RTX 3060", "ram": "32GiB", "ram_bandwidth": "50"})
        result = search_configurations(model, quality_facts(model), machine, goal, Request())
        assert result.best is not None and result.best.settings.cache_type_k == "f16"
        assert "gpt-oss" in result.ranked[0].choices[1].reason


def test_quality_is_the_ability_less_the_losses() -> None:
    result = found("2x 24 GB", "speed")
    first, ability = result.ranked[0], facts(DENSE).quality
    assert ability is not None and first.quality is not None
    assert first.quality.score < ability.score
    assert first.quality.low < ability.low


def test_a_context_between_the_steps_is_found_with_weights_in_ram() -> None:
    machine = machine_from({"gpu": "RTX 3090", "ram": "28GiB", "ram_bandwidth": "60"})
    result = search("Llama-3.3-70B", machine, "context")
    assert result.best is not None and 32768 < result.best.settings.context_tokens < 131072
    assert result.best.settings.context_tokens != 65536
    choice = result.ranked[0].choices[2]
    assert "about the most" in choice.reason and choice.runner_ups


def test_on_the_gpus_the_longest_context_is_exact() -> None:
    """256 tokens more no longer stay there."""
    found_one = best("24 GB, RAM not known", "context")
    tokens, model = found_one.settings.context_tokens, found_one.model
    longer = search(
        DENSE, computer("24 GB, RAM not known"), "quality", model.quantization, context_tokens=tokens + 256,
        cache_type_k=found_one.settings.cache_type_k,
    ).best  # fmt: skip
    trained = model.shape.context_train_tokens
    assert longer is not None and (tokens == trained or longer.verdict != FITS_GPU)


def test_a_depth_has_room_and_is_what_speeds_are_asked_at() -> None:
    result = search(DENSE, computer("2x 24 GB"), "quality", depth_tokens=36000)
    assert result.best is not None and result.best.speed is not None
    assert result.best.settings.context_tokens >= 36000
    assert result.best.speed.depth_tokens == 36000


@every_goal
def test_criteria_of_every_goal_are_known_to_the_words(goal: str) -> None:
    from llmfit.advisor.recommend.goals.words import reason_text

    one, other = (
        tried(CASES["24 GB"][0], computer("24 GB"), found("24 GB", goal).ranked[n].judgement) for n in (0, 1)
    )
    question = Question(facts(DENSE), need_of("general"), 32768)
    for criterion in CRITERIA[goal]:
        assert reason_text(question, criterion, one, other, "this", "that").endswith(".")


@pytest.mark.parametrize(
    ("gpu", "quants", "said"),
    [
        ("RTX 3090", ("Q4_K_M", "Q6_K"), ("fits on the GPU", "leaves # of weights in RAM")),
        ("RTX 3090", ("Q6_K", "Q8_0"), ("leaves # of weights in RAM", "leaves # of weights in RAM")),
        ("none", ("Q4_K_M", "Q6_K"), ("has all its weights, #, in RAM", "has all its weights, #, in RAM")),
    ],
)
def test_what_fits_on_the_gpu_leaves_no_weights_in_ram(
    gpu: str, quants: tuple[str, str], said: tuple[str, str]
) -> None:
    """Its token embeddings stay there, whatever the card; but nobody waits for them."""
    from llmfit.advisor.recommend.goals.objectives import READABLE
    from llmfit.advisor.recommend.goals.words import reason_text

    machine = machine_from({"gpu": gpu, "ram": "64GiB"})
    request = Request(context_tokens=4096, cache_type_k="f16")
    judgements = [judge(build(DENSE, quant), machine, request, remedies=False) for quant in quants]
    sizes = [format_gib(judgement.memory.host.weights_bytes) for judgement in judgements]
    one, other = (tried(DENSE, machine, judgement) for judgement in judgements)
    text = reason_text(Question(facts(DENSE), need_of("general"), 4096), READABLE, one, other, "A", "B")
    first, second = (phrase.replace("#", size) for phrase, size in zip(said, sizes, strict=True))
    assert text.startswith(f"A {first}, B {second}. The bandwidth of the RAM is not known")
