"""Owns the connection that writes, and what becomes of a group of operations in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from perdure_server.core.errors import StoreUnavailable
from perdure_server.store.sqlite.group import Group

Operation: TypeAlias = Callable[[Group], object]

_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
"""Errors that leave the connection as good as before."""


@dataclass(slots=True)
class StoreStats:
    """What a writer has done: its transactions, and the changesets and statements in them."""

    commits: int = 0
    changesets: int = 0
    statements: int = 0


class Transactions:
    """Runs groups of operations, each group in a transaction of its own; used by one thread."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        queries: Mapping[str, str],
        stats: StoreStats,
    ) -> None:
        self._connect = connect
        self._queries = queries
        self._stats = stats
        self._connection: sqlite3.Connection | None = None

    def answers(self, group: Sequence[Operation]) -> list[object]:
        """Runs a group, and each operation alone when the content of one spoiled the group.

        An answer is what the operation returned, or the error for which nothing of it was written.
        """
        try:
            return self._transact(group)
        except Exception as fault:  # noqa: BLE001 - a fault is the answer of who caused it
            if _is_of_database(fault):
                self._recover(fault)
                text = f"the database cannot be written: {fault}"
                return [StoreUnavailable(text) for _ in group]
            self._roll_back()
            if len(group) == 1:
                return [fault]
            return [answer for operation in group for answer in self.answers([operation])]

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _transact(self, operations: Sequence[Operation]) -> list[object]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute(self._queries["begin_write"])
        group = Group(self._connection, self._queries)
        answers = [operation(group) for operation in operations]
        group.finish()
        self._connection.commit()
        self._stats.commits += 1
        self._stats.changesets += group.changesets
        self._stats.statements += group.statements
        return answers

    def _recover(self, fault: Exception) -> None:
        """Rolls back; drops the connection, to be opened anew, when it may have suffered."""
        rolled_back = self._roll_back()
        code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if not (rolled_back and code in _PASSING):
            self.close()

    def _roll_back(self) -> bool:
        with suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.rollback()
            return True
        return False


def _is_of_database(fault: Exception) -> bool:
    """Whether the disk or the file is at fault, and not what was to be written."""
    return isinstance(fault, sqlite3.OperationalError) or type(fault) is sqlite3.DatabaseError
