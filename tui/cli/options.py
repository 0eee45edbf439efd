"""Every option of the command line in one place. Building it imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from llmfit import __version__
from llmfit.advisor.errors import UsageError
from llmfit.advisor.units import parse_context

USE_CASES = ("general", "coding", "reasoning", "chat", "vision", "long-context")


class Parser(argparse.ArgumentParser):
    """argparse that reports wrong usage as the one line every llmfit error is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        what = self.prog.removeprefix("llmfit ") or "llmfit"
        if message.startswith("argument ") and ": " in message:
            what, message = message.removeprefix("argument ").split(": ", 1)
        raise UsageError(what, message, f"See {self.prog} --help.")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; ``command`` is None for the app. Raises UsageError."""
    parsed = build_parser().parse_args(arguments)
    before = parsed.gpu_before_command
    if before:
        parsed.gpu = [*before, *getattr(parsed, "gpu", [])]
    return parsed


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; machine options and ``--json`` stand before or after the command."""
    parser = Parser(
        prog="llmfit",
        description="Which language model fits this computer with llama.cpp, and with which flags. "
        "Without a command it opens the app.",
    )
    parser.add_argument("--version", action="version", version=f"llmfit {__version__}")
    add_machine_options(parser, gpu_name="gpu_before_command")
    parser.set_defaults(gpu_before_command=None)
    _add_json(parser)
    parser.set_defaults(json=False)
    add_commands(parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser))
    return parser


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """One sub-parser a command, as in the contract of the command line."""
    hardware = commands.add_parser("hardware", help="what this machine is, and where each value was read")
    add_machine_options(hardware)
    hardware.add_argument(
        "--measure",
        action="store_true",
        help="measure the RAM's bandwidth with all cores (a few seconds) and remember it",
    )
    _add_json(hardware)

    models = commands.add_parser("models", help="the GGUF files on this machine")
    models.add_argument("filter", nargs="?", default="", help="only names that contain this")
    models.add_argument(
        "--folder", action="append", default=[], metavar="DIR", help="look there as well; repeatable"
    )
    _add_json(models)

    doctor = commands.add_parser("doctor", help="everything for a bug report, each finding with its fix")
    add_machine_options(doctor)
    _add_json(doctor)

    recommend = commands.add_parser("recommend", help="the few models worth running here")
    add_machine_options(recommend)
    recommend.add_argument("--use-case", choices=USE_CASES, default="general")
    recommend.add_argument("--context", type=parse_context, metavar="N", help="tokens, also 32k")
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
        "--jsonl", action="store_true", help="many at once: JSON objects on stdin, an answer for each"
    )
    estimate.add_argument(
        "--explain", action="store_true", default=None, help="how the speed adds up, term by term"
    )
    _add_json(estimate)

    command = commands.add_parser("command", help="just the llama-server command line")
    _add_model(command)
    add_machine_options(command)
    add_setting_options(command)
    _add_json(command)

    catalog = commands.add_parser("catalog", help="lists, shows and adds models")
    _add_catalog_actions(catalog)

    calibration = commands.add_parser("calibration", help="speeds measured here, and what they changed")
    _add_calibration_actions(calibration)


def add_machine_options(parser: argparse.ArgumentParser, gpu_name: str = "gpu") -> None:
    group = parser.add_argument_group("machine (default: this one, probed now)")
    # SUPPRESS: an option given before the command must not be undone by the command's own default.
    group.add_argument(
        "--gpu",
        dest=gpu_name,
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
        help="what is free on each card, if not all of it",
    )
    group.add_argument(
        "--machine",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="a file written by llmfit hardware --json",
    )


def add_setting_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings (what is not given is chosen)")
    group.add_argument("--context", type=parse_context, metavar="N", help="tokens, also 32k")
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
    group.add_argument("--depth", metavar="N", help="tokens already in context (speed)")
    group.add_argument(
        "--prompt", metavar="N", help="tokens of a prompt (prefill, time to first token); also 32k"
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
    # SUPPRESS: given before the command it must not be undone by the command's own default.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON document on stdout"
    )


def _add_catalog_actions(catalog: argparse.ArgumentParser) -> None:
    actions = catalog.add_subparsers(dest="action", metavar="list|show|add", parser_class=Parser)
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


def _add_calibration_actions(calibration: argparse.ArgumentParser) -> None:
    add_machine_options(calibration)
    calibration.add_argument("--all", action="store_true", help="of every machine, not of this one alone")
    _add_json(calibration)
    actions = calibration.add_subparsers(dest="action", metavar="add|forget", parser_class=Parser)
    add = actions.add_parser("add", help="add what llama-bench -o json (or jsonl) printed")
    add.add_argument("file", metavar="FILE|-")
    add_machine_options(add)
    _add_json(add)
    forget = actions.add_parser("forget", help="delete measurements by number, or all")
    forget.add_argument("ids", metavar="ID", nargs="*", type=_count)
    forget.add_argument("--all", dest="forget_all", action="store_true", help="of every machine; needs --yes")
    forget.add_argument("--yes", action="store_true", help="delete without asking")
    _add_json(forget)


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
