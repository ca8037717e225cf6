"""Owns what becomes of encoded values on their way out of the process and back.

A codec turns bytes into other bytes: it encrypts, signs, compresses. The chain is applied after the
converter, to every payload of every message between this process and the server, also those inside
of failures, heartbeats and headers; so the server keeps only what the codecs made. What a value is
to Python is left to `converter.py`.

    class Encrypted(Codec):
        encoding = "encrypted/fernet"

        def __init__(self, fernet: Fernet) -> None:
            self._fernet = fernet

        def encode(self, data: bytes) -> bytes:
            return self._fernet.encrypt(data)

        def decode(self, data: bytes) -> bytes:
            return self._fernet.decrypt(data)

    Client.connect(codecs=[Compression(), Encrypted(fernet)])

The texts and stacks of failures are no payloads; with `SealedFailures()` in the list they are, and
pass the codecs like any other.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from functools import cache
from inspect import isawaitable
from typing import Any, ClassVar, Final, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from perdure.converter import PAYLOAD_BYTES_MAX
from perdure.errors import PayloadError
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload

MessageT = TypeVar("MessageT", bound=Message)

_SEALED: Final = "the text is sealed"
_KINDS_OF_SERVER: Final = frozenset(
    {
        FailureKind.FAILURE_KIND_TIMEOUT,
        FailureKind.FAILURE_KIND_TERMINATED,
        FailureKind.FAILURE_KIND_WORKER_LOST,
        FailureKind.FAILURE_KIND_LIMIT,
    }
)
"""The kinds of failures that nobody but the server makes; workers pass them on as causes."""
_TYPES_OF_SERVER: Final = frozenset({"WORKFLOW_NOT_FOUND", "ID_IN_USE"})
"""The types of those that it makes of another kind."""


class Codec(ABC):
    """Turns bytes into others and back. Both methods may be async; both sides must agree.

    A payload that another codec, or none, has made is left alone on the way in, so a codec can be
    added while old workflows still run. Whatever `decode` raises becomes a PayloadError.

    Attributes:
        encoding: The name under which payloads of this codec are known, for ever.
    """

    encoding: ClassVar[str]

    @abstractmethod
    def encode(self, data: bytes) -> bytes | Awaitable[bytes | None] | None:
        """Returns what is sent; None leaves the payload as it is."""

    @abstractmethod
    def decode(self, data: bytes) -> bytes | Awaitable[bytes]:
        """Returns what `encode` was given."""


class Compression(Codec):
    """Compresses what has at least `min_bytes` and becomes smaller by it."""

    encoding = "compressed/zlib"

    def __init__(self, *, min_bytes: int = 1024, level: int = 6) -> None:
        self._min_bytes = min_bytes
        self._level = level

    def encode(self, data: bytes) -> bytes | None:
        """Returns the compressed bytes; None when that is not worth it."""
        if len(data) < self._min_bytes:
            return None
        compressed = zlib.compress(data, self._level)
        return compressed if len(compressed) < len(data) else None

    def decode(self, data: bytes) -> bytes:
        """Returns the bytes as they were."""
        return zlib.decompress(data)


class SealedFailures(Codec):
    """Has the codecs of its list seal what failures say too: texts, stacks, and those of causes.

    The server, its lists and its logs then show `the text is sealed` in their place. The type of a
    failure stays, since retry policies need it. So does what the server had worded itself, which
    holds nothing of the code: timeouts, lost workers, terminations, limits, workflows that are not
    there, also where code lets such an error pass and it becomes a cause.

    A failure keeps its text and stack, in front of its details, as a message `Failure` in `details`
    under this encoding, before the other codecs. Whose codecs can read the details gets them back,
    also without this one in the list. An error that the server itself words out of a failure, of a
    query or of a refused update, stays sealed.
    """

    encoding = "perdure/failure"

    def encode(self, data: bytes) -> None:
        """Leaves a payload as it is."""

    def decode(self, data: bytes) -> bytes:
        """Returns the bytes as they are."""
        return data


class Codecs:
    """A chain of codecs, applied in order on the way out and in reverse on the way in."""

    def __init__(self, codecs: Sequence[Codec] = ()) -> None:
        self._codecs = tuple(each for each in codecs if not isinstance(each, SealedFailures))
        self._seals_failures = len(self._codecs) < len(codecs)
        self._by_encoding = {codec.encoding: codec for codec in self._codecs}
        if len(self._by_encoding) < len(self._codecs):
            raise ValueError("two codecs have the same encoding")
        if self._seals_failures and not self._codecs:
            raise ValueError("SealedFailures needs a codec beside it, which encrypts")

    def __bool__(self) -> bool:
        return bool(self._codecs)

    async def encoded(self, message: MessageT) -> MessageT:
        """Returns the message with its payloads encoded: a copy, or itself without codecs.

        Raises PayloadError for a payload that has become too large.
        """
        if not self._codecs:
            return message
        copy = type(message)()
        copy.CopyFrom(message)
        if self._seals_failures:
            for failure in _found(copy, Failure):
                _seal(failure)
        for payload in payloads_of(copy):
            await self._encode(payload)
        return copy

    async def decode(self, message: Message) -> None:
        """Decodes the payloads of a message where they stand. Raises PayloadError."""
        if self._codecs:
            for payload in payloads_of(message):
                await self._decode(payload)
            for failure in _found(message, Failure):
                _unseal(failure)

    async def _encode(self, payload: Payload) -> None:
        for codec in self._codecs:
            # The name of the encoding goes inside, so that decoding finds it again.
            data = codec.encode(payload.SerializeToString())
            data = await data if isawaitable(data) else data
            if data is not None:
                payload.data, payload.encoding = data, codec.encoding
        if len(payload.data) > PAYLOAD_BYTES_MAX:
            raise PayloadError(
                f"the value takes {len(payload.data):,} bytes when it has passed the codecs; at "
                f"most {PAYLOAD_BYTES_MAX:,} fit into a payload"
            )

    async def _decode(self, payload: Payload) -> None:
        while (codec := self._by_encoding.get(payload.encoding)) is not None:
            try:
                data = codec.decode(payload.data)
                payload.ParseFromString(await data if isawaitable(data) else data)
            except Exception as error:
                raise PayloadError(f"cannot decode a value of {codec.encoding}: {error}") from error


def payloads_of(message: Message) -> Iterator[Payload]:
    """Yields every payload in a message, however deep."""
    return _found(message, Payload)


def _found(message: Message, kind: type[MessageT]) -> Iterator[MessageT]:
    """Yields every message of a kind in a message, itself and those in each other too."""
    if isinstance(message, kind):
        yield message
    holders = _holders(message.DESCRIPTOR, kind.DESCRIPTOR.full_name)
    for field, value in message.ListFields():
        if field.name in holders:
            for inner in _messages(value):
                yield from _found(inner, kind)


def _seal(failure: Failure) -> None:
    """Moves what a failure says into its details."""
    is_sealed = failure.message == _SEALED and failure.HasField("details")
    if is_sealed or _is_of_server(failure) or not (failure.message or failure.stack_trace):
        return
    said = Failure(message=failure.message, stack_trace=failure.stack_trace)
    if failure.HasField("details"):
        said.details.CopyFrom(failure.details)
    failure.message, failure.stack_trace = _SEALED, ""
    failure.details.CopyFrom(
        Payload(data=said.SerializeToString(), encoding=SealedFailures.encoding)
    )


def _is_of_server(failure: Failure) -> bool:
    """Whether the server worded a failure, which then says nothing that it does not know."""
    if failure.stack_trace or failure.HasField("details"):
        return False
    return failure.kind in _KINDS_OF_SERVER or (
        failure.type in _TYPES_OF_SERVER and failure.non_retryable
    )


def _unseal(failure: Failure) -> None:
    """Moves it back, unless the details are sealed by codecs that are not here."""
    if failure.details.encoding != SealedFailures.encoding:
        return
    try:
        said = Failure.FromString(failure.details.data)
    except DecodeError as error:
        raise PayloadError(f"cannot read what a failure says: {error}") from error
    failure.message, failure.stack_trace = said.message, said.stack_trace
    failure.ClearField("details")
    if said.HasField("details"):
        failure.details.CopyFrom(said.details)


def _messages(value: Any) -> Iterator[Message]:
    if isinstance(value, Message):
        return iter((value,))
    return iter(value.values() if hasattr(value, "values") else value)


@cache
def _holders(descriptor: Descriptor, wanted: str) -> frozenset[str]:
    """The fields of a kind of message under which messages of another may stand."""
    return frozenset(
        field.name
        for field in descriptor.fields
        if field.message_type is not None and _reaches(field.message_type, wanted)
    )


@cache
def _reaches(descriptor: Descriptor, wanted: str) -> bool:
    seen, left = {descriptor.full_name}, [descriptor]
    while left:
        kind = left.pop()
        if kind.full_name == wanted:
            return True
        for field in kind.fields:
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                left.append(inner)
    return False
