"""Every command proposed for fourteen machines, put to llama.cpp itself.

Run from the top of the repository, with the llama.cpp build of tests/llama_cpp/build.sh:
``python tests/bench/recommended_commands.py [MACHINE …]``. For general and coding at 32K it takes each
proposal of ``llmfit recommend --json``, lets the real llama-server parse its arguments, and asks llama.cpp
what it would allocate on fake cards of those sizes with a file of the model's header. Prints a row a proposal
and the totals; ends with 1 where anything failed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "llama_cpp"))

from llama_cpp_build import LlamaCppBuild, find_build
from memoracle import Memoracle
from proposed_commands import Checked, check_memory, parse_refusal, proposals, sparse_model

from tests.reviewed_machines import MACHINES, USES

HEAD = ("machine", "use", "model", "arguments", "deviation", "of free", "")
WIDTHS = (21, 7, 41, 9, 38, 11, 0)


def main(wanted: Sequence[str]) -> int:
    build, reason = find_build()
    if build is None:
        print(reason, file=sys.stderr)
        return 2
    unknown = sorted(set(wanted) - set(MACHINES))
    if unknown:
        print(f"no such machine: {', '.join(unknown)}. Known: {', '.join(MACHINES)}", file=sys.stderr)
        return 2
    _print(HEAD)
    checked, refused = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted or MACHINES:
            for one, refusal in _of_machine(build, name, Path(folder)):
                checked.append(one)
                refused += bool(refusal)
                _print_row(one, refusal)
    return _totals(checked, refused)


def _of_machine(build: LlamaCppBuild, name: str, folder: Path) -> Iterator[tuple[Checked, str]]:
    for use in USES:
        found = list(proposals(name, use))
        if not found:
            continue
        cards, prefix = found[0].cards, found[0].device_prefix
        with Memoracle(build, cards, prefix) as oracle:
            for proposal in found:
                argv = proposal.argv_for(folder / "not there.gguf")
                refusal = parse_refusal(build, argv, cards, prefix)
                yield check_memory(proposal, oracle, sparse_model(proposal, folder)), refusal


def _print_row(one: Checked, refusal: str) -> None:
    proposal = one.proposal
    deviations = " ".join(f"{device.name} {device.deviation:+.3%}" for device in one.devices)
    use = " ".join(f"{device.use:.1%}" for device in one.devices if device.name != "RAM")
    words = "; ".join(filter(None, (refusal, *one.failures)))
    parsed = "refused" if refusal else "parsed"
    _print((proposal.machine_name, proposal.use, proposal.name, parsed, deviations, use, words))


def _totals(checked: Sequence[Checked], refused: int) -> int:
    failed = sum(bool(one.failures) for one in checked)
    devices = [device for one in checked for device in one.devices]
    cards = [device for device in devices if device.name != "RAM"]
    worst = max((abs(device.deviation) for device in devices), default=0.0)
    print(f"\n{len(checked)} commands: {len(checked) - refused} parsed by llama-server, {refused} refused")
    print(
        f"memory asked {len(checked)} times, {failed} failures; {len(cards)} cards and "
        f"{len(devices) - len(cards)} hosts, worst deviation {worst:.4%}, "
        f"fullest card {max((device.use for device in cards), default=0.0):.1%}"
    )
    return 1 if failed or refused or not checked else 0


def _print(cells: Sequence[str]) -> None:
    print(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip(), flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
