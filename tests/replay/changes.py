"""Workflows with side effects and changes, and how their golden histories came about."""

from __future__ import annotations

from perdure import activity, signal, workflow
from tests.replay.rig import Rig

go = signal("go", str)


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def draws_lots(order: str) -> str:
    first = workflow.side_effect(lambda: 4, name="dice")
    await charge(order)
    second = workflow.side_effect(lambda: "tails")
    return f"{order}: {first} {second} {await go.wait()}"


@workflow
async def before_change(order: str) -> str:
    lot = workflow.side_effect(lambda: 1, name="lot")
    await charge(order)
    return f"{order} {lot} {await go.wait()}"


@workflow
async def changing(order: str) -> str:
    if workflow.patched("greet"):
        await go.wait()
    lot = workflow.side_effect(lambda: 1, name="lot")
    await charge(order)
    return f"{order} {lot} {await go.wait()} {workflow.patched('greet')}"


@workflow
async def change_deprecated(order: str) -> str:
    workflow.deprecate_patch("greet")
    await go.wait()
    lot = workflow.side_effect(lambda: 1, name="lot")
    await charge(order)
    return f"{order} {lot} {await go.wait()} True"


@workflow
async def change_removed(order: str) -> str:
    await go.wait()
    lot = workflow.side_effect(lambda: 1, name="lot")
    await charge(order)
    return f"{order} {lot} {await go.wait()} True"


@workflow
async def changing_late(order: str) -> str:
    lot = workflow.side_effect(lambda: 1, name="lot")
    word = await go.wait()
    if workflow.patched("late"):
        word = word.upper()
    return f"{await charge(order)} {lot} {word}"


def lots_drawn() -> Rig:
    rig = Rig(draws_lots, "o-1")
    rig.run()
    rig.after(1).complete(1, "charged").run()
    rig.signal("go", "on").run()
    return rig


def begun_before_the_change() -> Rig:
    rig = Rig(before_change, "o-1")
    rig.run()
    return _finish(rig)


def begun_with_the_change() -> Rig:
    rig = Rig(changing, "o-1")
    rig.run()
    rig.signal("go", "first").run()
    return _finish(rig)


def begun_with_the_change_deprecated() -> Rig:
    rig = Rig(change_deprecated, "o-1")
    rig.run()
    rig.signal("go", "first").run()
    return _finish(rig)


def changed_behind_a_signal() -> Rig:
    """The signal comes while a worker has the code, so it stands before the first commands."""
    rig = Rig(changing_late, "o-1")
    rig.think()
    rig.signal("go", "on").record().run()
    rig.after(1).complete(1, "charged").run()
    return rig


def _finish(rig: Rig) -> Rig:
    rig.after(1).complete(1, "charged").run()
    rig.signal("go", "on").run()
    return rig


CHANGES = [draws_lots, before_change, changing, change_deprecated, changing_late]
CHANGE_RACES = [
    lots_drawn,
    begun_before_the_change,
    begun_with_the_change,
    begun_with_the_change_deprecated,
    changed_behind_a_signal,
]
