"""Every catalogue model as a file without data: llama.cpp itself loads it and counts the same parameters.

llama.cpp refuses a file with a tensor missing, misshapen or left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from llama_cpp_build import Card
from memoracle import Memoracle
from sparse_gguf import write_sparse_gguf

from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.mixing import quantize_layout
from llmfit.catalog import loader

pytestmark = pytest.mark.llama_cpp

ROWS = cast("Mapping[str, Mapping[str, Any]]", loader.bundled_rows(loader.ARCHITECTURES))
LAID_OUT = [row_id for row_id, row in ROWS.items() if row.get("layout", True) is not None]
BIG = Card(4_000_000)
PLACE = ("-c", "4096", "-ngl", "999", "-fa", "on", "-np", "1")


def sparse(model_id: str, folder: Path) -> tuple[Path, int]:
    """A Q4_K_M file of the model, and its parameters."""
    row = ROWS[model_id]
    options = LayoutOptions.from_row(row["options"])
    shapes = lay_out(row["metadata"], options)
    tensors = quantize_layout(row["metadata"], shapes, "Q4_K_M", imatrix=True)
    path = folder / "model.gguf"
    write_sparse_gguf(path, row["metadata"], tensors, options.vocab_size)
    return path, sum(shape.n_elements for shape in shapes)


@pytest.mark.parametrize("model_id", LAID_OUT)
def test_llama_cpp_loads_the_layout(
    model_id: str, memoracle: Callable[..., Memoracle], tmp_path: Path
) -> None:
    path, n_parameters = sparse(model_id, tmp_path)
    answer = memoracle(BIG).ask(["-m", str(path), *PLACE])
    assert answer.raw["n_params"] == n_parameters


def _has_mtp(model_id: str) -> bool:
    metadata = ROWS[model_id]["metadata"]
    return f"{metadata['general.architecture']}.nextn_predict_layers" in metadata


@pytest.mark.parametrize("model_id", list(filter(_has_mtp, LAID_OUT)))
def test_llama_cpp_loads_the_mtp_blocks_too(
    model_id: str, memoracle: Callable[..., Memoracle], tmp_path: Path
) -> None:
    path, _ = sparse(model_id, tmp_path)
    without = memoracle(BIG).ask(["-m", str(path), *PLACE])
    drafting = memoracle(BIG).ask(["-m", str(path), *PLACE, "--spec-type", "draft-mtp"])
    assert model_bytes(drafting.raw) > model_bytes(without.raw)


def model_bytes(raw: Mapping[str, Any]) -> int:
    return sum(buffer["model"] for buffer in raw["bufts"].values())
