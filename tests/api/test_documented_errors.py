"""Each error that the contract tells of an RPC is told to who provokes it, and no others."""

from __future__ import annotations

import pytest

from tests.api.flows import refused
from tests.api.refusals import ROWS, Doors
from tests.tidy.errors_told import errors_told

TOLD = {(rpc, reason): code for rpc, pairs in errors_told().items() for code, reason in pairs}


@pytest.fixture
def store(sqlite_store):
    return sqlite_store


@pytest.mark.parametrize(("rpc", "reason"), sorted(ROWS), ids=str)
async def test_a_documented_error_is_told(flows, rpc, reason):
    async with refused(TOLD[rpc, reason], reason):
        await ROWS[rpc, reason](Doors(flows))
