"""Owns the server without sockets: the same services, called within one process.

The SDK's embedded client and test environment are its callers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from google.protobuf.message import Message

from perdure_server.api.interceptors import unexpected
from perdure_server.api.rpcs import Rpc
from perdure_server.app import (
    SystemClock,
    SystemIds,
    new_error_id,
    rpcs_of_engine,
    running_engine,
)
from perdure_server.core.errors import DomainError
from perdure_server.engine.ports import Clock, Ids
from perdure_server.store.contract import Store
from perdure_server.store.sqlite.store import SqliteStore


class EmbeddedServer:
    """Serves RPCs by name, for example `WorkflowService/StartWorkflow`.

    Errors are raised as DomainError, with the reason and text that a gRPC caller would be told.
    """

    def __init__(self, rpcs: Mapping[str, Rpc]) -> None:
        self._rpcs = rpcs

    async def call(self, method: str, request: Message) -> Message:
        """Returns the answer to one request."""
        rpc = self._rpcs[method]
        try:
            return rpc.decode(await rpc.behaviour(request))
        except DomainError:
            raise
        except Exception as error:
            raise unexpected(rpc, error, new_error_id()) from error

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Yields the answers to a stream of requests, often of only one; close it when done."""
        rpc = self._rpcs[method]
        try:
            request = requests if rpc.takes_stream else await anext(requests)
            async with aclosing(rpc.behaviour(request)) as answers:
                async for answer in answers:
                    yield rpc.decode(answer)
        except DomainError:
            raise
        except Exception as error:
            raise unexpected(rpc, error, new_error_id()) from error


@asynccontextmanager
async def open_embedded(path: Path | str) -> AsyncIterator[EmbeddedServer]:
    """Runs a server on a database file. Raises StoreInUse, SchemaTooNew or StoreUnavailable."""
    async with open_on_store(SqliteStore(path), SystemClock(), SystemIds()) as server:
        yield server


@asynccontextmanager
async def open_on_store(store: Store, clock: Clock, ids: Ids) -> AsyncIterator[EmbeddedServer]:
    """Runs a server on any store, with the time and ids it is given."""
    async with running_engine(store, clock, ids, workers_return=False) as engine:
        rpcs = rpcs_of_engine(engine)
        try:
            yield EmbeddedServer({f"{_short(rpc.service)}/{rpc.name}": rpc for rpc in rpcs})
        finally:
            await engine.drain()


def _short(service: str) -> str:
    return service.rpartition(".")[2]
