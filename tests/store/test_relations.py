"""What runs do to one another, and what callers read beside a history."""

from __future__ import annotations

from dataclasses import replace

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import MessageTaken
from perdure_server.core.model import RunStatus, Snapshot, Update
from perdure_server.store.contract import Committed, Store
from tests.support.histories import (
    START_US,
    a_child,
    a_message,
    a_run,
    alone,
    starting,
    stepping,
)


async def test_children_stand_until_their_parent_closes(store: Store) -> None:
    run = a_run()
    opening = starting(run)
    opening.put_children = {1: a_child(run), 2: a_child(run, 2)}
    await store.commit([alone(opening)])
    change = stepping(opening.run)
    change.put_children = {2: a_child(run, 2, closed=True)}
    await store.commit([alone(change)])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.children == {1: a_child(run), 2: a_child(run, 2, closed=True)}
    closing = stepping(change.run, status=RunStatus.COMPLETED, closed_at_us=START_US)
    closing.closes = True
    closing.put_children = {3: a_child(run, 3)}
    await store.commit([alone(closing)])
    closed = await store.load_run(run.run_id)
    assert closed is not None
    assert closed.children == {}


async def test_children_are_listed_oldest_first(store: Store) -> None:
    parent = a_run(1)
    children = [a_run(number, parent_run_id=parent.run_id, parent_seq=1) for number in (2, 3, 4)]
    for run in (parent, *children, a_run(5)):
        await store.commit([alone(starting(run))])
    first = await store.list_children(parent.run_id, after="", limit=2)
    assert [each.run.run_id for each in first] == [children[0].run_id, children[1].run_id]
    rest = await store.list_children(parent.run_id, after=children[1].run_id, limit=2)
    assert [each.run.run_id for each in rest] == [children[2].run_id]
    assert await store.list_children("", after="", limit=9) == []


async def test_a_child_may_get_another_parent(store: Store) -> None:
    first, second = a_run(1), a_run(2)
    opening = starting(a_run(3, parent_run_id=first.run_id, parent_seq=1))
    await store.commit([alone(opening)])
    await store.commit([alone(stepping(opening.run, parent_run_id=second.run_id))])
    assert await store.list_children(first.run_id, after="", limit=9) == []
    (child,) = await store.list_children(second.run_id, after="", limit=9)
    assert (child.run.parent_run_id, child.run.parent_seq) == (second.run_id, 1)


async def test_an_update_keeps_its_outcome_when_it_is_no_longer_open(store: Store) -> None:
    run = a_run()
    opening = starting(run)
    asked = [Update(run.run_id, seq, "add", f"u-{seq}") for seq in (2, 3)]
    opening.put_updates = {update.seq: update for update in asked}
    await store.commit([alone(opening)])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.updates == {2: asked[0], 3: asked[1]}
    answered = replace(asked[0], outcome=b"done")
    closing = stepping(opening.run, status=RunStatus.COMPLETED, closed_at_us=START_US)
    closing.closes = True
    closing.put_updates = {2: answered}
    await store.commit([alone(closing)])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.updates == {3: asked[1]}
    assert await store.find_update(run.run_id, 2) == answered
    assert await store.find_update(run.run_id, 3) == asked[1]
    assert await store.find_update(run.run_id, 4) is None
    assert await store.find_update("nobody", 2) is None


async def test_a_snapshot_is_replaced_also_by_the_closing_change(store: Store) -> None:
    run = a_run()
    opening = starting(run)
    await store.commit([alone(opening)])
    assert await store.find_snapshot(run.run_id) is None
    change = stepping(opening.run)
    change.snapshot = Snapshot(run.run_id, b"one", 2, START_US)
    await store.commit([alone(change)])
    assert await store.find_snapshot(run.run_id) == change.snapshot
    closing = stepping(change.run, status=RunStatus.COMPLETED, closed_at_us=START_US)
    closing.closes = True
    closing.snapshot = Snapshot(run.run_id, b"two", 3, START_US + 1)
    await store.commit([alone(closing)])
    assert await store.find_snapshot(run.run_id) == closing.snapshot


