"""Runs one step of the overlay inside a namespace: `python -m tests.live.overlay_driver STEP`, its input on stdin.

A process of its own for each step, as a daemon that is gone right after.
"""

import sys

import msgspec
import trio

from node.overlay import Overlay
from node.plan.overlay_model import OverlayConfig
from tests.node.overlay.contract import check_contract


async def main() -> None:
    """Carry the step out and print the report."""
    overlay = Overlay()
    match sys.argv[1]:
        case "apply":
            report: object = await overlay.apply(
                msgspec.json.decode(sys.stdin.buffer.read(), type=OverlayConfig | None)
            )
        case "inspect":
            report = await overlay.inspect()
        case "probe":
            report = await overlay.probe("10.42.0.0/16", 51820)
        case "contract":
            config = msgspec.json.decode(sys.stdin.buffer.read(), type=OverlayConfig)
            await check_contract(overlay, config)
            report = "kept"
        case "watch":
            report = await wakes(overlay)
        case step:
            raise SystemExit(f"no step {step}")
    sys.stdout.buffer.write(msgspec.json.encode(report))


async def wakes(overlay: Overlay) -> int:
    """Print `ready`, count how often the watch wakes until stdin ends."""
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    async with trio.open_nursery() as nursery:
        await nursery.start(overlay.watch, wake)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read)
        with trio.move_on_after(1):
            while not woken:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return woken


if __name__ == "__main__":
    trio.run(main)
