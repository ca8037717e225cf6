"""Owns the RPCs that applications call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import explanation_pb2
from perdure.v1 import interaction_pb2 as asking
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.errors import to_status
from perdure_server.api.rpcs import Answer, Answers
from perdure_server.core import checks
from perdure_server.engine.engine import Engine


class WorkflowService:
    """Start workflows, talk to them, read what became of them."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["WorkflowService"]

    def __init__(self, engine: Engine) -> None:
        self._workflows = engine.workflows
        self._queries = engine.queries

    async def StartWorkflow(self, request: pb.StartWorkflowRequest) -> Answer:
        """Starts a workflow."""
        checks.check_start(request)
        return await self._workflows.start(request)

    async def ExecuteWorkflow(self, request: pb.ExecuteWorkflowRequest) -> Answer:
        """Starts a workflow and waits for its result."""
        checks.check_execute(request)
        return await self._workflows.execute(request)

    async def StartWorkflowBatch(self, request: pb.StartWorkflowBatchRequest) -> Answer:
        """Starts many workflows."""
        checks.check_start_batch(request)
        return await self._workflows.start_batches.start(request, to_status)

    async def GetWorkflow(self, request: pb.GetWorkflowRequest) -> Answer:
        """Returns one run and what is pending in it."""
        checks.check_get(request)
        return await self._workflows.get(request)

    async def GetWorkflowResult(self, request: pb.GetWorkflowResultRequest) -> Answer:
        """Waits for the end of a workflow."""
        checks.check_get_result(request)
        return await self._workflows.get_result(request)

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest) -> Answer:
        """Lists runs, newest first."""
        checks.check_list(request)
        return await self._workflows.list(request)

    async def CountWorkflows(self, request: pb.CountWorkflowsRequest) -> Answer:
        """Counts runs."""
        checks.check_count_workflows(request)
        return await self._workflows.count(request)

    async def ListChildren(self, request: pb.ListChildrenRequest) -> Answer:
        """Lists the children of one run."""
        checks.check_list_children(request)
        return await self._workflows.list_children(request)

    async def GetWorkflowHistory(self, request: pb.GetWorkflowHistoryRequest) -> Answer:
        """Returns a page of the history of one run."""
        checks.check_get_history(request)
        return await self._workflows.get_history(request)

    async def GetSnapshot(self, request: asking.GetSnapshotRequest) -> Answer:
        """Returns what a run published last."""
        checks.check_get_snapshot(request)
        return await self._workflows.get_snapshot(request)

    async def GetSnapshotValue(self, request: asking.GetSnapshotValueRequest) -> Answer:
        """Returns one value of what a run published last."""
        checks.check_get_snapshot_value(request)
        return await self._workflows.get_snapshot_value(request)

    async def ExplainWorkflow(self, request: explanation_pb2.ExplainWorkflowRequest) -> Answer:
        """Says why nothing happens in a workflow."""
        checks.check_explain(request)
        return await self._workflows.explain(request)

    async def SignalWorkflow(self, request: pb.SignalWorkflowRequest) -> Answer:
        """Delivers a signal."""
        checks.check_signal(request)
        return await self._workflows.signal(request)

    async def UpdateWorkflow(self, request: asking.UpdateWorkflowRequest) -> Answer:
        """Asks the code of a workflow to do something and waits for its answer."""
        checks.check_update(request)
        return await self._workflows.updates.update(request)

    async def QueryWorkflow(self, request: asking.QueryWorkflowRequest) -> Answer:
        """Asks the code of a workflow something that changes nothing."""
        checks.check_query(request)
        return await self._queries.query(request)

    async def SignalWithStart(self, request: pb.SignalWithStartRequest) -> Answer:
        """Delivers a signal to a workflow, which it starts if that is needed."""
        checks.check_signal_with_start(request)
        return await self._workflows.joint_starts.signal(request)

    async def UpdateWithStart(self, request: pb.UpdateWithStartRequest) -> Answer:
        """Asks the code of a workflow, which it starts if that is needed."""
        checks.check_update_with_start(request)
        return await self._workflows.joint_starts.update(request)

    async def CancelWorkflow(self, request: pb.CancelWorkflowRequest) -> Answer:
        """Asks a workflow to end."""
        checks.check_cancel(request)
        return await self._workflows.cancel(request)

    async def PauseWorkflow(self, request: pb.PauseWorkflowRequest) -> Answer:
        """Holds a run back."""
        checks.check_pause(request)
        return await self._workflows.pause(request)

    async def UnpauseWorkflow(self, request: pb.UnpauseWorkflowRequest) -> Answer:
        """Lets a paused run go on."""
        checks.check_pause(request)
        return await self._workflows.unpause(request)

    async def ContinueAsNew(self, request: pb.ContinueAsNewRequest) -> Answer:
        """Closes a run for another one with a new history."""
        checks.check_continue_as_new(request)
        return await self._workflows.continue_as_new(request)

    async def ResetWorkflow(self, request: pb.ResetWorkflowRequest) -> Answer:
        """Begins a workflow again behind an event."""
        checks.check_reset(request)
        return await self._workflows.reset(request)

    async def RetryFailedActivity(self, request: pb.RetryFailedActivityRequest) -> Answer:
        """Tries the failed activity of a failed run again."""
        checks.check_retry(request)
        return await self._workflows.retry(request)

    async def TerminateWorkflow(self, request: pb.TerminateWorkflowRequest) -> Answer:
        """Ends a run now."""
        checks.check_terminate(request)
        return await self._workflows.terminate(request)

    async def ScheduleActivity(self, request: pb.ScheduleActivityRequest) -> Answer:
        """Schedules an activity of a run from outside its code."""
        checks.check_schedule_activity(request)
        return await self._workflows.schedule_activity(request)

    async def GetActivity(self, request: pb.GetActivityRequest) -> Answer:
        """Returns one activity."""
        checks.check_get_activity(request)
        return await self._workflows.get_activity(request)

    async def PauseActivity(self, request: pb.PauseActivityRequest) -> Answer:
        """Keeps further attempts of an activity from workers."""
        checks.check_operation(request)
        return await self._workflows.activities.pause(request)

    async def UnpauseActivity(self, request: pb.UnpauseActivityRequest) -> Answer:
        """Lets a paused activity go on."""
        checks.check_operation(request)
        return await self._workflows.activities.unpause(request)

    async def ResetActivity(self, request: pb.ResetActivityRequest) -> Answer:
        """Counts the attempts of an activity anew."""
        checks.check_operation(request)
        return await self._workflows.activities.reset(request)

    async def UpdateActivityOptions(self, request: pb.UpdateActivityOptionsRequest) -> Answer:
        """Changes options of an activity."""
        checks.check_update_options(request)
        return await self._workflows.activities.update_options(request)

    def Session(self, requests: AsyncIterator[pb.SessionRequest]) -> Answers:
        """Carries many calls of one client; the engine checks each as the methods above do."""
        return self._workflows.session(requests, to_status)
