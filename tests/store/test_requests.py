"""Request ids: the first answer is kept and a repetition is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import RequestRecorded, StaleVersion
from perdure_server.core.model import RequestRecord
from perdure_server.store.contract import Committed, Store
from tests.support.histories import a_request, a_run, alone, starting, stepping

RUN = a_run()
RECORD = a_request(RUN)


async def find(store: Store, record: RequestRecord) -> RequestRecord | None:
    return await store.find_request(
        record.namespace, record.workflow_id, record.rpc, record.request_id
    )


async def test_a_record_is_found_again(store: Store) -> None:
    assert await find(store, RECORD) is None
    await store.commit([alone(starting(RUN), RECORD)])
    assert await find(store, RECORD) == RECORD


async def test_a_repetition_is_refused_before_anything_else(store: Store) -> None:
    await store.commit([alone(starting(RUN), RECORD)])
    repeated = replace(RECORD, response=b"another answer")
    outcomes = await store.commit([alone(starting(RUN), repeated), alone(stepping(RUN), repeated)])
    assert [type(outcome) for outcome in outcomes] == [RequestRecorded, RequestRecorded]
    assert await find(store, RECORD) == RECORD


async def test_two_of_one_call_count_once(store: Store) -> None:
    other = a_run(2)
    record = replace(RECORD, workflow_id="shared")
    outcomes = await store.commit([alone(starting(RUN), record), alone(starting(other), record)])
    assert [type(outcome) for outcome in outcomes] == [Committed, RequestRecorded]
    assert await store.load_run(other.run_id) is None


async def test_a_refused_changeset_leaves_no_record(store: Store) -> None:
    (outcome,) = await store.commit([alone(stepping(RUN), RECORD)])
    assert isinstance(outcome, StaleVersion)
    assert await find(store, RECORD) is None


@pytest.mark.parametrize("column", ["namespace", "workflow_id", "rpc", "request_id"])
async def test_the_scope_is_the_whole_key(store: Store, column: str) -> None:
    await store.commit([alone(starting(RUN), RECORD)])
    elsewhere = replace(RECORD, **{column: "other"})
    (outcome,) = await store.commit([Changeset(requests=[elsewhere])])
    assert isinstance(outcome, Committed)
    assert await find(store, elsewhere) == elsewhere
