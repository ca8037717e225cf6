"""A parcel service: one workflow ships an order, with a child for each parcel.

    python clients/python/examples/children.py

It needs no server: the engine runs inside of this process.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from perdure import (
    ChildWorkflowError,
    Client,
    WorkerOptions,
    activity,
    signal,
    workflow,
)


@dataclass
class Parcel:
    order: str
    number: int


customs = signal("customs", bool)


@activity
async def load(parcel: Parcel) -> str:
    return f"{parcel.order}/{parcel.number} is on its way"


@workflow
async def ship(parcel: Parcel) -> str:
    """Ships one parcel once customs have let it go."""
    if not await customs.wait():
        raise ValueError(f"parcel {parcel.number} was refused")
    return await load(parcel)


@workflow
async def ship_order(order: str) -> list[str]:
    """Ships the parcels of an order, each as a child; what fails for one is told, not lost."""
    parcels = [
        workflow.start_child(ship, Parcel(order, number), id=f"{order}-{number}")
        for number in (1, 2, 3)
    ]
    for number, parcel in enumerate(parcels):
        await parcel.signal(customs, number != 1)
    said = []
    for parcel in parcels:
        try:
            said.append(await parcel.result())
        except ChildWorkflowError as error:
            said.append(f"{parcel.workflow_id}: {error.type}: {error.failure.message}")
    return said


async def main(path: Path) -> list[str]:
    workers = [WorkerOptions("parcels", [ship, ship_order], [load])]
    async with Client.embedded(path, workers=workers) as client:
        handle = await client.start(ship_order, "o-1", id="o-1", task_queue="parcels")
        said = await handle.result()
        children = [child.workflow_id async for child in handle.children()]
        return [*said, f"children: {', '.join(children)}"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for line in asyncio.run(main(Path(folder) / "parcels.db")):
            print(line)
