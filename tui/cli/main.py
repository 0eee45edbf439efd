"""``llmfit``: arguments in, exit code out. Each command is a module of its own, imported when asked for.

The exit code is 0 for an answer, 1 for a failure or a no, 2 for a mistake of the caller and 130 for Ctrl-C.

This module imports next to nothing before ``main`` runs, so that an interrupt at any time ends quietly.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
ENDING_SIGNALS = ("SIGTERM", "SIGHUP")
"""Sent by a service manager, a closed terminal or kill."""
GC_THRESHOLD = 50_000
"""A command makes a hundred thousand small objects and ends: looking for cycles among them every 700 costs a
tenth of its time."""


def entry() -> int:
    """The console script: ``main`` with a lazier garbage collector, ended in order by SIGTERM and SIGHUP."""
    gc.set_threshold(GC_THRESHOLD)
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, _end_in_order)
    return main()


def _end_in_order(number: int, _frame: object) -> NoReturn:
    """Without this nothing that is to happen at the end would: programs that were started would stay."""
    sys.exit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; never raises for anything a user did."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        from llmfit.tui.cli import output

        output.prepare_streams()
        exit_code = _answer(arguments)
        output.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        return _output_lost(error)
    return exit_code


def _answer(arguments: list[str]) -> int:
    """One command; what it raises becomes one line and an exit code. Raises OSError where printing fails."""
    from llmfit.advisor.errors import LlmfitError
    from llmfit.tui.cli import output

    as_json = "--json" in arguments
    try:
        return _run_with_notes(arguments, as_json)
    except LlmfitError as error:
        output.print_error(error, as_json)
        return error.exit_code
    except OSError as error:
        if output.is_lost(error):
            raise
        what = str(error.filename) if error.filename else "llmfit"
        output.print_error(LlmfitError(what, (error.strerror or str(error)).lower()), as_json)
    except RecursionError:
        output.print_error(LlmfitError("input", "nested too deeply"), as_json)
    except Exception as error:  # noqa: BLE001 the last resort: a bug of ours must not print its insides
        output.print_error(output.internal_error(error), as_json)
    return EXIT_FAILED


def _run_with_notes(arguments: list[str], as_json: bool) -> int:
    """The command; then, for people, which of their own rows could not be read. An error stays one line."""
    exit_code = _run(arguments)
    if not as_json:
        from llmfit.tui.cli import output
        from llmfit.tui.own_rows import notes_of_this_run

        output.print_notes(notes_of_this_run())
    return exit_code


def _run(arguments: list[str]) -> int:
    from importlib import import_module

    from llmfit.tui.cli.options import parse_arguments

    parsed = parse_arguments(arguments)
    if parsed.command is None:
        return int(import_module("llmfit.tui.app").run_app(parsed))
    return int(import_module(f"llmfit.tui.cli.{parsed.command}").run(parsed))


def _output_lost(error: OSError) -> int:
    """Nobody reads stdout any more (``| head``), or it cannot be written (a full disk)."""
    import os

    # The interpreter flushes stdout again at its end: give it a place that takes everything.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return 0
    sys.stderr.write(f"llmfit: error: output: {(error.strerror or str(error)).lower()}.\n")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(entry())
