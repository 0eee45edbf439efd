"""Pitfalls: every entry of a known model or machine, found where it applies and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from llmfit.advisor.hardware.machine import LlamaServer, Machine
from llmfit.catalog import loader, schema
from llmfit.catalog.models import find_model, list_models
from llmfit.catalog.pitfalls import (
    SEVERITIES,
    Pitfall,
    all_pitfalls,
    general_pitfalls,
    machine_kinds,
    pitfalls_of,
    pitfalls_of_machine,
)
from llmfit.tui.session import machine_from


@cache
def computer(gpu: str) -> Machine:
    return machine_from({"gpu": gpu, "ram": "64GiB", "ram_bandwidth": "50"})


def ids(rows: tuple[Pitfall, ...]) -> list[str]:
    return [row.id for row in rows]


def of(name: str, machine: Machine | None = None) -> list[str]:
    entry = find_model(name)
    return ids(pitfalls_of(entry.id, entry.architecture, machine))


def test_every_entry_is_of_something_that_exists() -> None:
    models = {model.id for model in list_models()}
    architectures = {model.architecture for model in list_models()}
    for row in all_pitfalls():
        assert set(row.models) <= models, row.id
        assert set(row.architectures) <= architectures, row.id
        assert set(row.machines) <= set(machine_kinds()), row.id
        assert row.severity in SEVERITIES
        assert row.scope != "hardware" or row.machines, row.id
        if row.bad_builds is not None:
            assert 1000 < row.bad_builds[0] <= row.bad_builds[1]


def test_every_kind_of_machine_is_meant_by_an_entry() -> None:
    assert {kind for row in all_pitfalls() for kind in row.machines} == set(machine_kinds())


def test_entries_are_short_and_plain() -> None:
    for row in all_pitfalls():
        for text in (row.pitfall, row.symptom, row.fix):
            assert len(text) <= 150, (row.id, len(text))
        assert all(row.fix.count(mark) % 2 == 0 for mark in "\"'"), row.id


def test_each_model_entry_is_reached_by_its_models_and_architectures() -> None:
    reached = {row.id for model in list_models() for row in pitfalls_of(model.id, model.architecture)}
    assert reached == {row.id for row in all_pitfalls() if row.is_of_models}


def test_nothing_is_lost_between_the_three_questions() -> None:
    general = set(ids(general_pitfalls()))
    of_models = {row.id for row in all_pitfalls() if row.is_of_models}
    of_machines = {row.id for row in all_pitfalls() if row.machines and not row.is_of_models}
    not_in_the_catalogue = {"mobilellm/no-chat"}
    found = general | of_models | of_machines | not_in_the_catalogue
    assert found == set(ids(all_pitfalls())) and len(all_pitfalls()) == 99
    assert not general & of_models and not general & of_machines


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-oss-20b", "gpt-oss/quantised-cache"),
        ("gpt-oss-120b", "gpt-oss/harmony"),
        ("gemma-3-12b", "gemma-2-3/quantised-cache"),
        ("Qwen2.5-7B-Instruct", "qwen2.5/small-k-cache"),
        ("Qwen3.6-27B", "qwen3.6/mtp-blocks"),
        ("GLM-4.7-Flash", "glm-4.7-flash/gate"),
        ("Qwen3-8B", "qwen3/yarn"),
    ],
)
def test_models_have_their_own(name: str, expected: str) -> None:
    assert expected in of(name)


def test_others_have_not() -> None:
    assert "gpt-oss/quantised-cache" not in of("Llama-3.1-8B")
    assert "qwen2.5/small-k-cache" not in of("Qwen2.5-14B-Instruct")
    assert "qwen3/yarn" not in of("Qwen3-4B-Instruct-2507"), "that one was trained for 262144 tokens"
    assert of("Apertus-8B") == []


def test_a_file_that_no_catalogue_knows_goes_by_its_architecture() -> None:
    rows = ids(pitfalls_of("someone/Finetune", "gpt-oss"))
    assert "gpt-oss/quantised-cache" in rows
    assert pitfalls_of("someone/Finetune", "llama") == ()


def test_the_worst_comes_first() -> None:
    for rows in (pitfalls_of("Qwen/Qwen3.6-27B", "qwen35"), pitfalls_of_machine(computer("Radeon 8060S"))):
        order = [SEVERITIES.index(row.severity) for row in rows]
        assert order == sorted(order) and len(set(order)) > 1


def test_a_machine_sees_what_can_happen_on_it() -> None:
    nvidia, amd, halo, arc = (
        computer(name) for name in ("RTX 3090", "RX 7900 XTX", "Radeon 8060S", "Arc B580")
    )
    assert "glm-4.7-flash/rdna3" in of("GLM-4.7-Flash") and "glm-4.7-flash/rdna3" in of("GLM-4.7-Flash", amd)
    assert "glm-4.7-flash/rdna3" not in of("GLM-4.7-Flash", nvidia)
    assert "vulkan/mla-long-context" in of("GLM-4.7-Flash", amd)
    assert "vulkan/mla-long-context" not in of("GLM-4.7-Flash", nvidia)
    assert "intel-arc/gemma-4" in of("gemma-4-31B", arc) and "intel-arc/gemma-4" not in of("gemma-4-31B", amd)
    assert ids(pitfalls_of_machine(halo))[0] == "strix-halo/mmap"
    assert not [row for row in ids(pitfalls_of_machine(amd)) if row.startswith("strix")]


@pytest.mark.parametrize(
    ("gpu", "expected", "other"),
    [
        ("RTX 5060 Ti 16GB", "cuda/iq3-on-rtx-50", "nvidia/gtx-16"),
        ("GTX 1660 Ti", "nvidia/gtx-16", "cuda/iq3-on-rtx-50"),
        ("2x RX 7900 XTX", "amd/several-cards-vulkan", "cuda/iq-files-cuda-13.2"),
        ("M4 Max", "apple/working-set", "amd/several-cards-vulkan"),
    ],
)
def test_cards_have_their_own(gpu: str, expected: str, other: str) -> None:
    rows = ids(pitfalls_of_machine(computer(gpu)))
    assert expected in rows and other not in rows
    assert "cuda/pinned-experts-windows" not in rows
    windows = replace(computer(gpu), os="windows")
    assert ("cuda/pinned-experts-windows" in ids(pitfalls_of_machine(windows))) == gpu.startswith(
        ("RTX", "GTX")
    )


def test_a_server_that_is_new_enough_is_spared() -> None:
    entry = find_model("DeepSeek-R1-Distill-Llama-8B")
    old, new = (
        replace(computer("RTX 3090"), llama_server=LlamaServer("llama-server", build=build))
        for build in (4705, 4706)
    )
    assert "deepseek-r1-distill/open-think" in of(entry.id, old)
    assert "deepseek-r1-distill/open-think" not in of(entry.id, new)
    assert "deepseek-r1-distill/open-think" in of(entry.id, computer("RTX 3090")), (
        "an unknown build may be old"
    )


def test_cache_pitfalls_and_cache_advice_agree() -> None:
    """Who is advised against a type unasked has the reason among its pitfalls."""
    from llmfit.advisor.recommend.cache_advice import CACHE_TYPE_HURTS, cache_types_worth_trying
    from llmfit.catalog.build import build_model

    for name, pitfall in (
        ("gpt-oss-20b", "gpt-oss/quantised-cache"),
        ("gemma-2-9b", "gemma-2-3/quantised-cache"),
        ("gemma-3-27b", "gemma-2-3/quantised-cache"),
        ("Qwen2.5-7B-Instruct", "qwen2.5/small-k-cache"),
    ):
        assert cache_types_worth_trying(build_model(find_model(name), "Q4_K_M")).code == CACHE_TYPE_HURTS
        assert pitfall in of(name)


def test_the_schema_refuses_what_is_not_an_entry() -> None:
    line = loader.bundled_lines(loader.PITFALLS)["gpt-oss/quantised-cache"]
    for changed in (
        line.replace('"severity":"high"', '"severity":"bad"'),
        line.replace('"scope":"model"', '"scope":"planet"'),
        line.replace('"min_build":null', '"min_build":"b1"'),
        line.replace('"pitfall":"', '"pitfall":"\\u001b[31m'),
    ):
        assert changed != line
        with pytest.raises(ValueError, match="validation error"):
            schema.PitfallRow.model_validate_json(changed)
