"""Every option of the command line in one place; the settings are parsed into a Request."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import parse_context

T = TypeVar("T")

USE_CASES = ("general", "coding", "reasoning", "chat", "vision", "long-context")


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """One sub-parser a command, as in the contract of the command line."""
    hardware = commands.add_parser("hardware", help="what this machine is, and where each value was read")
    add_machine_options(hardware)
    _add_json(hardware)

    recommend = commands.add_parser("recommend", help="the few models worth running here")
    add_machine_options(recommend)
    recommend.add_argument("--use-case", choices=USE_CASES, default="general")
    recommend.add_argument("--context", type=_context, metavar="N", help="tokens, also 32k")
    recommend.add_argument(
        "--min-tps", type=_positive_float, metavar="N", help="slowest decode to accept, tok/s"
    )
    recommend.add_argument("--limit", type=_count, default=5, metavar="N")
    _add_json(recommend)

    estimate = commands.add_parser("estimate", help="memory per device, verdict, speed and command line")
    _add_model(estimate)
    add_machine_options(estimate)
    add_setting_options(estimate)
    estimate.add_argument(
        "--jsonl", action="store_true", help="one JSON object a line on stdin, one answer a line"
    )
    _add_json(estimate)

    command = commands.add_parser("command", help="just the llama-server command line")
    _add_model(command)
    add_machine_options(command)
    add_setting_options(command)
    _add_json(command)

    catalog = commands.add_parser("catalog", help="the models known, and adding one from a GGUF header")
    _add_catalog_actions(catalog)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine (default: this one, probed now)")
    # SUPPRESS: an option given before the command must not be undone by the command's own default.
    group.add_argument(
        "--gpu",
        action="append",
        metavar="SPEC",
        default=argparse.SUPPRESS,
        help='simulate: "RTX 3090", "2x RTX 3090", "M4 Max 128GB", none; repeatable',
    )
    group.add_argument(
        "--ram", metavar="SIZE", default=argparse.SUPPRESS, help="64GiB, 64GB (1e9), 64G (= GiB)"
    )
    group.add_argument("--ram-bandwidth", metavar="GB/S", default=argparse.SUPPRESS)
    group.add_argument(
        "--vram-free",
        metavar="SIZE[,SIZE…]",
        default=argparse.SUPPRESS,
        help="free VRAM a card, when other programs hold some",
    )
    group.add_argument(
        "--machine",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="a file written by llmfit hardware --json",
    )


def add_setting_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings (what is not given is chosen)")
    group.add_argument("--context", type=_context, metavar="N", help="tokens, also 32k")
    group.add_argument("--cache-type-k", metavar="T")
    group.add_argument("--cache-type-v", metavar="T")
    group.add_argument("--flash-attn", choices=("on", "off"))
    group.add_argument("--ubatch", type=_count, metavar="N")
    group.add_argument("--batch", type=_count, metavar="N")
    group.add_argument("--parallel", metavar="N|auto")
    group.add_argument("--kv-unified", action="store_true", default=None)
    group.add_argument("--no-kv-unified", dest="kv_unified", action="store_false")
    group.add_argument("--swa-full", action="store_true", default=None)
    group.add_argument("--gpu-layers", metavar="N|all|auto")
    group.add_argument("--n-cpu-moe", metavar="N|auto")
    group.add_argument("--cpu-moe", action="store_true", default=None)
    group.add_argument("--override-tensor", metavar="REGEX=DEVICE[,…]")
    group.add_argument("--tensor-split", metavar="A,B")
    group.add_argument("--split-mode", choices=("layer", "none"))
    group.add_argument("--no-kv-offload", action="store_true", default=None)
    group.add_argument("--no-op-offload", action="store_true", default=None)
    group.add_argument("--no-mmap", action="store_true", default=None)
    group.add_argument("--spec-type", choices=("none", "draft-mtp"))
    group.add_argument("--mmproj", metavar="FILE")
    group.add_argument("--outputs", choices=("server", "tool"))
    group.add_argument(
        "--depth", type=_context_or_zero, metavar="N", help="tokens already in context (speed)"
    )


def request_from(values: dict[str, object]) -> Request:
    """The Request in parsed options or in a JSON line: the same names, with underscores for dashes.

    Raises UsageError naming the setting that is wrong. ``auto`` and null leave the choice to the advisor.
    """
    value = values.get
    n_cpu_moe = ALL_LAYERS if value("cpu_moe") else _count_or_auto("n-cpu-moe", value("n_cpu_moe"))
    if value("cpu_moe") and value("n_cpu_moe") not in (None, "auto"):
        raise UsageError("--cpu-moe", "contradicts --n-cpu-moe", "Give one of them.")
    parallel = value("parallel")
    return Request(
        context_tokens=_tokens("context", value("context")),
        cache_type_k=_word("cache-type-k", value("cache_type_k")),
        cache_type_v=_word("cache-type-v", value("cache_type_v")),
        flash_attn=_on_off("flash-attn", value("flash_attn")),
        ubatch=_count_or_auto("ubatch", value("ubatch")),
        batch=_count_or_auto("batch", value("batch")),
        parallel=0 if parallel in ("auto", -1) else _count_or_auto("parallel", parallel),
        kv_unified=_flag("kv-unified", value("kv_unified")),
        swa_full=_flag("swa-full", value("swa_full")),
        gpu_layers=_gpu_layers(value("gpu_layers")),
        n_cpu_moe=n_cpu_moe,
        search_experts=value("n_cpu_moe") == "auto",
        tensor_split=_proportions(value("tensor_split")),
        split_mode=_choice("split-mode", value("split_mode"), ("layer", "none")),
        override_tensor=_patterns(value("override_tensor")),
        kv_offload=_negated("no-kv-offload", value("no_kv_offload")),
        op_offload=_negated("no-op-offload", value("no_op_offload")),
        mmap=_negated("no-mmap", value("no_mmap")),
        spec_type=_spec_type(value("spec_type")),
        mmproj_path=_word("mmproj", value("mmproj")),
        outputs=_choice("outputs", value("outputs"), ("server", "tool")),
        depth_tokens=_tokens("depth", value("depth") or None) or 0,
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",  # --spec and --jsonl name models in another way
        help="catalogue name, path to a GGUF, or hf:OWNER/REPO[:QUANT]",
    )
    parser.add_argument("--quant", metavar="NAME", help="file type of a catalogue model (default: chosen)")
    parser.add_argument(
        "--spec", metavar="FILE", help="a model that exists only on paper: architecture numbers"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _add_catalog_actions(catalog: argparse.ArgumentParser) -> None:
    actions = catalog.add_subparsers(dest="action", metavar="list|show|add", parser_class=type(catalog))
    listing = actions.add_parser("list", help="all models known")
    listing.add_argument("filter", nargs="?", default="", help="only names that contain this")
    _add_json(listing)
    show = actions.add_parser("show", help="one model with its sources")
    show.add_argument("model", metavar="MODEL")
    _add_json(show)
    add = actions.add_parser("add", help="add a model from a GGUF header")
    add.add_argument("model", metavar="FILE.gguf|hf:OWNER/REPO[:QUANT]")
    add.add_argument("--id", metavar="NAME", help="the id to add it under (default: from the header)")
    add.add_argument("--force", action="store_true", help="replace an entry of the same id")
    _add_json(add)
    _add_json(catalog)


def _argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    def convert(text: str) -> T:
        try:
            return parse(text)
        except LlmfitError as error:
            raise argparse.ArgumentTypeError(f"{error.what} is {error.why}") from None

    return convert


_context = _argument(parse_context)


def _context_or_zero(text: str) -> int:
    return 0 if text == "0" else _context(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _tokens(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return parse_context(value)
    raise UsageError(f"{name} {value!r}", "not a number of tokens", "Write 32768 or 32k.")


def _word(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise UsageError(f"{name} {value!r}", "not a text")


def _choice(name: str, value: object, known: tuple[str, ...]) -> str | None:
    if value is None or value in known:
        return str(value) if value is not None else None
    raise UsageError(f"{name} {value!r}", "unknown", f"Known: {', '.join(known)}.")


def _flag(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise UsageError(f"{name} {value!r}", "must be true or false")


def _negated(name: str, value: object) -> bool | None:
    flag = _flag(name, value)
    return None if flag is None else not flag


def _on_off(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value in ("on", "off"):
        return value == "on"
    raise UsageError(f"{name} {value!r}", "must be on or off")


def _count_or_auto(name: str, value: object) -> int | None:
    if value in (None, "auto"):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**31:
        return value
    raise UsageError(f"{name} {value!r}", "not a whole number")


def _gpu_layers(value: object) -> int | None:
    return ALL_LAYERS if value == "all" else _count_or_auto("gpu-layers", value)


def _proportions(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    parts: list[object] = (
        list(value.replace("/", ",").split(",")) if isinstance(value, str) else _as_list(value)
    )
    try:
        return tuple(float(part) for part in parts)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"tensor split {value!r}", "not a list of proportions", "Write 3,1.") from None


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _patterns(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    parts: list[object] = list(value.split(",")) if isinstance(value, str) else _as_list(value)
    if not all(isinstance(part, str) and "=" in part for part in parts):
        raise UsageError(f"override tensor {value!r}", "not REGEX=DEVICE", r"Write blk\.1\.ffn_.*=CPU.")
    return tuple(str(part) for part in parts)


def _spec_type(value: object) -> str | None:
    chosen = _choice("spec-type", value, ("none", "draft-mtp"))
    return None if chosen == "none" else chosen
