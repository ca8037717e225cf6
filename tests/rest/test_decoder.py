from __future__ import annotations

import json

import msgspec
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import FAILURE_KIND_TIMEOUT, Failure
from perdure.v1.history_pb2 import History, TimerScheduled, UnhandledSignal
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import WorkflowTask
from perdure.v1.watch_service_pb2 import WatchWorkflowRequest
from perdure.v1.worker_service_pb2 import (
    CompleteWorkflowTaskRequest,
    FailActivityRequest,
    RegisterRequest,
    StreamTasksRequest,
)
from perdure.v1.workflow_service_pb2 import (
    ExecuteWorkflowRequest,
    ScheduleActivityRequest,
    SignalWorkflowRequest,
    StartWorkflowRequest,
)
from perdure_server.core.errors import InvalidRequest
from perdure_server.rest.decoder import Decoders
from perdure_server.rest.encoder import Encoders
from perdure_server.rest.json_text import object_of
from tests.rest.made import PATIENT, field, made_message


def filled(kind, body):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = kind()
    Decoders().fill(message, object_of(text))
    return message


def refused(kind, body) -> str:
    with pytest.raises(InvalidRequest) as caught:
        filled(kind, body)
    return str(caught.value)


def commands(*asked):
    return filled(CompleteWorkflowTaskRequest, {"worker_id": "w", "commands": asked}).commands


def refused_commands(*asked) -> str:
    return refused(CompleteWorkflowTaskRequest, {"worker_id": "w", "commands": asked})


def test_a_start():
    request = filled(
        StartWorkflowRequest,
        b'{"workflow_type":"t","input":{"z":1, "a":12345678901234567890},"priority":5.0,'
        b'"conflict_policy":"Use_Existing","start_delay_secs":1.5,"unknown":{"x":[]},'
        b'"retry_policy":{"max_attempts":0,"non_retryable_errors":["E"],"initial_interval_secs":2},'
        b'"reuse_policy":null,"workflow_id":null}',
    )
    assert request.workflow_type == "t"
    assert request.input.data == b'{"z":1, "a":12345678901234567890}'
    assert request.input.encoding == "json/plain"
    assert request.priority == 5
    assert request.conflict_policy == 2
    assert (request.start_delay.seconds, request.start_delay.nanos) == (1, 500_000_000)
    assert request.retry_policy.HasField("max_attempts")
    assert request.retry_policy.initial_interval.seconds == 2
    assert list(request.retry_policy.non_retryable_types) == ["E"]
    assert not request.HasField("execution_timeout")


def test_flat_keys_make_their_message_and_absent_ones_do_not():
    request = filled(ExecuteWorkflowRequest, {"wait_secs": 1})
    assert not request.HasField("start")
    assert filled(ExecuteWorkflowRequest, {"priority": 0}).HasField("start")
    request = filled(ScheduleActivityRequest, {"seq": 1, "backoff_coefficient": 2})
    assert request.options.retry_policy.backoff_coefficient == 2.0
    assert filled(RegisterRequest, {"max_concurrent_workflows": 3}).slots.workflow_tasks == 3


def test_one_number_stands_for_a_message_of_numbers():
    for slots in (5, 5.0, {"max_concurrent_workflows": 5, "max_concurrent_activities": 5}):
        request = filled(StreamTasksRequest, {"slots": slots})
        assert (request.slots.workflow_tasks, request.slots.activity_tasks) == (5, 5)
    request = filled(StreamTasksRequest, {"max_concurrent_activities": 2})
    assert (request.slots.workflow_tasks, request.slots.activity_tasks) == (0, 2)
    assert refused(StreamTasksRequest, {"slots": "5"}) == "slots: must be a whole number"


def test_an_error_is_text_or_object_or_both():
    request = filled(FailActivityRequest, {"error": "boom", "non_retryable": True})
    assert request.failure == Failure(message="boom", non_retryable=True)
    request = filled(
        FailActivityRequest, {"failure": {"type": "E", "kind": "timeout"}, "error": "boom"}
    )
    assert request.failure == Failure(message="boom", type="E", kind=FAILURE_KIND_TIMEOUT)
    assert refused(FailActivityRequest, {}) == "error: is required"
    assert refused(FailActivityRequest, {"error": None}) == "error: is required"
    assert refused(FailActivityRequest, {"non_retryable": True}) == "error: is required"
    assert refused(FailActivityRequest, {"error": {}}) == "error: must be a string"


