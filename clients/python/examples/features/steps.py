"""Steps: what the worker of a workflow does beside its code, recorded before the code goes on.

python clients/python/examples/features/steps.py
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from perdure import RetryPolicy, StepError, run, workflow

SHORT = RetryPolicy(max_attempts=3, initial_interval=timedelta(milliseconds=10))


@dataclass
class Parcel:
    item: str
    grams: int


async def weigh(item: str) -> int:
    """Asks the scales, which answer at once."""
    await asyncio.sleep(0)
    return 40 * len(item)


def label(parcel: Parcel) -> Path:
    """Prints a label; not async, so it runs in a thread."""
    path = Path(tempfile.gettempdir()) / f"{parcel.item}.label"
    path.write_text(f"{parcel.item}: {parcel.grams} g\n")
    return path


def insure(parcel: Parcel) -> str:
    """Refuses what is too light to be insured."""
    raise ValueError(f"{parcel.item} is not worth it")


@workflow
async def pack(items: list[str]) -> list[str]:
    """Weighs everything at once, then prints labels one after another."""
    weights = await asyncio.gather(*(workflow.step(weigh, item) for item in items))
    told = []
    for item, grams in zip(items, weights, strict=True):
        parcel = Parcel(item, grams)
        path = await workflow.step(label, parcel, name=f"label {item}", retry=SHORT)
        told.append(path.name)
    try:
        await workflow.step(insure, Parcel(items[0], weights[0]))
    except StepError as error:
        told.append(f"not insured, {error.type}")
    return told


if __name__ == "__main__":
    for line in run(pack, ["cup", "plate"]):
        print(line)
