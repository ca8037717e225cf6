"""Owns what stands before the first statement: where the database is, its schema, connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit
from weakref import WeakSet

import asyncpg

from perdure_server.core.errors import SchemaTooNew, StoreInUse, StoreUnavailable
from perdure_server.core.limits import SECOND_US, SERVER_SILENCE_US
from perdure_server.store.migrate import (
    Migration,
    check_schema,
    ends_older_servers,
    load_migrations,
)

_log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take; a host that drops packets would take minutes."""
STATEMENT_SECONDS: Final = 15.0
"""How long the database may work on a statement: the largest takes a fraction of a second."""
IDLE_SECONDS: Final = 5.0
"""How long a transaction may do nothing: a server that is frozen in one holds up the others."""
LOCK_SECONDS: Final = 10.0
"""How long a statement waits for a lock of another server: longer than a frozen one has it."""
ANSWER_SECONDS: Final = STATEMENT_SECONDS + 5.0
"""How long to wait for an answer; after that the network is taken to be cut."""
PATIENCE_SECONDS: Final = 2.0
"""How long a call waits for a database that restarts, before the first of them is refused."""
BACK_OFF_SECONDS: Final = 0.05
BACK_OFF_MAX_SECONDS: Final = 1.0
"""The wait between attempts to connect: doubled each time, up to the bound."""
STATEMENTS_CACHED: Final = 512
"""Prepared statements of a connection: named queries, and the forms that a flush takes."""

FAULTS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)
"""What a driver raises when the database does not do what it was asked.

It calls it an internal error to be asked anything once it has heard that the connection ends.
"""

LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Faults after which a connection is not used again: it is cut, ended, or of a standby."""

PASSING: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
)
"""Faults after which nothing was written and the same may succeed.

Most are met where another server was in the way: run again, a statement sees what that one left.
"""
_SILENT: Final = (
    "{} does not answer this server ({}), so this server refuses calls until it does; what was"
    " under way may have been done. Try again, or use another server; look at the database and at"
    " the network between the two"
)
_POOL_BY_SESSION: Final = (
    "a pooler lends its connections by the transaction: let it lend them by the session"
    " (PgBouncer: pool_mode = session), or name the database itself"
)
_NOT_FOR_OLDER: Final = ", which are older and could not use it once it is migrated"
_POOLED: Final = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""What such a pooler makes of prepared statements; the driver's text advises what does not help."""
_ADVICE: Final = {
    asyncpg.TooManyConnectionsError: (
        "each server takes up to 11 connections: raise its max_connections, or run fewer servers"
    ),
    asyncpg.QueryCanceledError: (
        f"a statement may take {STATEMENT_SECONDS:.0f} seconds: ask for less at once, as with a"
        " filter that fewer runs match"
    ),
    asyncpg.DiskFullError: "make room where its data is, then call again",
    asyncpg.DeadlockDetectedError: "another program locks its tables again and again",
    asyncpg.LockNotAvailableError: "another program holds a lock on its tables: see pg_locks",
}
"""What a person can do about faults of these kinds."""
_TRIES: Final = 6
"""How often something is tried: of servers in each other's way one wins each time."""
_PAUSE_SECONDS: Final = 0.002
"""The pause before it is tried again; it doubles."""
_TRYING_SECONDS: Final = 5.0
"""After so long it is not tried again: a lock that was waited for in vain is not short."""

Row = Sequence[Any]
"""A row as the driver gives it."""
T = TypeVar("T")


async def until_alone(
    attempt: Callable[[], Awaitable[T]], *, seconds: float = _TRYING_SECONDS
) -> T:
    """Does something, again after faults that pass; raises the last when they do not."""
    clock = asyncio.get_running_loop().time
    ends_at = clock() + seconds
    for number in range(1, _TRIES):
        try:
            return await attempt()
        except PASSING:
            if clock() > ends_at:
                raise
            await asyncio.sleep(_PAUSE_SECONDS * 2**number)
    return await attempt()


