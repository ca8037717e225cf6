"""Owns the RPCs of operators: queues, API keys, and what this server is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import admin_service_pb2 as pb
from perdure.v1.payload_pb2 import Payload
from perdure_server.api.rpcs import Answer
from perdure_server.core import admin_checks
from perdure_server.engine.engine import Engine

_SERVICE: Final = "perdure"
_BUILD_PROFILE: Final = "release"
_JSON: Final = "json/plain"


@dataclass(slots=True, frozen=True)
class About:
    """What this server is: its version, and the OpenAPI document of its REST surface as JSON."""

    version: str
    openapi: bytes


class AdminService:
    """List queues, keep API keys, tell what this server is and whether it can serve."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["AdminService"]

    def __init__(self, engine: Engine, about: About) -> None:
        self._engine = engine
        self._about = about

    async def ListQueues(self, request: pb.ListQueuesRequest) -> Answer:
        """Lists the task queues of a namespace."""
        admin_checks.check_list_queues(request)
        return await self._engine.queues.list(request)

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest) -> Answer:
        """Creates an API key."""
        admin_checks.check_create_api_key(request)
        return await self._engine.keys.create(request)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest) -> Answer:
        """Lists the API keys, newest first."""
        admin_checks.check_list_api_keys(request)
        return await self._engine.keys.list(request)

    async def DeleteApiKey(self, request: pb.DeleteApiKeyRequest) -> Answer:
        """Revokes an API key."""
        admin_checks.check_delete_api_key(request)
        return await self._engine.keys.delete(request)

    async def GetHealth(self, request: pb.GetHealthRequest) -> Answer:  # noqa: ARG002
        """Tells whether this server can serve: the store is asked."""
        await self._engine.check()
        return pb.GetHealthResponse(status="ok", service=_SERVICE)

    async def GetVersion(self, request: pb.GetVersionRequest) -> Answer:  # noqa: ARG002
        """Tells which version this server is."""
        return pb.GetVersionResponse(version=self._about.version, build_profile=_BUILD_PROFILE)

    async def GetOpenApi(self, request: pb.GetOpenApiRequest) -> Answer:  # noqa: ARG002
        """Returns the description of the REST surface."""
        document = Payload(data=self._about.openapi, encoding=_JSON)
        return pb.GetOpenApiResponse(document=document)
