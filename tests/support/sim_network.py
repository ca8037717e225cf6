"""Owns a simulated network: streams and calls from SDK to server, with everything that breaks.

A stream delivers in order and each message once, until it is cut; what was under way is then lost,
and the two ends may learn of it at different times. A call may lose its request or its reply.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from perdure.errors import RpcError, from_reason
from perdure.v1.worker_service_pb2 import TaskReport, WorkRequest, WorkResponse
from perdure_server.core.errors import DomainError
from perdure_server.core.token import TaskToken
from perdure_server.embedded import EmbeddedServer
from tests.support.virtual_loop import left, pause

T = TypeVar("T")

Accepted = Callable[[TaskReport], None]
"""Called with each report that the server says it has accepted."""


_KEEPALIVE_S = 15.0
_FAITH = 0.7
"""How often a client that calls again calls the same server."""


@dataclass(slots=True)
class NetworkFaults:
    """How often what happens, as probabilities per call or message; all zero is a good network."""

    latency_s: float = 0.002
    lose_request: float = 0.0
    lose_reply: float = 0.0
    repeat_report: float = 0.0
    """A message with reports reaches the server twice, as when they are sent again."""


class Pipe(Generic[T]):
    """One direction of a stream."""

    def __init__(self, latency: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._latency = latency
        self._under_way: deque[tuple[float, T]] = deque()
        self._arrived: deque[T] = deque()
        self._news = asyncio.Event()
        self._pumping: asyncio.TimerHandle | None = None
        self._thaws_at = 0.0
        self._last = 0.0
        self._closing = False
        self._ended = False
        self._error: RpcError | None = None

    def send(self, item: T) -> None:
        """Sends an item; what is sent after the end is lost."""
        if self._ended or self._closing:
            return
        self._last = max(self._last, self._loop.time() + self._latency())
        self._under_way.append((self._last, item))
        self._arm()

    def freeze(self, seconds: float) -> None:
        """Delivers nothing for a while; what is sent meanwhile waits."""
        self._thaws_at = max(self._thaws_at, self._loop.time() + seconds)

    def close(self, error: RpcError | None = None) -> None:
        """Ends the pipe after what is under way."""
        if not self._ended:
            self._closing, self._error = True, error
            self._arm()

    def cut(self, error: RpcError) -> None:
        """Ends the pipe now; what is under way is lost."""
        if not self._ended:
            self._under_way.clear()
            self._arrived.clear()
            self._ended, self._error = True, error
            self._news.set()

    def lose_all(self) -> None:
        """Delivers nothing any more, and nobody is told."""
        self._under_way.clear()
        self._ended = True

    async def receive(self) -> AsyncGenerator[T, None]:
        """Yields what arrives; raises the error that the pipe was ended with."""
        while True:
            while self._arrived:
                yield self._arrived.popleft()
            if self._ended and self._error is not None:
                raise self._error
            if self._ended and self._closing:
                return
            self._news.clear()
            await self._news.wait()

    def _arm(self) -> None:
        if self._pumping is not None:
            return
        now = self._loop.time()
        next_at = self._under_way[0][0] if self._under_way else now
        self._pumping = self._loop.call_at(max(now, next_at, self._thaws_at), self._pump)

    def _pump(self) -> None:
        self._pumping = None
        # The loop may call half a microsecond early.
        now = self._loop.time() + 1e-6
        if now >= self._thaws_at:
            while self._under_way and self._under_way[0][0] <= now:
                self._arrived.append(self._under_way.popleft()[1])
                self._news.set()
            if self._closing and not self._under_way:
                self._ended = True
                self._news.set()
                return
        if self._under_way or (self._closing and not self._ended):
            self._arm()


class Wire:
    """One stream between a client and the server that answered it."""

    def __init__(self, method: str, host: Host, network: Network) -> None:
        self.method = method
        self._host = host
        self._network = network
        self.up: Pipe[Message] = Pipe(network.latency)
        self.down: Pipe[Message] = Pipe(network.latency)
        self.quiet = False
        """Whether the server does not hear of it when the client leaves."""
        self._serving: asyncio.Task[None] | None = None
        self._reports: dict[int, TaskReport] = {}
        self._session_id = ""

    def serve(self, server: EmbeddedServer) -> None:
        """Lets the server answer."""
        name = f"serve {self.method}"
        self._serving = asyncio.get_running_loop().create_task(self._serve(server), name=name)

    async def pump(self, requests: AsyncIterator[Message]) -> None:
        """Carries what the client says."""
        async for request in requests:
            # A message is bytes on the way: what its sender does with it later changes nothing.
            copy = type(request)()
            copy.CopyFrom(request)
            self.up.send(copy)
            if _is_repeatable(copy) and self._network.happens(self._network.faults.repeat_report):
                self.up.send(WorkRequest(reports=copy.reports))  # type: ignore[attr-defined]
        self.up.close()

    def cut(self) -> None:
        """Breaks the stream; both ends learn it now."""
        self.tell_client()
        self.tell_server()

    def tell_client(self) -> None:
        """The client learns that the stream is broken."""
        self.down.cut(unavailable("the stream was cut"))

    def tell_server(self) -> None:
        """The server learns that the stream is broken, as soon as it is awake."""
        self.up.lose_all()
        if self._serving is not None:
            self._host.when_awake(self._serving.cancel)

    def freeze(self, seconds: float) -> None:
        """Stops forwarding both ways for a while, without closing."""
        self.up.freeze(seconds)
        self.down.freeze(seconds)

    async def _serve(self, server: EmbeddedServer) -> None:
        error: RpcError | None = None
        try:
            async with aclosing(server.stream(self.method, self._note_reports())) as answers:
                async for answer in answers:
                    self._note_results(answer)
                    self.down.send(answer)
        except DomainError as refusal:
            error = refused(refusal)
        finally:
            self._host.wires.pop(self, None)
        self.down.close(error)

    async def _note_reports(self) -> AsyncIterator[Message]:
        async for request in self.up.receive():
            if isinstance(request, WorkRequest):
                self._session_id = request.hello.session_id or self._session_id
                self._reports.update({report.report_id: report for report in request.reports})
            yield request

    def _note_results(self, answer: Message) -> None:
        if isinstance(answer, WorkResponse):
            tokens = [task.task_token for task in answer.workflow_tasks]
            tokens += [task.task_token for task in answer.activity_tasks]
            for token in tokens:
                self._network.leases.note(token, self._session_id)
            for result in answer.results:
                if not result.reason:
                    self._network.accepted(self._reports[result.report_id])


class Leases:
    """Which session was given which lease: none is given to two. `doubled` holds those that were.

    A workflow task may be given again under its lease, with more events.
    """

    def __init__(self) -> None:
        self.doubled: list[str] = []
        self._holders: dict[tuple[str, str, int, int], str] = {}

    def note(self, task_token: str, session_id: str) -> None:
        """Takes note of a task that a session is given."""
        token = TaskToken.decode(task_token)
        key = (token.run_id, token.kind, token.seq, token.lease)
        holder = self._holders.setdefault(key, session_id)
        if holder != session_id:
            self.doubled.append(f"{task_token} was given to {holder}, then to {session_id}")


class Host:
    """Where a server runs, unless it is absent (None), and what is connected to it."""

    def __init__(self, random: Random) -> None:
        self.server: EmbeddedServer | None = None
        self.wires: dict[Wire, None] = {}
        self.calls: dict[asyncio.Task[Message], None] = {}
        self._random = random
        self._thaws_at = 0.0

    @property
    def frozen_s(self) -> float:
        """For how long the server does nothing yet."""
        return left(self._thaws_at)

    def freeze(self, seconds: float) -> None:
        """Lets the server do nothing for a while; its connections stand."""
        self._thaws_at = max(self._thaws_at, asyncio.get_running_loop().time() + seconds)
        for wire in self.wires:
            wire.freeze(seconds)

    async def wake(self) -> None:
        """Waits until the server does something again."""
        while self.frozen_s:
            await pause(self.frozen_s)

    def when_awake(self, job: Callable[[], object]) -> None:
        """Does something in the server, at once unless it is frozen."""
        if self.frozen_s:
            asyncio.get_running_loop().call_later(self.frozen_s, job)
        else:
            job()

    def sever(self) -> None:
        """Ends everything that the server, which died, had open."""
        self.server = None
        self._thaws_at = 0.0
        for wire in list(self.wires):
            wire.tell_server()
            if self._random.random() < 0.8:
                wire.tell_client()
            else:
                # The machine went with it, and nobody says a word until gRPC's keepalive does.
                asyncio.get_running_loop().call_later(_KEEPALIVE_S, wire.tell_client)
        self.wires.clear()
        for call in list(self.calls):
            call.cancel()


class Network:
    """What lies between the clients and the servers."""

    def __init__(self, random: Random, *, accepted: Accepted, hosts: int = 1) -> None:
        self.faults = NetworkFaults()
        self.hosts = [Host(random) for _ in range(hosts)]
        self.accepted = accepted
        self.leases = Leases()
        self._random = random

    @property
    def wires(self) -> list[Wire]:
        """Every open stream."""
        return [wire for host in self.hosts for wire in host.wires]

    def happens(self, probability: float) -> bool:
        """Whether a fault of this probability happens now."""
        return probability > 0 and self._random.random() < probability

    def latency(self) -> float:
        """Returns how long a message is under way, in seconds."""
        return self._random.random() * self.faults.latency_s

    def choose(self, last: Host | None) -> Host:
        """Returns a host to connect to: one that is up, often the last one."""
        if len(self.hosts) == 1:
            return self.hosts[0]
        hosts = [host for host in self.hosts if host.server is not None] or self.hosts
        if last in hosts and self._random.random() < _FAITH:
            return last
        return self._random.choice(hosts)


class SimTransport:
    """A `perdure._transport.Transport` over the simulated network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._host: Host | None = None

    async def open(self) -> None:
        """Does nothing: each call finds a server."""

    async def close(self) -> None:
        """Does nothing."""

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Sends one request and returns the answer. Raises an `RpcError`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(method, request)
        except TimeoutError:
            raise from_reason("", "the deadline passed", "DEADLINE_EXCEEDED") from None

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Sends requests and yields answers until either side ends. Raises an `RpcError`."""
        network = self._network
        await pause(network.latency())
        host = self._host = network.choose(self._host)
        if host.server is None:
            raise unavailable("nobody listens")
        wire = Wire(method, host, network)
        host.wires[wire] = None
        wire.freeze(host.frozen_s)
        wire.serve(host.server)
        pump = asyncio.get_running_loop().create_task(wire.pump(requests), name="pump")
        try:
            async with aclosing(wire.down.receive()) as answers:
                async for answer in answers:
                    yield answer
        finally:
            pump.cancel()
            # What was sent before may still arrive, and the server learns of the end after it.
            if not wire.quiet:
                asyncio.get_running_loop().call_later(2 * network.latency(), wire.tell_server)

    async def _call(self, method: str, request: Message) -> Message:
        network, faults = self._network, self._network.faults
        await pause(network.latency())
        host = self._host = network.choose(self._host)
        if host.server is None:
            raise unavailable("nobody listens")
        if network.happens(faults.lose_request):
            await pause(1.0)
            raise unavailable("the request was lost")
        copy = type(request)()
        copy.CopyFrom(request)
        job = asyncio.get_running_loop().create_task(_answer(host, method, copy))
        host.calls[job] = None
        try:
            await asyncio.wait([job])
        finally:
            host.calls.pop(job, None)
            if host.frozen_s:
                job.add_done_callback(_forget)
            host.when_awake(job.cancel)
        if job.cancelled():
            raise unavailable("the server died")
        answer = job.result()
        await pause(network.latency())
        if network.happens(faults.lose_reply):
            raise unavailable("the reply was lost")
        return answer


def _forget(job: asyncio.Task[Message]) -> None:
    """Takes note of an end that nobody waits for any more."""
    if not job.cancelled():
        job.exception()


async def _answer(host: Host, method: str, request: Message) -> Message:
    await host.wake()
    if host.server is None:
        raise unavailable("nobody listens")
    try:
        return await host.server.call(method, request)
    except DomainError as refusal:
        raise refused(refusal) from None
    finally:
        await host.wake()


def refused(refusal: DomainError) -> RpcError:
    """Returns a refusal as the SDK knows it."""
    return from_reason(refusal.reason, str(refusal), "UNKNOWN")


def unavailable(problem: str) -> RpcError:
    """Returns the error of a call that did not reach the server, or whose answer did not return."""
    return from_reason("", problem, "UNAVAILABLE")


def _is_repeatable(request: Any) -> bool:
    return isinstance(request, WorkRequest) and bool(request.reports)
