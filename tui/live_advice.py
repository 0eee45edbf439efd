"""LiveAdvice: the app's questions, answered from this machine (or the simulated one) and the catalogue.

Everything heavy is imported by the first question, which is asked in the background after the first paint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import log2
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.tui import pick_answers
from llmfit.tui.messages import NotModelled, Pick

if TYPE_CHECKING:
    from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement, OnRound, Stop
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.model.model import Model
    from llmfit.advisor.recommend.article.comparison import Comparison
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.catalog.local.header_cache import FileStamp
    from llmfit.catalog.local.local_model import LocalModel, LocalModels
    from llmfit.catalog.models import CatalogModel
    from llmfit.tui.goal_choice import GoalChoice
    from llmfit.tui.question import Question

PICKS = 6
MAX_ANSWERS = 32
"""Remembered; the oldest goes first. A machine that is probed again is a new question each time."""
_Question = tuple["Machine", str, int | None, int]
"""Machine, use case, context, and which state of the measurements."""
_File = tuple["LocalModel", tuple["FileStamp | None", ...]]
"""A model of a scan, and its files as they are now: one that was written anew is read anew."""


class LiveAdvice:
    """Safe to call from several threads; remembers its answers, each for exactly one machine."""

    def __init__(self, machine_values: Mapping[str, object]) -> None:
        self._machine_values = machine_values
        self._answers: dict[_Question, tuple[Pick, ...]] = {}
        self._models: dict[_File, Model] = {}
        self._looking = threading.Lock()
        self._progress: tuple[int, int] | None = None
        self._speeds: MachineSpeeds | None = None
        self._speeds_note: str | None = None
        self._speeds_state = 0
        self._articles = pick_answers.Articles()

    def machine(self) -> Machine:
        """Probed anew at each call. Raises UsageError for a description that cannot be understood."""
        from llmfit.tui.session import machine_from, with_speeds

        known = with_speeds(machine_from(self._machine_values, find_server=True))
        self._speeds_note = known.note
        if known.speeds != self._speeds:
            self._speeds, self._speeds_state = known.speeds, self._speeds_state + 1
        return known.machine

    def speeds(self) -> MachineSpeeds | None:
        """What was measured on the machine, as of the last call of ``machine``."""
        return self._speeds

    def notes(self) -> tuple[str, ...]:
        """What could not be read of the user's own catalogue rows and measurements."""
        from llmfit.tui.own_rows import own_row_notes

        return (*own_row_notes(), *([self._speeds_note] if self._speeds_note else []))

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]:
        """The few models worth running."""
        return self._picks(machine, use_case, context_tokens)

    def foresee(self, machine: Machine, question: Question, still_wanted: Callable[[], bool]) -> None:
        """Answers ``question`` for the other contexts, the nearest first, so that the answers are there when
        somebody asks; ends before the next model where ``still_wanted()`` has become false."""
        from llmfit.tui.session import NotWantedError

        for context_tokens in other_contexts(question.context_tokens):
            if not still_wanted():
                return
            try:
                self._picks(machine, question.use_case, context_tokens, still_wanted)
            except NotWantedError:
                return
            except LlmfitError:
                continue  # it is said when somebody asks

    def _picks(
        self,
        machine: Machine,
        use_case: str,
        context_tokens: int | None,
        still_wanted: Callable[[], bool] | None = None,
    ) -> tuple[Pick, ...]:
        from llmfit.tui.session import recommendations_for

        question, speeds = (machine, use_case, context_tokens, self._speeds_state), self._speeds
        known = self._answers.get(question)
        if known is None:
            found = recommendations_for(
                machine,
                use_case,
                context_tokens=context_tokens,
                limit=PICKS,
                speeds=speeds,
                still_wanted=still_wanted,
            )
            known = tuple(Pick(pick.purpose, pick.why, pick.judgement, pick.quality) for pick in found)
            self._answers[question] = known
            for old in list(self._answers)[:-MAX_ANSWERS]:
                self._answers.pop(old, None)
        return known

    def search(self, machine: Machine, text: str, context_tokens: int | None) -> Iterator[Pick | NotModelled]:
        """Every model of the catalogue that ``text`` describes, judged one by one, the smallest first."""
        from llmfit.catalog.models import search_models

        for entry in sorted(search_models(text), key=lambda entry: entry.parameters.text):
            try:
                yield _judged(entry, machine, context_tokens, self._speeds)
            except LlmfitError as error:
                yield NotModelled(entry.id, error.why)

    def with_help(self, pick: Pick, context_tokens: int | None) -> Pick:
        """The pick with what would help it; other file types of a catalogue model are tried, too."""
        from llmfit.advisor.memory.weights import weight_table
        from llmfit.advisor.recommend.remedies import find_remedies
        from llmfit.advisor.recommend.request import Request
        from llmfit.catalog.build import build_model
        from llmfit.catalog.models import find_model

        judgement = pick.judgement
        model = judgement.model
        variants = partial(build_model, find_model(model.id)) if model.source == "catalog" else None
        projector_bytes = judgement.settings.projector_bytes or None
        request = Request(context_tokens=context_tokens, projector_bytes=projector_bytes)
        weights = weight_table(model.shape, model.tensors)
        remedies = find_remedies(judgement, weights, request, variants, self._speeds)
        return replace(pick, judgement=replace(judgement, remedies=remedies), looked_for_help=True)

    def article(self, pick: Pick) -> Article:
        """The same as ``llmfit show`` with the pick's settings. Raises as ``judge``."""
        return self._articles.about(pick, self._speeds)

    def best_for_goal(self, pick: Pick, goal: str, context_tokens: int | None) -> GoalChoice:
        return pick_answers.best_for_goal(pick, goal, context_tokens, self._speeds)

    def new_hardware(self, pick: Pick, target_tok_s: float | None) -> pick_answers.NewHardware:
        return pick_answers.new_hardware(pick, target_tok_s)

    def upgrade_here(self, pick: Pick, target_tok_s: float | None) -> pick_answers.UpgradeHere:
        return pick_answers.upgrade_here(pick, target_tok_s)

    def side_by_side(self, picks: tuple[Pick, ...], machine: Machine) -> Comparison:
        return pick_answers.side_by_side(picks, machine, self._speeds)

    def local_models(self) -> LocalModels:
        """What lies in the stores of the known tools and in the user's folders; headers are remembered."""
        from llmfit.catalog.local.find import find_local_models
        from llmfit.tui.config import user_config

        def note_progress(n_read: int, n_files: int) -> None:
            self._progress = n_read, n_files

        with self._looking:  # who comes second finds the headers remembered
            try:
                return find_local_models(user_config().model_folders, on_progress=note_progress)
            finally:
                self._progress = None

    def disk_progress(self) -> tuple[int, int] | None:
        return self._progress

    def local_picks(self, machine: Machine, context_tokens: int | None) -> Iterator[Pick | NotModelled]:
        """Every chat model on this disk, judged from its own header, the smallest file first.

        What is broken, cannot chat or is not modelled comes with its reason.
        """
        from llmfit.catalog.local.local_model import MODEL
        from llmfit.catalog.local.walk import stamp

        found = self.local_models()
        files = {local: (local, tuple(map(stamp, local.paths))) for local in found.models}
        # Several threads may be here: each fills a mapping of its own, that of the last one is remembered.
        before = self._models
        self._models = models = {file: before[file] for file in files.values() if file in before}
        for local in sorted(found.models, key=lambda local: (local.problem is None, local.file_bytes)):
            if local.problem is not None:
                yield NotModelled(str(local.path), local.problem)
            elif local.kind == MODEL:
                try:
                    file = files[local]
                    if file not in models:
                        models[file] = _read_model(local)
                    yield _judged_file(models[file], local, machine, context_tokens, self._speeds)
                except LlmfitError as error:
                    yield NotModelled(str(local.path), error.why)

    def measure_bandwidth(
        self, machine: Machine, on_round: OnRound, stop: Stop
    ) -> BandwidthMeasurement | None:
        """Measures this computer's RAM with all cores, about 3 s. Raises LlmfitError where it cannot."""
        from llmfit.advisor.hardware.bandwidth.remembered import measure_and_remember

        return measure_and_remember(machine, on_round, stop)


