"""The app's questions against the real catalogue, on a machine that is only described."""

from __future__ import annotations

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.tui.candidates import UNKNOWN_QUALITY, candidates_for, known_quality
from llmfit.tui.live_advice import LiveAdvice
from llmfit.tui.messages import Pick

TWO_CARDS = {"gpu": ["2x RTX 3090"], "ram": "64GiB", "ram_bandwidth": "51"}


def test_a_search_judges_the_smallest_first_and_help_comes_after() -> None:
    advice = LiveAdvice(TWO_CARDS)
    machine = advice.machine()
    found = [one for one in advice.search(machine, "mimo flash", None) if isinstance(one, Pick)]
    sizes = [pick.judgement.model.n_parameters for pick in found]
    assert sizes == sorted(sizes) and found
    pick = next(pick for pick in found if pick.key.endswith("MiMo-V2-Flash"))
    assert not pick.judgement.fits and pick.judgement.speed is None and pick.judgement.argv is None
    assert pick.judgement.remedies == () and not pick.looked_for_help
    helped = advice.with_help(pick, None)
    assert helped.looked_for_help
    assert any("quant" in dict(remedy.change) for remedy in helped.judgement.remedies)


def test_an_answer_is_remembered_for_its_own_question_only() -> None:
    advice = LiveAdvice({"gpu": ["RTX 3060"], "ram": "16GiB", "ram_bandwidth": "51"})
    machine = advice.machine()
    first = advice.picks(machine, "chat", 8192)
    assert first and all(pick.judgement.settings.context_tokens == 8192 for pick in first)
    assert advice.picks(advice.machine(), "chat", 8192) is first
    assert advice.picks(machine, "chat", 16384) is not first


def test_a_card_that_nobody_sells_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="9999"):
        LiveAdvice({"gpu": ["RTX 9999"]}).machine()


def test_one_conversion_of_quality_for_the_list_and_the_search() -> None:
    by_id = {candidate.model_id: candidate.quality for candidate in candidates_for("general")}
    known = {model_id: known_quality(model_id, "general") for model_id in by_id}
    assert by_id == {model_id: quality or UNKNOWN_QUALITY for model_id, quality in known.items()}
    sources = [source for quality in by_id.values() for source in quality.sources]
    assert any(source.endswith(" 1 score)") for source in sources)
    assert not any(source.endswith(" 1 scores)") for source in sources)
    assert {quality.is_tested for quality in by_id.values()} == {True, False}
