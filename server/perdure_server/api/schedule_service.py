"""Owns the RPCs about schedules."""

from __future__ import annotations

from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import schedule_service_pb2 as pb
from perdure_server.api.rpcs import Answer
from perdure_server.core import schedule_checks as checks
from perdure_server.engine.engine import Engine


class ScheduleService:
    """Create, read, change and serve schedules."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["ScheduleService"]

    def __init__(self, engine: Engine) -> None:
        self._schedules = engine.schedules

    async def CreateSchedule(self, request: pb.CreateScheduleRequest) -> Answer:
        """Creates a schedule."""
        checks.check_create_schedule(request)
        return await self._schedules.create(request)

    async def ListSchedules(self, request: pb.ListSchedulesRequest) -> Answer:
        """Lists the schedules of a namespace by name."""
        checks.check_list_schedules(request)
        return await self._schedules.list(request)

    async def GetSchedule(self, request: pb.GetScheduleRequest) -> Answer:
        """Returns one schedule."""
        checks.check_get_schedule(request)
        return await self._schedules.get(request)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest) -> Answer:
        """Changes the fields that are given."""
        checks.check_update_schedule(request)
        return await self._schedules.update(request)

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest) -> Answer:
        """Deletes a schedule."""
        checks.check_delete_schedule(request)
        return await self._schedules.delete(request)

    async def PauseSchedule(self, request: pb.PauseScheduleRequest) -> Answer:
        """Lets instants pass without a start."""
        checks.check_pause_schedule(request)
        return await self._schedules.pause(request)

    async def ResumeSchedule(self, request: pb.ResumeScheduleRequest) -> Answer:
        """Starts workflows again from the next instant on."""
        checks.check_resume_schedule(request)
        return await self._schedules.resume(request)

    async def TriggerSchedule(self, request: pb.TriggerScheduleRequest) -> Answer:
        """Starts a workflow now."""
        checks.check_trigger_schedule(request)
        return await self._schedules.trigger(request)

    async def BackfillSchedule(self, request: pb.BackfillScheduleRequest) -> Answer:
        """Starts the workflows of due times that have passed."""
        checks.check_backfill_schedule(request)
        return await self._schedules.backfill(request)

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest) -> Answer:
        """Returns the next instants."""
        checks.check_preview_schedule(request)
        return await self._schedules.preview(request)