def other_contexts(context_tokens: int | None) -> list[int | None]:
    """What else the dialog offers, the nearest first; ``None`` lets the advisor choose."""
    from llmfit.advisor.recommend.ladders import CONTEXT_LADDER, DEFAULT_CONTEXT_TOKENS

    def order(other: int | None) -> tuple[float, bool, int]:
        steps = abs(log2((other or DEFAULT_CONTEXT_TOKENS) / (context_tokens or DEFAULT_CONTEXT_TOKENS)))
        return steps, other is None, other or 0

    return sorted({None, *CONTEXT_LADDER} - {context_tokens}, key=order)


def _judged(
    entry: CatalogModel, machine: Machine, context_tokens: int | None, speeds: MachineSpeeds | None
) -> Pick:
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.recommend.search import judge
    from llmfit.catalog.build import build_model, only_quantization
    from llmfit.tui.model_facts import known_quality
    from llmfit.tui.session import ModelChoice

    request = Request(context_tokens=context_tokens)
    choice = ModelChoice(partial(build_model, entry), None, only_quantization(entry), entry.parameters.text)
    model = choice.best_for(machine, request)
    judgement = judge(model, machine, request, remedies=False, speeds=speeds)
    return Pick("", (), judgement, known_quality(entry.id, "general"))


_NO_CHAT = "it makes embeddings or ranks texts, it does not chat"


def _read_model(local: LocalModel) -> Model:
    """Raises GgufError for a file that has changed or gone, NotModelledError for what cannot chat."""
    from llmfit.advisor.errors import NotModelledError
    from llmfit.advisor.model.model import NO_POOLING, pooling_of
    from llmfit.catalog.build import model_from_header
    from llmfit.catalog.models import find_model
    from llmfit.catalog.sources import read_model_files

    if local.model_id is not None and find_model(local.model_id).kind == "embedding":
        raise NotModelledError(local.name, _NO_CHAT, "")
    files = read_model_files(local.path)
    if pooling_of(files.header.metadata) != NO_POOLING:
        raise NotModelledError(local.name, _NO_CHAT, "")
    return model_from_header(files.header, local.model_id or local.name, ("-m", str(local.path)))


def _judged_file(
    model: Model,
    local: LocalModel,
    machine: Machine,
    context_tokens: int | None,
    speeds: MachineSpeeds | None,
) -> Pick:
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.recommend.search import judge
    from llmfit.tui.model_facts import known_quality

    judgement = judge(model, machine, Request(context_tokens=context_tokens), remedies=False, speeds=speeds)
    quality = None if local.model_id is None else known_quality(local.model_id, "general")
    return Pick("", (), judgement, quality, file=str(local.path), local=local)