class Session:
    """One connection, ready to use."""

    def __init__(self, connection: Any, queries: Mapping[str, str]) -> None:
        self.connection = connection
        self.statements = 0
        self._queries = queries

    @property
    def is_alive(self) -> bool:
        """Whether the connection is not known to be lost."""
        return not self.connection.is_closed()

    async def rows(self, query: str, *parameters: object) -> list[Row]:
        """Returns the rows of a named query."""
        return await self.rows_of(self._queries[query], *parameters)

    async def rows_of(self, text: str, *parameters: object) -> list[Row]:
        """Returns the rows of a statement that was put together from named queries."""
        self.statements += 1
        found: list[Row] = await self.connection.fetch(text, *parameters)
        return found

    async def script(self, text: str) -> None:
        """Runs statements without parameters."""
        self.statements += 1
        await self.connection.execute(text)

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncIterator[None]:
        """Holds a transaction that a named query begins; an error rolls it back."""
        await self.script(self._queries[begin])
        try:
            yield
        except BaseException:
            if self.is_alive:
                await self.script("ROLLBACK")
            raise
        await self.script("COMMIT")

    async def close(self) -> None:
        """Disconnects, without ceremony when the server does not answer."""
        try:
            await self.connection.close(timeout=1.0)
        except FAULTS:
            self.connection.terminate()

    def drop(self) -> None:
        """Disconnects at once: whatever was under way, nobody waits for it."""
        self.connection.terminate()


class Database:
    """Where the tables are. The URL may hold a password: it stays in here."""

    def __init__(self, url: str, schema: str, queries: Mapping[str, str]) -> None:
        self.name = _name(url)
        self.schema = schema
        self.place = f"the schema {schema} of {self.name}"
        self.is_given_up = False
        self._is_shut = False
        self._silence = ""
        self._url = url
        self._queries = queries
        self._sessions: WeakSet[Session] = WeakSet()
        self._attempts: set[asyncio.Timeout] = set()

    async def connect(self, *, bounded: bool = True, by_key: bool = False) -> Session:
        """Opens a connection; raises one of FAULTS.

        What it does takes bounded time, or any. With `by_key` it is for statements that find every
        row by its whole key, for others not.
        """
        async with asyncio.timeout(None) as attempt:
            self._attempts.add(attempt)
            try:
                return await self._connect(bounded=bounded, by_key=by_key)
            finally:
                self._attempts.discard(attempt)

    def give_up(self, why: str) -> None:
        """Ends every connection and every attempt: whoever waits for an answer is refused.

        Until `take_up`, links refuse all that comes. Said again, only the reason is new.
        """
        if self._is_shut:
            return
        self._silence = _SILENT.format(self.name, why)
        if self.is_given_up:
            return
        _log.warning("%s does not answer (%s); calls are refused until it does", self.name, why)
        self._refuse_all()

    def shut(self, why: SchemaTooNew) -> None:
        """Gives the database up for good."""
        self._is_shut, self._silence = True, f"{why}. Use another server"
        _log.error("%s cannot be used by this server any more: %s", self.name, why)
        self._refuse_all()

    def take_up(self) -> None:
        """Lets links connect again; does nothing unless the database was given up."""
        if self.is_given_up and not self._is_shut:
            self.is_given_up = False
            _log.warning("%s answers again", self.name)

    def unavailable(self, fault: BaseException | None) -> StoreUnavailable:
        """Returns what callers are told of a fault; with None, of a database that was given up."""
        if fault is None or self.is_given_up:
            return StoreUnavailable(self._silence)
        text = str(fault) or type(fault).__name__
        if isinstance(fault, _POOLED):
            text = _POOL_BY_SESSION
        return StoreUnavailable(f"{self.name} cannot be used: {text}{_advice(fault)}")

    def _refuse_all(self) -> None:
        self.is_given_up = True
        for session in list(self._sessions):
            session.drop()
        for attempt in self._attempts:
            attempt.reschedule(asyncio.get_running_loop().time())

    async def _connect(self, *, bounded: bool, by_key: bool) -> Session:
        limits = (STATEMENT_SECONDS, LOCK_SECONDS, IDLE_SECONDS) if bounded else (0.0, 0.0, 0.0)
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_SECONDS,
                command_timeout=ANSWER_SECONDS if bounded else None,
                statement_cache_size=STATEMENTS_CACHED,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
            )
        except ValueError:
            # Its text quotes the URL.
            raise StoreUnavailable(f"the URL of {self.name} cannot be understood") from None
        session = Session(connection, self._queries)
        self._sessions.add(session)
        try:
            texts = [f"{seconds:.0f}s" for seconds in limits]
            scans = "off" if by_key else "on"
            await session.rows("prepare_session", self.schema, *texts, scans)
        except BaseException:
            session.drop()
            raise
        return session


