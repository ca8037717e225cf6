"""What Envoy is told about the contract: paths, and nothing of what bodies hold."""

from __future__ import annotations

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from perdure.v1 import workflow_service_pb2
from perdure_server.rest.descriptor import (
    BODY_NUMBER,
    FILE,
    encoded,
    envoy_descriptors,
    http_rules,
    main,
    service_files,
)
from tests.tidy.sources import PROTO

HTTP_BODY = ".google.api.HttpBody"


@pytest.fixture(scope="module")
def derived():
    """The files of the contract, as Envoy gets them, by name."""
    return {file.name: file for file in envoy_descriptors(service_files()).file}


@pytest.fixture(scope="module")
def pool(derived):
    """A pool of these files alone, which links them as Envoy does."""
    pool = DescriptorPool()
    for file in derived.values():
        pool.Add(file)
    return pool


def file_of(fields, **options):
    """Returns a linked file with a message of some `fields` and an RPC whose rule is `options`."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(FILE.read_bytes()).file:
        if not file.name.startswith("perdure/"):
            pool.Add(file)
    file = FileDescriptorProto(
        name="sample.proto",
        package="sample",
        syntax="proto3",
        dependency=[annotations_pb2.DESCRIPTOR.name],
    )
    request = file.message_type.add(name="Request")
    for number, name in enumerate(fields.split(), 1):
        kind = Field.TYPE_INT32 if name == "number" else Field.TYPE_STRING
        request.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    method = file.service.add(name="Service").method.add(
        name="Do", input_type=".sample.Request", output_type=".sample.Request"
    )
    rule = method.options.Extensions[annotations_pb2.http]
    more = options.pop("more", [])
    for name, value in options.items():
        setattr(rule, name, value)
    for binding in more:
        rule.additional_bindings.add(**binding)
    pool.Add(file)
    return pool.FindFileByName("sample.proto")


def derive(file):
    return envoy_descriptors([file]).file[-1]


def test_the_committed_file_is_fresh(tmp_path):
    main([str(tmp_path / "made.pb")])
    assert (tmp_path / "made.pb").read_bytes() == FILE.read_bytes(), "run 'make rest'"


def test_it_is_made_the_same_each_time():
    assert encoded(envoy_descriptors(service_files())) == encoded(
        envoy_descriptors(service_files())
    )


def test_every_service_of_the_contract_is_in_it(derived):
    names = {f"perdure/v1/{path.name}" for path in PROTO.glob("*_service.proto")}
    assert names == {name for name in derived if name.startswith("perdure/")}


@pytest.mark.parametrize("file", service_files(), ids=lambda file: file.name)
def test_annotated_rpcs_lose_their_types_and_keep_their_paths(file, pool):
    for service in file.services_by_name.values():
        derived = pool.FindServiceByName(service.full_name)
        annotated = [method for method in service.methods if http_rules(method)]
        assert [method.name for method in derived.methods] == [m.name for m in annotated]
        for method in annotated:
            twin = derived.methods_by_name[method.name]
            assert twin.output_type.full_name == "google.api.HttpBody"
            assert twin.server_streaming == method.server_streaming
            for field in twin.input_type.fields:
                original = method.input_type.fields_by_number.get(field.number)
                assert field.number == BODY_NUMBER or original.name == field.name


def test_the_server_reads_both_forms(pool):
    name = "perdure.v1.SignalWorkflowRequest"
    short = GetMessageClass(pool.FindMessageTypeByName(name))(workflow_id="w", signal_name="s")
    short.rest_body.data = b"{}"
    request = workflow_service_pb2.SignalWorkflowRequest.FromString(short.SerializeToString())
    assert (request.workflow_id, request.signal_name) == ("w", "s")


def test_a_rule_without_a_body_has_no_field_for_one():
    file = derive(file_of("id other", get="/v1/{id}"))
    assert [field.name for field in file.message_type[0].field] == ["id"]


def test_a_body_travels_as_it_is_and_the_answer_too():
    file = derive(file_of("id other", post="/v1/{id}", body="other", response_body="other"))
    assert [(field.name, field.number) for field in file.message_type[0].field] == [
        ("id", 1),
        ("rest_body", BODY_NUMBER),
    ]
    (method,) = file.service[0].method
    rule = method.options.Extensions[annotations_pb2.http]
    assert (rule.body, rule.response_body, method.output_type) == ("rest_body", "", HTTP_BODY)


def test_more_bindings_are_treated_alike():
    more = [{"put": "/v1/{other}:do", "body": "*"}, {"custom": {"kind": "HEAD", "path": "/v2:do"}}]
    file = derive(file_of("id other", get="/v1/{id}", more=more))
    assert [field.name for field in file.message_type[0].field] == ["id", "other", "rest_body"]
    rule = file.service[0].method[0].options.Extensions[annotations_pb2.http]
    put, head = rule.additional_bindings
    assert (rule.body, put.body, head.body) == ("", "rest_body", "")
    assert (put.put, head.custom.path) == ("/v1/{other}%3Ado", "/v2%3Ado")


@pytest.mark.parametrize(
    ("fields", "rule", "text"),
    [
        ("id", {"get": "/v1/{nobody}"}, "nobody"),
        ("number", {"get": "/v1/{number}"}, "not a string"),
        ("rest_body", {"post": "/v1", "body": "*"}, "kept for the body"),
        ("id", {"body": "*"}, "no path"),
    ],
)
def test_what_cannot_be_is_refused(fields, rule, text):
    with pytest.raises(ValueError, match=text):
        derive(file_of(fields, **rule))
