"""Every option of the command line in one place. Building it imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from llmfit import __version__
from llmfit.advisor.errors import UsageError
from llmfit.advisor.units import parse_context
from llmfit.tui.cli.option_groups import (
    add_goal,
    add_json,
    add_machine_options,
    add_model,
    add_setting_options,
    positive_count,
    positive_float,
)
from llmfit.tui.cli.options_advice import add_advice_commands

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
    add_json(parser)
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
    add_json(hardware)

    models = commands.add_parser("models", help="the GGUF files on this machine")
    models.add_argument("filter", nargs="?", default="", help="only names that contain this")
    models.add_argument(
        "--folder", action="append", default=[], metavar="DIR", help="look there as well; repeatable"
    )
    add_json(models)

    doctor = commands.add_parser("doctor", help="everything for a bug report, each finding with its fix")
    add_machine_options(doctor)
    add_json(doctor)

    _add_recommend(commands.add_parser("recommend", help="the few models worth running here"))

    estimate = commands.add_parser("estimate", help="memory per device, verdict, speed and command line")
    add_model(estimate)
    add_goal(estimate)
    add_machine_options(estimate)
    add_setting_options(estimate)
    estimate.add_argument(
        "--jsonl", action="store_true", help="many at once: JSON objects on stdin, an answer for each"
    )
    estimate.add_argument(
        "--explain", action="store_true", default=None, help="how the speed adds up, term by term"
    )
    add_json(estimate)

    command = commands.add_parser("command", help="just the llama-server command line")
    add_model(command)
    add_goal(command)
    add_machine_options(command)
    add_setting_options(command)
    add_json(command)

    add_advice_commands(commands)

    catalog = commands.add_parser("catalog", help="lists, shows and adds models")
    _add_catalog_actions(catalog)

    calibration = commands.add_parser("calibration", help="speeds measured here, and what they changed")
    _add_calibration_actions(calibration)


def _add_recommend(recommend: argparse.ArgumentParser) -> None:
    add_machine_options(recommend)
    recommend.add_argument("--use-case", choices=USE_CASES, help="default: general")
    recommend.add_argument("--context", type=parse_context, metavar="N", help="tokens, also 32k")
    recommend.add_argument(
        "--min-tps", type=positive_float, metavar="N", help="slowest decode to accept, tok/s"
    )
    recommend.add_argument("--license", metavar="NAME", help="only models under this licence: apache-2.0")
    recommend.add_argument("--family", metavar="NAME", help="only models of this family, e.g. Qwen")
    recommend.add_argument("--limit", type=positive_count, metavar="N", help="rows (5)")
    recommend.add_argument(
        "--tiers", action="store_true", help="the first choice by use for usual machines of 12 to 128 GB"
    )
    add_json(recommend)


def _add_catalog_actions(catalog: argparse.ArgumentParser) -> None:
    actions = catalog.add_subparsers(dest="action", metavar="list|show|add", parser_class=Parser)
    listing = actions.add_parser("list", help="all models known")
    listing.add_argument("filter", nargs="?", default="", help="only names that contain this")
    add_json(listing)
    show = actions.add_parser("show", help="one model with its sources")
    show.add_argument("model", metavar="MODEL")
    add_json(show)
    add = actions.add_parser("add", help="add a model from a GGUF header")
    add.add_argument("model", metavar="FILE.gguf|hf:OWNER/REPO[:QUANT]")
    add.add_argument("--id", metavar="NAME", help="the id to add it under (default: from the header)")
    add.add_argument("--force", action="store_true", help="replace an entry of the same id")
    add_json(add)
    add_json(catalog)


def _add_calibration_actions(calibration: argparse.ArgumentParser) -> None:
    add_machine_options(calibration)
    calibration.add_argument("--all", action="store_true", help="of every machine, not of this one alone")
    add_json(calibration)
    actions = calibration.add_subparsers(dest="action", metavar="add|forget", parser_class=Parser)
    add = actions.add_parser("add", help="add what llama-bench -o json (or jsonl) printed")
    add.add_argument("file", metavar="FILE|-")
    add_machine_options(add)
    add_json(add)
    forget = actions.add_parser("forget", help="delete measurements by number, or all")
    forget.add_argument("ids", metavar="ID", nargs="*", type=positive_count)
    forget.add_argument("--all", dest="forget_all", action="store_true", help="of every machine; needs --yes")
    forget.add_argument("--yes", action="store_true", help="delete without asking")
    add_json(forget)
