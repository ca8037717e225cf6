"""Workflows that start and reach others, and how their golden histories came about."""

from __future__ import annotations

import asyncio

from perdure import ChildWorkflowError, ExternalWorkflowError, activity, signal, workflow
from perdure._scope import CancelScope
from tests.replay.rig import Rig

approvals = signal("approvals", str)


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def fulfil(order: str) -> str:
    return order


@workflow
async def parent_of_one(order: str) -> str:
    try:
        return await fulfil.options(id=f"fulfil-{order}")(order)
    except ChildWorkflowError as error:
        return f"{type(error).__name__} {error.status}"


@workflow
async def parent_of_many(count: int) -> list[str]:
    handles = [workflow.start_child(fulfil, str(n)) for n in range(count)]
    ends = await asyncio.gather(*(h.result() for h in handles), return_exceptions=True)
    return [end if isinstance(end, str) else type(end).__name__ for end in ends]


@workflow
async def impatient_parent(order: str) -> str:
    try:
        return await asyncio.wait_for(fulfil.options(id="fulfil")(order), timeout=30)
    except TimeoutError:
        return await charge(order)


@workflow
async def stoppable_parent(order: str) -> str:
    async with workflow.scope() as scope:
        stopping = asyncio.create_task(stop_on_approval(scope))
        await fulfil.options(id="fulfil")(order)
        stopping.cancel()
    return await charge(order) if scope.cancelled else "fulfilled"


@workflow
async def talkative_parent(order: str) -> str:
    child = workflow.start_child(fulfil, order, id="fulfil")
    await child.signal(approvals, "go")
    other = workflow.external("other", run_id="r-7")
    said = []
    for tell in (other.signal, other.cancel):
        try:
            await tell("hurry")
            said.append("yes")
        except ExternalWorkflowError:
            said.append("no")
    child.cancel("changed our mind")
    try:
        return await child.result()
    except ChildWorkflowError as error:
        return f"{error.status} {' '.join(said)}"


async def stop_on_approval(scope: CancelScope) -> None:
    await approvals.wait()
    scope.cancel()


def played(definition: object, value: object) -> Rig:
    """A rig whose first task has run."""
    rig = Rig(definition, value)
    rig.run()
    return rig


def child_completed() -> Rig:
    rig = played(parent_of_one, "o-1")
    rig.after(1).child_completed(1, "done").run()
    return rig


def child_failed() -> Rig:
    rig = played(parent_of_one, "o-1")
    rig.after(1).child_failed(1, type="ValueError", message="no").run()
    return rig


def child_not_started() -> Rig:
    """The id is in use; a signal arrives before the server says so."""
    rig = Rig(parent_of_one, "o-1")
    rig.taken.add("fulfil-o-1")
    rig.think()
    rig.signal("approvals", "early").record()
    rig.run()
    return rig


def children_in_any_order() -> Rig:
    rig = played(parent_of_many, 4)
    rig.child_completed(3, "c").child_failed(1, status=7, message="terminated").run()
    rig.child_completed(2, "b").run()
    rig.child_completed(4, "d").run()
    return rig


def child_cancelled() -> Rig:
    """The child confirms its cancellation before the activity is done."""
    rig = played(impatient_parent, "o-1")
    rig.fire(1).run()
    rig.cancel_answered(1).child_failed(1, status=6, message="cancelled").run()
    rig.after(1).complete(1, "charged o-1").run()
    return rig


def child_completed_while_cancelled() -> Rig:
    """The result arrives before the server hears of the cancellation, which then finds nobody."""
    rig = played(impatient_parent, "o-1")
    rig.fire(1).think()
    rig.after(1).child_completed(1, "late").record()
    rig.cancel_answered(1, "closed").after(1).complete(1, "charged o-1").run()
    return rig


def child_left_before_it_is_known() -> Rig:
    """The signal comes while the server starts the child, which is cancelled once it is known."""
    rig = Rig(stoppable_parent, "o-1")
    rig.think()
    rig.signal("approvals", "stop").record()
    rig.run()
    rig.cancel_answered(1).child_failed(1, status=6, message="cancelled").run()
    rig.complete(1, "charged o-1").run()
    return rig


def child_left_and_not_started() -> Rig:
    """The signal comes while the server finds that the id is in use: a stranger is left alone."""
    rig = Rig(stoppable_parent, "o-1")
    rig.taken.add("fulfil")
    rig.think()
    rig.signal("approvals", "stop").record()
    rig.run()
    rig.complete(1, "charged o-1").run()
    return rig


def cancelled_while_the_child_starts() -> Rig:
    """The parent ends before it knows of its child, whose policy says what becomes of it."""
    rig = Rig(impatient_parent, "o-1")
    rig.think()
    rig.cancel("too slow").record()
    rig.run()
    return rig


def others_told() -> Rig:
    rig = played(talkative_parent, "o-1")
    rig.signal_answered(1).run()
    rig.signal_answered(2, "there is no workflow 'other'").run()
    rig.cancel_answered(1).run()
    rig.cancel_answered(2).child_failed(1, status=6, message="cancelled").run()
    return rig


FAMILY = [
    fulfil,
    parent_of_one,
    parent_of_many,
    impatient_parent,
    stoppable_parent,
    talkative_parent,
]
FAMILY_RACES = [
    child_completed,
    child_failed,
    child_not_started,
    children_in_any_order,
    child_cancelled,
    child_completed_while_cancelled,
    child_left_before_it_is_known,
    child_left_and_not_started,
    cancelled_while_the_child_starts,
    others_told,
]
