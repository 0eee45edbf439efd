"""``llmfit``: arguments in, exit code out. Each command is a module of its own, imported when asked for.

Exit codes: 0 done, 1 it failed or the answer is no, 2 wrong usage or input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from llmfit import __version__
from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.tui.cli import options
from llmfit.tui.cli.output import print_error

EXIT_INTERRUPTED = 128 + signal.SIGINT


class _Parser(argparse.ArgumentParser):
    """argparse that reports wrong usage as the one line every llmfit error is."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(self.prog.removeprefix("llmfit ") or "llmfit", message, f"See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; never raises for anything a user did."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        return _run(arguments)
    except LlmfitError as error:
        print_error(error, as_json)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (head, less): nothing is wrong, but the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RecursionError:
        print_error(LlmfitError("input", "nested too deeply"), as_json)
        return 1
    except OSError as error:
        what = str(error.filename) if error.filename else "llmfit"
        print_error(LlmfitError(what, (error.strerror or str(error)).lower()), as_json)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; building it imports nothing heavy."""
    parser = _Parser(
        prog="llmfit",
        description="Which language model fits this computer with llama.cpp, and with which flags. "
        "Without a command it opens the app.",
    )
    parser.add_argument("--version", action="version", version=f"llmfit {__version__}")
    options.add_machine_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    options.add_commands(commands)
    return parser


def _run(arguments: list[str]) -> int:
    parsed = build_parser().parse_args(arguments)
    if parsed.command is None:
        return int(import_module("llmfit.tui.app").run_app(parsed))
    return int(import_module(f"llmfit.tui.cli.{parsed.command}").run(parsed))


if __name__ == "__main__":
    sys.exit(main())
