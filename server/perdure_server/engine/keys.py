"""Owns the API keys: how they are made, shown, revoked and recognised.

A key is `perdure_` and 64 hexadecimal digits. It is told once, to whoever creates it; what is kept
is its SHA-256 and its first 16 characters, the prefix, by which people and requests name it. The
digests of all keys are in memory, so that to recognise one costs no read.

Memory is right for one server. Several servers of one database must tell each other when a key is
created or revoked, and read the keys again; until then only the store's own checks hold for all of
them: that a first key is the first, that a label is new, that a prefix is free.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, Final, TypeVar

from perdure.v1 import admin_service_pb2 as pb
from perdure_server.core.errors import (
    ApiKeyNotFound,
    InvalidPageToken,
    LimitExceeded,
    StoreBusy,
    Unauthenticated,
)
from perdure_server.core.limits import API_KEYS_MAX, PAGE_SIZE_DEFAULT
from perdure_server.core.model import ApiKey
from perdure_server.core.times import to_timestamp
from perdure_server.engine.background import Background
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.ports import Clock, Ids
from perdure_server.store.contract import KeyInserted, KeyOutcome, Store

T = TypeVar("T")

_PAGES: Final = "keys"
_BEGINNING: Final = "perdure_"
_PREFIX_LENGTH: Final = len(_BEGINNING) + 8
_DRAWS_MAX: Final = 5
"""A prefix has 32 random bits: of a thousand keys, two in a row that are taken are a defect."""


class Keys:
    """The keys of a server. `load` them before anything else is asked."""

    def __init__(self, store: Store, *, clock: Clock, ids: Ids, background: Background) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._background = background
        self._keys: dict[str, ApiKey] = {}
        self._changing = asyncio.Lock()
        self._listeners: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Reads every key from the store. Raises StoreUnavailable."""
        self._keys = {key.prefix: key for key in await self._store.list_api_keys()}

    async def reload(self) -> None:
        """Reads every key again, as another server has changed some."""
        async with self._changing:
            before = set(self._keys)
            await self.load()
        for prefix in before - set(self._keys):
            self._tell_revoked(prefix)

    @property
    def exist(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    def authenticate(self, plaintext: str) -> str | None:
        """Returns the prefix of a key, or None when it is unknown or revoked.

        Compares with every digest, each in constant time: how long it takes tells nothing.
        """
        digest = sha256(plaintext.encode()).digest()
        found = None
        for key in self._keys.values():
            if hmac.compare_digest(key.digest, digest):
                found = key.prefix
        return found

    def on_revoked(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with the prefix of each key that is revoked, once it no longer opens."""
        self._listeners.append(listener)

    async def create(
        self, request: pb.CreateApiKeyRequest, *, only_first: bool = False
    ) -> pb.CreateApiKeyResponse:
        """Creates a key; Unauthenticated when it was to be the first and there is one.

        Raises LimitExceeded, StoreBusy or StoreUnavailable.
        """
        return await self._to_the_end(self._create(request, only_first))

    async def list(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        """Returns a page of the keys, newest first. Raises InvalidPageToken."""
        keys = await self._store.list_api_keys()
        before = _position_of(request.page_token)
        if before is not None:
            keys = [key for key in keys if (key.created_at_us, key.prefix) < before]
        page = keys[: request.page_size or PAGE_SIZE_DEFAULT]
        return pb.ListApiKeysResponse(
            api_keys=[_shown(key) for key in page],
            next_page_token=_page_token(page[-1]) if len(page) < len(keys) else "",
        )

    async def delete(self, request: pb.DeleteApiKeyRequest) -> pb.DeleteApiKeyResponse:
        """Revokes a key. Raises ApiKeyNotFound."""
        return await self._to_the_end(self._delete(request.prefix))

    async def _create(
        self, request: pb.CreateApiKeyRequest, only_first: bool
    ) -> pb.CreateApiKeyResponse:
        async with self._changing:
            # Without a label there is nothing by which a repetition could be told.
            once = request.idempotent and bool(request.label)
            if not (once and any(key.label == request.label for key in self._keys.values())):
                self._check_room()
            plaintext, key, answer = await self._insert(
                request.label, only_first=only_first, unless_label=once
            )
            match answer:
                case KeyInserted(outcome=KeyOutcome.LABEL_EXISTS, existing=ApiKey() as existing):
                    return _created(existing)
                case KeyInserted(outcome=KeyOutcome.NOT_FIRST):
                    await self.load()
                    raise Unauthenticated(
                        "an API key exists, so creating another one needs it: "
                        "send it as `authorization: Bearer <key>`"
                    )
            self._keys[key.prefix] = key
            return _created(key, plaintext)

    def _check_room(self) -> None:
        if len(self._keys) >= API_KEYS_MAX:
            raise LimitExceeded(
                f"there are {len(self._keys)} API keys; the bound is {API_KEYS_MAX}:"
                " revoke one first"
            )

    async def _insert(
        self, label: str, *, only_first: bool, unless_label: bool
    ) -> tuple[str, ApiKey, KeyInserted]:
        """Draws keys until the store takes one or refuses for another reason than a taken prefix.

        Returns the key as it is told, as it is kept, and what the store answered.
        """
        for _ in range(_DRAWS_MAX):
            plaintext = _BEGINNING + self._ids.api_key_secret().hex()
            key = ApiKey(
                digest=sha256(plaintext.encode()).digest(),
                prefix=plaintext[:_PREFIX_LENGTH],
                label=label,
                created_at_us=self._clock.now_us(),
            )
            answer = await self._store.insert_api_key(
                key, only_first=only_first, unless_label=unless_label
            )
            if answer.outcome is not KeyOutcome.TAKEN:
                return plaintext, key, answer
        raise StoreBusy(f"{_DRAWS_MAX} prefixes that were drawn are all taken; try again")

    async def _delete(self, prefix: str) -> pb.DeleteApiKeyResponse:
        async with self._changing:
            deleted = await self._store.delete_api_key(prefix)
            known = self._keys.pop(prefix, None) is not None
        if known:
            self._tell_revoked(prefix)
        if not deleted:
            raise ApiKeyNotFound(
                f"there is no API key with the prefix {prefix!r}; a prefix is the first"
                f" {_PREFIX_LENGTH} characters of a key"
            )
        return pb.DeleteApiKeyResponse()

    def _tell_revoked(self, prefix: str) -> None:
        for listener in self._listeners:
            listener(prefix)

    async def _to_the_end(self, change: Coroutine[Any, Any, T]) -> T:
        """Makes a change that a caller who leaves does not stop.

        Stopped halfway, memory and store would differ, and a revoked key go on opening.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._background.spawn(_settle(future, change), "change of API keys")
        return await future


async def _settle(future: asyncio.Future[T], change: Coroutine[Any, Any, T]) -> None:
    try:
        answer = await change
    except asyncio.CancelledError:
        future.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - whoever waits for the change is told
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(answer)


def _created(key: ApiKey, plaintext: str = "") -> pb.CreateApiKeyResponse:
    return pb.CreateApiKeyResponse(
        plaintext=plaintext,
        prefix=key.prefix,
        label=key.label,
        created_at=to_timestamp(key.created_at_us),
    )


def _shown(key: ApiKey) -> pb.ApiKey:
    return pb.ApiKey(prefix=key.prefix, label=key.label, created_at=to_timestamp(key.created_at_us))


def _page_token(key: ApiKey) -> str:
    return token_after(_PAGES, f"{key.created_at_us}:{key.prefix}")


def _position_of(page_token: str) -> tuple[int, str] | None:
    """Returns the place after which a page begins, None for the first one."""
    name = name_before(_PAGES, page_token)
    if not name:
        return None
    instant, _, prefix = name.partition(":")
    if not (instant.isascii() and instant.isdecimal()):
        raise InvalidPageToken("send the token of the last page as it was received", "page_token")
    return int(instant), prefix
