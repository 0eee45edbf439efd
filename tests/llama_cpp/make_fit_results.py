"""Writes tests/data/fit_results.csv: what llama.cpp's own ``--fit`` makes of each model on sets of cards.

usage: python -m tests.llama_cpp.make_fit_results   (at the repository root, with the build of build.sh)

``gpus`` is TOTAL:FREE MiB of each card, ``args`` what else llama-server was given (nothing: four slots over
one cache, no ``-c``). The answer: context, ``-ngl`` (-1: all), ``-ts``, how many ``-ot`` rules, and for each
card the bytes of model, context and compute buffers that llama.cpp would then allocate (``cards``), the same
for the host.
"""

from __future__ import annotations

import csv
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from llama_cpp_build import find_build
from memoracle import Buffers, Memoracle
from placement_models import cards_named

from tests.advisor.model.gguf_builder import sparse_file

RESULTS = Path(__file__).resolve().parents[1] / "data" / "fit_results.csv"
COLUMNS = ("model", "gpus", "args", "n_ctx", "ngl", "ts", "n_ot", "cards", "host")
MODELS = (
    "llama3.1-8b.Q4_K_M", "llama3.2-3b.Q4_K_M", "qwen2.5-7b.Q4_K_M", "qwen3-32b.Q4_K_M",
    "qwen3-30b-a3b.Q4_K_M", "gemma3-27b.Q4_K_M", "gpt-oss-20b.MXFP4_MOE", "deepseek-v2-lite.Q4_K_M",
    "mimo-v2-flash.Q4_K_M", "qwen3-next-80b-a3b.Q4_K_M", "qwen3.5-27b.Q4_K_M", "gemma3n-e4b.Q4_K_M",
    "gemma4-26b-a4b.Q4_K_M", "gemma4-e4b.Q4_K_M", "lfm2-1.2b.Q4_K_M",
)  # fmt: skip
CARD_SETS = (
    "8192:7800", "12288:11800", "16384:15900", "24564:23900", "32768:32000", "49152:48400", "81920:80800",
    "24564:23900,24564:24200", "24564:23900,12288:12000", "8192:7800,8192:7900",
)  # fmt: skip
ARGS = ("", "-c 32768", "-c 32768 -ctk q8_0 -ctv q8_0")


def bytes_text(buffers: Buffers) -> str:
    return f"{buffers.model_bytes}+{buffers.context_bytes}+{buffers.compute_bytes}"


def ask_fit(oracle: Memoracle, model: Path, args: str) -> dict[str, object]:
    """llama.cpp's decision and what it allocates with it."""
    answer = oracle.ask(["-m", str(model), *shlex.split(args)], fit=True)
    split = answer.raw.get("fit_ts", [0])
    return {
        "n_ctx": answer.raw["fit_n_ctx"],
        "ngl": answer.raw["fit_ngl"],
        "ts": ",".join(f"{share:g}" for share in split) if any(split) else "",
        "n_ot": len(answer.raw["fit_ot"]),
        "cards": " ".join(map(bytes_text, answer.gpus)),
        "host": bytes_text(answer.host),
    }


def rows() -> Iterator[dict[str, object]]:
    build, reason = find_build()
    if build is None:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder:
        files = {model: sparse_file(model, Path(folder)) for model in MODELS}
        for gpus in CARD_SETS:
            with Memoracle(build, cards_named(gpus)) as oracle:
                for model in MODELS:
                    for args in ARGS:
                        answer = ask_fit(oracle, files[model], args)
                        yield {"model": model, "gpus": gpus, "args": args, **answer}


def main() -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows(), key=lambda row: MODELS.index(str(row["model"]))))


if __name__ == "__main__":
    main()