def test_commands_are_told_by_their_type():
    schedule, complete, wait = commands(
        {"type": "ScheduleActivity", "seq": 1, "name": "a", "max_attempts": 5, "input": [1]},
        {"type": "CompleteWorkflow"},
        {"type": "WaitForSignal", "name": "s", "source": "f:1"},
    )
    assert schedule.schedule_activity.options.retry_policy.max_attempts == 5
    assert schedule.schedule_activity.input.data == b"[1]"
    assert complete.WhichOneof("command") == "complete_workflow"
    assert (wait.wait_for_signal.signal_name, wait.source) == ("s", "f:1")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({"type": "Nope"}, "commands[1].type: is 'Nope', not one of ScheduleActivity"),
        ({"type": None}, "commands[1].type: is required: one of ScheduleActivity"),
        ({}, "commands[1].type: is required"),
        ([], "commands[1].type: is required"),
        ({"type": 1}, "commands[1].type: must be a string"),
        ({"type": "CancelTimer", "seq": "1"}, "commands[1].seq: must be a whole number"),
        ({"type": "ScheduleTimer", "duration_secs": "x"}, "commands[1].duration_secs: must be a n"),
        (
            {"type": "CompleteWorkflow", "unconsumed_signals": [{}, {"event_seq": []}]},
            "commands[1].unconsumed_signals[1].event_seq: must be a whole number",
        ),
        ({"type": "FailWorkflow", "error": 1}, "commands[1].error: must be a string"),
        ("x", "commands[1]: must be an object"),
        (None, "commands[1]: must be an object"),
        ([1], "commands[1]: must be an object"),
    ],
)
def test_a_command_that_does_not_fit_is_named_by_index_and_field(command, error):
    assert refused_commands({"type": "CancelTimer"}, command).startswith(error)


def test_what_is_required_is_named():
    assert refused(CompleteWorkflowTaskRequest, {"commands": []}) == "worker_id: is required"
    assert refused(CompleteWorkflowTaskRequest, {"worker_id": "w"}) == "commands: is required"
    body = {"worker_id": "w", "commands": {}}
    assert refused(CompleteWorkflowTaskRequest, body) == "commands: must be a list"
    assert refused(ScheduleActivityRequest, {"seq": None}) == "seq: is required"
    assert filled(ScheduleActivityRequest, {"seq": 0}).seq == 0


INTEGERS = [
    (b"5", 5),
    (b"5.0", 5),
    (b"5e0", 5),
    (b"-0", 0),
    (b"1E3", 1000),
    (b"1e-400000000000000000000", 0),
    (b"9007199254740991.0", 2**53 - 1),
    (b"9223372036854775807", 2**63 - 1),
    (b"-9223372036854775808", -(2**63)),
]


@pytest.mark.parametrize(("text", "number"), INTEGERS)
def test_whole_numbers(text, number):
    assert filled(WatchWorkflowRequest, b'{"after_seq":%b}' % text).after_seq == number


@pytest.mark.parametrize(
    "text",
    [
        b"9223372036854775808",
        b"-9223372036854775809",
        b"9" * 5000,
        b"1" + b"0" * 20,
        b"1e19",
        b"1e400",
        b"9007199254740993.0",
        b"5.5",
        b'"5"',
        b"true",
        b"[]",
        b"{}",
    ],
)
def test_what_is_no_whole_number(text):
    assert refused(WatchWorkflowRequest, b'{"after_seq":%b}' % text).startswith("after_seq: ")


def test_the_bounds_of_the_other_whole_numbers():
    assert filled(StreamTasksRequest, {"received_batch": 2**64 - 1}).received_batch == 2**64 - 1
    for batch in (2**64, -1):
        assert "it goes from 0 to" in refused(StreamTasksRequest, {"received_batch": batch})
    for priority in (2**31, -(2**31) - 1):
        assert "it goes from" in refused(StartWorkflowRequest, {"priority": priority})


@pytest.mark.parametrize("text", [b"1e400", b"-1e400", b'"1"', b"false", b"[]"])
def test_what_is_no_number(text):
    body = b'{"backoff_coefficient":%b,"seq":1}' % text
    assert refused(ScheduleActivityRequest, body).startswith("backoff_coefficient: ")


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        (b"0", 0, 0),
        (b"0.000001", 0, 1_000),
        (b"1e-9", 0, 0),
        (b"4294967296.000212", 4_294_967_296, 212_000),
        (b"8589934591.999999", 8_589_934_591, 999_999_000),
        (b"-1.5", -1, -500_000_000),
        (b"315576000000", 315_576_000_000, 0),
        (b"-315576000000", -315_576_000_000, 0),
    ],
)
def test_spans(text, seconds, nanos):
    duration = filled(TimerScheduled, b'{"duration_secs":%b}' % text).duration
    assert (duration.seconds, duration.nanos) == (seconds, nanos)


