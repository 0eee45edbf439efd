"""Other contexts are answered before anybody asks, and never in the way of what somebody asks."""

from __future__ import annotations

import pytest

from llmfit.advisor.hardware.machine import Machine
from llmfit.tui import asking, session
from llmfit.tui.live_advice import LiveAdvice, other_contexts
from llmfit.tui.question import Question
from tests.tui.app.fake_advice import FakeAdvice, settled, until
from tests.tui.app.test_keys import WIDE

SMALL = {"gpu": ["none"], "ram": "16GiB", "ram_bandwidth": "51"}


def test_the_nearest_context_comes_first() -> None:
    assert other_contexts(None)[:3] == [32768, 16384, 65536]
    assert other_contexts(8192)[:3] == [4096, 16384, 32768]
    assert 8192 not in other_contexts(8192) and len(other_contexts(8192)) == 7
    assert other_contexts(48000)[0] == 65536


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The contexts that were worked at."""
    contexts: list[object] = []
    answer = session.recommendations_for

    def noted(machine: Machine, use_case: str, **options: object) -> object:
        contexts.append(options["context_tokens"])
        return answer(machine, use_case, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "recommendations_for", noted)
    return contexts


def answered(advice: LiveAdvice) -> set[int | None]:
    return {context_tokens for _, _, context_tokens, _ in advice._answers}


def test_what_was_foreseen_is_there_and_is_what_would_have_been_answered(asked: list[object]) -> None:
    advice, other = LiveAdvice(SMALL), LiveAdvice(SMALL)
    machine = advice.machine()
    first = advice.picks(machine, "general", 16384)
    advice.foresee(
        machine, Question("general", 16384), lambda: len(asked) < 2 or 8192 not in answered(advice)
    )
    assert asked == [16384, 8192]
    known = advice.picks(machine, "general", 8192)
    assert asked == [16384, 8192]
    assert known == other.picks(machine, "general", 8192)
    assert first == other.picks(machine, "general", 16384)


def test_what_is_given_up_leaves_no_answer_behind(asked: list[object]) -> None:
    advice = LiveAdvice(SMALL)
    machine = advice.machine()
    advice.foresee(machine, Question("general", 8192), lambda: not asked)
    assert asked == [4096] and not answered(advice)
    assert advice.picks(machine, "general", 4096)
    assert asked == [4096, 4096]


async def test_it_begins_when_nothing_else_is_asked(
    advice: FakeAdvice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FORESEEN_AFTER_S", 0.0)
    monkeypatch.setattr(asking, "PROGRESS_EVERY_S", 0.01)
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await until(pilot, lambda: advice.foreseen_to_the_end == 1)
        assert advice.foreseen == [Question()]
        release = advice.hold("foresee")
        screen.change(context_tokens=8192)
        await settled(pilot)
        await until(pilot, lambda: len(advice.foreseen) == 2)
        screen.change(context_tokens=16384)
        await settled(pilot)
        release.set()
        await until(pilot, lambda: advice.foreseen_to_the_end == 2)
        assert [question.context_tokens for question in advice.foreseen] == [None, 8192, 16384]


async def test_a_failure_of_it_is_not_shown(advice: FakeAdvice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        advice.foreseen.append(Question())
        raise RuntimeError("in advance")

    monkeypatch.setattr(asking, "FORESEEN_AFTER_S", 0.0)
    monkeypatch.setattr(advice, "foresee", fail)
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await until(pilot, lambda: bool(advice.foreseen))
        await pilot.pause()
        assert screen._answer.picks and not screen._answer.problem
