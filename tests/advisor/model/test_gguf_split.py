from __future__ import annotations

import pytest

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model.gguf import GgufHeader
from llmfit.advisor.model.gguf_split import (
    SplitName,
    merge_parts,
    parse_split_name,
    split_count,
    split_number,
)
from llmfit.advisor.model.tensors import Tensor


def part(number: int, count: int, *names: str, **metadata: object) -> tuple[str, GgufHeader]:
    tensors = tuple(Tensor(name, (8,), "F32", 32) for name in names)
    keys = {"split.no": number - 1, "split.count": count, **metadata}
    return f"m-{number}", GgufHeader(3, keys, tensors, 64, 32, 1000 + number)


def test_split_names() -> None:
    name = parse_split_name("dir/m-Q4_K_M-00002-of-00003.gguf")
    assert name == SplitName("dir/m-Q4_K_M", 2, 3)
    assert name.parts() == tuple(f"dir/m-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3))


@pytest.mark.parametrize(
    "name",
    [
        "m.gguf",
        "m-1-of-3.gguf",
        "-00001-of-00002.gguf",
        "m-00001-of-00002.gguf.part",
        "m-00001-of-00000.gguf",
        "m-00003-of-00002.gguf",
        "m-00000-of-00002.gguf",
        "m-０0001-of-00002.gguf",
    ],
)
def test_other_names(name: str) -> None:
    assert parse_split_name(name) is None


def test_a_header_without_split_keys_is_one_file() -> None:
    header = GgufHeader(3, {}, (), 64, 32, 100)
    assert (split_count(header), split_number(header)) == (1, 1)
    assert merge_parts([("m", header)]) is header


def test_merged_header_has_all_tensors_and_bytes() -> None:
    merged = merge_parts(
        [part(1, 3, **{"general.name": "m", "split.tensors.count": 3}), part(2, 3, "a", "b"), part(3, 3, "c")]
    )
    assert [tensor.name for tensor in merged.tensors] == ["a", "b", "c"]
    assert merged.file_bytes == 1001 + 1002 + 1003
    assert merged.metadata["general.name"] == "m"


def test_parts_that_do_not_belong_together() -> None:
    cases = [
        ([part(1, 2, "a"), part(1, 2, "b")], "m-1: expected as part 2 of 2, but it says it is part 1 of 2"),
        ([part(1, 2, "a"), part(2, 3, "b")], "m-2: expected as part 2 of 2, but it says it is part 2 of 3"),
        ([part(1, 2, "a"), part(2, 2, "a")], "m-2: tensor 'a' is in an earlier part too"),
        (
            [part(1, 2, "a", **{"split.tensors.count": 5}), part(2, 2, "b")],
            "the model has 5 tensors, its parts hold 2",
        ),
    ]
    for parts, message in cases:
        with pytest.raises(GgufError) as caught:
            merge_parts(parts)
        assert message in str(caught.value)
