from __future__ import annotations

import json
import math

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1.activity_pb2 import ACTIVITY_STATUS_BACKING_OFF, Activity
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import History, HistoryEvent
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.watch_service_pb2 import WatchResponse
from perdure.v1.worker_service_pb2 import WorkerInfo
from perdure.v1.workflow_pb2 import Workflow
from perdure_server.rest.encoder import Encoders
from tests.rest.made import PATIENT, field, made_message


def text(message) -> bytes:
    return msgspec.json.encode(Encoders().encoder_of(message.DESCRIPTOR)(message))


def shown(message):
    return json.loads(text(message))


def plain(data: bytes) -> Payload:
    return Payload(data=data, encoding="json/plain")


def test_a_record_has_exactly_its_keys_in_their_order_and_null_for_what_is_absent():
    record = shown(Workflow())
    assert list(record)[:6] == [
        "id",
        "namespace",
        "run_id",
        "workflow_type",
        "task_queue",
        "status",
    ]
    assert len(record) == 21
    assert {key: value for key, value in record.items() if value is not None} == {
        "attempt": 0,
        "history_length": 0,
    }


def test_a_record_shows_what_is_set():
    workflow = Workflow(
        workflow_id="w",
        status=4,
        history_length=2**63 - 1,
        input=plain(b'{"z":1,"a":12345678901234567890,"f":1.0}'),
        failure=Failure(message="boom", kind=1, type="E", non_retryable=True),
        created_at=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
    )
    assert b'"input":{"z":1,"a":12345678901234567890,"f":1.0},' in text(workflow)
    assert b'"created_at":1700000000.123456,' in text(workflow)
    record = shown(workflow)
    assert (record["id"], record["status"]) == ("w", "COMPLETED")
    assert record["history_length"] == 9223372036854775807
    assert record["error"] == "boom"
    assert record["failure"]["kind"] == "APPLICATION"
    assert record["failure"]["non_retryable"] is True
    assert record["failure"]["timeout_type"] is None
    assert record["failure"]["cause"] is None


def test_a_failure_without_text_is_not_taken_for_none():
    assert shown(Workflow(failure=Failure()))["error"] == ""
    assert shown(Workflow())["error"] is None


def test_options_stand_flat_among_the_keys():
    activity = Activity(status=ACTIVITY_STATUS_BACKING_OFF, activity_id="t")
    activity.options.start_to_close_timeout.seconds = 300
    activity.options.retry_policy.max_attempts = 0
    record = shown(activity)
    assert (record["id"], record["status"]) == ("t", "BACKING_OFF")
    assert record["start_to_close_secs"] == 300.0
    assert record["heartbeat_timeout_secs"] is None
    assert record["max_attempts"] == 0
    assert record["backoff_coefficient"] is None
    assert "options" not in record
    worker = shown(WorkerInfo(workflow_types=["a", ""]))
    assert worker["max_concurrent_activities"] == 0
    assert worker["workflows"] == ["a", ""]


def test_a_task_has_its_constant_and_its_input_as_text():
    task = shown(ActivityTask(task_token="t", input=plain(b'{"a" :\n"\xc3\xa9"}')))
    assert (task["id"], task["status"]) == ("t", "RUNNING")
    assert task["input"] == '{"a" :"é"}'
    assert shown(ActivityTask())["input"] is None
    other = shown(ActivityTask(input=Payload(data=b"\xff", encoding="bin")))
    assert other["input"] == {"encoding": "bin", "data": "/w=="}


def test_a_value_is_copied_from_deeper_and_null_without_it():
    assert shown(WorkflowTask())["input"] is None
    assert shown(WorkflowTask())["history"] == []
    task = WorkflowTask()
    started = task.history.events.add(seq=1).workflow_started
    assert shown(task)["input"] is None
    started.input.data = b"[1]"
    assert shown(task)["input"] == [1]
    assert list(shown(task)) == [
        "workflow_id",
        "run_id",
        "namespace",
        "workflow_type",
        "task_queue",
        "input",
        "history",
        "task_token",
    ]


def events(**members) -> list[HistoryEvent]:
    found = []
    for name, values in members.items():
        event = HistoryEvent(seq=len(found) + 1)
        getattr(event, name).SetInParent()
        for key, value in values.items():
            part = getattr(getattr(event, name), key)
            part.MergeFrom(value) if hasattr(part, "MergeFrom") else setattr(
                getattr(event, name), key, value
            )
        found.append(event)
    return found


def test_events_are_told_by_type_with_their_content():
    history = History(
        events=events(
            workflow_started={"input": plain(b'{"n":1}'), "workflow_type": "hidden"},
            activity_scheduled={"activity_seq": 1, "name": "a", "task_queue": "q"},
            activity_failed={"activity_seq": 1, "name": "a", "failure": Failure(message="no")},
            timer_fired={"timer_seq": 3},
            workflow_awaiting_signal={"signal_name": "s"},
            signal_received={"signal_name": "s", "payload": plain(b"null")},
            workflow_cancel_requested={},
            workflow_cancelled={"reason": "hidden"},
        )
    )
    told = [(event["seq"], event["event_type"], event["payload"]) for event in shown(history)]
    assert told == [
        (1, "WorkflowStarted", {"n": 1}),
        (
            2,
            "ActivityScheduled",
            {"activity_seq": 1, "name": "a", "task_queue": "q", "input": None},
        ),
        (3, "ActivityFailed", {"activity_seq": 1, "name": "a", "error": "no", "attempt": 0}),
        (4, "TimerFired", {"timer_seq": 3}),
        (5, "WorkflowAwaitingSignal", {"signal": "s"}),
        (6, "SignalReceived", {"signal": "s", "payload": None}),
        (7, "WorkflowCancelRequested", None),
        (8, "WorkflowCancelled", None),
    ]
    requested = events(workflow_cancel_requested={"reason": "r"})[0]
    assert shown(requested)["payload"] == {"reason": "r"}
    external = events(activity_scheduled={"external": True})[0]
    assert shown(external)["payload"]["external"] is True
    assert shown(HistoryEvent()) == {
        "seq": 0,
        "event_type": None,
        "payload": None,
        "timestamp": None,
    }


