"""API keys: what is kept of them, who is first, and the uniqueness of a label."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure_server.core.model import ApiKey
from perdure_server.store.contract import KeyInserted, KeyOutcome, Store
from tests.support.histories import START_US


def a_key(number: int, *, label: str = "ci", **columns: object) -> ApiKey:
    fields = {
        "digest": bytes([number]) * 32,
        "prefix": f"prefix-{number}",
        "label": label,
        "created_at_us": START_US + number,
    }
    return ApiKey(**(fields | columns))  # type: ignore[arg-type]


async def insert(
    store: Store, key: ApiKey, *, only_first: bool = False, unless_label: bool = False
) -> KeyInserted:
    return await store.insert_api_key(key, only_first=only_first, unless_label=unless_label)


async def test_the_newest_is_listed_first(store: Store) -> None:
    assert await store.list_api_keys() == []
    keys = [a_key(2), a_key(3), a_key(1), a_key(4, created_at_us=START_US + 3)]
    for key in keys:
        assert await insert(store, key) == KeyInserted(KeyOutcome.INSERTED)
    assert await store.list_api_keys() == [
        a_key(4, created_at_us=START_US + 3),
        *map(a_key, (3, 2, 1)),
    ]


async def test_a_digest_and_a_prefix_are_unique(store: Store) -> None:
    await insert(store, a_key(1))
    for double in (a_key(2, prefix=a_key(1).prefix), a_key(2, digest=a_key(1).digest), a_key(1)):
        assert await insert(store, double) == KeyInserted(KeyOutcome.TAKEN)
    assert await store.list_api_keys() == [a_key(1)]


async def test_only_the_first_may_be_the_first(store: Store) -> None:
    assert await insert(store, a_key(1), only_first=True) == KeyInserted(KeyOutcome.INSERTED)
    refused = KeyInserted(KeyOutcome.NOT_FIRST)
    assert await insert(store, a_key(2), only_first=True) == refused
    assert await insert(store, a_key(2), only_first=True, unless_label=True) == refused
    await store.delete_api_key(a_key(1).prefix)
    assert await insert(store, a_key(2), only_first=True) == KeyInserted(KeyOutcome.INSERTED)


async def test_of_those_that_race_to_be_the_first_one_wins(store: Store) -> None:
    racing = (insert(store, a_key(number), only_first=True) for number in range(1, 9))
    outcomes = [answer.outcome for answer in await asyncio.gather(*racing)]
    assert sorted(outcomes, key=lambda outcome: outcome.value) == [
        KeyOutcome.INSERTED,
        *[KeyOutcome.NOT_FIRST] * 7,
    ]
    assert len(await store.list_api_keys()) == 1


async def test_a_label_may_be_asked_to_be_unique(store: Store) -> None:
    assert (await insert(store, a_key(1), unless_label=True)).outcome is KeyOutcome.INSERTED
    assert await insert(store, a_key(2), unless_label=True) == KeyInserted(
        KeyOutcome.LABEL_EXISTS, a_key(1)
    )
    assert (await insert(store, a_key(3))).outcome is KeyOutcome.INSERTED
    assert await insert(store, a_key(2), unless_label=True) == KeyInserted(
        KeyOutcome.LABEL_EXISTS, a_key(3)
    )
    other = a_key(4, label="deploy")
    assert (await insert(store, other, unless_label=True)).outcome is KeyOutcome.INSERTED


async def test_a_deleted_key_is_gone(store: Store) -> None:
    await insert(store, a_key(1))
    await insert(store, a_key(2))
    assert await store.delete_api_key("prefix-1")
    assert not await store.delete_api_key("prefix-1")
    assert await store.list_api_keys() == [a_key(2)]
    assert (await insert(store, a_key(1))).outcome is KeyOutcome.INSERTED


async def test_keys_and_namespaces_outlive_the_server(disk: Callable[[], Store]) -> None:
    store = disk()
    await store.open()
    await insert(store, a_key(1))
    main = await store.find_namespace("main")
    await store.close()
    again = disk()
    await again.open()
    assert await again.list_api_keys() == [a_key(1)]
    assert await again.find_namespace("main") == main
    await again.close()


def test_a_key_does_not_show_its_digest() -> None:
    assert "digest" not in repr(a_key(1))
