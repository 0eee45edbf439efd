"""The app's questions against the real catalogue, on a machine that is only described."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.bandwidth import remembered as remembered_bandwidth
from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.local import find as find_module
from llmfit.catalog.local.local_model import LocalModel, LocalModels
from llmfit.tui.candidates import UNKNOWN_QUALITY, candidates_for
from llmfit.tui.cli.choices import choice_lines
from llmfit.tui.cli.main import main
from llmfit.tui.cli.render_article import article_lines
from llmfit.tui.config import CONFIG_VARIABLE, user_config
from llmfit.tui.goal_choice import choose_for_goal
from llmfit.tui.live_advice import MAX_ANSWERS, LiveAdvice, _read_model
from llmfit.tui.messages import NotModelled, Pick
from llmfit.tui.model_article import article_for
from llmfit.tui.model_facts import known_quality
from llmfit.tui.on_disk import marked
from llmfit.tui.pick_answers import request_of
from llmfit.tui.screens.plan import lines_of
from llmfit.tui.session import MachineCache
from tests.advisor.model.gguf_builder import sparse_file

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


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only place where models are: no store of this computer is looked through."""
    folder = tmp_path / "my models"
    folder.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(f'model_folders = ["{folder}"]\n')
    for name in ("HOME", "XDG_CACHE_HOME", "HF_HOME", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    user_config.cache_clear()
    yield folder
    user_config.cache_clear()


def test_models_on_this_disk_are_judged_from_their_own_files(model_folder: Path) -> None:
    known, other = sparse_file("qwen3-32b.Q4_K_M", model_folder), model_folder / "half.gguf"
    with known.open("rb") as file:
        other.write_bytes(file.read(5000))
    advice = LiveAdvice(TWO_CARDS)
    machine = advice.machine()
    found = [
        one
        for one in advice.local_picks(machine, 8192)
        if model_folder in Path(one.file if isinstance(one, Pick) else one.model_id).parents
    ]
    broken, pick = found
    assert isinstance(broken, NotModelled) and broken.model_id == str(other)
    assert isinstance(pick, Pick) and pick.file == str(known)
    judgement = pick.judgement
    assert judgement.argv is not None and judgement.argv[1:3] == ("-m", str(known))
    assert f"-m '{known}'" in shell_command(judgement.argv)
    assert judgement.settings.context_tokens == 8192
    assert judgement.model.file_bytes == known.stat().st_size
    assert judgement.model.id == "Qwen/Qwen3-32B", "known by its content, whatever the file is called"
    again = [one for one in advice.local_picks(machine, 8192) if isinstance(one, Pick)]
    assert again[-1].judgement.model is judgement.model, "its header is read once"
    status = known.stat()
    os.utime(known, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    again = [one for one in advice.local_picks(machine, 8192) if isinstance(one, Pick)]
    assert again[-1].judgement.model is not judgement.model, "it may be another file under the same name"


def test_a_look_at_the_disk_says_how_far_it_is(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse_file("qwen3-32b.Q4_K_M", model_folder)
    advice = LiveAdvice(TWO_CARDS)
    seen: list[tuple[int, int] | None] = []
    monkeypatch.setattr(find_module, "clean_text", lambda text: seen.append(advice.disk_progress()) or text)
    advice.local_models()
    assert seen and all(step is not None and step[0] <= step[1] for step in seen)
    assert advice.disk_progress() is None


class Contended(LocalModel):
    """Whenever it is looked up, another thread happens to begin a look at the disk."""

    __slots__ = ()
    meanwhile: ClassVar[list[Callable[[], object]]] = []

    def __hash__(self) -> int:
        for job in self.meanwhile:
            job()
        return LocalModel.__hash__(self)


def test_two_looks_at_the_disk_do_not_disturb_each_other(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse_file("qwen3-32b.Q4_K_M", model_folder)
    advice = LiveAdvice(TWO_CARDS)
    machine = advice.machine()
    (local,) = advice.local_models().models
    contended = Contended(**{field.name: getattr(local, field.name) for field in fields(local)})
    monkeypatch.setattr(advice, "local_models", lambda: LocalModels((contended,)))

    def begin_another() -> None:
        advice._models = {}

    monkeypatch.setattr(Contended, "meanwhile", [begin_another])
    (pick,) = advice.local_picks(machine, 8192)
    assert isinstance(pick, Pick) and pick.file == str(local.path)


def test_a_recommendation_that_is_on_this_disk_is_started_from_there(model_folder: Path) -> None:
    path = sparse_file("qwen3-32b.Q4_K_M", model_folder)
    advice = LiveAdvice(TWO_CARDS)
    found = advice.local_models()
    searched = advice.search(advice.machine(), "Qwen3-32B", None)
    pick = next(one for one in searched if isinstance(one, Pick) and one.key == "Qwen/Qwen3-32B")
    assert pick.judgement.argv is not None and pick.judgement.argv[1] == "-hf"
    local = next(one for one in found.models if one.path == path)
    assert local.model_id == "Qwen/Qwen3-32B"
    here = marked(pick, found)
    if pick.judgement.model.quantization == local.quantization:
        assert here.judgement.argv is not None and here.judgement.argv[1:3] == ("-m", str(path))
    else:
        assert here.local_others == (local,) and here.judgement is pick.judgement


def test_answers_are_remembered_for_the_last_machines_only() -> None:
    advice = LiveAdvice({"gpu": ["RTX 3060"], "ram": "16GiB"})
    machine = advice.machine()
    advice._answers.update({(machine, "chat", tokens, 0): () for tokens in range(MAX_ANSWERS)})
    assert advice.picks(machine, "chat", 0) == ()
    advice.picks(machine, "chat", 8192)
    assert len(advice._answers) == MAX_ANSWERS and (machine, "chat", 0, 0) not in advice._answers


def test_the_ram_is_measured_by_the_one_function_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def measure(machine: object, on_round: object, stop: object) -> None:
        asked.extend((machine, on_round, stop))

    monkeypatch.setattr(remembered_bandwidth, "measure_and_remember", measure)
    advice = LiveAdvice(TWO_CARDS)
    machine, stop = advice.machine(), (lambda: True)
    assert advice.measure_bandwidth(machine, print, stop) is None  # type: ignore[arg-type]
    assert asked == [machine, print, stop]


# ---------------------------------------------------------------- a pick from near: what the commands print


def small_pick(advice: LiveAdvice) -> Pick:
    found = advice.search(advice.machine(), "qwen3-8b", None)
    return next(one for one in found if isinstance(one, Pick) and one.key == "Qwen/Qwen3-8B")


def options_of(pick: Pick) -> dict[str, object]:
    settings = pick.judgement.settings
    return {
        **TWO_CARDS,
        "model": pick.judgement.model.id,
        "quant": pick.judgement.model.quantization,
        "context": settings.context_tokens,
    }


def test_the_article_is_that_of_show_and_is_written_once() -> None:
    advice = LiveAdvice(TWO_CARDS)
    pick = small_pick(advice)
    article = advice.article(pick)
    assert article.asked.settings == pick.judgement.settings
    shown = article_for(options_of(pick), MachineCache())
    assert list(article_lines(article)) == list(article_lines(shown))
    assert advice.article(pick) is article


def test_what_the_advisor_chose_is_asked_for_again() -> None:
    """Also where it was a larger micro-batch or a smaller cache type."""
    advice = LiveAdvice({"gpu": ["RTX 3060 12GB"], "ram": "32GiB", "ram_bandwidth": "51"})
    machine = advice.machine()
    picks = advice.picks(machine, "general", None)
    assert {pick.judgement.settings.ubatch for pick in picks} > {512}
    for pick in picks:
        again = judge(pick.judgement.model, machine, request_of(pick.judgement), remedies=False)
        assert again.settings == pick.judgement.settings, pick.key


def test_the_goals_are_those_of_estimate() -> None:
    advice = LiveAdvice(TWO_CARDS)
    pick = small_pick(advice)
    found = advice.best_for_goal(pick, "quality", 16384)
    asked = {**TWO_CARDS, "model": pick.judgement.model.id, "goal": "quality", "context": 16384}
    assert list(choice_lines(found)) == list(choice_lines(choose_for_goal(asked, MachineCache())))
    assert found.judgement.settings.context_tokens == 16384


def test_hardware_is_that_of_plan(capsys: pytest.CaptureFixture[str]) -> None:
    advice = LiveAdvice(TWO_CARDS)
    pick = small_pick(advice)
    named = options_of(pick)
    command = [
        "plan",
        str(named["model"]),
        "--quant",
        str(named["quant"]),
        "--context",
        str(named["context"]),
    ]
    assert main([*command, "--tps", "20"]) == 0
    assert capsys.readouterr().out.splitlines() == lines_of(advice.new_hardware(pick, 20.0))
    machine = ("--gpu", "2x RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "51")
    assert main([*command, "--upgrade", *machine]) == 0
    assert capsys.readouterr().out.splitlines() == lines_of(advice.upgrade_here(pick, None))


def test_marked_picks_are_compared_as_by_compare_on_the_machine_of_now() -> None:
    advice = LiveAdvice(TWO_CARDS)
    machine = advice.machine()
    pick = small_pick(advice)
    other = replace(pick, judgement=advice.best_for_goal(pick, "context", None).judgement)
    smaller = LiveAdvice({"gpu": ["RTX 3060 12GB"], "ram": "32GiB", "ram_bandwidth": "51"}).machine()
    found = advice.side_by_side((pick, other), smaller)
    assert [one.judgement.machine for one in found.contenders] == [smaller, smaller]
    assert found.contenders[0].judgement.settings.context_tokens == pick.judgement.settings.context_tokens
    assert found.contenders[1].judgement.settings.context_tokens == other.judgement.settings.context_tokens
    here = advice.side_by_side((pick, pick), machine)
    assert here.contenders[0].judgement.settings == pick.judgement.settings


def test_a_file_on_this_disk_has_an_article_and_a_plan_of_its_own(tmp_path: Path) -> None:
    path = sparse_file("qwen3-32b.Q4_K_M", tmp_path)
    advice = LiveAdvice(TWO_CARDS)
    local = LocalModel((path,), "folder", path.stem, path.stat().st_size, quantization="Q4_K_M")
    judgement = judge(_read_model(local), advice.machine(), Request(context_tokens=8192), remedies=False)
    pick = Pick("", (), judgement, file=str(path), local=local)
    article = advice.article(pick)
    assert len(article.quants) == 1
    assert str(path) in (article.asked.shell_line or "")
    found = advice.best_for_goal(pick, "balance", None)
    assert found.judgement.model.quantization == "Q4_K_M"
