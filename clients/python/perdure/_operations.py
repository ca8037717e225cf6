"""Owns what operators do to one pending activity of a workflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from perdure._connection import Connection
from perdure._options import RetryPolicy, require_types
from perdure._times import require_span
from perdure.interceptors import ClientCall
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.activity_pb2 import Activity, ActivityOptions


class Timeouts(TypedDict, total=False):
    """The timeouts of an activity; a span of zero means none."""

    start_to_close: timedelta
    schedule_to_start: timedelta
    schedule_to_close: timedelta
    heartbeat: timedelta


class PendingActivity:
    """A pending activity of a workflow, by its number. Making one asks nothing of the server.

    Each call raises WorkflowNotFoundError, ActivityNotFoundError or WorkflowClosedError, and gives
    the activity as it stands then. `reason` and `identity` are kept in the history.
    """

    def __init__(self, connection: Connection, workflow_id: str, run_id: str, seq: int) -> None:
        self._connection = connection
        self._names = {"workflow_id": workflow_id, "run_id": run_id, "activity_seq": seq}

    def __repr__(self) -> str:
        of = f"{self._names['workflow_id']!r}, run_id={self._names['run_id']!r}"
        return f"PendingActivity({of}, seq={self._names['activity_seq']})"

    async def pause(self, reason: str = "", *, identity: str = "") -> Activity:
        """Keeps further attempts from workers; one that a worker has goes on."""
        return await self._ask("pause_activity", "PauseActivity", reason=reason, identity=identity)

    async def unpause(self, reason: str = "", *, identity: str = "") -> Activity:
        """Lets it go on."""
        return await self._ask(
            "unpause_activity", "UnpauseActivity", reason=reason, identity=identity
        )

    async def reset(
        self, reason: str = "", *, identity: str = "", drop_heartbeat_details: bool = False
    ) -> Activity:
        """Counts its attempts anew, and skips the wait for the next one."""
        return await self._ask(
            "reset_activity",
            "ResetActivity",
            reason=reason,
            identity=identity,
            drop_heartbeat_details=drop_heartbeat_details,
        )

    async def update_options(
        self,
        reason: str = "",
        *,
        identity: str = "",
        retry: RetryPolicy | None = None,
        priority: int = 0,
        **timeouts: Unpack[Timeouts],
    ) -> Activity:
        """Changes what is given. An attempt that a worker has keeps its own timeouts."""
        require_types({"retry": retry, "priority": priority})
        options = ActivityOptions(retry_policy=None if retry is None else retry.to_proto())
        for name, timeout in timeouts.items():
            require_span(name, timeout)
            getattr(options, f"{name}_timeout").FromTimedelta(timeout)
        return await self._ask(
            "update_activity_options",
            "UpdateActivityOptions",
            reason=reason,
            identity=identity,
            options=options,
            priority=priority,
        )

    async def _ask(self, operation: str, rpc: str, **fields: Any) -> Activity:
        request = getattr(pb, f"{rpc}Request")(
            namespace=self._connection.namespace, request_id=uuid4().hex, **self._names, **fields
        )
        call = ClientCall(operation=operation, workflow_id=request.workflow_id, request=request)
        return await self._connection.made(call, f"WorkflowService/{rpc}", _activity)


def _activity(answer: Any) -> Activity:
    activity: Activity = answer.activity
    return activity
