"""Owns questions that are put to workers at other servers of the database, and those of others.

Servers cannot call each other: they send notes through the database, which keeps none. A note that
is not answered is sent again, and says with that that somebody still waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from itertools import count
from typing import Any, Final

from perdure.v1.interaction_pb2 import QueryOutcome
from perdure.v1.task_pb2 import QueryTask
from perdure.v1.worker_service_pb2 import WorkerInfo
from perdure_server.core import limits
from perdure_server.core.errors import DomainError
from perdure_server.engine.background import Background
from perdure_server.engine.peers import Peers
from perdure_server.engine.questions import Questions, lane_of
from perdure_server.store.contract import ListedWorker
from perdure_server.store.shared import SharedStore

_log = logging.getLogger(__name__)

_LOOK_S: Final = 0.25
"""How soon it is looked again for a worker, here or elsewhere."""
_FRESH_S: Final = 0.1
"""For so long what was seen of a queue is not looked for again."""
_QUEUES_MAX: Final = 1_000
_AGAIN_S: Final = 1.0
_FORGET_S: Final = 3.5
"""Who has not asked again for so long has got what they wanted, or has left."""

_ASK: Final = "ask"
_ANSWER: Final = "answer"
_NOBODY: Final = "nobody"

_Key = tuple[str, int]


class Errands:
    """Asks for this server at others, and for others here."""

    def __init__(
        self, store: SharedStore, peers: Peers, questions: Questions, *, background: Background
    ) -> None:
        self._store = store
        self._peers = peers
        self._questions = questions
        self._background = background
        self._numbers = count(1)
        self._sent: dict[int, asyncio.Future[QueryOutcome | None]] = {}
        self._looking = asyncio.Lock()
        """However many wait for a worker, one at a time looks for it."""
        self._seen: dict[tuple[str, str], tuple[float, dict[str, set[str]]]] = {}
        """By queue, when it was looked and which servers have workers, by workflow type."""
        self._asked: dict[_Key, float] = {}
        """What others want to know, and when they last said so."""

    async def ask(self, task: QueryTask, asked: set[str]) -> QueryOutcome:
        """Asks workers of other servers while there is none here; whoever calls bounds it.

        Notes in `asked` which servers had a worker. Raises StoreUnavailable.
        """
        tried: set[str] = set()
        while True:
            servers: set[str] = set()
            if not self._questions.can_ask(lane_of(task)):
                servers = await self._servers_for(task) - tried
            if not servers:
                tried.clear()
                await asyncio.sleep(_LOOK_S)
                continue
            server_id = min(servers, key=lambda each: (each not in asked, each))
            asked.add(server_id)
            outcome = await self._ask(server_id, task)
            if outcome is not None:
                return outcome
            asked.discard(server_id)
            tried.add(server_id)

    def heard(self, note: bytes) -> None:
        """Takes a note of another server."""
        head, _, body = note.partition(b"\n")
        said = json.loads(head)
        if said["kind"] == _ASK:
            self._serve((said["from"], said["number"]), QueryTask.FromString(body))
            return
        future = self._sent.get(said["number"])
        if future is not None and not future.done():
            is_answer = said["kind"] == _ANSWER
            future.set_result(QueryOutcome.FromString(body) if is_answer else None)

    async def _ask(self, server_id: str, task: QueryTask) -> QueryOutcome | None:
        """Returns the answer of a server; None when it has no worker to ask, or is gone."""
        number = next(self._numbers)
        future: asyncio.Future[QueryOutcome | None] = asyncio.get_running_loop().create_future()
        self._sent[number] = future
        try:
            while True:
                await self._send(server_id, _ASK, number, task)
                await asyncio.wait([future], timeout=_AGAIN_S)
                if future.done():
                    return future.result()
                if server_id not in await self._servers_for(task):
                    return None
        finally:
            del self._sent[number]

    async def _servers_for(self, task: QueryTask) -> set[str]:
        """Returns the servers that have a worker of the workflow type, as of a moment ago."""
        queue = (task.namespace, task.task_queue)
        async with self._looking:
            now = asyncio.get_running_loop().time()
            seen_at, servers = self._seen.get(queue, (now - 2 * _FRESH_S, {}))
            if now - seen_at > _FRESH_S:
                servers = _by_type(await self._peers.workers(*queue))
                if len(self._seen) >= _QUEUES_MAX:
                    self._seen.clear()
                self._seen[queue] = (now, servers)
        return servers.get(task.workflow_type, set())

    def _serve(self, key: _Key, task: QueryTask) -> None:
        is_new = key not in self._asked
        if is_new and len(self._asked) >= limits.QUERIES_MAX:
            return
        self._asked[key] = asyncio.get_running_loop().time()
        if is_new:
            self._background.spawn(self._run(key, task), "ask for another server")

    async def _run(self, key: _Key, task: QueryTask) -> None:
        try:
            outcome = await self._outcome(key, task)
            kind = _NOBODY if outcome is None else _ANSWER
            await self._send(key[0], kind, key[1], outcome or QueryOutcome())
        except DomainError as error:
            # Who still waits asks again.
            _log.warning("a question of another server was not answered: %s", error)
        except TimeoutError:
            pass
        finally:
            del self._asked[key]

    async def _outcome(self, key: _Key, task: QueryTask) -> QueryOutcome | None:
        """Returns the answer of a worker here; TimeoutError when the other server has left."""
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(self._questions.ask_here(task), name="ask for another server")
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=_AGAIN_S)
                if not asking.done() and loop.time() - self._asked[key] > _FORGET_S:
                    raise TimeoutError
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        outcome = asking.result()
        return outcome if outcome is None else _bounded(outcome)

    async def _send(self, server_id: str, kind: str, number: int, body: Any) -> None:
        head = {"kind": kind, "from": self._peers.server_id, "number": number}
        note = json.dumps(head).encode() + b"\n" + body.SerializeToString()
        await self._store.send_note(server_id, note)


def _by_type(listed: Iterable[ListedWorker]) -> dict[str, set[str]]:
    """Returns the servers that workers are connected to, by the workflow types of these."""
    servers: dict[str, set[str]] = {}
    for row in (each.worker for each in listed if each.worker.server_id):
        for name in WorkerInfo.FromString(row.info).workflow_types:
            servers.setdefault(name, set()).add(row.server_id)
    return servers


def _bounded(outcome: QueryOutcome) -> QueryOutcome:
    """Returns the answer, or that it is too large to be sent."""
    size = outcome.ByteSize()
    if size <= 2 * limits.PAYLOAD_BYTES_MAX:
        return outcome
    text = f"the answer has {size} bytes; the bound is {limits.PAYLOAD_BYTES_MAX}"
    return QueryOutcome(failure={"type": "PAYLOAD_TOO_LARGE", "message": text})
