"""Options and rules that hold for every kind of test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options of the simulation and of the golden histories."""
    group = parser.getgroup("perdure")
    group.addoption(
        "--seeds", type=int, default=200, help="how many seeds the simulation tries (default 200)"
    )
    group.addoption("--seed", type=int, default=None, help="the one seed the simulation tries")
    group.addoption(
        "--cases", type=int, default=0, help="how many sequences of random calls are tried anew"
    )
    group.addoption(
        "--regenerate",
        action="store_true",
        help="write the golden histories of tests/replay anew instead of comparing with them",
    )


@pytest.fixture(scope="session")
def schemas() -> Iterator[postgres.Schemas]:
    """A real PostgreSQL that lends schemas, started when the first test asks for one."""
    with postgres.schemas() as lent:
        yield lent