@pytest.mark.parametrize("text", [b"315576000001", b"-315576000001", b"1e400", b'"1"', b"true"])
def test_spans_that_are_refused(text):
    assert refused(TimerScheduled, b'{"duration_secs":%b}' % text).startswith("duration_secs: ")


@pytest.mark.parametrize("text", [b"253402300800", b"-62135596801", b"1e400", b'"2026-01-01"'])
def test_instants_that_are_refused(text):
    assert refused(TimerScheduled, b'{"fire_at":%b}' % text).startswith("fire_at: ")


@PATIENT
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_000_000))
def test_instants_are_read_to_the_microsecond(us):
    moment = filled(TimerScheduled, {"fire_at": us / 1_000_000}).fire_at
    assert 0 <= moment.nanos < 1_000_000_000
    read = moment.seconds * 1_000_000 + moment.nanos // 1_000
    if abs(us) < 2**52:
        assert read == us
    assert -62_135_596_800_000_000 <= read <= 253_402_300_799_999_999


def test_other_types_are_exact():
    assert refused(StartWorkflowRequest, {"workflow_id": 5}) == "workflow_id: must be a string"
    assert refused(StartWorkflowRequest, {"retry_policy": 1}) == "retry_policy: must be an object"
    assert "not one of FAIL, USE_EXISTING" in refused(
        StartWorkflowRequest, {"conflict_policy": "x"}
    )
    assert refused(StartWorkflowRequest, {"conflict_policy": 1}) == (
        "conflict_policy: must be a string"
    )
    body = {"error": "e", "non_retryable": 1}
    assert refused(FailActivityRequest, body) == "non_retryable: must be true or false"
    assert refused(RegisterRequest, {"workflows": "a"}) == "workflows: must be a list"
    assert refused(RegisterRequest, {"workflows": ["a", 1]}) == "workflows[1]: must be a string"
    assert filled(StartWorkflowRequest, {"retry_policy": []}).HasField("retry_policy")


def test_a_value_in_an_error_is_cut():
    assert len(refused(StartWorkflowRequest, {"conflict_policy": "x" * 10_000})) < 300


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (b"null", None),
        (b' { "a" : 1 } ', Payload(data=b'{ "a" : 1 }', encoding="json/plain")),
        (b'{"encoding":"bin","data":"/w=="}', Payload(data=b"\xff", encoding="bin")),
        (b'{"data":"","encoding":"bin"}', Payload(encoding="bin")),
        *(
            (text, Payload(data=text, encoding="json/plain"))
            for text in (
                b'{"encoding":"json/plain","data":"/w=="}',
                b'{"encoding":"","data":"/w=="}',
                b'{"encoding":"bin","data":"?"}',
                b'{"encoding":"bin","data":1}',
                b'{"encoding":"bin"}',
                b'{"encoding":"bin","data":"/w==","more":1}',
                b'["encoding"]',
                b"[]",
            )
        ),
    ],
)
def test_payloads(text, payload):
    request = filled(SignalWorkflowRequest, b'{"payload":%b}' % text)
    assert (request.payload if request.HasField("payload") else None) == payload


def test_a_chain_of_causes_is_bounded():
    failure: dict = {}
    for _ in range(40):
        failure = {"cause": failure}
    assert filled(FailActivityRequest, {"failure": failure}).ByteSize()
    for _ in range(20):
        failure = {"cause": failure}
    assert "which is the bound" in refused(FailActivityRequest, {"failure": failure})


def test_a_message_that_stands_for_one_field_is_read_from_its_value():
    events = [{"seq": 1, "event_type": "TimerFired", "payload": {"timer_seq": 2}}]
    history = filled(WorkflowTask, {"history": events}).history
    assert history.events[0].timer_fired.timer_seq == 2
    started = [{"event_type": "WorkflowStarted", "payload": [1]}, {"event_type": "TimerFired"}]
    history = filled(WorkflowTask, {"history": started}).history
    assert history.events[0].workflow_started.input.data == b"[1]"
    assert history.events[1].WhichOneof("event") == "timer_fired"
    assert refused(WorkflowTask, {"history": {}}) == "history: must be a list"