def test_a_watched_event_stands_flat_in_its_message():
    message = WatchResponse(cursor="c", kind="timer_fired", workflow_type="hidden")
    message.event.MergeFrom(events(timer_fired={"timer_seq": 3})[0])
    assert text(message) == (
        b'{"id":"c","kind":"timer_fired","namespace":null,"workflow_id":null,"run_id":null,'
        b'"seq":1,"timestamp":null,"payload":{"timer_seq":3}}'
    )


@pytest.mark.parametrize(
    ("payload", "json"),
    [
        (plain(b' {"b": 2,\r\n"a": 1.50} '), b' {"b": 2,"a": 1.50} '),
        (Payload(data=b"null"), b"null"),
        (plain(b"18446744073709551616"), b"18446744073709551616"),
        (plain(b"0.12345678901234567890"), b"0.12345678901234567890"),
        (Payload(), b"null"),
        (plain(b""), b"null"),
        (plain(b"{"), b'{"encoding":"json/plain","data":"ew=="}'),
        (plain(b"1,2"), b'{"encoding":"json/plain","data":"MSwy"}'),
        (Payload(data=b'"\xff"'), b'{"encoding":"json/plain","data":"Iv8i"}'),
        (Payload(data=b"1", encoding="x"), b'{"encoding":"x","data":"MQ=="}'),
    ],
)
def test_payloads(payload, json):
    assert b'"result":' + json + b"," in text(Workflow(result=payload))


def test_a_payload_deeper_than_the_bound_is_not_inlined():
    deepest = b"[" * 100 + b"]" * 100
    assert b'"result":' + deepest in text(Workflow(result=plain(deepest)))
    assert shown(Workflow(result=plain(b"[%b]" % deepest)))["result"]["encoding"] == "json/plain"


@PATIENT
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_instants_are_exact_to_what_a_double_holds(us):
    seconds, rest = divmod(us, 1_000_000)
    moment = Timestamp(seconds=seconds, nanos=rest * 1000)
    value = shown(Workflow(created_at=moment))["created_at"]
    assert isinstance(value, float)
    assert value == us / 1_000_000
    if abs(us) < 2**52:
        assert round(value * 1_000_000) == us


def test_negative_spans():
    activity = Activity()
    activity.options.heartbeat_timeout.MergeFrom(Duration(seconds=-1, nanos=-500_000_000))
    assert shown(activity)["heartbeat_timeout_secs"] == -1.5


def test_numbers_that_json_lacks_are_null():
    assert shown(RetryPolicy(backoff_coefficient=math.inf))["backoff_coefficient"] is None
    assert shown(RetryPolicy(backoff_coefficient=math.nan))["backoff_coefficient"] is None
    assert shown(RetryPolicy(backoff_coefficient=0))["backoff_coefficient"] == 0


def test_a_status_of_a_newer_contract_is_its_number():
    assert shown(Workflow(status=77))["status"] == 77


def test_a_message_of_its_own_kind_within_itself():
    failure = Failure(message="a", cause=Failure(message="b"))
    assert shown(failure)["cause"]["message"] == "b"


SHOWN = "options {{ [perdure.v1.rest_message] {{ {} }} }}"


def test_an_optional_text_is_null_only_when_unset():
    text = field("a", 1, "string").replace("name:", "proto3_optional: true oneof_index: 0 name:")
    descriptor = made_message(text + 'oneof_decl { name: "_a" }')
    message = GetMessageClass(descriptor)
    assert shown(message()) == {"a": None}
    assert shown(message(a="")) == {"a": ""}


def test_a_left_out_key_is_left_out_of_the_message_around_it():
    inner = f'message_type {{ name: "N" {field("b", 1, "int32", "omit_default: true")} }}'
    descriptor = made_message(field("a", 1, ".made.N", "flatten: true"), inner)
    message = GetMessageClass(descriptor)()
    assert shown(message) == {}
    message.a.b = 1
    assert shown(message) == {"b": 1}


@pytest.mark.parametrize(
    "text",
    [
        field("a", 1, "int32") + field("b", 2, "int32", 'name: "a"'),
        field("a", 1, ".made.N", "flatten: true") + field("b", 2, "int32"),
        field("a", 1, "int32") + SHOWN.format('copies { key: "c" path: "a.b" }'),
        field("a", 1, ".made.N") + SHOWN.format('copies { key: "c" path: "a.nope" }'),
        field("a", 1, ".made.N").replace("{ name:", "{ oneof_index: 0 name:")
        + 'oneof_decl { name: "c" options { [perdure.v1.rest_oneof] { tag: "type" } } }',
    ],
)
def test_options_that_do_not_fit_are_refused_at_the_start(text):
    inner = f'message_type {{ name: "N" {field("b", 1, "int32")} }}'
    with pytest.raises(ValueError, match=r"made|c: an answer"):
        Encoders().encoder_of(made_message(text, inner))


def test_a_plan_is_made_once():
    encoders = Encoders()
    plan = encoders.encoder_of(Workflow.DESCRIPTOR)
    assert encoders.encoder_of(Workflow.DESCRIPTOR) is plan
