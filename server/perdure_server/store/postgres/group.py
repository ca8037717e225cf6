"""Owns what callers ask the writer for, and which of it goes together in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from perdure_server.core.changeset import Changeset
from perdure_server.core.model import Task
from perdure_server.store.contract import ClaimRequest
from perdure_server.store.postgres.connection import Row, Session
from perdure_server.store.postgres.flush import Flush, Statements
from perdure_server.store.postgres.hints import Ears
from perdure_server.store.sqlite.rows import from_lane, to_task


@dataclass(slots=True, frozen=True)
class Commit:
    """One changeset to be written."""

    changeset: Changeset


@dataclass(slots=True, frozen=True)
class Claim:
    """The claims of one call."""

    claims: Sequence[ClaimRequest]
    now_us: int


@dataclass(slots=True, frozen=True)
class Extend:
    """The leases of one call, each with its new end."""

    leases: Sequence[tuple[Task, int]]


@dataclass(slots=True, frozen=True)
class Step:
    """Something that operators want, in a transaction of its own."""

    run: Callable[[Session], Awaitable[Any]]


Operation = Commit | Claim | Extend | Step


class Batch(Protocol):
    """Operations that go together. With `by_key` they find every row by its whole key."""

    by_key: bool

    def add(self, operation: Operation) -> bool:
        """Takes an operation in; False when it has to go alone or later."""

    async def run(self, session: Session) -> Sequence[object]:
        """Does all of it in one transaction; answers one outcome per operation."""


class Commits:
    """Changesets that touch nothing in common."""

    by_key = True

    def __init__(self, statements: Statements, epoch: int, ears: Ears) -> None:
        self._flush = Flush(statements, epoch, ears)

    def add(self, operation: Operation) -> bool:
        """Takes a changeset in, unless one of the others touches the same."""
        return isinstance(operation, Commit) and self._flush.add(operation.changeset)

    async def run(self, session: Session) -> Sequence[object]:
        """Writes the changesets."""
        return await self._flush.run(session)


class Claims:
    """Claims of several calls. A lane claimed twice takes a second statement."""

    by_key = False

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._waves: list[dict[Row, Row]] = []
        self._places: list[list[int]] = []
        self._count = 0

    def add(self, operation: Operation) -> bool:
        """Takes the claims of a call in."""
        if not isinstance(operation, Claim):
            return False
        places: list[int] = []
        for claim in operation.claims:
            places.append(self._count)
            lane = from_lane(claim.lane)
            row = (
                self._count,
                *lane,
                claim.limit,
                claim.session_id,
                claim.worker_identity,
                claim.poll_lease_us,
                operation.now_us,
            )
            self._count += 1
            self._wave_without(lane)[lane] = row
        self._places.append(places)
        return True

    async def run(self, session: Session) -> Sequence[object]:
        """Leases ready tasks; answers the leased rows per call and claim."""
        leased: list[list[Task]] = [[] for _ in range(self._count)]
        if len(self._waves) == 1:
            await self._lease(session, self._waves[0], leased)
        elif self._waves:
            async with session.transaction("begin_together"):
                for wave in self._waves:
                    await self._lease(session, wave, leased)
        return [[leased[place] for place in places] for places in self._places]

    def _wave_without(self, lane: Row) -> dict[Row, Row]:
        for wave in self._waves:
            if lane not in wave:
                return wave
        self._waves.append({})
        return self._waves[-1]

    async def _lease(
        self, session: Session, wave: dict[Row, Row], leased: list[list[Task]]
    ) -> None:
        columns = zip(*wave.values(), strict=True)
        for row in await session.rows_of(self._statements.claim, *columns):
            task = to_task(row)
            place, *_ = wave[task.namespace, task.queue, task.kind.value, task.type]
            leased[place].append(task)
        for place, *_ in wave.values():
            leased[place].sort(key=_order)


class Extensions:
    """Leases of several calls, each with its new end; of one that stands twice the last counts."""

    by_key = True

    def __init__(self) -> None:
        self._rows: dict[Row, Row] = {}
        self._calls = 0

    def add(self, operation: Operation) -> bool:
        """Takes the leases of a call in."""
        if not isinstance(operation, Extend):
            return False
        for task, until_us in operation.leases:
            key = (task.run_id, task.kind.value, task.seq, task.lease)
            self._rows[key] = (until_us, *key)
        self._calls += 1
        return True

    async def run(self, session: Session) -> Sequence[object]:
        """Moves the end of the leases that still stand."""
        if self._rows:
            await session.rows("extend_lease", *zip(*self._rows.values(), strict=True))
        return [None] * self._calls


class Alone:
    """One operation that shares its transaction with no other."""

    by_key = False

    def __init__(self, step: Step) -> None:
        self._step: Step | None = step
        self._run = step.run

    def add(self, operation: Operation) -> bool:
        """Takes in the operation it was made for."""
        taken = operation is self._step
        self._step = None
        return taken

    async def run(self, session: Session) -> Sequence[object]:
        """Runs the operation in a transaction that sees no half of another one."""
        async with session.transaction("begin_write"):
            return [await self._run(session)]


def batch_for(operation: Operation, statements: Statements, epoch: int, ears: Ears) -> Batch:
    """Returns an empty batch of the kind that takes the operation."""
    match operation:
        case Commit():
            return Commits(statements, epoch, ears)
        case Claim():
            return Claims(statements)
        case Extend():
            return Extensions()
        case Step():
            return Alone(operation)


def _order(task: Task) -> tuple[int, int, str, int]:
    return (task.priority, task.ready_at_us, task.run_id, task.seq)
