"""Starts a server and a worker of the orders, to play with: `make run`. Ctrl-C stops both."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from processes import HERE, Processes, StartError

WHAT_NEXT = """\
Perdure serves on {address}, data in {data}; a worker takes orders. Ctrl-C stops both.

In a second terminal:

    {perdure} workflow start fulfil --id order-1 --task-queue orders --input @{order}
    {perdure} workflow describe order-1
    {perdure} workflow signal order-1 packed --input '"Ada"'
    {perdure} workflow result order-1
    {perdure} workflow history order-1
    {perdure} workflow list

Or over REST, on {http}, in a browser too:

    curl http://{http}/api/v1/workflows/order-1
    curl -N http://{http}/api/v1/workflows/order-1/events/stream

The order waits two minutes for the signal. Stop this in between, or kill it, and start it again:
the order goes on where it was.
"""


async def main() -> int:
    """Runs both until it is told to stop, or until one ends by itself; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".perdure"), help="[.perdure]")
    parser.add_argument("--grpc", default="127.0.0.1:7766", metavar="HOST:PORT")
    parser.add_argument("--http", default="127.0.0.1:8080", metavar="HOST:PORT")
    arguments = parser.parse_args()
    processes = Processes(arguments.data, arguments.grpc, http=arguments.http)
    running = asyncio.create_task(run(processes, arguments.data))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        print(await running, file=sys.stderr)
    except StartError as error:
        print(error, file=sys.stderr)
    except asyncio.CancelledError:
        return 0
    finally:
        await processes.stop()
    return 1


async def run(processes: Processes, data: Path) -> str:
    """Starts both and says what to type next; returns what went wrong, if one ever ends."""
    await processes.start_server()
    await processes.start_worker()
    perdure = _near(Path(sys.executable).with_name("perdure"))
    if processes.address != "127.0.0.1:7766":
        perdure = f"PERDURE_ADDRESS={processes.address} {perdure}"
    order = _near(HERE / "order.json")
    told = {"address": processes.address, "http": processes.http, "data": data}
    print(WHAT_NEXT.format(**told, perdure=perdure, order=order), flush=True)
    return f"{await processes.ended()} has ended by itself"


def _near(path: Path) -> str:
    """The path as it is best typed here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
