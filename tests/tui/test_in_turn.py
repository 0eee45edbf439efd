"""Long answers of the app: one at a time, and none that nobody wants any more."""

from __future__ import annotations

import threading

import pytest

from llmfit.tui.in_turn import in_turn


def test_no_two_answers_are_worked_on_at_the_same_time() -> None:
    working, most = 0, 0
    together = threading.Barrier(4)

    def answer() -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        threading.Event().wait(0.01)
        working -= 1
        return most

    def run() -> None:
        together.wait(10)
        in_turn(lambda: True, answer)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 1 and working == 0


def test_what_nobody_wants_when_its_turn_comes_is_not_begun() -> None:
    begun = []
    assert in_turn(lambda: False, lambda: begun.append(1)) is None
    assert begun == []


def test_an_answer_that_fails_gives_its_turn_on() -> None:
    with pytest.raises(ZeroDivisionError):
        in_turn(lambda: True, lambda: 1 / 0)
    assert in_turn(lambda: True, lambda: "next") == "next"
