from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as namespaces
from perdure_server.core import admin_checks as checks
from perdure_server.core.errors import InvalidRequest, LimitExceeded

LONG = "x" * 256
CASES: list[tuple[Callable[[Any], None], type[Message], dict[str, Any], dict[str, Any]]] = [
    (checks.check_create_namespace, namespaces.CreateNamespaceRequest, {"name": "n"}, {"name": ""}),
    (
        checks.check_update_namespace,
        namespaces.UpdateNamespaceRequest,
        {"name": "n", "retention": Duration(seconds=60)},
        {"name": "", "retention": Duration(seconds=-1)},
    ),
    (checks.check_list_namespaces, namespaces.ListNamespacesRequest, {}, {"page_size": 1_001}),
    (checks.check_get_namespace, namespaces.GetNamespaceRequest, {"name": "n"}, {"name": LONG}),
    (checks.check_delete_namespace, namespaces.DeleteNamespaceRequest, {"name": "n"}, {"name": ""}),
    (checks.check_list_queues, admin.ListQueuesRequest, {}, {"namespace": LONG, "page_size": -1}),
    (checks.check_create_api_key, admin.CreateApiKeyRequest, {}, {"label": LONG}),
    (checks.check_list_api_keys, admin.ListApiKeysRequest, {}, {"page_size": 1_001}),
    (checks.check_delete_api_key, admin.DeleteApiKeyRequest, {"prefix": "p"}, {"prefix": ""}),
]
WITHOUT_FIELDS = {"GetHealth", "GetVersion", "GetOpenApi"}


def test_every_rpc_has_its_check() -> None:
    services = (
        *namespaces.DESCRIPTOR.services_by_name.values(),
        *admin.DESCRIPTOR.services_by_name.values(),
    )
    rpcs = {method.name for service in services for method in service.methods}
    checked = {request.DESCRIPTOR.name.removesuffix("Request") for _, request, _, _ in CASES}
    assert checked == rpcs - WITHOUT_FIELDS


@pytest.mark.parametrize(("check", "request_type", "good", "bad"), CASES)
def test_each_field_is_held_to_its_rule(
    check: Callable[[Any], None],
    request_type: type[Message],
    good: dict[str, Any],
    bad: dict[str, Any],
) -> None:
    check(request_type(**good))
    for field, value in bad.items():
        with pytest.raises(InvalidRequest, match=field) as caught:
            check(request_type(**{**good, field: value}))
        assert caught.value.field == field


def test_a_name_has_no_control_character() -> None:
    with pytest.raises(InvalidRequest, match="control character"):
        checks.check_create_namespace(namespaces.CreateNamespaceRequest(name="a\nb"))
    with pytest.raises(LimitExceeded, match="255"):
        checks.check_create_namespace(namespaces.CreateNamespaceRequest(name="ü" * 128))
