"""The layouts of all catalogue rows: as many parameters as the models are known to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.layouts.plans import PLANS
from llmfit.catalog import loader

ROWS = cast("Mapping[str, Mapping[str, Any]]", loader.bundled_rows(loader.ARCHITECTURES))
LAID_OUT = [row_id for row_id, row in ROWS.items() if row.get("layout", True) is not None]


def test_every_model_of_the_catalogue_has_a_row_and_no_row_is_left_over() -> None:
    assert list(ROWS) == list(loader.bundled_lines(loader.MODELS))


def test_a_row_has_only_the_keys_of_the_document() -> None:
    documented = {"id", "metadata", "options", "parameters_checked", "notes", "sources", "layout"}
    for row in ROWS.values():
        assert row.keys() <= documented
        assert row["sources"]


def test_a_model_without_a_layout_says_why() -> None:
    left_out = {row_id: row for row_id, row in ROWS.items() if row_id not in LAID_OUT}
    assert list(left_out) == ["nomic-ai/nomic-embed-text-v1.5"]
    for row in left_out.values():
        assert row["notes"]
        with pytest.raises(NotModelledError):
            lay_out(row["metadata"], LayoutOptions.from_row(row["options"]))


def test_every_plan_of_a_converter_in_the_catalogue_is_used() -> None:
    used = {row["metadata"]["general.architecture"] for row in ROWS.values()}
    assert set(PLANS) - used == {"granitemoe", "qwen2moe", "qwen3vlmoe"}


@pytest.mark.parametrize("model_id", LAID_OUT)
def test_the_parameters_add_up(model_id: str) -> None:
    row = ROWS[model_id]
    checked = row["parameters_checked"]
    tensors = lay_out(row["metadata"], LayoutOptions.from_row(row["options"]))
    assert sum(tensor.n_elements for tensor in tensors) == checked["laid_out"]
    assert checked["laid_out"] - checked["expected"] == checked["difference"]
    if checked["difference"]:
        assert checked["reason"]
        assert 0 < checked["difference"] <= checked["laid_out"] / 1500
    parameters = cast("Mapping[str, Any]", loader.bundled_row(loader.MODELS, model_id))["parameters"]
    assert checked["expected"] == parameters["text"] + _mtp_in_file(row, parameters)


def _mtp_in_file(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> int:
    architecture = row["metadata"]["general.architecture"]
    if not row["metadata"].get(f"{architecture}.nextn_predict_layers"):
        return 0
    if parameters["mtp"] is None:  # Nemotron-3-Super: known only as what the published total leaves
        return int(parameters["total"] - parameters["text"])
    return int(parameters["mtp"])


def test_most_are_exact_to_the_last_parameter() -> None:
    exact = [row_id for row_id in LAID_OUT if ROWS[row_id]["parameters_checked"]["difference"] == 0]
    assert len(LAID_OUT) == 196
    assert len(exact) == 174
