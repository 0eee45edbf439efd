"""The step of a measurement: patterns of somebody's file are matched in no time, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.hardware.machine import Cpu, Machine, Memory
from llmfit.advisor.measurements.steps import StepMaker, is_quick
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.measurement import Measurement
from llmfit.advisor.units import GB, GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model

MACHINE = Machine("linux", Cpu(None, 8, 8), Memory(64 * GIB, 64 * GIB, bandwidth_bytes_per_s=60 * GB))
ONE = Measurement(
    "here",
    "cpu",
    "m",
    "Q4_K_M",
    5 * GB,
    "llama",
    LaunchSettings(4096),
    "decode",
    0,
    0,
    8.0,
    "",
    "llama-bench",
)


@pytest.mark.parametrize(
    "pattern",
    [
        r".ffn_.*_exps.=CPU",
        r"blk\.(3|4|5|6|7|8|9|1[0-9]|2[0-9])\.ffn_(gate|up|down)_exps.*=CPU",
        r"blk\.[0-9]+\.ffn_.*_exps\..*=CUDA1",
        r"^(?:output|token_embd)\.weight$=CPU",
    ],
)
def test_patterns_that_people_use_are_matched(pattern: str) -> None:
    assert is_quick(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(((((.*)*)*)*)*)x!=CPU",
        "(a|a)+$=CPU",
        "(?:.*){9}x=CPU",
        ".*.*.*.*.*.*x!=CPU",
        "(.|.)" * 40 + "x!=CPU",
        "a?" * 40 + "x!=CPU",
        "(" * 400,
        "*" * 400,
    ],
)
def test_a_pattern_that_takes_forever_is_not_tried(pattern: str) -> None:
    model = build_model(find_model("Llama-3.1-8B-Instruct"), "Q4_K_M")
    said = StepMaker(MACHINE).step(
        replace(ONE, settings=replace(ONE.settings, override_tensor=(pattern,))), model
    )
    assert isinstance(said, str) and "-ot" in said


def test_without_patterns_there_is_a_step() -> None:
    model = build_model(find_model("Llama-3.1-8B-Instruct"), "Q4_K_M")
    assert not isinstance(StepMaker(MACHINE).step(ONE, model), str)


def test_where_the_bandwidth_of_the_ram_is_not_known_it_says_what_to_do() -> None:
    model = build_model(find_model("Llama-3.1-8B-Instruct"), "Q4_K_M")
    unknown = replace(MACHINE, memory=replace(MACHINE.memory, bandwidth_bytes_per_s=None))
    assert StepMaker(unknown).step(ONE, model) == (
        "the bandwidth of what it ran on is not known; RAM's can be measured (llmfit hardware --measure) "
        "or told (--ram-bandwidth GB/S)"
    )