async def test_what_a_run_left_goes_with_it(store: Store) -> None:
    run = a_run(status=RunStatus.COMPLETED, closed_at_us=START_US)
    opening = starting(run)
    opening.closes = True
    opening.put_updates = {1: Update(run.run_id, 1, "add", "u-1", b"done")}
    opening.snapshot = Snapshot(run.run_id, b"one", 1, START_US)
    await store.commit([alone(opening)])
    assert (
        await store.delete_closed_runs(
            "default", before_us=2**62, limit=9, max_events=9, max_bytes=999
        )
        == 1
    )
    assert await store.find_update(run.run_id, 1) is None
    assert await store.find_snapshot(run.run_id) is None


async def test_a_message_stands_until_it_is_taken_once(store: Store) -> None:
    sender, receiver = starting(a_run(1)), starting(a_run(2))
    message = a_message(sender.run)
    sender.messages = [message, a_message(sender.run, 2)]
    await store.commit([alone(sender), alone(receiver)])
    both = [message.key, (sender.run.run_id, 2), (sender.run.run_id, 3), ("nobody", 1)]
    assert await store.standing_messages(both) == set(both[:2])
    taking = Changeset([stepping(receiver.run)], taken=[message.key])
    again = Changeset([stepping(sender.run)], taken=[message.key])
    first, second = await store.commit([taking, again])
    assert isinstance(first, Committed)
    assert isinstance(second, MessageTaken)
    assert await store.standing_messages(both) == {both[1]}
    assert await store.standing_messages([]) == set()
    left = await store.read_inbox(after=None, before_us=START_US + 1, limit=9)
    assert left == [a_message(sender.run, 2)]
    state = await store.load_run(sender.run.run_id)
    assert state is not None
    assert state.run.version == sender.run.version


async def test_a_message_may_be_taken_in_the_call_that_sends_it(store: Store) -> None:
    sender = starting(a_run())
    sender.messages = [a_message(sender.run)]
    taking = Changeset(taken=[sender.messages[0].key])
    outcomes = await store.commit([alone(sender), taking])
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert await store.read_inbox(after=None, before_us=START_US + 1, limit=9) == []


async def test_a_message_is_taken_without_a_change_of_any_run(store: Store) -> None:
    sender = starting(a_run())
    sender.messages = [a_message(sender.run)]
    await store.commit([alone(sender)])
    (outcome,) = await store.commit([Changeset(taken=[sender.messages[0].key])])
    assert isinstance(outcome, Committed)
    assert await store.read_inbox(after=None, before_us=START_US + 1, limit=9) == []


async def test_a_change_and_messages_stand_or_fall_together(store: Store) -> None:
    sender = starting(a_run())
    sender.messages = [a_message(sender.run)]
    await store.commit([alone(sender)])
    stale = stepping(sender.run)
    stale.expected_version += 1
    stale.messages = [a_message(sender.run, 2)]
    await store.commit([Changeset([stale], taken=[sender.messages[0].key])])
    left = await store.read_inbox(after=None, before_us=START_US + 1, limit=9)
    assert left == sender.messages


async def test_the_inbox_is_read_in_pages_and_by_age(store: Store) -> None:
    senders = [starting(a_run(number)) for number in (1, 2)]
    for sender in senders:
        sender.messages = [
            a_message(sender.run, seq, created_at_us=START_US + seq) for seq in (1, 2, 10)
        ]
        await store.commit([alone(sender)])
    every = [message for sender in senders for message in sender.messages]
    assert await store.read_inbox(after=None, before_us=START_US + 99, limit=99) == every
    page = await store.read_inbox(after=every[1].key, before_us=START_US + 99, limit=2)
    assert page == every[2:4]
    old = await store.read_inbox(after=None, before_us=START_US + 10, limit=99)
    assert old == [each for each in every if each.seq < 10]
