"""``llmfit check``: options, files, documents, what people see, and hostile input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmfit.tui.cli.claim_rows import MAX_CLAIMS, MAX_FILE_BYTES, ROW_KEYS
from tests.tui.cli.conftest import Run

CLAIMS = Path(__file__).parents[2] / "data" / "claims.json"
FLASH = ("check", "mimo-v2-flash", "--quant")
VERDICT_LINES = ("✓ supported: ", "✗ contradicted: ", "~ needs offload: ", "? unknown: ")
VERDICTS = {"supported", "contradicted", "needs_offload", "unknown"}


def paper(tmp_path: Path) -> str:
    """The model on paper of the file of claims, as a file for --spec."""
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(json.loads(CLAIMS.read_text())["spec"]))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    (
        (("check", "llama-3.3-70b", "--quant", "INT8", "--gpu", "RTX 4090", "--claim-vram", "24"),
         "contradicted"),
        ((*FLASH, "Q4_K_M", "--claim-weights", "187.14"), "supported"),
        (("check", "qwen3-30b-a3b", "--quant", "Q4_K_M", "--gpu", "RTX 3060", "--ram", "64GB"),
         "needs_offload"),
        (("check", "llama-3.3-70b", "--quant", "Q4_K_M", "--gpu", "RTX 4090", "--claim-does-not-fit"),
         "supported"),
        (
            ("check", "mimo-v2.5", "--quant", "NVFP4", "--gpu", "2x DGX Spark", "--claim-tps", "32",
             "--spec-type", "draft-mtp"),
            "supported",
        ),
        (
            ("check", "--claim-usd-per-million", "0.173", "--watts", "575", "--claim-tps", "64",
             "--usd-per-kwh", "0.069"),
            "supported",
        ),
        (
            ("check", "--gpu", "RTX 5090", "--than", "RTX 3090", "--claim-bandwidth-ratio", "1.78"),
            "contradicted",
        ),
    ),
)  # fmt: skip
def test_claims_as_options(run: Run, arguments: tuple[str, ...], verdict: str) -> None:
    answer = run(*arguments, "--json")
    assert answer.code == 0
    document = answer.document
    assert document["schema"] == "llmfit.check/1"
    assert document["verdict"] == verdict
    assert_shape(document)


@pytest.mark.parametrize(
    ("quant", "more", "verdict"),
    (
        ("q4_K_M", ("--claim-weights", "17.6"), "supported"),
        ("q4_K_M", ("--context", "8192", "--claim-kv", "0.5"), "contradicted"),
        ("q4_K_M", ("--context", "128k", "--cache-type-k", "q8_0", "--gpu", "RTX 3090"), "contradicted"),
        ("q4_K_M", ("--gpu", "RTX 5090", "--claim-tps", "64.2"), "supported"),
    ),
)
def test_claims_about_a_model_on_paper(
    run: Run, tmp_path: Path, quant: str, more: tuple[str, ...], verdict: str
) -> None:
    document = run("check", "--spec", paper(tmp_path), "--quant", quant, *more, "--json").document
    assert document["verdict"] == verdict
    assert "26.63e9" in document["notes"][0]


def assert_shape(document: dict[str, Any]) -> None:
    assert document["verdict"] in VERDICTS
    assert isinstance(document["claim"], dict)
    assert document["reasons"]
    for reason in document["reasons"]:
        assert set(reason) == {"part", "verdict", "text", "claimed", "computed", "unit"}
        assert reason["verdict"] in VERDICTS
        if reason["unit"] == "bytes":
            assert all(isinstance(reason[key], int | None) for key in ("claimed", "computed"))
    if document["estimate"] is not None:
        assert document["estimate"]["schema"] == "llmfit.estimate/1"


def test_without_a_machine_nothing_is_judged_on_this_one(run: Run) -> None:
    document = run("check", "qwen3-8b", "--quant", "Q4_K_M", "--claim-weights", "5", "--json").document
    assert document["estimate"] is None
    assert [reason["part"] for reason in document["reasons"]] == ["weights"]


def test_the_whole_file(run: Run) -> None:
    """As a table; tests/advisor/recommend/test_claims.py holds every verdict against the stated one."""
    lines = run("check", "--claims", CLAIMS).out.splitlines()
    assert "13 contradicted, 2 needs_offload, 12 supported" in lines
    assert not [line for line in lines if line.startswith("!")], "one is not as stated"
    assert lines.index("") == 28  # a head and 27 rows


def test_the_document_of_a_file(run: Run, tmp_path: Path) -> None:
    """A few of the article's, on a machine, on paper and on none."""
    document = json.loads(CLAIMS.read_text())
    names = ("llama70b-q4-2x3090", "mimo29-q6k-24gb", "mimo29-5090-cost", "flash-q4km-size")
    document["claims"] = [claim for claim in document["claims"] if claim["id"] in names]
    path = tmp_path / "few.json"
    path.write_text(json.dumps(document))
    answer = run("check", "--claims", path, "--json").document
    assert answer["schema"] == "llmfit.check/1"
    assert [claim["id"] for claim in answer["claims"]] == [claim["id"] for claim in document["claims"]]
    for claim in answer["claims"]:
        assert claim["verdict"] == claim["stated"], claim["id"]
        assert_shape(claim)
        assert (claim["estimate"] is not None) == ("gpu" in claim["claim"])
    assert answer["counts"] == {"supported": 4}


