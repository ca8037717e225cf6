"""Workers that are connected to servers: whose they are, and when they are gone."""

from __future__ import annotations

from perdure_server.core.model import Worker
from perdure_server.store.contract import Heard
from perdure_server.store.shared import SharedStore
from tests.store.test_workers import NOW_US, a_worker, by_id, registered


async def rows(store: SharedStore) -> list[Worker]:
    found = await store.list_workers("default", queue=None, now_us=NOW_US)
    return by_id(row.worker for row in found)


async def test_every_server_sees_the_workers_of_all(one: SharedStore, two: SharedStore) -> None:
    await one.put_workers([a_worker(1), a_worker(2, server_id="one")])
    await two.put_workers([a_worker(2, server_id="two"), a_worker(3, server_id="two")])
    everyone = [
        a_worker(1),
        a_worker(2, server_id="one"),
        a_worker(2, server_id="two"),
        a_worker(3, server_id="two"),
    ]
    assert await rows(one) == await rows(two) == everyone
    assert by_id(await one.find_workers(["worker-2"])) == everyone[1:3]
    assert await registered(two) == [a_worker(1)]


async def test_a_word_counts_wherever_it_is_heard(one: SharedStore, two: SharedStore) -> None:
    await one.put_workers([a_worker(1), a_worker(1, server_id="one"), a_worker(2)])
    await two.hear_workers([Heard("worker-1", NOW_US + 5, NOW_US + 95)])
    heard = {"heard_at_us": NOW_US + 5, "until_us": NOW_US + 95}
    assert await rows(one) == [
        a_worker(1, **heard),
        a_worker(1, server_id="one", **heard),
        a_worker(2),
    ]


async def test_workers_of_the_dead_and_of_who_left_are_gone(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    await one.put_workers([a_worker(1), a_worker(1, server_id="one")])
    await two.put_workers([a_worker(2, server_id="two")])
    await three.put_workers([a_worker(3, server_id="three")])
    await one.bury("two", silent_us=0)
    await three.leave()
    assert await rows(one) == [a_worker(1), a_worker(1, server_id="one")]


async def test_a_server_that_does_not_live_has_no_workers(
    one: SharedStore, two: SharedStore
) -> None:
    await one.bury("two", silent_us=0)
    await two.put_workers([a_worker(1, server_id="two"), a_worker(2)])
    assert await rows(one) == [a_worker(2)]
