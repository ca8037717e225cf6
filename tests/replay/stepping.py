"""Workflows with steps, and how their golden histories came about."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import StepError, activity, signal, workflow
from tests.replay.rig import Rig

go = signal("go", str)


async def look_up(order: str) -> int:
    return len(order)


def wrap(order: str) -> str:
    return f"<{order}>"


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def packs(order: str) -> str:
    """Steps one after another, beside one another and beside an activity; one fails."""
    price = await workflow.step(look_up, order)
    charged, one, two = await asyncio.gather(
        charge(order),
        workflow.step(wrap, order),
        workflow.step(lambda: price + 1, name="next"),
    )
    try:
        await workflow.step(wrap, order, name="broken")
    except StepError as error:
        return f"{charged} {one} {two} {error.step} {error.attempt} {error.type}"
    return "not reached"


@workflow
async def gives_up(order: str) -> str:
    """A wait for a step that is given up, and a step that is cancelled before it is begun."""
    told = []
    try:
        async with asyncio.timeout(2):
            await workflow.step(wrap, order, name="slow")
    except TimeoutError:
        told.append("late")
    waiting = asyncio.ensure_future(workflow.step(wrap, order, name="never"))
    await asyncio.sleep(0)
    waiting.cancel()
    told.append(await workflow.step(wrap, order, name="quick"))
    told.append(await go.wait())
    return " ".join(told)


@workflow
async def asked_to_end(order: str) -> str:
    """Is cancelled while a step runs, and runs another one on its way out."""
    try:
        return await workflow.step(wrap, order)
    except asyncio.CancelledError:
        return await workflow.step(wrap, order, name="undo")


@workflow
async def naps_between(order: str) -> str:
    first = await workflow.step(wrap, order, name="first")
    await workflow.sleep(timedelta(seconds=3))
    return first + await workflow.step(wrap, order, name="second")


def packed() -> Rig:
    rig = Rig(packs, "o-1")
    rig.run()
    rig.after(1).step_ended(1, 3).run()
    rig.after(1).step_ended(3, 4).run()
    rig.complete(1, "charged").run()
    rig.step_ended(2, "<o-1>").run()
    rig.after(1).step_failed(4, "no", type="ValueError").run()
    return rig


def given_up() -> Rig:
    rig = Rig(gives_up, "o-1")
    rig.run()
    rig.fire(1).run()
    rig.after(1).step_ended(1, "<o-1>").run()
    rig.step_ended(2, "<o-1>").run()
    rig.signal("go", "on").run()
    return rig


def ended_on_request() -> Rig:
    rig = Rig(asked_to_end, "o-1")
    rig.run()
    rig.after(1).cancel().run()
    rig.after(1).step_ended(1, "<o-1>").step_ended(2, ">o-1<").run()
    return rig


def napped_between() -> Rig:
    rig = Rig(naps_between, "o-1")
    rig.run()
    rig.after(1).step_ended(1, "<o-1>").run()
    rig.fire(1).run()
    rig.signal("go", "unseen").step_ended(2, "<o-2>").run()
    return rig


STEPPING = [packs, gives_up, asked_to_end, naps_between]
STEP_RACES = [packed, given_up, ended_on_request, napped_between]
