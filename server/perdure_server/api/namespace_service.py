"""Owns the RPCs about namespaces."""

from __future__ import annotations

from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from perdure.v1 import namespace_service_pb2 as pb
from perdure_server.api.rpcs import Answer
from perdure_server.core import admin_checks
from perdure_server.engine.engine import Engine


class NamespaceService:
    """Create, read and delete namespaces."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["NamespaceService"]

    def __init__(self, engine: Engine) -> None:
        self._namespaces = engine.namespaces

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest) -> Answer:
        """Creates a namespace."""
        admin_checks.check_create_namespace(request)
        return await self._namespaces.create(request)

    async def UpdateNamespace(self, request: pb.UpdateNamespaceRequest) -> Answer:
        """Changes how long a namespace keeps closed runs."""
        admin_checks.check_update_namespace(request)
        return await self._namespaces.update(request)

    async def ListNamespaces(self, request: pb.ListNamespacesRequest) -> Answer:
        """Lists the namespaces by name."""
        admin_checks.check_list_namespaces(request)
        return await self._namespaces.list(request)

    async def GetNamespace(self, request: pb.GetNamespaceRequest) -> Answer:
        """Counts what a namespace holds."""
        admin_checks.check_get_namespace(request)
        return await self._namespaces.get(request)

    async def DeleteNamespace(self, request: pb.DeleteNamespaceRequest) -> Answer:
        """Deletes a namespace, with `force` also its runs."""
        admin_checks.check_delete_namespace(request)
        return await self._namespaces.delete(request)
