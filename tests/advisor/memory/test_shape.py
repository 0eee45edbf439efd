"""Shapes from headers: which layers cache what, for known and unknown architectures."""

from __future__ import annotations

import pytest

from llmfit.advisor.errors import GgufError, NotModelledError
from llmfit.advisor.model.architectures import ARCHITECTURES, NOT_MODELLED
from llmfit.advisor.model.shape import LayerKind, ModelShape, shape_from_header
from tests.advisor.memory.memory_models import shape_of, tiny_metadata, tiny_tensors

SWA, FULL, RECURRENT, NONE = LayerKind.SWA, LayerKind.FULL, LayerKind.RECURRENT, LayerKind.NONE


def tiny(architecture: str, **values: object) -> ModelShape:
    return shape_from_header(tiny_metadata(architecture, **values), tiny_tensors())


def test_every_architecture_is_known_or_refused_with_a_reason() -> None:
    assert not ARCHITECTURES.keys() & NOT_MODELLED.keys()
    for name, reason in NOT_MODELLED.items():
        with pytest.raises(NotModelledError) as caught:
            tiny(name)
        assert reason in caught.value.why
    with pytest.raises(NotModelledError, match="does not know"):
        tiny("no-such-architecture")


@pytest.mark.parametrize(
    ("architecture", "values", "expected"),
    [
        ("llama", {}, "FFFFFFFF"),
        ("gemma2", {}, "SFSFSFSF"),
        ("gemma3", {"attention__sliding_window": 1024}, "SSSSSFSS"),
        ("gemma3", {}, "FFFFFFFF"),
        ("cohere2moe", {"attention__sliding_window": 64}, "FSSSFSSS"),
        ("llama4", {}, "SSSFSSSF"),
        ("llama4", {"attention__sliding_window": 0}, "FFFFFFFF"),
        ("exaone4", {"attention__sliding_window": 64}, "FFFFFFFF"),
        ("phi3", {"attention__sliding_window": 64}, "FFFFFFFF"),
        (
            "mimo2",
            {"attention__sliding_window": 64, "attention__sliding_window_pattern": (0, 1) * 4},
            "FSFSFSFS",
        ),
        ("olmo2", {"attention__sliding_window": 64, "attention__sliding_window_pattern": 2}, "SFSFSFSF"),
    ],
)
def test_windowed_layers(architecture: str, values: dict[str, object], expected: str) -> None:
    kinds = tiny(architecture, **values).kinds
    assert "".join("S" if kind is SWA else "F" for kind in kinds) == expected


def test_windows_follow_the_source_not_only_the_header() -> None:
    assert tiny("llama4", attention__sliding_window=512).window_tokens == 8192
    assert tiny("smallthinker", attention__sliding_window=512).window_tokens == 4096
    with pytest.raises(GgufError, match="pattern"):
        tiny("mimo2", attention__sliding_window=64)


def test_recurrent_layers_by_rule() -> None:
    ssm = {
        "ssm__conv_kernel": 4,
        "ssm__inner_size": 2048,
        "ssm__state_size": 128,
        "ssm__group_count": 1,
        "ssm__time_step_rank": 16,
    }
    hybrid = tiny("qwen3next", **ssm)
    assert [kind is FULL for kind in hybrid.kinds] == [False, False, False, True] * 2
    assert hybrid.state is not None
    assert hybrid.state.elements == 3 * (2048 + 2 * 128) + 128 * 2048
    nemotron = tiny(
        "nemotron_h",
        **ssm | {"attention__head_count_kv": (0, 0, 4, 0) * 2, "feed_forward_length": (0, 99, 0, 99) * 2},
    )
    assert nemotron.kinds == (RECURRENT, NONE, FULL, NONE) * 2
    assert set(tiny("falcon-h1", **ssm).kinds) == {LayerKind.HYBRID}
    assert set(tiny("mamba2", **ssm, attention__head_count=0).kinds) == {RECURRENT}


def test_oracle_models_in_words() -> None:
    deepseek = shape_of("deepseek-v3.2")
    assert (deepseek.n_layer, deepseek.n_layer_all) == (61, 62)
    assert deepseek.mla is not None
    assert deepseek.key_width(0) == 576
    assert deepseek.indexer is not None
    assert deepseek.indexer.key_length == 128
    gemma = shape_of("gemma4-e4b")
    assert (gemma.n_layer, gemma.n_layer_kv, gemma.traits.tied_embeddings) == (42, 24, True)
    assert shape_of("kimi-linear-48b-a3b").kinds.count(RECURRENT) == 20
    assert shape_of("qwen3-vl-30b-a3b").n_deepstack == 3


@pytest.mark.parametrize(
    "values",
    [
        {"block_count": 0},
        {"block_count": 2**31},
        {"block_count": None},
        {"attention__head_count_kv": (4, 4)},
        {"attention__head_count": "many"},
        {"context_length": -1},
    ],
)
def test_nonsense_headers_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(GgufError):
        tiny("llama", **values)


def test_a_file_of_draft_blocks_only_is_not_modelled() -> None:
    with pytest.raises(NotModelledError, match="draft"):
        tiny("qwen35", nextn_predict_layers=8)
