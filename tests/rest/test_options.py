from __future__ import annotations

import pytest

from perdure.v1.activity_pb2 import ActivityOptions, ActivityStatus
from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import FailureKind, TimeoutType
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.worker_service_pb2 import PollWorkflowTaskRequest
from perdure_server.rest.options import (
    Events,
    Otherwise,
    choice_of,
    enum_names,
    fields_of,
    has_default,
    routes_of,
    shown_of,
)
from tests.rest.made import codec, field, made, made_message, routes


def test_every_route_is_found_once():
    calls = [(route.verb, route.path) for route in routes()]
    assert len(calls) == len(set(calls)) > 30


def test_a_route_says_all_that_the_contract_says():
    route = codec("ScheduleActivity").route
    assert route.service == "perdure.v1.WorkflowService"
    assert (route.verb, route.path) == ("POST", "/api/v1/workflows/{workflow_id}/activities")
    assert route.path_fields == ("workflow_id",)
    assert route.has_body
    assert (route.response_field, route.status) == ("activity", 201)
    assert (route.otherwise, route.events, route.whole, route.streams) == (None, None, False, False)
    assert route.absent == "null"


def test_the_other_options_of_routes():
    assert codec("GetWorkflowResult").route.otherwise == Otherwise("closed", 202)
    assert codec("PollActivityTask").route.absent == '{"task":null}'
    assert codec("GetWorkflowHistory").route.whole
    assert codec("Watch").route.events == Events("cursor", "kind", "", "after")
    assert codec("Watch").route.streams
    assert not codec("GetWorkflow").route.has_body
    assert codec("SignalWorkflow").route.path_fields == ("workflow_id", "signal_name")


def test_keys_come_from_options_names_and_spans():
    assert [f.key for f in fields_of(PollWorkflowTaskRequest.DESCRIPTOR)] == [
        "namespace",
        "queue",
        "worker_id",
        "wait_secs",
    ]
    keys = [f.key for f in fields_of(ActivityOptions.DESCRIPTOR)]
    assert keys[1:] == [
        "schedule_to_start_secs",
        "start_to_close_secs",
        "schedule_to_close_secs",
        "heartbeat_timeout_secs",
    ]


def test_enums_have_short_names():
    assert enum_names(ActivityStatus.DESCRIPTOR)[3] == "BACKING_OFF"
    assert enum_names(FailureKind.DESCRIPTOR)[5] == "WORKER_LOST"
    assert enum_names(TimeoutType.DESCRIPTOR) == {
        0: None,
        1: "SCHEDULE_TO_START",
        2: "START_TO_CLOSE",
        3: "SCHEDULE_TO_CLOSE",
        4: "HEARTBEAT",
        5: "RUN",
        6: "EXECUTION",
    }


def test_a_choice_is_told_by_the_names_of_its_messages():
    command = choice_of(Command.DESCRIPTOR)
    assert (command.name, command.tag, command.content) == ("command", "type", "")
    assert command.members["ScheduleTimer"].name == "schedule_timer"
    event = choice_of(HistoryEvent.DESCRIPTOR)
    assert (event.tag, event.content) == ("event_type", "payload")
    assert choice_of(WorkflowTask.DESCRIPTOR) is None
    assert [f.name for f in fields_of(Command.DESCRIPTOR)] == ["source"]


def test_how_a_message_is_shown():
    assert shown_of(WorkflowTask.DESCRIPTOR).copies == {
        "input": ("history", "events", "0", "workflow_started", "input")
    }
    assert shown_of(ActivityTask.DESCRIPTOR).constants == {"status": b'"RUNNING"'}


def test_a_default_is_unset_or_empty():
    task = WorkflowTask()
    assert has_default(task, "history")
    assert has_default(task, "attempt")
    task.history.SetInParent()
    task.attempt = 1
    assert not has_default(task, "history")
    assert not has_default(task, "attempt")


SHOWN = "options {{ [perdure.v1.rest_message] {{ {} }} }}"


