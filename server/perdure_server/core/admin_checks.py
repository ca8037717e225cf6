"""Owns what a request of NamespaceService or AdminService may say: one function per RPC.

The rest is as in `checks`. Requests without fields have nothing to check.
"""

from __future__ import annotations

from perdure.v1.admin_service_pb2 import (
    CreateApiKeyRequest,
    DeleteApiKeyRequest,
    ListApiKeysRequest,
    ListQueuesRequest,
)
from perdure.v1.namespace_service_pb2 import (
    CreateNamespaceRequest,
    DeleteNamespaceRequest,
    GetNamespaceRequest,
    ListNamespacesRequest,
    UpdateNamespaceRequest,
)
from perdure_server.core.fields import check_duration, check_id, check_page_size, require_id


def check_create_namespace(request: CreateNamespaceRequest) -> None:
    """Checks CreateNamespace."""
    require_id("name", request.name)
    check_duration("retention", request.retention)


def check_update_namespace(request: UpdateNamespaceRequest) -> None:
    """Checks UpdateNamespace."""
    require_id("name", request.name)
    check_duration("retention", request.retention)


def check_list_namespaces(request: ListNamespacesRequest) -> None:
    """Checks ListNamespaces."""
    check_page_size(request.page_size)


def check_get_namespace(request: GetNamespaceRequest) -> None:
    """Checks GetNamespace."""
    require_id("name", request.name)


def check_delete_namespace(request: DeleteNamespaceRequest) -> None:
    """Checks DeleteNamespace."""
    require_id("name", request.name)


def check_list_queues(request: ListQueuesRequest) -> None:
    """Checks ListQueues."""
    check_id("namespace", request.namespace)
    check_page_size(request.page_size)


def check_create_api_key(request: CreateApiKeyRequest) -> None:
    """Checks CreateApiKey."""
    check_id("label", request.label)


def check_list_api_keys(request: ListApiKeysRequest) -> None:
    """Checks ListApiKeys."""
    check_page_size(request.page_size)


def check_delete_api_key(request: DeleteApiKeyRequest) -> None:
    """Checks DeleteApiKey."""
    require_id("prefix", request.prefix)