def test_keys_that_collide_and_choices_that_cannot_be_flat_are_refused_at_the_start():
    inner = f'message_type {{ name: "N" {field("b", 1, "int32")} }}'
    text = field("a", 1, ".made.N", "flatten: true") + field("b", 2, "int32")
    with pytest.raises(ValueError, match="key 'b'"):
        Decoders().plan_of(made_message(text, inner))
    tag = 'oneof_decl { name: "c" options { [perdure.v1.rest_oneof] { tag: "type" } } }'
    member = field("d", 1, ".made.M").replace("{ name:", "{ oneof_index: 0 name:")
    inner = f'message_type {{ name: "N" {member} {tag} }}'
    with pytest.raises(ValueError, match=r"made\.M\.a"):
        Decoders().plan_of(made_message(field("a", 1, ".made.N", "flatten: true"), inner))


def test_a_plan_is_made_once():
    decoders = Decoders()
    plan = decoders.plan_of(StartWorkflowRequest.DESCRIPTOR)
    assert decoders.plan_of(StartWorkflowRequest.DESCRIPTOR) is plan


# Kinds of messages that show all that they hold.
SHOWN_IN_FULL = [
    StartWorkflowRequest,
    ExecuteWorkflowRequest,
    ScheduleActivityRequest,
    StreamTasksRequest,
    ActivityOptions,
    Failure,
    UnhandledSignal,
    TimerScheduled,
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def messages(draw, descriptor, depth=0):
    message = GetMessageClass(descriptor)()
    for one in descriptor.fields:
        if not draw(st.booleans()) or depth > 3:
            continue
        if one.message_type is None:
            values = scalar(one)
            value = draw(st.lists(values, max_size=3) if one.is_repeated else values)
            if one.is_repeated:
                getattr(message, one.name).extend(value)
            else:
                setattr(message, one.name, value)
        elif one.message_type.full_name == "perdure.v1.Payload":
            encoding, data = draw(
                st.tuples(st.just("bin"), st.binary())
                | st.tuples(st.just("json/plain"), st.sampled_from([b"[1]", b'{"a" : ""}', b"0.0"]))
            )
            getattr(message, one.name).MergeFrom(Payload(encoding=encoding, data=data))
        elif one.message_type.full_name in {
            "google.protobuf.Duration",
            "google.protobuf.Timestamp",
        }:
            time = getattr(message, one.name)
            time.SetInParent()
            time.seconds = draw(st.integers(0, 2**32))
            time.nanos = draw(st.integers(0, 999_999)) * 1000
        elif not one.is_repeated:
            getattr(message, one.name).MergeFrom(draw(messages(one.message_type, depth + 1)))
            getattr(message, one.name).SetInParent()
    return message


def scalar(one):
    if one.enum_type is not None:
        return st.sampled_from([v.number for v in one.enum_type.values if v.number])
    return {
        one.CPPTYPE_STRING: TEXTS,
        one.CPPTYPE_BOOL: st.booleans(),
        one.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        one.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        one.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        one.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    }[one.cpp_type]


def normal(message):
    """Returns a message without what JSON does not tell: messages that are set and empty."""
    copy = type(message)()
    copy.CopyFrom(message)
    for one, value in list(copy.ListFields()):
        if one.message_type is not None and not one.is_repeated:
            value.CopyFrom(normal(value))
            if not value.ByteSize():
                copy.ClearField(one.name)
    return copy


@pytest.mark.parametrize("kind", SHOWN_IN_FULL, ids=lambda kind: kind.__name__)
@PATIENT
@given(data=st.data())
def test_what_is_written_reads_back_as_the_same_message(kind, data):
    message = data.draw(messages(kind.DESCRIPTOR))
    text = msgspec.json.encode(Encoders().encoder_of(kind.DESCRIPTOR)(message))
    assert normal(filled(kind, text)) == normal(message)


@PATIENT
@given(st.lists(st.binary(max_size=10)))
def test_a_history_of_any_payloads_is_shown_as_json(payloads):
    history = History()
    for data in payloads:
        history.events.add().signal_received.payload.data = data
    shown = json.loads(msgspec.json.encode(Encoders().encoder_of(History.DESCRIPTOR)(history)))
    assert len(shown) == len(payloads)
