"""What stands around each test of simulated worlds."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Ends what crashed workers left behind here.

    It speaks of itself when it is collected, and Python 3.11 trips when that happens while it reads
    source text, as pytest does at the end of a session.
    """
    yield
    gc.collect()
