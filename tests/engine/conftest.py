"""One engine per test."""

from __future__ import annotations

import pytest

from tests.engine.rig import running


@pytest.fixture
async def rig():
    async with running() as rig:
        yield rig
