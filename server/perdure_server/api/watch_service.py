"""Owns the RPCs that stream committed events."""

from __future__ import annotations

from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import watch_service_pb2 as pb
from perdure_server.api.rpcs import Answers
from perdure_server.core import worker_checks as checks
from perdure_server.engine.engine import Engine


class WatchService:
    """Follow what is committed."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["WatchService"]

    def __init__(self, engine: Engine) -> None:
        self._watches = engine.watches

    def Watch(self, request: pb.WatchRequest) -> Answers:
        """Streams the events of a namespace."""
        checks.check_watch(request)
        return self._watches.watch(request)

    def WatchWorkflow(self, request: pb.WatchWorkflowRequest) -> Answers:
        """Streams the history of one run, as it grows."""
        checks.check_watch_workflow(request)
        return self._watches.watch_workflow(request)
