"""The groups of options that several commands share. Building them imports nothing heavy."""

from __future__ import annotations

import argparse

from llmfit.advisor.units import parse_context

GOALS = ("quality", "speed", "context", "balance")


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
    group.add_argument("--ubatch", type=positive_count, metavar="N")
    group.add_argument("--batch", type=positive_count, metavar="N")
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


def add_model(parser: argparse.ArgumentParser) -> None:
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


def add_goal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--goal", choices=GOALS, help="choose everything that is not given for this")


def add_json(parser: argparse.ArgumentParser) -> None:
    # SUPPRESS: given before the command it must not be undone by the command's own default.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON document on stdout"
    )


def positive_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


LARGEST = 1e9
"""No watt, dollar or token a second that a person means has more."""


def positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    if not number < LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not below {LARGEST:g}")
    return number
