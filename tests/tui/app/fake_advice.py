"""Advice from fixtures: real headers, a simulated machine, no probes; answers can be held back or fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from textual.pilot import Pilot

from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement, OnRound, Stop
from llmfit.advisor.hardware.machine import Machine, VramProcess
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.comparison import Comparison
from llmfit.advisor.recommend.article.values import Article
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import Quality
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
from llmfit.advisor.units import GB
from llmfit.catalog.build import model_from_header
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.local.local_model import LocalModels
from llmfit.catalog.sources import read_model_files
from llmfit.tui.app import LlmfitApp
from llmfit.tui.goal_choice import GoalChoice
from llmfit.tui.messages import NotModelled, Pick
from llmfit.tui.pick_answers import NewHardware, UpgradeHere
from llmfit.tui.question import Question
from llmfit.tui.screens.advisor import AdvisorScreen
from tests.advisor.model.gguf_builder import sparse_file
from tests.tui.app.fake_article import article_about, choice_for
from tests.tui.app.fake_hardware import comparison_of, new_hardware_for, upgrade_for

MODELS = {
    "qwen3-32b.Q4_K_M": "best quality",
    "qwen3-30b-a3b.Q4_K_M": "fastest",
    "gemma3-27b.Q4_K_M": "longest context",
    "llama4-scout.Q4_K_M": "alternative",
}
TOO_LARGE = "mimo-v2-flash.Q4_K_M"
PATIENCE = 1500


@cache
def model_of(name: str) -> Model:
    with TemporaryDirectory() as folder:
        files = read_model_files(sparse_file(name, Path(folder)))
    short = name.removesuffix(".Q4_K_M")
    return model_from_header(files.header, f"someone/{short}", ("-m", f"{short}-Q4_K_M.gguf"))


@cache
def two_cards() -> Machine:
    return simulate_machine(["2x RTX 3090"], "64GiB", "51", None, lookup_gpu)


def busy(machine: Machine) -> Machine:
    """GPU0 with a desktop on it."""
    held = VramProcess(1, "Xorg", 600 * 2**20), VramProcess(2, "firefox", 1500 * 2**20)
    first = replace(machine.gpus[0], vram_free_bytes=22 * 2**30, processes=held)
    return replace(machine, gpus=(first, *machine.gpus[1:]))


@cache
def judged(name: str, machine: Machine, context_tokens: int | None = None) -> Judgement:
    return judge(model_of(name), machine, Request(context_tokens=context_tokens), remedies=False)


QUALITY = Quality(
    71.0, 66.0, 77.0, "B", True, "grade B, 6 to 14 independent scores", ("LiveBench (7 scores)",)
)


class FakeAdvice:
    """Counts what it is asked. ``gates`` hold an answer back until they are set: see ``hold``."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.known_machine = machine or two_cards()
        self.asked: list[tuple[str, str, int | None]] = []
        self.known_notes: tuple[str, ...] = ()
        self.known_speeds: MachineSpeeds | None = None
        self.gates: dict[object, threading.Event] = {}
        self.failure: Exception | None = None
        self.machine_failure: Exception | None = None
        self.change: Callable[[Judgement], Judgement] = lambda judgement: judgement
        self.found = LocalModels()
        self.progress: tuple[int, int] | None = None
        self.local_failure: Exception | None = None
        self.broken: tuple[NotModelled, ...] = ()
        self.rounds: tuple[int, ...] = (50 * GB, 52 * GB)
        self.measured = BandwidthMeasurement(52 * GB, 0.04, 8, 2**30, 3.0)
        self.stopped: list[bool] = []
        self.article_failure: Exception | None = None
        self.asked_targets: list[float | None] = []
        self.plan_failure: Exception | None = None
        self.compared: list[tuple[str, ...]] = []
        self.compare_failure: Exception | None = None
        self.goal_failures: dict[str, Exception] = {}
        self.asked_disks = 0
        self.foreseen: list[Question] = []
        self.foreseen_to_the_end = 0
        self.asked_machine = 0

    def machine(self) -> Machine:
        self.asked_machine += 1
        self._wait("machine")
        if self.machine_failure is not None:
            raise self.machine_failure
        return self.known_machine

    def speeds(self) -> MachineSpeeds | None:
        return self.known_speeds

    def notes(self) -> tuple[str, ...]:
        return self.known_notes

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]:
        self.asked.append(("picks", use_case, context_tokens))
        self._wait(context_tokens)
        if self.failure is not None:
            raise self.failure
        found = ((purpose, judged(name, machine, context_tokens)) for name, purpose in MODELS.items())
        return tuple(Pick(purpose, (), self.change(judgement), QUALITY) for purpose, judgement in found)

    def foresee(self, machine: Machine, question: Question, still_wanted: Callable[[], bool]) -> None:
        self.foreseen.append(question)
        self._wait("foresee")
        self.foreseen_to_the_end += still_wanted()

    def search(self, machine: Machine, text: str, context_tokens: int | None) -> Iterator[Pick | NotModelled]:
        self.asked.append(("search", text, context_tokens))
        self._wait(text)
        for name in (*MODELS, TOO_LARGE):
            if text in name:
                self._wait((text, name))
                yield Pick("", (), self.change(judged(name, machine, context_tokens)))
        if text == "strange":
            yield NotModelled("someone/strange-9b", "its memory rules are not known")

    def with_help(self, pick: Pick, context_tokens: int | None) -> Pick:
        return replace(pick, looked_for_help=True)

    def article(self, pick: Pick) -> Article:
        self.asked.append(("article", pick.key, None))
        self._wait("article")
        if self.article_failure is not None:
            raise self.article_failure
        return article_about(pick)

    def best_for_goal(self, pick: Pick, goal: str, context_tokens: int | None) -> GoalChoice:
        self.asked.append(("goal", goal, context_tokens))
        self._wait(goal)
        if goal in self.goal_failures:
            raise self.goal_failures[goal]
        return choice_for(pick, goal)

    def new_hardware(self, pick: Pick, target_tok_s: float | None) -> NewHardware:
        self.asked_targets.append(target_tok_s)
        self._wait(("plan", target_tok_s))
        if self.plan_failure is not None:
            raise self.plan_failure
        return new_hardware_for(pick, target_tok_s)

    def upgrade_here(self, pick: Pick, target_tok_s: float | None) -> UpgradeHere:
        self._wait("upgrade")
        return upgrade_for(pick, target_tok_s)

    def side_by_side(self, picks: tuple[Pick, ...], machine: Machine) -> Comparison:
        self.compared.append(tuple(pick.key for pick in picks))
        self._wait("compare")
        if self.compare_failure is not None:
            raise self.compare_failure
        return comparison_of(picks)

    def local_models(self) -> LocalModels:
        self.asked_disks += 1
        self._wait("disks")
        if self.local_failure is not None:
            raise self.local_failure
        return self.found

    def disk_progress(self) -> tuple[int, int] | None:
        return self.progress

    def local_picks(self, machine: Machine, context_tokens: int | None) -> Iterator[Pick | NotModelled]:
        self.asked.append(("disk", "", context_tokens))
        self._wait("disk")
        yield from self.broken
        for local in self.found.models:
            name = f"{local.name}.Q4_K_M"
            self._wait(("disk", name))
            judgement = self.change(judged(name, machine, context_tokens))
            yield Pick("", (), judgement, file=str(local.path), local=local)

    def measure_bandwidth(
        self, machine: Machine, on_round: OnRound, stop: Stop
    ) -> BandwidthMeasurement | None:
        for number, rate in enumerate(self.rounds, 1):
            on_round(number, len(self.rounds), rate)
        self._wait("measure")
        if self.failure is not None:
            raise self.failure
        self.stopped.append(stop())
        return None if stop() else self.measured

    def hold(self, question: object) -> threading.Event:
        """The answer to a context, a search text, (text, model), "machine", "disks" … waits for the event."""
        self.gates[question] = threading.Event()
        return self.gates[question]

    def _wait(self, question: object) -> None:
        if question in self.gates:
            assert self.gates[question].wait(30)

    @cached_property
    def app(self) -> LlmfitApp:
        return LlmfitApp(self)


async def until(pilot: Pilot[object], condition: Callable[[], object]) -> None:
    """Lets the app run until the condition holds."""
    for _ in range(PATIENCE):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came to be")


def screen_of(pilot: Pilot[object]) -> AdvisorScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, AdvisorScreen))


async def settled(pilot: Pilot[object]) -> AdvisorScreen:
    """The first screen, when every answer has come, also on the screens above it."""
    await until(pilot, lambda: all(getattr(one, "is_settled", True) for one in pilot.app.screen_stack))
    await pilot.pause()
    return screen_of(pilot)
