"""What activities get of their worker: a lifespan opens it once, `inject()` asks for it.

python clients/python/examples/features/resources.py
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import perdure
from perdure import activity, inject, workflow


@dataclass
class Resources:
    db: sqlite3.Connection
    currency: str


@asynccontextmanager
async def lifespan() -> AsyncIterator[Resources]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE book (line TEXT)")
        yield Resources(db=db, currency="EUR")
        (lines,) = db.execute("SELECT count(*) FROM book").fetchone()
        print(f"{lines} lines, closing the book")


@activity
async def enter(
    cents: int, *, db: sqlite3.Connection = inject(), unit: str = inject("currency")
) -> str:
    line = f"{cents / 100:.2f} {unit}"
    db.execute("INSERT INTO book VALUES (?)", (line,))
    return line


@workflow
async def sell(cents: list[int]) -> list[str]:
    return [await enter(each) for each in cents]


if __name__ == "__main__":
    print(perdure.run(sell, [4200, 99], activities=[enter], lifespan=lifespan))
