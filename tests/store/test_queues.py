"""Depths of queues: what waits, what is held, and since when something could have been taken."""

from __future__ import annotations

from perdure_server.core.model import TaskKind
from perdure_server.store.contract import ClaimRequest, QueueDepth, Store
from tests.support.histories import START_US, a_run, a_task, alone, starting

WORK = TaskKind.ACTIVITY


async def put(store: Store, number: int, *tasks: dict[str, object], **columns: object) -> None:
    run = a_run(number, **columns)
    rows = [a_task(run, seq, **task) for seq, task in enumerate(tasks)]  # type: ignore[arg-type]
    await store.commit([alone(starting(run, *rows))])


async def test_a_namespace_without_tasks_has_no_queues(store: Store) -> None:
    await put(store, 1, {}, namespace="other")
    await put(store, 2)
    assert await store.queue_depths("default", START_US) == []


async def test_tasks_are_counted_by_queue_kind_and_holder(store: Store) -> None:
    await put(store, 1, {}, {"kind": WORK}, {"kind": WORK}, {"kind": WORK, "queue": "mail"})
    polled = {"kind": WORK, "session_id": "", "leased_at_us": START_US}
    await put(store, 2, {"session_id": "s", "lease": 1}, polled)
    await put(store, 3, {}, namespace="other")
    assert await store.queue_depths("default", START_US) == [
        QueueDepth("mail", 0, 0, 1, 0, START_US),
        QueueDepth("shop", 1, 1, 2, 1, START_US),
    ]


async def test_what_backs_off_is_pending_and_not_ready(store: Store) -> None:
    await put(store, 1, {"ready_at_us": START_US + 5}, {"kind": WORK, "ready_at_us": START_US + 9})
    (before,) = await store.queue_depths("default", START_US + 4)
    assert (before.pending_workflow_tasks, before.pending_activities) == (1, 1)
    assert before.ready_since_us is None
    (after,) = await store.queue_depths("default", START_US + 5)
    assert after.ready_since_us == START_US + 5


async def test_the_longest_waiting_of_all_kinds_and_types_tells_since_when(store: Store) -> None:
    await put(store, 1, {"ready_at_us": START_US + 7})
    await put(store, 2, {"kind": WORK, "ready_at_us": START_US + 3, "type": "z", "priority": 5})
    await put(store, 3, {"kind": WORK, "ready_at_us": START_US + 1, "session_id": "s"})
    (depth,) = await store.queue_depths("default", START_US + 9)
    assert depth.ready_since_us == START_US + 3


async def test_a_claim_moves_a_task_from_pending_to_running(store: Store) -> None:
    await put(store, 1, {})
    run = a_run(1)
    claim = ClaimRequest(a_task(run).lane, 1, "session", "worker")
    await store.claim_tasks([claim], START_US)
    assert await store.queue_depths("default", START_US) == [QueueDepth("shop", 0, 1, 0, 0, None)]


async def test_what_a_paused_run_keeps_from_workers_is_pending_and_not_ready(store: Store) -> None:
    run = a_run(1)
    rows = [a_task(run, 0).held_back(), a_task(run, 1, kind=WORK).held_back()]
    await store.commit([alone(starting(run, *rows))])
    assert await store.queue_depths("default", START_US) == [QueueDepth("shop", 1, 0, 1, 0, None)]


async def test_queues_come_by_name(store: Store) -> None:
    names = ["zoo", "Äpfel", "a", "\U0001f600", "shop"]
    for number, name in enumerate(names, 1):
        await put(store, number, {"queue": name})
    depths = await store.queue_depths("default", START_US)
    assert [depth.queue for depth in depths] == ["a", "shop", "zoo", "Äpfel", "\U0001f600"]
