"""Owns the RPCs that workers call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import worker_service_pb2 as pb
from perdure_server.api.rpcs import Answer, Answers
from perdure_server.core import worker_checks as checks
from perdure_server.engine.engine import Engine


class WorkerService:
    """Take tasks, report what became of them."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["WorkerService"]

    def __init__(self, engine: Engine) -> None:
        self._workers = engine.workers

    def Work(self, requests: AsyncIterator[pb.WorkRequest]) -> Answers:
        """Connects a worker; the engine checks its hello and each report."""
        return self._workers.work(requests)

    def StreamTasks(self, request: pb.StreamTasksRequest) -> Answers:
        """Streams tasks to a small worker."""
        checks.check_stream_tasks(request)
        return self._workers.stream_tasks(request)

    async def Report(self, request: pb.ReportRequest) -> Answer:
        """Reports on tasks; the engine checks each report alone."""
        checks.check_report(request)
        return await self._workers.report(request)

    async def GetWorkflowTaskHistory(self, request: pb.GetWorkflowTaskHistoryRequest) -> Answer:
        """Returns the rest of a history that was too long for its task."""
        checks.check_get_workflow_task_history(request)
        return await self._workers.get_workflow_task_history(request)

    async def PollWorkflowTask(self, request: pb.PollWorkflowTaskRequest) -> Answer:
        """Waits for a workflow task."""
        checks.check_poll_workflow_task(request)
        return await self._workers.poll_workflow_task(request)

    async def CompleteWorkflowTask(self, request: pb.CompleteWorkflowTaskRequest) -> Answer:
        """Reports the commands of a workflow task."""
        checks.check_complete_workflow_task(request)
        return await self._workers.complete_workflow_task(request)

    async def FailWorkflowTask(self, request: pb.FailWorkflowTaskRequest) -> Answer:
        """Reports that the code could not be run."""
        return await self._workers.fail_workflow_task(request)

    async def PollActivityTask(self, request: pb.PollActivityTaskRequest) -> Answer:
        """Waits for an activity task."""
        checks.check_poll_activity_task(request)
        return await self._workers.poll_activity_task(request)

    async def CompleteActivity(self, request: pb.CompleteActivityRequest) -> Answer:
        """Reports the result of an activity."""
        return await self._workers.complete_activity(request)

    async def FailActivity(self, request: pb.FailActivityRequest) -> Answer:
        """Reports the failure of an attempt."""
        return await self._workers.fail_activity(request)

    async def HeartbeatActivity(self, request: pb.HeartbeatActivityRequest) -> Answer:
        """Reports that an attempt is alive."""
        return await self._workers.heartbeat_activity(request)

    async def Register(self, request: pb.RegisterRequest) -> Answer:
        """Registers a worker."""
        checks.check_register(request)
        return await self._workers.register(request)

    async def Heartbeat(self, request: pb.HeartbeatRequest) -> Answer:
        """Reports that a registered worker is alive."""
        checks.check_worker_heartbeat(request)
        return await self._workers.heartbeat(request)

    async def ListWorkers(self, request: pb.ListWorkersRequest) -> Answer:
        """Lists the workers of a namespace."""
        checks.check_list_workers(request)
        return await self._workers.list_workers(request)
