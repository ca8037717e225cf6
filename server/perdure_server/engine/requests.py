"""Owns request ids: a mutating RPC repeated with the same id is answered the same.

The record of a request is inserted in the commit of what it caused, so the happy path reads
nothing; only when the store refuses the insert is the earlier answer looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from perdure_server.core.errors import RequestIdReused, RunContended, WorkflowNotFound
from perdure_server.core.limits import NAMESPACE_DEFAULT
from perdure_server.core.model import RequestRecord
from perdure_server.store.contract import Store

_NUMBER = "ScheduleActivity.seq"
"""Under this name a number is recorded as taken, in the commit that takes it."""

R = TypeVar("R")


def in_namespace(request: R) -> R:
    """Names the default namespace in a request that names none."""
    named: Any = request
    if not named.namespace:
        named.namespace = NAMESPACE_DEFAULT
    return request


@dataclass(slots=True, frozen=True)
class RequestKey:
    """Identifies a request: `fingerprint` is a hash of its content."""

    namespace: str
    workflow_id: str
    rpc: str
    request_id: str
    fingerprint: bytes = field(compare=False)

    def check(self, record: RequestRecord) -> None:
        """Raises RequestIdReused when an earlier request with this key had other content."""
        if record.fingerprint != self.fingerprint:
            raise RequestIdReused(
                f"request_id {self.request_id!r} was used before for {self.rpc} on workflow"
                f" {self.workflow_id!r} with other content; use a new request_id"
            )

    def record(self, response: Message | None, now_us: int) -> RequestRecord:
        """Returns the row that remembers the answer; None remembers only that there was one."""
        return RequestRecord(
            namespace=self.namespace,
            workflow_id=self.workflow_id,
            rpc=self.rpc,
            request_id=self.request_id,
            fingerprint=self.fingerprint,
            response=b"" if response is None else response.SerializeToString(),
            created_at_us=now_us,
        )


def request_key(rpc: str, request: Message, *, content: Message | None = None) -> RequestKey | None:
    """Returns the key of a request that has `namespace`, `workflow_id` and `request_id`.

    None without a request id. `content` is the whole of it when the request is a part.
    """
    request_id: str = request.request_id  # type: ignore[attr-defined]
    if not request_id:
        return None
    whole = (content or request).SerializeToString(deterministic=True)
    return RequestKey(
        namespace=request.namespace,  # type: ignore[attr-defined]
        workflow_id=request.workflow_id,  # type: ignore[attr-defined]
        rpc=rpc,
        request_id=request_id,
        fingerprint=hashlib.blake2b(whole, digest_size=16).digest(),
    )


def resource_key(rpc: str, request: Message) -> RequestKey | None:
    """Returns the key of a request that has `namespace`, `name` and `request_id`.

    None without a request id.
    """
    named: Any = request
    if not named.request_id:
        return None
    content = request.SerializeToString(deterministic=True)
    fingerprint = hashlib.blake2b(content, digest_size=16).digest()
    return RequestKey(named.namespace, named.name, rpc, named.request_id, fingerprint)


def number_key(namespace: str, workflow_id: str, run_id: str, *, seq: int) -> RequestKey:
    """Returns the key that the number of an activity from outside is taken under."""
    return RequestKey(namespace, workflow_id, _NUMBER, f"{run_id}:{seq}", fingerprint=b"")


def missing(request: Any) -> WorkflowNotFound:
    """Returns the error for a request whose workflow or run does not exist."""
    run = f" with run {request.run_id!r}" if request.run_id else ""
    return WorkflowNotFound(
        f"there is no workflow {request.workflow_id!r}{run} in namespace {request.namespace!r}"
    )


def contended(request: Any) -> RunContended:
    """Returns the error for a request whose workflow gets other runs all the time."""
    return RunContended(
        f"the runs of workflow {request.workflow_id!r} change too often now; try again"
    )


async def recorded_answer(store: Store, key: RequestKey) -> bytes | None:
    """Returns the encoded answer of an earlier request with this key, or None.

    Raises RequestIdReused when the earlier request had other content.
    """
    record = await store.find_request(key.namespace, key.workflow_id, key.rpc, key.request_id)
    if record is None:
        return None
    key.check(record)
    return record.response


async def first_answer(store: Store, keys: Iterable[RequestKey]) -> bytes | None:
    """Returns the encoded answer of an earlier request with one of these keys, or None.

    Raises RequestIdReused when the earlier request had other content.
    """
    for key in keys:
        answer = await recorded_answer(store, key)
        if answer is not None:
            return answer
    return None
