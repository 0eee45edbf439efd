"""Draws the app for the docs: python tests/bench/screenshot.py [--size 160x45] [--press c,down] OUT.svg

The machine is the one of the README unless --gpu, --ram, --ram-bandwidth or --vram-free say otherwise; the
models and every number come from the catalogue and the arithmetic, nothing is staged.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from llmfit.tui.app import LlmfitApp
from llmfit.tui.live_advice import LiveAdvice
from llmfit.tui.screens.advisor import AdvisorScreen

PATIENCE_S = 120


async def wait_for_answer(app: LlmfitApp) -> None:
    """Until the answer to the last question, with what would help, stands on the screen."""
    for _ in range(PATIENCE_S * 20):
        await asyncio.sleep(0.05)
        screen = next(s for s in app.screen_stack if isinstance(s, AdvisorScreen))
        if screen.is_settled:
            return
    raise SystemExit(f"no answer within {PATIENCE_S} s")


async def draw(arguments: argparse.Namespace) -> str:
    """The screen as SVG, after the keys have been pressed one after the other."""
    columns, rows = (int(number) for number in arguments.size.split("x"))
    app = LlmfitApp(LiveAdvice(vars(arguments)))
    async with app.run_test(size=(columns, rows)) as pilot:
        await wait_for_answer(app)
        for key in filter(None, arguments.press.split(",")):
            await pilot.press(key)
            await pilot.pause(0.4)
            await wait_for_answer(app)
        await pilot.pause()
        return app.export_screenshot(title="llmfit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="160x45", help="columns x rows")
    parser.add_argument("--press", default="", help="keys by their Textual names, with commas between")
    parser.add_argument("--gpu", action="append")
    parser.add_argument("--ram", default="64GiB")
    parser.add_argument("--ram-bandwidth", default="51")
    parser.add_argument("--vram-free")
    arguments = parser.parse_args()
    arguments.gpu = arguments.gpu or ["2x RTX 3090"]
    arguments.out.write_text(asyncio.run(draw(arguments)), encoding="utf-8")


if __name__ == "__main__":
    main()
