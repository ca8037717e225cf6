"""Fulfils 300 orders while their worker and their server are killed with -9: `make demo`.

Ends with a table, and with exit code 0 only if every order came to its right end exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from time import monotonic

from audit import Finding, examine
from processes import Processes
from rich.console import Console
from rich.table import Table
from shop import Order, Outcome, is_broken, load_orders, packed
from workflows import fulfil

from perdure import Client, WorkflowHandle
from perdure.errors import WorkflowClosedError

LIMIT_S = 120
PACKED_PER_SECOND = 30
PACKERS = ("Ada", "Grace", "Ken")


class Progress:
    """Counts the orders that have ended, and says what happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = monotonic()
        self._ended = 0
        self._changed = asyncio.Condition()

    async def count(self) -> None:
        """Notes that one more order has ended."""
        async with self._changed:
            self._ended += 1
            self._changed.notify_all()

    async def reaches(self, number: int) -> None:
        """Waits until so many orders have ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended >= number)

    def say(self, text: str) -> None:
        """Prints a line, with the time and the count."""
        seconds = monotonic() - self._began
        self._console.print(f"[dim]{seconds:5.1f} s  {self._ended:3d} ended[/]  {text}")


async def main() -> int:
    """Runs the demonstration; returns the exit code."""
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="perdure-orders-") as folder:
        log = Path(folder, "complaints.log")
        processes = Processes(Path(folder), "127.0.0.1:0", log)
        try:
            async with asyncio.timeout(LIMIT_S):
                findings = await fulfil_all(load_orders(), processes, Progress(console))
        except Exception:
            console.print("The demonstration broke; the processes said:", _text(log), markup=False)
            raise
        finally:
            await processes.stop()
    console.print(table_of(findings))
    faults = [fault for finding in findings for fault in finding.faults]
    for fault in faults:
        console.print(f"[red]{fault}[/]")
    console.print(
        f"[red]{len(faults)} faults[/]"
        if faults
        else "[green]Every order came to its right end, and no step counted twice.[/]"
    )
    return 1 if faults else 0


async def fulfil_all(
    orders: list[Order], processes: Processes, progress: Progress
) -> list[Finding]:
    """Starts every order, causes trouble, waits for all; returns what the audit finds."""
    progress.say(f"server {await processes.start_server()} serves on {processes.address}")
    progress.say(f"worker {await processes.start_worker()} works")
    async with Client.connect(processes.address) as client:
        starts = [client.start(fulfil, order, id=order.id) for order in orders]
        handles = await asyncio.gather(*starts)
        progress.say(f"{len(handles)} orders are started; from here on, none may be lost")
        async with asyncio.TaskGroup() as group:
            group.create_task(pack(orders, handles))
            group.create_task(cause_trouble(len(orders), processes, progress))
            ends = [group.create_task(end_of(handle, progress)) for handle in handles]
        progress.say("every order has ended")
        histories = await asyncio.gather(*(handle.history() for handle in handles))
    outcomes = [end.result() for end in ends]
    return list(map(examine, orders, outcomes, histories))


async def pack(orders: list[Order], handles: list[WorkflowHandle[Outcome]]) -> None:
    """Packs like a warehouse: express orders first, the rest as they come, broken ones never."""
    luck = Random(1)
    boxes = [box for box in zip(orders, handles, strict=True) if not is_broken(box[0])]
    boxes.sort(key=lambda box: (box[0].delivery != "express", luck.random()))
    for _, handle in boxes:
        # Its card may have been refused meanwhile; then the order has ended, and this comes late.
        with contextlib.suppress(WorkflowClosedError):
            await handle.signal(packed, luck.choice(PACKERS))
        await asyncio.sleep(1 / PACKED_PER_SECOND)


async def cause_trouble(orders: int, processes: Processes, progress: Progress) -> None:
    """Kills the worker after a third of the orders, and the server after two thirds."""
    await progress.reaches(orders // 3)
    await processes.kill_worker()
    progress.say("[bold red]kill -9[/] the worker, with its steps half done")
    progress.say(f"worker {await processes.start_worker()} works; after 10 s it gets those steps")
    await progress.reaches(orders * 2 // 3)
    await processes.kill_server()
    progress.say("[bold red]kill -9[/] the server; the worker goes on with the steps it has")
    progress.say(f"server {await processes.start_server()} serves, from what is on disk")


async def end_of(handle: WorkflowHandle[Outcome], progress: Progress) -> Outcome:
    """Waits until an order has ended, whatever becomes of worker and server."""
    outcome = await handle.result()
    await progress.count()
    return outcome


def table_of(findings: list[Finding]) -> Table:
    """Makes the table of what the histories add up to."""
    states = Counter(finding.state for finding in findings)
    charges = Counter(finding.charges for finding in findings)
    table = Table(title="What the histories show", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_row("orders", f"{len(findings):,}")
    table.add_row("completed", f"{states['shipped']:,}")
    table.add_row("compensated", f"{states['compensated']:,}")
    table.add_section()
    table.add_row("activity attempts", f"{sum(finding.attempts for finding in findings):,}")
    table.add_row("recorded results", f"{sum(finding.results for finding in findings):,}")
    table.add_section()
    table.add_row("charged exactly once", f"{charges[1]:,}")
    table.add_row("never charged, as the card was refused", f"{charges[0]:,}")
    table.add_row("charged more than once", f"{charges.total() - charges[1] - charges[0]:,}")
    table.add_section()
    table.add_row("money taken", _money(sum(finding.taken_cents for finding in findings)))
    table.add_row("money given back", _money(sum(finding.returned_cents for finding in findings)))
    table.add_row("worth of what was shipped", _money(sum(f.shipped_cents for f in findings)))
    return table


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else "nothing"


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except asyncio.CancelledError:
        sys.exit("The demonstration was stopped.")
