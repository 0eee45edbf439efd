"""Which file type stands for a model that has several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.model.quantization import DEFAULT_FILE_TYPE
from llmfit.tui.session import ModelChoice, model_choice


def test_a_choice_stands_for_the_type_that_is_fixed_else_the_usual_one() -> None:
    open_choice = model_choice({"model": "qwen3-8b"})
    assert open_choice.quant is None and open_choice.sample().quantization == DEFAULT_FILE_TYPE
    assert model_choice({"model": "qwen3-8b", "quant": "Q8_0"}).sample().quantization == "Q8_0"
    assert model_choice({"model": "gpt-oss-20b"}).sample().quantization == "MXFP4_MOE"
    of_a_file = replace(open_choice.sample(), quantization="Q5_0")
    assert ModelChoice(None, of_a_file).sample() is of_a_file


def test_a_choice_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs a model or a way to build one"):
        ModelChoice(None).sample()


def test_the_rule_is_written_once() -> None:
    """Commands that judge without a machine, or need only the shape, ask the choice."""
    import inspect

    from llmfit.tui import claims, model_article
    from llmfit.tui.cli import plan

    for module in (claims, model_article, plan):
        text = inspect.getsource(module)
        assert ".sample()" in text and "DEFAULT_FILE_TYPE" not in text, module.__name__