def write(tmp_path: Path, rows: object) -> Path:
    path = tmp_path / "claims.json"
    path.write_text(json.dumps({"claims": rows}))
    return path


def test_a_bad_row_is_an_entry_and_not_the_end(run: Run, tmp_path: Path) -> None:
    rows = [
        {"id": "typo", "model": "qwen3-8b", "weigths_gb": 5},
        "no object",
        {"id": "no model", "weights_gb": 5},
        {"id": "unknown model", "model": "no-such-model-at-all", "weights_gb": 5},
        {"id": "a text", "model": "qwen3-8b", "weights_gb": "5"},
        {"id": "negative", "model": "qwen3-8b", "weights_gb": -5},
        {"id": "true", "model": "qwen3-8b", "weights_gb": True},
        {"id": "endless", "model": "qwen3-8b", "weights_gb": 10**400},
        {"id": "card", "model": "qwen3-8b", "gpu": "RTX 0"},
        {"id": "type", "model": "qwen3-8b", "quant": 4, "weights_gb": 5},
        {"id": "negated", "model": "qwen3-8b", "gpu": "RTX 3090", "negated": "yes"},
        {"id": "good", "model": "qwen3-8b", "quant": "Q4_K_M", "weights_gb": 5.03},
    ]
    answer = run("check", "--claims", write(tmp_path, rows), "--json")
    assert answer.code == 0
    claims = answer.document["claims"]
    assert ["error" in claim for claim in claims] == [True] * 11 + [False]
    assert "weigths_gb" in claims[0]["error"]["message"]
    assert all(claim["error"]["code"] == "usage" for claim in claims[:-1])
    assert claims[-1]["verdict"] == "supported"
    text = run("check", "--claims", write(tmp_path, rows))
    assert text.code == 0
    assert "11 error" in text.out and "Traceback" not in text.out + text.err


@pytest.mark.parametrize(
    "content",
    (
        b"",
        b"[]",
        b"{}",
        b"null",
        b"7",
        b'{"claims": 7}',
        b'{"claims": [], "spec": 3}',
        b'{"claims": [{}], "spec": 3}',
        b'{"claims": [{}], "surprise": 1}',
        b'{"claims": [NaN]}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"claims": [' + b"{}," * MAX_CLAIMS + b"{}]}",
        b" " * (MAX_FILE_BYTES + 1),
    ),
    ids=lambda content: repr(content[:24]),
)
def test_a_file_that_is_none(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "claims.json"
    path.write_bytes(content)
    answer = run("check", "--claims", path)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("llmfit: error: --claims") and answer.err.count("\n") == 1


def test_hostile_names_are_shown_harmlessly(run: Run, tmp_path: Path) -> None:
    rows = [{"id": "\x1b[2J\u202eid", "model": "\x1b[31mred", "weights_gb": 1, "claim": "\x1b[5mblink"}]
    answer = run("check", "--claims", write(tmp_path, rows))
    assert "\x1b" not in answer.out and "\u202e" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    (
        (("check",), "MODEL"),
        (("check", "qwen3-8b"), "nothing is claimed"),
        (("check", "--claim-vram", "5"), "MODEL"),
        (("check", "qwen3-8b", "--than", "RTX 3090"), "--than"),
        (("check", "--gpu", "RTX 3090", "--claim-bandwidth-ratio", "2"), "two cards"),
        (("check", "qwen3-8b", "--claims", "x.json"), "contradicts --claims"),
        (("check", "--claims", "no such file"), "no such file"),
        (("check", "qwen3-8b", "--quant", "nope", "--claim-vram", "5"), "nope"),
        (("check", "qwen3-8b", "--gpu", "RTX 0"), "RTX 0"),
        (("check", "qwen3-8b", "--gpu", "99x DGX Spark"), "99"),
        (("check", "qwen3-8b", "--claim-tps", "nan"), "--claim-tps"),
        (("check", "qwen3-8b", "--claim-vram", "-1"), "--claim-vram"),
    ),
)
def test_wrong_usage_is_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert said in answer.err and answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    (
        (*FLASH, "Q3_K_S", "--gpu", "RTX 4090", "--claim-vram", "22", "--claim-tps", "20"),
        (
            "check",
            "qwen3-30b-a3b",
            "--quant",
            "Q4_K_M",
            "--gpu",
            "RTX 3060",
            "--ram",
            "32GiB",
            "--claim-tps",
            "30",
        ),
        ("check", "qwen3-8b", "--quant", "UD-Q4_K_XL", "--context", "8k", "--claim-kv", "1.2"),
        ("check", "--gpu", "RTX 5090", "--than", "RTX 3090", "--claim-bandwidth-ratio", "1.78"),
    ),
)
def test_what_people_see(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0].startswith("Claim: ")
    assert lines[next(n for n, line in enumerate(lines) if not line) - 1].startswith(VERDICT_LINES)
    assert max(map(len, lines)) <= 80


def test_the_table_fits_the_terminal_and_names_what_differs(run: Run, tmp_path: Path) -> None:
    rows = [
        {"id": "x" * 200, "model": "qwen3-8b", "quant": "Q4_K_M", "weights_gb": 50, "verdict": "supported"},
        {"model": "qwen3-8b", "quant": "Q4_K_M", "weights_gb": 5},
    ]
    answer = run("check", "--claims", write(tmp_path, rows))
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "supported is stated, contradicted comes out." in " ".join(answer.out.split())
    assert "claim 2" in answer.out


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    assert not [key for key in ROW_KEYS if f"`{key}`" not in text]
