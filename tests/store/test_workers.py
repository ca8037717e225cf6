"""Workers: what is kept of them, for how long, and what others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from perdure_server.core.model import Worker
from perdure_server.store.contract import Heard, ListedWorker, Store
from tests.support.histories import START_US, a_run, a_task, alone, starting

NOW_US = START_US + 1_000
NOBODY: list[tuple[str, str]] = []


def a_worker(number: int = 1, **columns: object) -> Worker:
    worker = Worker(
        worker_id=f"worker-{number}",
        server_id="",
        namespace="default",
        queue="shop",
        info=b"\x00info",
        any_type=False,
        heard_at_us=NOW_US,
        until_us=NOW_US + 90,
    )
    return replace(worker, **columns)  # type: ignore[arg-type]


def by_id(workers: Iterable[Worker]) -> list[Worker]:
    return sorted(workers, key=lambda worker: (worker.worker_id, worker.server_id))


async def registered(store: Store) -> list[Worker]:
    return by_id(await store.registered_workers())


async def listed(store: Store, queue: str | None = None, now_us: int = NOW_US) -> list[str]:
    found = await store.list_workers("default", queue=queue, now_us=now_us)
    return [each.worker_id for each in by_id(row.worker for row in found)]


async def test_what_is_put_is_found(store: Store) -> None:
    await store.put_workers([])
    workers = [a_worker(1), a_worker(2, any_type=True, info=b"")]
    await store.put_workers(workers)
    assert await registered(store) == workers
    assert by_id(await store.find_workers(["worker-2", "nobody", "worker-1"])) == workers
    assert await store.find_workers(["nobody"]) == []
    assert await store.find_workers([]) == []


async def test_putting_again_replaces(store: Store) -> None:
    await store.put_workers([a_worker()])
    other = a_worker(namespace="n", queue="q", info=b"i", any_type=True, until_us=NOW_US + 91)
    await store.put_workers([replace(other, heard_at_us=NOW_US - 5)])
    assert await registered(store) == [other]
    await store.put_workers([replace(other, until_us=NOW_US)])
    assert await registered(store) == [other]


async def test_a_word_moves_the_end_on_and_never_back(store: Store) -> None:
    await store.put_workers([a_worker(1), a_worker(2)])
    await store.hear_workers([])
    await store.hear_workers(
        [
            Heard("worker-1", NOW_US + 5, NOW_US + 95),
            Heard("worker-2", NOW_US - 5, NOW_US + 85),
            Heard("nobody", NOW_US, NOW_US + 90),
        ]
    )
    first = a_worker(1, heard_at_us=NOW_US + 5, until_us=NOW_US + 95)
    assert await registered(store) == [first, a_worker(2)]


async def test_what_is_deleted_is_gone_and_so_are_the_silent(store: Store) -> None:
    workers = [a_worker(number, until_us=NOW_US + number) for number in range(1, 6)]
    await store.put_workers(workers)
    await store.delete_workers([("worker-5", ""), ("worker-4", "x"), ("n", "")], silent_us=0)
    assert await registered(store) == workers[:4]
    await store.delete_workers(NOBODY, silent_us=NOW_US + 2)
    assert await registered(store) == workers[2:4]
    await store.delete_workers([("worker-4", "")], silent_us=NOW_US + 3)
    assert await registered(store) == []


async def test_lists_are_of_a_namespace_or_of_a_queue(store: Store) -> None:
    await store.put_workers(
        [
            a_worker(1),
            a_worker(2, queue="other"),
            a_worker(3, namespace="other"),
            a_worker(4, until_us=NOW_US),
        ]
    )
    assert await listed(store) == ["worker-1", "worker-2"]
    assert await listed(store, "shop") == ["worker-1"]
    assert await listed(store, "") == []
    assert await listed(store, now_us=NOW_US - 1) == ["worker-1", "worker-2", "worker-4"]
    assert await listed(store, now_us=NOW_US + 90) == []


async def test_a_list_counts_what_sessions_hold(store: Store) -> None:
    for number, session in enumerate(["worker-1", "worker-1", "worker-3", None], 1):
        task = a_task(a_run(number), session_id=session, lease=1)
        await store.commit([alone(starting(a_run(number), task))])
    workers = [a_worker(1), a_worker(2)]
    await store.put_workers(workers)
    found = await store.list_workers("default", queue=None, now_us=NOW_US)
    assert sorted(found, key=lambda row: row.worker.worker_id) == [
        ListedWorker(workers[0], 2),
        ListedWorker(workers[1], 0),
    ]


async def test_writers_that_meet_do_not_lose_a_worker(store: Store) -> None:
    workers = [a_worker(number) for number in range(20)]
    words = [Heard(worker.worker_id, NOW_US + 7, NOW_US + 97) for worker in workers]
    await asyncio.gather(
        *(store.put_workers(workers[::step]) for step in (1, -1, 1, -1)),
        *(store.hear_workers(words[::step]) for step in (1, -1, 1, -1)),
        *(store.delete_workers(NOBODY, silent_us=NOW_US) for _ in range(4)),
    )
    await store.hear_workers(words)
    assert {(row.heard_at_us, row.until_us) for row in await registered(store)} == {
        (NOW_US + 7, NOW_US + 97)
    }
    assert len(await registered(store)) == 20


async def test_workers_outlive_the_server(disk: Callable[[], Store]) -> None:
    store = disk()
    await store.open()
    await store.put_workers([a_worker()])
    await store.close()
    again = disk()
    await again.open()
    assert await registered(again) == [a_worker()]
    await again.close()
