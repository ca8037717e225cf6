"""A hand-out, as every door and every backend makes it."""

from __future__ import annotations

import pytest

from perdure_server.core.model import Task, TaskKind


@pytest.mark.parametrize(
    ("limit_us", "poll_us", "until_us"),
    [(None, None, None), (7, None, 107), (None, 30, 130), (7, 30, 107)],
)
def test_a_lease_lasts_for_its_own_limit_or_for_the_polls(
    limit_us: int | None, poll_us: int | None, until_us: int | None
) -> None:
    ready = Task(
        run_id="run-1",
        kind=TaskKind.WORKFLOW,
        seq=0,
        namespace="main",
        queue="shop",
        type="checkout",
        priority=3,
        ready_at_us=90,
        created_at_us=80,
        lease=4,
        lease_limit_us=limit_us,
    )
    leased = ready.leased_to("s", "me", now_us=100, poll_lease_us=poll_us)
    assert (leased.session_id, leased.worker_identity, leased.lease) == ("s", "me", 5)
    assert (leased.leased_at_us, leased.lease_until_us) == (100, until_us)
    assert (ready.session_id, ready.lease) == (None, 4)
