"""API keys: how they are made, shown, revoked and recognised, and what survives a restart."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from perdure.v1 import admin_service_pb2 as pb
from perdure_server.core.errors import (
    ApiKeyNotFound,
    InvalidPageToken,
    LimitExceeded,
    StoreBusy,
    StoreUnavailable,
    Unauthenticated,
)
from perdure_server.engine import keys as keys_module
from perdure_server.engine.background import Background
from perdure_server.engine.keys import Keys
from tests.engine.rig import running, settle
from tests.support.clock import ManualClock
from tests.support.histories import START_US
from tests.support.ids import SequentialIds
from tests.support.model_store import ModelStore

SECOND_US = 1_000_000


class Draws(SequentialIds):
    """Gives the secrets that a test says, then ones of its own."""

    def __init__(self, *secrets):
        super().__init__()
        self._secrets = list(secrets)

    def api_key_secret(self):
        return self._secrets.pop(0) if self._secrets else super().api_key_secret()


class SlowStore(ModelStore):
    """Answers about keys only when it is let."""

    def __init__(self):
        super().__init__()
        self.may_answer = asyncio.Event()
        self.refuses = None

    async def insert_api_key(self, key, *, only_first, unless_label):
        await self._wait()
        return await super().insert_api_key(key, only_first=only_first, unless_label=unless_label)

    async def delete_api_key(self, prefix):
        await self._wait()
        return await super().delete_api_key(prefix)

    async def _wait(self):
        await self.may_answer.wait()
        if self.refuses is not None:
            raise self.refuses


@pytest.fixture
async def store():
    store = ModelStore()
    await store.open()
    return store


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def make(clock):
    """Makes the keys of a server on a store."""
    background = Background()

    async def make(store, ids=None):
        keys = Keys(store, clock=clock, ids=ids or SequentialIds(), background=background)
        await keys.load()
        return keys

    yield make
    await background.close()


@pytest.fixture
async def keys(make, store):
    return await make(store)


async def create(keys, label="", *, idempotent=False, only_first=False):
    request = pb.CreateApiKeyRequest(label=label, idempotent=idempotent)
    return await keys.create(request, only_first=only_first)


async def prefixes(keys, **page):
    return [key.prefix for key in (await keys.list(pb.ListApiKeysRequest(**page))).api_keys]


async def test_a_key_is_told_once_and_kept_as_its_digest(make, store):
    secret = bytes(range(32))
    made = await create(await make(store, Draws(secret)), "ci")
    assert made.plaintext == "perdure_" + secret.hex()
    assert made.prefix == "perdure_00010203"
    assert made.label == "ci"
    assert made.created_at.ToMicroseconds() == START_US
    (kept,) = await store.list_api_keys()
    assert kept.digest == sha256(made.plaintext.encode()).digest()
    assert secret.hex() not in repr(kept)


async def test_a_key_is_recognised_and_nothing_else_is(keys):
    first, second = await create(keys), await create(keys)
    assert keys.authenticate(first.plaintext) == first.prefix
    assert keys.authenticate(second.plaintext) == second.prefix
    for wrong in ("", first.prefix, first.plaintext[:-1], first.plaintext.upper(), "é" * 72):
        assert keys.authenticate(wrong) is None


async def test_keys_are_known_again_after_a_restart():
    async with running() as rig:
        made = await create(rig.engine.keys)
    async with running(rig.store) as rig:
        assert rig.engine.keys.exist
        assert rig.engine.keys.authenticate(made.plaintext) == made.prefix


async def test_a_revoked_key_is_not_recognised_and_listeners_are_told_after_that(keys):
    made, other = await create(keys), await create(keys)
    told = []
    keys.on_revoked(lambda prefix: told.append((prefix, keys.authenticate(made.plaintext))))
    await keys.delete(pb.DeleteApiKeyRequest(prefix=made.prefix))
    assert told == [(made.prefix, None)]
    assert keys.authenticate(other.plaintext) == other.prefix
    assert await prefixes(keys) == [other.prefix]


async def test_an_unknown_prefix_cannot_be_revoked(keys):
    made = await create(keys)
    with pytest.raises(ApiKeyNotFound, match="perdure_x"):
        await keys.delete(pb.DeleteApiKeyRequest(prefix="perdure_x"))
    await keys.delete(pb.DeleteApiKeyRequest(prefix=made.prefix))
    with pytest.raises(ApiKeyNotFound):
        await keys.delete(pb.DeleteApiKeyRequest(prefix=made.prefix))


async def test_of_first_keys_that_race_one_wins(keys):
    outcomes = await asyncio.gather(
        *(create(keys, only_first=True) for _ in range(5)), return_exceptions=True
    )
    made = [outcome for outcome in outcomes if isinstance(outcome, pb.CreateApiKeyResponse)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unauthenticated)]
    assert (len(made), len(refused)) == (1, 4)
    assert await prefixes(keys) == [made[0].prefix]


async def test_a_first_key_that_another_server_made_is_known_from_then_on(make, store):
    here, there = await make(store, Draws(b"a" * 32)), await make(store)
    made = await create(there)
    assert not here.exist
    with pytest.raises(Unauthenticated):
        await create(here, only_first=True)
    assert here.authenticate(made.plaintext) == made.prefix


async def test_a_repeated_label_makes_no_second_key_when_asked_so(keys):
    made = await create(keys, "ci", idempotent=True)
    again = await create(keys, "ci", idempotent=True)
    assert (again.plaintext, again.prefix, again.created_at) == ("", made.prefix, made.created_at)
    assert (await create(keys, "ci")).plaintext
    assert (await create(keys, idempotent=True)).plaintext
    assert (await create(keys, idempotent=True)).plaintext


async def test_a_prefix_that_is_taken_is_drawn_again(make, store):
    taken = b"a" * 32
    keys = await make(store, Draws(taken, taken, b"aaaa" + b"b" * 28, b"c" * 32))
    first, second = await create(keys), await create(keys)
    assert (first.prefix, second.prefix) == ("perdure_61616161", "perdure_63636363")


async def test_drawing_again_is_bounded(make, store):
    keys = await make(store, Draws(*[b"a" * 32] * 20))
    await create(keys)
    with pytest.raises(StoreBusy, match="prefixes"):
        await create(keys)


async def test_there_is_a_bound_that_repetitions_do_not_meet(keys, monkeypatch):
    monkeypatch.setattr(keys_module, "API_KEYS_MAX", 1)
    made = await create(keys, "ci")
    with pytest.raises(LimitExceeded, match="the bound is 1"):
        await create(keys)
    assert (await create(keys, "ci", idempotent=True)).prefix == made.prefix


async def test_lists_are_newest_first_and_page(keys, clock):
    made = []
    for _ in range(5):
        made.insert(0, (await create(keys)).prefix)
        clock.advance(SECOND_US)
    assert await prefixes(keys) == made
    seen, token = [], ""
    while True:
        page = await keys.list(pb.ListApiKeysRequest(page_size=2, page_token=token))
        seen.append([key.prefix for key in page.api_keys])
        token = page.next_page_token
        if not token:
            break
    assert seen == [made[:2], made[2:4], made[4:]]


async def test_a_full_last_page_has_no_next_one(keys):
    for _ in range(2):
        await create(keys)
    assert not (await keys.list(pb.ListApiKeysRequest(page_size=2))).next_page_token


@pytest.mark.parametrize("token", ["nonsense", "keys:", "keys:x:perdure_1", "runs:1:a", ":"])
async def test_a_page_token_of_others_is_refused(keys, token):
    with pytest.raises(InvalidPageToken):
        await keys.list(pb.ListApiKeysRequest(page_token=token))


async def test_a_list_shows_nothing_that_opens(keys):
    made = await create(keys, "ci")
    shown = (await keys.list(pb.ListApiKeysRequest())).SerializeToString()
    assert made.plaintext.encode() not in shown
    assert sha256(made.plaintext.encode()).digest() not in shown


async def test_a_caller_who_leaves_stops_no_change(make):
    store = SlowStore()
    await store.open()
    keys = await make(store)
    leaving = asyncio.create_task(create(keys))
    await settle()
    leaving.cancel()
    store.may_answer.set()
    await settle()
    assert keys.exist
    (prefix,) = await prefixes(keys)

    store.may_answer.clear()
    leaving = asyncio.create_task(keys.delete(pb.DeleteApiKeyRequest(prefix=prefix)))
    await settle()
    leaving.cancel()
    store.may_answer.set()
    await settle()
    assert not keys.exist


async def test_a_store_that_refuses_changes_nothing(make):
    store = SlowStore()
    await store.open()
    keys = await make(store)
    store.may_answer.set()
    made = await create(keys)
    store.refuses = StoreUnavailable("no disk")
    with pytest.raises(StoreUnavailable):
        await create(keys)
    with pytest.raises(StoreUnavailable):
        await keys.delete(pb.DeleteApiKeyRequest(prefix=made.prefix))
    assert keys.authenticate(made.plaintext) == made.prefix
