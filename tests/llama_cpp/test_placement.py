"""Every layout that is proposed, asked of llama.cpp itself: does each card hold what it would allocate?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from memoracle import Memoracle, MemoracleError
from placement_models import cards_named, known_model, machine_with, model_names

from llmfit.advisor.memory.fitting import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    Layout,
    find_layout,
)
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.recommend.command import server_argv
from llmfit.advisor.units import GIB
from tests.advisor.model.gguf_builder import sparse_file

pytestmark = pytest.mark.llama_cpp

CARD_SETS = (
    "8192:7800", "12288:11800", "16384:15900", "24564:23900", "24564:9000", "32768:32000", "49152:48400",
    "81920:80800", "24564:23900,24564:24200", "24564:23900,12288:12000", "8192:7800,8192:7900",
    "24564:21000,24564:24200", "16384:15900,16384:15900,16384:15900", "12288:6000,24564:24000,8192:7900",
)  # fmt: skip
SETTINGS = (
    LaunchSettings(4096),
    LaunchSettings(32768),
    LaunchSettings(32768, cache_type_k="q8_0", cache_type_v="q8_0"),
    LaunchSettings(131072),
    LaunchSettings(32768, parallel=4, kv_unified=True),
    LaunchSettings(32768, ubatch=2048),
)
RAM_BYTES = 768 * GIB
"""So much that nearly every pair gets a layout to ask about; the smaller RAM is tested without llama.cpp."""
NO_QUANTISED_CACHE = frozenset({"kimi-linear-48b-a3b.Q4_K_M"})


PAIRS = [(cards, settings) for cards in CARD_SETS for settings in SETTINGS]
STRIDE = 13
"""Every model meets each 13th pair, another one from model to model: about 270 in all."""


@dataclass(frozen=True, slots=True)
class Case:
    model: str
    cards: str
    settings: LaunchSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """``use``: of the fullest card, its allocation and the stated driver overhead over what is free."""

    verdict: str
    n_cards: int
    use: float
    failures: tuple[str, ...]


def cases(card_set: str) -> list[Case]:
    return [
        Case(model, cards, settings)
        for number, model in enumerate(model_names())
        for cards, settings in PAIRS[number % STRIDE :: STRIDE]
        if cards == card_set and (settings.cache_type_k == "f16" or model not in NO_QUANTISED_CACHE)
    ]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("sparse")
    made: dict[str, Path] = {}

    def path(model: str) -> Path:
        if model not in made:
            made[model] = sparse_file(model, folder)
        return made[model]

    return path


def ask(case: Case, layout: Layout, oracle: Memoracle, path: Path) -> Outcome:
    """What llama.cpp would allocate with the proposed command line, card by card."""
    machine = machine_with(*oracle.cards, ram_bytes=RAM_BYTES)
    argv = server_argv(layout.settings, ("-m", str(path)), machine)
    n_cards = len(layout.settings.devices)
    try:
        answer = oracle.ask(argv[1:])
    except MemoracleError as error:
        return Outcome(layout.verdict, n_cards, 0.0, (f"{case.model}: {error}: {' '.join(argv[1:])}",))
    failures, use = [], 0.0
    for device in layout.memory.gpus:
        assert device.gpu_index is not None
        free = oracle.cards[device.gpu_index].free_bytes
        needed = answer.gpus[device.gpu_index].total_bytes + device.overhead_bytes
        use = max(use, needed / free)
        if needed > free:
            failures.append(
                f"{case.model} {case.settings}: {needed} of {free} bytes on GPU{device.gpu_index}"
            )
    unused = [index for index in range(len(oracle.cards)) if index not in layout.settings.devices]
    failures += [f"{case.model}: GPU{index} is used" for index in unused if answer.gpus[index].total_bytes]
    return Outcome(layout.verdict, n_cards, use, tuple(failures))


@pytest.mark.parametrize("card_set", CARD_SETS)
def test_no_proposed_layout_exceeds_a_card(
    card_set: str,
    memoracle: Callable[..., Memoracle],
    gguf: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    oracle = memoracle(*cards_named(card_set))
    machine = machine_with(*oracle.cards, ram_bytes=RAM_BYTES)
    outcomes, misfits = [], 0
    for case in cases(card_set):
        model = known_model(case.model)
        layout = find_layout(model.shape, model.weights, machine, case.settings)
        if layout.verdict == DOES_NOT_FIT:
            misfits += 1
        else:
            outcomes.append(ask(case, layout, oracle, gguf(case.model)))
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    several = sum(outcome.n_cards > 1 for outcome in outcomes)
    with capsys.disabled():
        print(
            f"\n{card_set:36} {len(outcomes):3} layouts: {verdicts[FITS_GPU]} on GPU, "
            f"{verdicts[FITS_OFFLOAD]} with RAM, {verdicts[FITS_CPU]} in RAM, {misfits} none; "
            f"{several} use several cards, "
            f"fullest card {max((o.use for o in outcomes), default=0):.1%}, {len(failures)} failures",
            end="",
        )
    assert not failures
    assert len(outcomes) >= 5
