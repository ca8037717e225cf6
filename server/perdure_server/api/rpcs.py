"""Owns the table of RPCs: every method of every service with its types, read from the descriptors.

A service is an object with one method per RPC, of the RPC's name: `async def Name(self, request)`
for one answer, `def Name(self, request_or_requests)` returning an asynchronous generator for a
stream of answers. An answer is a message, or its bytes when the engine has it encoded already.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Answer: TypeAlias = Message | bytes
Answers: TypeAlias = AsyncIterator[Answer]


class Service(Protocol):
    """An implementation of one service of the contract."""

    DESCRIPTOR: ClassVar[ServiceDescriptor]


@dataclass(slots=True, frozen=True)
class Rpc:
    """One method of the contract and what serves it."""

    service: str
    """The full name of its service, for example `perdure.v1.WorkflowService`."""
    name: str
    behaviour: Callable[[Any], Any]
    """Takes a request, or an iterator of them; returns an awaitable answer, or `Answers`."""
    request_type: type[Message]
    response_type: type[Message]
    takes_stream: bool
    gives_stream: bool

    def encode(self, answer: Answer) -> bytes:
        """Returns the bytes of an answer."""
        return answer if type(answer) is bytes else answer.SerializeToString()  # type: ignore[union-attr]

    def decode(self, answer: Answer) -> Message:
        """Returns the message of an answer."""
        return self.response_type.FromString(answer) if isinstance(answer, bytes) else answer


def rpcs_of(services: Iterable[Service]) -> list[Rpc]:
    """Returns the RPCs of all services, in the order of the contract."""
    return [_rpc(service, method) for service in services for method in service.DESCRIPTOR.methods]


def rpcs_by_service(rpcs: Iterable[Rpc]) -> dict[str, list[Rpc]]:
    """Groups RPCs by the full name of their service."""
    groups: dict[str, list[Rpc]] = {}
    for rpc in rpcs:
        groups.setdefault(rpc.service, []).append(rpc)
    return groups


def _rpc(service: Service, method: MethodDescriptor) -> Rpc:
    return Rpc(
        service=service.DESCRIPTOR.full_name,
        name=method.name,
        behaviour=getattr(service, method.name),
        request_type=GetMessageClass(method.input_type),
        response_type=GetMessageClass(method.output_type),
        takes_stream=method.client_streaming,
        gives_stream=method.server_streaming,
    )