class Link:
    """One connection that comes back: opened when it is asked for, and anew after it was lost.

    That of the pulse tries also while the database is given up: by it all others come back.
    """

    def __init__(self, database: Database, *, by_key: bool = False, is_pulse: bool = False) -> None:
        self._database = database
        self._by_key = by_key
        self._is_pulse = is_pulse
        self._session: Session | None = None
        self._is_down = False
        self._fault: BaseException | None = None
        self._again_at = 0.0
        self._wait = BACK_OFF_SECONDS

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._session is not None and self._session.is_alive

    async def session(self) -> Session:
        """Returns the open connection; raises StoreUnavailable when there is none to be had.

        The first call of an outage waits for a while; those after it are refused until the next
        attempt is due.
        """
        if self._session is not None and self._session.is_alive:
            return self._session
        self._expect_answers()
        clock = asyncio.get_running_loop().time
        deadline = clock() + (0.0 if self._is_down else PATIENCE_SECONDS)
        if self._is_down and clock() < self._again_at:
            raise self._database.unavailable(self._fault) from self._fault
        while True:
            try:
                self._session = await self._database.connect(by_key=self._by_key)
            except FAULTS as fault:
                self._fault = fault.with_traceback(None)
                self._again_at = clock() + self._wait
                self._is_down = self._again_at > deadline
                if self._is_down:
                    raise self._database.unavailable(fault) from fault
            else:
                self._is_down, self._fault, self._wait = False, None, BACK_OFF_SECONDS
                return self._session
            self._expect_answers()
            await asyncio.sleep(self._wait)
            self._wait = min(2 * self._wait, BACK_OFF_MAX_SECONDS)

    def drop(self) -> None:
        """Gives the connection up after a fault."""
        session, self._session = self._session, None
        if session is not None:
            session.drop()

    async def close(self) -> None:
        """Disconnects."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _expect_answers(self) -> None:
        if self._database.is_given_up and not self._is_pulse:
            raise self._database.unavailable(None)


async def migrate(database: Database) -> int:
    """Runs the migrations that the schema lacks, one server at a time; returns the epoch.

    Raises SchemaTooNew when the schema needs a newer server, StoreInUse when a migration ends older
    servers and some live, else one of FAULTS. A migration may take its time, and so may another
    server's, which is waited for.
    """
    session = await database.connect(bounded=False)
    try:
        await _refuse_pooler(database, session)
        await session.rows("lock_migrations", database.schema)
        for (statement,) in await session.rows("missing_schema", database.schema):
            await session.script(statement)
        version, min_server = 0, 0
        ((found,),) = await session.rows("has_schema")
        if found:
            ((version, min_server),) = await session.rows("schema_version")
        check_schema(version=version, min_server=min_server)
        pending = [each for each in load_migrations(__package__) if each.number > version]
        if ends_older_servers(pending, version=version):
            await refuse_servers(session, database.place, why=_NOT_FOR_OLDER)
        for migration in pending:
            await _apply(session, migration)
        await session.rows("renew_epoch")
        ((epoch, _, _),) = await session.rows("last_position")
        await session.rows("unlock_migrations", database.schema)
    except BaseException:
        # The lock goes with the connection.
        session.drop()
        raise
    await session.close()
    return int(epoch)


async def refuse_servers(session: Session, place: str, *, why: str = "") -> None:
    """Raises StoreInUse when servers live that use the database; `why` is said of them."""
    ((alive,),) = await session.rows("count_servers", SERVER_SILENCE_US)
    if alive:
        raise StoreInUse(
            f"{place} is in use by {alive} of its servers{why}: stop them first; one that was"
            f" killed counts for {SERVER_SILENCE_US / SECOND_US:g} s more"
        )


async def _refuse_pooler(database: Database, session: Session) -> None:
    """Raises StoreUnavailable when connections change hands between transactions.

    Locks, notifications and settings of a session would come and go. Then another connection, that
    is in a transaction, has what the first one had, or the first one gets something else.
    """
    ((before,),) = await session.rows("is_there")
    other = await database.connect()
    try:
        async with other.transaction("begin_together"):
            ((beside,),) = await other.rows("is_there")
            ((after,),) = await session.rows("is_there")
    finally:
        await other.close()
    if before == beside or before != after:
        raise StoreUnavailable(f"{database.name} cannot be used: {_POOL_BY_SESSION}")


async def _apply(session: Session, migration: Migration) -> None:
    """Runs a migration, again when servers that go on meanwhile were in its way."""

    async def attempt() -> None:
        try:
            await session.script(migration.script)
        except PASSING:
            await session.script("ROLLBACK")
            raise

    await until_alone(attempt, seconds=inf)


def _advice(fault: BaseException) -> str:
    """What can be done about a fault, where that is not plain from its text."""
    for kind, advice in _ADVICE.items():
        if isinstance(fault, kind):
            return f"; {advice}"
    return ""


def _name(url: str) -> str:
    """What a database is called in errors: never with the user or the password of its URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", [""])[0] or "localhost"
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the PostgreSQL database"
    return f"the PostgreSQL database {parts.path.lstrip('/') or 'postgres'} on {host}{port}"
