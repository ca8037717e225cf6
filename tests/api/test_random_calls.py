"""Whatever is asked in whatever order: the model and the backends say the same.

`--cases` tries more, others each time; `make fuzz` does so.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.api.random_calls import RandomCalls
from tests.api.random_steps import random_steps
from tests.support.model_contents import Contents
from tests.support.model_store import ModelStore

EXAMPLES = 12
LENGTH = 160


@pytest.mark.timeout(900)  # thousands of commits, each with a disk sync; more with --cases
def test_all_backends_answer_alike(request, schemas):
    cases = request.config.getoption("--cases")

    @settings(
        derandomize=not cases,
        database=None,
        deadline=None,
        max_examples=cases or EXAMPLES,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(seed=st.integers(0, 2**32), length=st.integers(LENGTH // 2, LENGTH))
    def try_it(seed, length):
        with lent_disks(schemas) as disks, asyncio.Runner() as runner:
            note(f"seed {seed}, {length} steps")
            RandomCalls(disks, runner).play(random_steps(seed, length))

    try_it()


@contextmanager
def lent_disks(schemas):
    contents = Contents()
    with TemporaryDirectory() as folder, schemas.lent() as schema:
        yield {
            "model": lambda: ModelStore(contents),
            "sqlite": lambda: SqliteStore(Path(folder) / "perdure.db"),
            "postgres": lambda: PostgresStore(schemas.url, schema=schema),
        }
