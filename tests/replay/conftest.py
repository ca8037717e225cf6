"""Closes the machines of each test: collecting an open one would run its code outside of a run."""

from __future__ import annotations

import pytest

from tests.replay.rig import MACHINES


@pytest.fixture(autouse=True)
def _machines():
    yield
    while MACHINES:
        MACHINES.pop().close()
