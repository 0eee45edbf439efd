"""Prints how long a first recommendation takes, and how long another context takes after it.

Run from the top of the repository: ``python tests/bench/context_change.py [RUNS]``. Every run is a new
process for each machine, so that each context is asked for the first time but for the last, which comes back.
Three rows a machine: ``recommend`` without the imports; the app, from the change of the question to the new
rows, each context as soon as the one before is shown; and the app where it stood still before, so that it had
answered the other contexts in advance. Milliseconds, median (min); what else the computer does is in them. No
pass, no fail.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
MACHINES: Mapping[str, Mapping[str, object]] = {
    "2x RTX 3090, 64 GiB": {"gpu": ["2x RTX 3090"], "ram": "64GiB", "ram_bandwidth": "51"},
    "RTX 4070, 64 GiB": {"gpu": ["RTX 4070"], "ram": "64GiB", "ram_bandwidth": "60"},
    "M4 Max, 128 GB": {"gpu": ["M4 Max 128GB"]},
    "CPU, 32 GiB": {"gpu": ["none"], "ram": "32GiB", "ram_bandwidth": "50"},
}
CONTEXTS_TOKENS = (32768, 16384, 65536, 8192, 131072, 32768)
WAYS = ("recommend", "app", "app, idle")
APP_SIZE = (160, 45)
POLL_S = 0.004
IDLE_S = 60.0
"""The longest that the app is given to answer in advance."""


def main() -> None:
    if len(sys.argv) > 2:
        way, machine = sys.argv[1:]
        gc.set_threshold(50_000)  # as the command line and the app set it
        print(
            json.dumps(_recommend(machine) if way == WAYS[0] else asyncio.run(_app(machine, way == WAYS[2])))
        )
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print(f"{'':32}" + "".join(f"{tokens // 1024:>10}K " for tokens in CONTEXTS_TOKENS))
    for machine in MACHINES:
        for way in WAYS:
            measured = [_in_new_process(way, machine) for _ in range(runs)]
            print(f"{machine + ': ' + way:32}" + "".join(map(_cell, zip(*measured, strict=True))), flush=True)


def _cell(times_ms: Sequence[float]) -> str:
    return f"{sorted(times_ms)[len(times_ms) // 2]:6.0f} ({min(times_ms):3.0f})".rjust(12)


def _in_new_process(way: str, machine: str) -> list[float]:
    command = (sys.executable, __file__, way, machine)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def _recommend(machine: str) -> list[float]:
    from llmfit.tui.live_advice import PICKS
    from llmfit.tui.session import machine_from, recommendations_for

    described, times_ms = machine_from(MACHINES[machine]), []
    for tokens in CONTEXTS_TOKENS:
        started = time.perf_counter()
        recommendations_for(described, "general", context_tokens=tokens, limit=PICKS)
        times_ms.append(1e3 * (time.perf_counter() - started))
    return times_ms


async def _app(machine: str, idle: bool) -> list[float]:
    from llmfit.tui.app import SWITCH_INTERVAL_S, LlmfitApp
    from llmfit.tui.live_advice import LiveAdvice, other_contexts
    from llmfit.tui.screens.advisor import AdvisorScreen
    from llmfit.tui.widgets.picks_table import PicksTable

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    advice, times_ms = LiveAdvice(MACHINES[machine]), []
    app = LlmfitApp(advice)
    async with app.run_test(size=APP_SIZE) as pilot:
        screen = next(one for one in app.screen_stack if isinstance(one, AdvisorScreen))
        while not screen.is_settled:
            await pilot.pause(0.01)
        if idle:
            ends = time.monotonic() + IDLE_S
            while len(advice._answers) <= len(other_contexts(None)) and time.monotonic() < ends:
                await asyncio.sleep(0.05)
        for tokens in CONTEXTS_TOKENS:
            before = screen.query_one(PicksTable).picks
            started = time.perf_counter()
            screen.change(context_tokens=tokens)
            while screen.query_one(PicksTable).picks is before:
                await asyncio.sleep(POLL_S)
            times_ms.append(1e3 * (time.perf_counter() - started))
            await pilot.pause()
    return times_ms


if __name__ == "__main__":
    main()
