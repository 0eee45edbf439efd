"""Models that are on this disk: marks in every list, their commands, and the list of nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.recommend.command import shell_command
from llmfit.catalog.local.local_model import (
    FOLDER,
    HUGGING_FACE,
    LLAMA_CPP,
    LM_STUDIO,
    OLLAMA,
    PROJECTOR,
    LocalModel,
    LocalModels,
)
from llmfit.tui.messages import NotModelled, Pick
from llmfit.tui.on_disk import SAME_FILE_SHARE, here_first, mark_of, marked
from llmfit.tui.screens.model import ModelScreen
from llmfit.tui.widgets.picks_table import PicksTable
from tests.tui.app.fake_advice import FakeAdvice, judged, model_of, settled, two_cards, until
from tests.tui.app.test_keys import SMALL, WIDE, footer_of, headings_of, rows_of, text_of

QWEN, GEMMA = "qwen3-32b", "gemma3-27b"
SPACED = Path("/models/my files/qwen3 32b.gguf")


def on_disk(short: str, quantization: str = "Q4_K_M", path: Path = SPACED, share: float = 1.0) -> LocalModel:
    model = model_of(f"{short}.Q4_K_M")
    return LocalModel(
        (path,), FOLDER, short, round(model.file_bytes * share), quantization=quantization, model_id=model.id
    )


def pick_of(short: str = QWEN) -> Pick:
    return Pick("best quality", (), judged(f"{short}.Q4_K_M", two_cards()))


def marks(advice_rows: list[list[str]]) -> list[str]:
    return [row[1] for row in advice_rows]


# ---------------------------------------------------------------- marking


def test_the_same_file_is_here_and_its_command_starts_it() -> None:
    pick = marked(pick_of(), LocalModels((on_disk(QWEN),)))
    assert mark_of(pick) == "●"
    argv = pick.judgement.argv
    assert argv is not None and argv[1:3] == ("-m", str(SPACED))
    assert "-hf" not in argv and f"-m '{SPACED}'" in shell_command(argv)
    before = pick_of().judgement
    assert before.argv is not None
    assert argv[3:] == before.argv[3:], "nothing else of the command changes"
    assert replace(pick.judgement, model=before.model, argv=before.argv) == before


@pytest.mark.parametrize(
    ("quantization", "share"), [("Q6_K", 1.0), ("Q4_K_M", 1 + 2 * SAME_FILE_SHARE), ("Q4_K_M", 0.9)]
)
def test_another_type_or_another_mix_is_another_file(quantization: str, share: float) -> None:
    pick = marked(pick_of(), LocalModels((on_disk(QWEN, quantization, share=share),)))
    assert mark_of(pick) == "○" and pick.judgement == pick_of().judgement


def test_of_several_files_the_right_one_is_taken() -> None:
    files = (on_disk(QWEN, share=1.2), on_disk(QWEN, "Q6_K"), on_disk(QWEN, path=Path("/b.gguf"), share=1.01))
    pick = marked(pick_of(), LocalModels(files))
    assert pick.local is files[2] and pick.local_others == files[:2]


@pytest.mark.parametrize(
    "change",
    [
        {"problem": "it ends too early"},
        {"model_id": None},
        {"model_id": None, "candidates": ("someone/qwen3-32b", "x")},
        {"kind": PROJECTOR},
    ],
)
def test_what_is_broken_or_not_certainly_this_model_is_not_marked(change: dict[str, object]) -> None:
    local = replace(on_disk(QWEN), **change)  # type: ignore[arg-type]
    assert mark_of(marked(pick_of(), LocalModels((local,)))) == ""


def test_a_file_that_is_gone_loses_its_mark_and_a_second_look_changes_nothing() -> None:
    found = LocalModels((on_disk(QWEN),))
    pick = marked(pick_of(), found)
    assert marked(pick, found) is pick
    assert marked(pick_of(), LocalModels()) == pick_of()


def with_projector(size_bytes: int) -> Pick:
    pick = pick_of()
    settings = replace(pick.judgement.settings, projector_bytes=size_bytes)
    model = replace(pick.judgement.model, launch_args=("-hf", "a/b:Q4_K_M"))
    argv = ("llama-server", "-hf", "a/b:Q4_K_M")
    return replace(pick, judgement=replace(pick.judgement, settings=settings, model=model, argv=argv))


REPO = Path("/hub/models--a--b/snapshots/1")


def in_repository(store: str = HUGGING_FACE, name: str = "a/b") -> tuple[LocalModel, LocalModel]:
    """A model and the projector of its repository."""
    model = replace(on_disk(QWEN, path=REPO / "Q4" / "m.gguf"), store=store, name=name)
    return model, LocalModel(
        (REPO / "mmproj.gguf",), store, name, 900, kind=PROJECTOR, quantization="F16", n_parameters=450
    )


def projector_in(*found: LocalModel) -> str | None:
    """The projector in the command of a pick that is on this disk; ``None`` for the command as it was."""
    pick = marked(with_projector(1000), LocalModels(found))
    assert mark_of(pick) == "●" and pick.judgement.argv is not None
    if pick.judgement.argv == ("llama-server", "-hf", "a/b:Q4_K_M"):
        return None
    assert pick.judgement.argv[1] == "-m" and pick.judgement.argv[-4] == "--mmproj"
    return pick.judgement.argv[-3]


@pytest.mark.parametrize("store", [HUGGING_FACE, LM_STUDIO, LLAMA_CPP])
def test_a_model_that_sees_is_started_with_the_projector_of_its_repository(store: str) -> None:
    model, projector = in_repository(store)
    assert projector_in(model, projector) == str(projector.path)
    small = replace(projector, paths=(REPO / "mmproj-q8.gguf",), file_bytes=500)
    assert projector_in(model, small, projector) == str(projector.path), "the best that is planned for"
    nearer = replace(small, paths=(REPO / "Q4" / "mmproj.gguf",))
    assert projector_in(model, projector, nearer) == str(nearer.paths[0])


@pytest.mark.parametrize(
    "change",
    [
        {"file_bytes": 1001},
        {"problem": "it ends too early"},
        {"name": "a/c"},
        {"store": LM_STUDIO},
        {"paths": (REPO / "Q8" / "mmproj.gguf",)},
    ],
)
def test_a_projector_that_may_be_of_another_model_is_not_taken(change: dict[str, object]) -> None:
    model, projector = in_repository()
    assert projector_in(model) is None
    assert projector_in(model, replace(projector, **change)) is None  # type: ignore[arg-type]


def test_a_repository_of_several_models_leaves_the_choice_to_llama_server() -> None:
    model, projector = in_repository()
    other = replace(projector, paths=(REPO / "mmproj-4b.gguf",), file_bytes=880, n_parameters=440)
    assert projector_in(model, projector, other) is None


@pytest.mark.parametrize(
    ("store", "names"),
    [
        (FOLDER, ("gemma-3-27b.gguf", "mmproj-Qwen2.5-VL-3B.gguf")),
        (LLAMA_CPP, ("gemma-3-27b.gguf", "mmproj-Qwen2.5-VL-3B.gguf")),
        (OLLAMA, ("gemma3:27b", "llava:7b")),
        (FOLDER, ("same", "same")),
    ],
)
def test_a_flat_folder_says_of_no_projector_whose_it_is(store: str, names: tuple[str, str]) -> None:
    model, projector = in_repository(store)
    model = replace(model, name=names[0], paths=(REPO / "m.gguf",))
    assert projector_in(model, replace(projector, name=names[1])) is None


def test_here_first_keeps_the_order_otherwise() -> None:
    found = LocalModels((on_disk(GEMMA), on_disk("llama4-scout", "Q8_0")))
    names = (QWEN, "llama4-scout", "qwen3-30b-a3b", GEMMA)
    keys = [pick.key for pick in here_first(marked(pick_of(name), found) for name in names)]
    assert [key.split("/")[1] for key in keys] == [GEMMA, "llama4-scout", QWEN, "qwen3-30b-a3b"]


# ---------------------------------------------------------------- on the screen


async def test_rows_are_marked_when_the_look_at_the_disk_ends(advice: FakeAdvice) -> None:
    gate = advice.hold("disks")
    advice.found = LocalModels((on_disk(QWEN), on_disk(GEMMA, "Q8_0", Path("/models/g.gguf"))))
    async with advice.app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: advice.asked_disks == 1)
        await pilot.press("down", "down")
        screen = pilot.app.screen
        assert len(rows_of(screen)) == 4 and "●" not in text_of(screen, "#question")  # type: ignore[arg-type]
        gate.set()
        screen = await settled(pilot)
        assert marks(rows_of(screen)) == ["●", "", "○", ""], "ranks stay by merit"
        assert "● on this disk  ○ other file type on this disk" in text_of(screen, "#question")
        assert screen.query_one(PicksTable).cursor_row == 2
        why = text_of(screen, "#why")
        assert "○ other file type on this disk: Q8_0" in why and "/models/g.gguf (folder)" in why
        await pilot.press("home")
        assert f"● on this disk: {SPACED}" in text_of(screen, "#why")
        assert f"llama-server -m '{SPACED}' " in text_of(screen, "#command")
        await pilot.press("y")
        assert pilot.app.clipboard == text_of(screen, "#command")
        await pilot.press("enter")
        details = pilot.app.screen
        assert isinstance(details, ModelScreen)
        shown = "\n".join(str(part.content) for part in details.query("Static"))  # type: ignore[attr-defined]
        assert f"on this disk: {SPACED}" in shown


async def test_what_would_help_does_not_lose_the_mark(advice: FakeAdvice) -> None:
    advice.found = LocalModels((on_disk("llama4-scout"),))
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("end")
        await settled(pilot)
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and pick.looked_for_help and mark_of(pick) == "●"
        advice.found = LocalModels()
        await pilot.press("r")
        await until(pilot, lambda: advice.asked_disks == 2)
        await settled(pilot)
        pick = screen.query_one(PicksTable).selected
        assert pick is not None and pick.looked_for_help and mark_of(pick) == ""
        assert str(SPACED) not in text_of(screen, "#command")


async def test_searches_show_what_is_here_first(advice: FakeAdvice) -> None:
    advice.found = LocalModels((on_disk("qwen3-30b-a3b"),))
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("slash", *"qwen", "enter")
        await until(pilot, lambda: len(rows_of(screen)) == 2)
        await settled(pilot)
        assert marks(rows_of(screen)) == ["●", ""]
        assert "30b-a3b" in rows_of(screen)[0][2]
        assert screen.query_one(PicksTable).cursor_row == 0
        assert str(SPACED) in text_of(screen, "#command")


async def test_d_shows_only_what_is_here_and_escape_goes_back(advice: FakeAdvice) -> None:
    twice = on_disk(QWEN, path=Path("/models/copy.gguf"))
    advice.found = LocalModels((on_disk(QWEN), on_disk(GEMMA, path=Path("/models/g.gguf")), twice))
    advice.broken = (NotModelled("/models/half.gguf", "it ends too early, 2.0 GiB are missing"),)
    gate = advice.hold(("disk", f"{GEMMA}.Q4_K_M"))
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: len(rows_of(screen)) == 1)
        assert not screen.is_settled and "thinking" in text_of(screen, "#question")
        gate.set()
        await settled(pilot)
        assert len(rows_of(screen)) == 3 and set(marks(rows_of(screen))) == {"●"}
        assert "On this disk · 3 models, 1 not usable" in text_of(screen, "#question")
        assert "half.gguf: it ends too early, 2.0 GiB are missing." in text_of(screen, "#why")
        assert "back" in footer_of(pilot)
        await pilot.press("end")
        await pilot.pause()
        assert screen.query_one(PicksTable).cursor_row == 2, "two files of one model are two rows"
        assert "Left out: /models/half.gguf" in text_of(screen, "#why")
        await pilot.press("escape")
        await settled(pilot)
        assert "What to run: general" in text_of(screen, "#question") and len(rows_of(screen)) == 4
        assert "half.gguf" not in text_of(screen, "#why")


async def test_no_recommendation_stands_under_a_question_about_the_disk(advice: FakeAdvice) -> None:
    """Many files take long to read: the list is empty until then, and how far it is is said."""
    advice.found = LocalModels((on_disk(QWEN),))
    gate = advice.hold("disk")
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        advice.progress = 2345, 10_000
        await pilot.press("d")
        await until(pilot, lambda: "read 2,345 of 10,000 headers…" in text_of(screen, "#question"))
        assert rows_of(screen) == [] and "llama-server" not in text_of(screen, "#command")
        assert text_of(screen, "#why") == "Reading the headers of the model files on this disk…"
        advice.progress = 2346, 10_000
        await until(pilot, lambda: "read 2,346 of 10,000" in text_of(screen, "#question"))
        advice.progress = 0, 0
        await until(pilot, lambda: "looking for files…" in text_of(screen, "#question"))
        advice.progress = None
        gate.set()
        await settled(pilot)
        assert len(rows_of(screen)) == 1 and "On this disk · 1 model ·" in text_of(screen, "#question")


async def test_the_order_of_escape(advice: FakeAdvice) -> None:
    advice.found = LocalModels((on_disk(QWEN),))
    async with advice.app.run_test(size=SMALL) as pilot:
        screen = await settled(pilot)
        await pilot.press("d")
        await settled(pilot)
        await pilot.press("slash", *"gemma", "enter")
        await until(pilot, lambda: "1 found" in text_of(screen, "#question"))
        await pilot.press("escape")
        await settled(pilot)
        assert text_of(screen, "#question").startswith("On this disk · 1 model ·")
        assert len(rows_of(screen)) == 1
        await pilot.press("escape")
        await settled(pilot)
        assert len(rows_of(screen)) == 4
        await pilot.press("escape")
        assert pilot.app.is_running and pilot.app.screen is screen
        await pilot.press("slash", *"gemma", "enter")
        await until(pilot, lambda: "1 found" in text_of(screen, "#question"))
        await pilot.press("d")
        await settled(pilot)
        assert (
            text_of(screen, "#question").startswith("On this disk")
            and not screen.query_one("#search").display
        )
        await pilot.press("d")
        await settled(pilot)
        assert len(rows_of(screen)) == 4


async def test_nothing_here_and_nothing_readable(advice: FakeAdvice) -> None:
    advice.local_failure = LlmfitError("models", "cannot be looked for")
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        assert len(rows_of(screen)) == 4, "a look that fails marks nothing and stops nothing"
        await pilot.press("d")
        await settled(pilot)
        assert rows_of(screen) == [] and "No chat model was found" in text_of(screen, "#why")
        advice.broken = tuple(
            NotModelled(f"/models/{number}.gguf", "not a GGUF file") for number in range(99)
        )
        screen.ask()
        await settled(pilot)
        why = text_of(screen, "#why")
        assert "/models/19.gguf: not a GGUF file." in why and "/models/20.gguf" not in why
        assert "and 79 more" in why and "0 models, 99 not usable" in text_of(screen, "#question")
        await pilot.press("u", "enter")
        await settled(pilot)
        assert len(rows_of(screen)) == 4


async def test_no_column_where_nothing_is_here(advice: FakeAdvice) -> None:
    async with advice.app.run_test(size=WIDE) as pilot:
        screen = await settled(pilot)
        assert headings_of(screen)[:2] == ["", "purpose"]
        assert "disk" not in text_of(screen, "#question")