@pytest.mark.parametrize(
    "shown",
    [
        'inline: "nope"',
        'null_unless: "nope"',
        'constants { key: "a" json: "{" }',
        'keys: ["a", "a"]',
    ],
)
def test_an_option_of_a_message_that_does_not_fit_is_refused(shown):
    descriptor = made_message(field("a", 1, "int32") + SHOWN.format(shown))
    with pytest.raises(ValueError, match=r"made\.M"):
        shown_of(descriptor)


@pytest.mark.parametrize(
    "text",
    [
        field("a", 1, "bytes"),
        field("a", 1, "int32", "flatten: true"),
        field("a", 1, "*.perdure.v1.Failure", "error: true"),
        field("a", 1, ".google.protobuf.Duration", "spread: true"),
        field("a", 1, ".perdure.v1.Retry", "error: true").replace("perdure.v1.Retry", "made.M"),
        field("a", 1, "string", "text: true"),
    ],
)
def test_a_field_that_rest_cannot_show_is_refused(text):
    with pytest.raises(ValueError, match=r"made\.M\.a"):
        fields_of(made_message(text))


def test_a_map_is_refused():
    entry = field("key", 1, "string") + field("value", 2, "string") + "options { map_entry: true }"
    text = field("a", 1, "*.made.M.AEntry") + f'nested_type {{ name: "AEntry" {entry} }}'
    with pytest.raises(ValueError, match="map"):
        fields_of(made_message(text))


def test_a_choice_with_a_tag_is_between_messages():
    tag = 'oneof_decl { name: "c" options { [perdure.v1.rest_oneof] { tag: "type" } } }'
    text = field("a", 1, "string").replace("{ name:", "{ oneof_index: 0 name:") + tag
    with pytest.raises(ValueError, match="between messages"):
        choice_of(made_message(text))


MESSAGES = f'message_type {{ name: "M" {field("a", 1, "string")} }}'


def service(options: str, more: str = "") -> str:
    method = f'name: "Do" input_type: ".made.M" output_type: ".made.M" {more}'
    return f'{MESSAGES} service {{ name: "S" method {{ {method} options {{ {options} }} }} }}'


HTTP = '[google.api.http] { get: "/x" }'


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ('[google.api.http] { get: "/x/{nope}" }', ""),
        ('[google.api.http] { post: "/x" body: "a" }', ""),
        ('[google.api.http] { get: "/x" response_body: "nope" }', ""),
        ('[google.api.http] { get: "/x" additional_bindings { body: "*" } }', ""),
        (HTTP + '[perdure.v1.rest_method] { otherwise { field: "nope" } }', ""),
        (HTTP + '[perdure.v1.rest_method] { absent: "nope" }', ""),
        (HTTP + '[perdure.v1.rest_method] { events { id: "a" name: "x" } }', ""),
        (HTTP, "server_streaming: true"),
        (HTTP + "[perdure.v1.rest_method] { events { } }", "server_streaming: true"),
        (
            HTTP + '[perdure.v1.rest_method] { events { id: "b" name: "x" } }',
            "server_streaming: true",
        ),
        (
            HTTP + '[perdure.v1.rest_method] { events { name: "x" resume: "b" } }',
            "server_streaming: true",
        ),
    ],
)
def test_an_option_of_an_rpc_that_does_not_fit_is_refused(options, more):
    with pytest.raises(ValueError, match="made"):
        routes_of(made(service(options, more)).services_by_name.values())


def test_a_stream_may_have_events_without_id_and_resumption():
    text = service(
        HTTP + '[perdure.v1.rest_method] { events { name: "x" } }', "server_streaming: true"
    )
    (route,) = routes_of(made(text).services_by_name.values())
    assert route.events == Events("", "", "x", "")


def test_an_rpc_has_a_route_for_each_binding_and_none_without_annotation():
    http = 'post: "/x/{a}" body: "*" additional_bindings { custom { kind: "head" path: "/y" } }'
    two = made(service(f"[google.api.http] {{ {http} }}")).services_by_name.values()
    assert [(r.verb, r.path, r.has_body) for r in routes_of(two)] == [
        ("POST", "/x/{a}", True),
        ("HEAD", "/y", False),
    ]
    assert routes_of(made(service("")).services_by_name.values()) == []
