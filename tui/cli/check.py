"""``llmfit check``: a claim against physics, from options or many from a file. The exit code is 0 whatever
comes out."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.recommend.claims.claim import BYTES, CheckedClaim, Reason
from llmfit.tui.claims import check_values
from llmfit.tui.cli import output
from llmfit.tui.cli.documents import Document, estimate_document
from llmfit.tui.cli.estimate import KNOWN_KEYS

SCHEMA = "llmfit.check/1"
_SETTINGS = sorted(KNOWN_KEYS - {"explain", "goal", "model", "spec", "machine"})
_CLAIMS = (
    "claim_vram",
    "claim_weights",
    "claim_kv",
    "claim_tps",
    "claim_usd_per_million",
    "claim_bandwidth_ratio",
)
_OTHERS = ("claim_does_not_fit", "than", "watts", "usd_per_kwh")


def run(parsed: argparse.Namespace) -> int:
    values = vars(parsed)
    if parsed.claims is not None:
        return _run_file(values, parsed.json)
    checked = check_values(values)
    if parsed.json:
        output.print_json({"schema": SCHEMA, **claim_document(checked, values)})
        return 0
    from llmfit.tui.cli.check_lines import check_lines

    output.print_lines(list(check_lines(checked, values)))
    return 0


def _run_file(values: Mapping[str, object], as_json: bool) -> int:
    """Every claim of a file; a bad row is an entry with its error, not the end."""
    from llmfit.tui.cli.claim_rows import read_claims

    names = (*_CLAIMS, *_OTHERS, *sorted(KNOWN_KEYS - {"explain"}))
    given = [name for name in names if values.get(name) not in (None, False)]
    if given:
        option = given[0].replace("_", "-")
        what = "MODEL" if option == "model" else f"--{option}"
        raise UsageError(what, "contradicts --claims", "The rows of the file say it.")
    rows = read_claims(Path(str(values["claims"])))
    answers = [(row, row.error or _answer(row.values, advice=as_json)) for row in rows]
    if as_json:
        entries = [
            {"id": row.name, "stated": row.stated, **_entry(answer, row.values)} for row, answer in answers
        ]
        counts = Counter(a.verdict if isinstance(a, CheckedClaim) else "error" for _, a in answers)
        output.print_json({"schema": SCHEMA, "claims": entries, "counts": dict(sorted(counts.items()))})
        return 0
    from llmfit.tui.cli.check_lines import claims_table

    output.print_lines(list(claims_table(answers)))
    return 0


def _answer(values: Mapping[str, object], advice: bool) -> CheckedClaim | LlmfitError:
    try:
        return check_values(values, advice)
    except LlmfitError as error:
        return error
    except OSError as error:
        what = str(error.filename) if error.filename else "claim"
        return LlmfitError(what, (error.strerror or str(error)).lower())
    except RecursionError:
        return UsageError("claim", "nested too deeply")
    except Exception as error:  # noqa: BLE001 a bug of ours in one row must not cost the others
        return output.internal_error(error)


def _entry(answer: CheckedClaim | LlmfitError, values: Mapping[str, object]) -> Document:
    if isinstance(answer, LlmfitError):
        return output.error_document(answer)
    return claim_document(answer, values)


def claim_document(checked: CheckedClaim, values: Mapping[str, object]) -> Document:
    """``llmfit.check/1`` without its schema; what is not claimed is null."""
    claim, judged = checked.claim, checked.judgement
    named = {key: values.get(key) for key in ("model", *_SETTINGS, "than")}
    return {
        "claim": {
            "text": claim.text or None,
            "model": checked.model_id,
            **{key: value for key, value in named.items() if value is not None and key != "model"},
            "does_not_fit": claim.is_negated,
            "vram_bytes": claim.vram_bytes,
            "weights_bytes": claim.weights_bytes,
            "kv_cache_bytes": claim.kv_bytes,
            "decode_tok_s": claim.decode_tok_s,
            "watts": claim.watts,
            "usd_per_kwh": claim.usd_per_kwh,
            "usd_per_million_tokens": claim.usd_per_million_tokens,
            "bandwidth_ratio": claim.bandwidth_factor,
        },
        "verdict": checked.verdict,
        "reasons": [_reason_document(reason) for reason in checked.reasons],
        "notes": list(checked.notes),
        "instead": list(checked.instead),
        "estimate": None if judged is None else estimate_document(judged),
    }


def _reason_document(reason: Reason) -> Document:
    """Sizes are whole bytes."""
    claimed, computed = (
        round(value) if value is not None and reason.unit == BYTES else value
        for value in (reason.claimed, reason.computed)
    )
    return {
        "part": reason.part,
        "verdict": reason.verdict,
        "text": reason.text,
        "claimed": claimed,
        "computed": computed,
        "unit": reason.unit,
    }
