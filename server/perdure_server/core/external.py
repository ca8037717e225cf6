"""Owns activities that are scheduled from outside a run's code.

They are activities like any other, under numbers of their own: the caller's number with a minus
sign. The code of the workflow waits for none of them, and replay skips their events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_server.core import activity

if TYPE_CHECKING:
    from perdure.v1.workflow_service_pb2 import ScheduleActivityRequest
    from perdure_server.core.draft import Draft
    from perdure_server.core.model import Activity


def schedule(draft: Draft, request: ScheduleActivityRequest, now_us: int) -> Activity:
    """Schedules an activity and returns it; one that is pending under the number stands.

    Numbers may have gaps, so a run does not remember those that have ended: whoever calls this
    makes sure that a number is not taken again.
    """
    row = draft.activity(-request.seq)
    if row is None:
        activity.begin(draft, request, seq=-request.seq, now_us=now_us)
        row = draft.activity(-request.seq)
    assert row is not None, "an activity that began has a row"
    return row


def cancel_all(draft: Draft, now_us: int) -> None:
    """Asks those that are pending, and were not asked before, to end."""
    for seq, row in sorted(draft.rows.activities.items()):
        if seq < 0 and not row.cancel_requested:
            activity.request_cancel(draft, seq, now_us)
