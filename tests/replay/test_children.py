"""What workflow code says to other workflows: children, signals, cancellations."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import timedelta

import pytest

from perdure import (
    CarryContext,
    ChildAlreadyExistsError,
    ChildWorkflowError,
    DeterminismError,
    RetryPolicy,
    signal,
    workflow,
)
from perdure._replay.replayer import replay
from perdure.errors import HistoryError
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.workflow_pb2 import ParentClosePolicy, ReusePolicy
from tests.replay.rig import CONVERTER, Rig, new_machine, replayed, short

tenant: ContextVar[str] = ContextVar("tenant")
go = signal("go", int)


@workflow(task_queue="refunds")
async def refund(order: str) -> int:
    return len(order)


@workflow
class Basket:
    async def run(self, owner: str) -> str:
        return owner


@workflow
async def calling(order: str) -> int:
    return await refund(order)


def failure_of(rig):
    return rig.events[-1].workflow_failed.failure


def test_a_call_is_a_child_whose_result_has_its_type():
    rig = Rig(calling, "o-1")
    (command,) = rig.think()
    start = command.start_child_workflow
    assert (start.seq, start.workflow_type, start.task_queue) == (1, "refund", "refunds")
    assert (start.workflow_id, start.input.data) == ("r-1-1", b'"o-1"')
    assert command.source.startswith(__file__)
    rig.record().child_completed(1, 3)
    assert rig.run() == ["complete_workflow 3"]


def test_outside_of_workflows_a_call_is_plain():
    assert asyncio.run(refund("abc")) == 3
    assert asyncio.run(refund.options(id="x")("abc")) == 3


def test_options_are_fields_of_the_command():
    bounded = refund.options(
        id="c-1",
        task_queue="slow",
        parent_close_policy="abandon",
        reuse_policy="allow_duplicate_failed_only",
        retry=RetryPolicy(max_attempts=2),
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=1),
        priority=1,
        search_attributes={"team": "a"},
        memo={"by": "ann"},
        summary="a refund",
        details="of a book",
    )

    @workflow
    async def parent() -> int:
        return await bounded("o-1")

    (command,) = Rig(parent).think()
    start = command.start_child_workflow
    assert (start.workflow_id, start.task_queue, start.priority) == ("c-1", "slow", 1)
    assert start.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
    assert start.reuse_policy == ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
    assert start.retry_policy.max_attempts == 2
    assert (start.execution_timeout.seconds, start.run_timeout.seconds) == (3600, 60)
    assert start.search_attributes.values["team"].keyword == "a"
    assert (start.memo.data, start.summary, start.details) == (
        b'{"by":"ann"}',
        "a refund",
        "of a book",
    )
    assert repr(bounded) == "<child 'refund'>"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 6}, ValueError),
        ({"run_timeout": timedelta(-1)}, ValueError),
        ({"parent_close_policy": "kill"}, ValueError),
        ({"delay": 1}, TypeError),
        ({"search_attributes": {"team": object()}}, TypeError),
    ],
)
def test_a_bad_option_is_told_where_it_is_written(options, error):
    with pytest.raises(error):
        refund.options(**options)


def test_classes_and_names_can_be_children():
    @workflow
    async def parent() -> list[object]:
        named = workflow.start_child("elsewhere", id="n-1")
        return [await workflow.execute_child(Basket, "ada"), await named.result()]

    rig = Rig(parent)
    assert rig.run() == [
        "start_child_workflow 1 elsewhere n-1",
        "start_child_workflow 2 Basket r-1-2",
    ]
    rig.child_completed(2, "ada").child_completed(1)
    assert rig.run() == ['complete_workflow ["ada",null]']


def test_what_is_not_a_workflow_is_refused():
    @workflow
    async def parent() -> None:
        workflow.start_child(len)

    rig = Rig(parent)
    rig.run()
    assert failure_of(rig).type == "TypeError"


def test_a_failed_child_raises_with_the_cause_behind():
    @workflow
    async def parent() -> None:
        try:
            await refund.options(id="c-1")("o-1")
        except ChildWorkflowError as error:
            caught.append(error)
            raise

    caught: list[ChildWorkflowError] = []
    rig = Rig(parent)
    rig.run()
    rig.child_failed(
        1,
        type="ValueError",
        message="no",
        details=CONVERTER.encode({"a": 1}),
        cause={"type": "OSError", "message": "disk"},
    )
    rig.run()
    (error,) = caught
    assert (error.workflow_id, error.run_id) == ("c-1", "run-1")
    assert (error.workflow_type, error.status) == ("refund", "FAILED")
    assert (error.type, str(error.__cause__)) == ("ValueError", "OSError: disk")
    assert error.details == {"a": 1}
    failure = failure_of(rig)
    assert failure.type == "ChildWorkflowError"
    assert failure.message == "child workflow refund (c-1) failed: ValueError: no"
    assert failure.cause.cause.type == "OSError"


def test_an_id_in_use_can_be_caught():
    @workflow
    async def parent() -> str:
        try:
            await refund.options(id="c-1")("o-1")
        except ChildAlreadyExistsError as error:
            return f"{error.workflow_id} {error.run_id}|{error.status}|{error}"
        return ""

    rig = Rig(parent)
    rig.taken.add("c-1")
    rig.run()
    (said,) = rig.run()
    assert "c-1 ||child workflow refund (c-1) was not started" in said


def test_to_stop_waiting_for_a_handle_leaves_the_child_alone():
    @workflow
    async def parent() -> str:
        child = workflow.start_child(refund, "o-1", id="c-1")
        try:
            await asyncio.wait_for(child.result(), 5)
        except TimeoutError:
            return f"{child.workflow_id} {child.run_id} {await child.result()}"
        return ""

    rig = Rig(parent)
    rig.run()
    assert rig.fire(1).run() == []
    assert rig.child_completed(1, 3).run() == ['complete_workflow "c-1 run-1 3"']


def test_the_run_of_a_child_is_not_known_before_the_history_has_it():
    @workflow
    async def parent() -> str:
        return workflow.start_child(refund, "o-1").run_id + "!"

    assert Rig(parent).run()[-1] == 'complete_workflow "!"'


def test_a_child_cancelled_at_once_is_never_started():
    @workflow
    async def parent() -> str:
        child = workflow.start_child(refund, "o-1")
        child.cancel()
        try:
            await child.result()
        except ChildWorkflowError as error:
            return error.kind
        return ""

    assert Rig(parent).run() == ['complete_workflow "cancelled"']


def test_a_call_cancelled_at_once_is_never_started():
    @workflow
    async def parent() -> str:
        task = asyncio.create_task(calling_task())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return "left"

    async def calling_task() -> int:
        return await refund("o-1")

    assert Rig(parent).run() == ['complete_workflow "left"']


def test_a_handle_cancels_a_child_once_it_is_known_to_be_started():
    @workflow
    async def parent() -> str:
        child = workflow.start_child(refund, "o-1", id="c-1")
        await go.wait()
        child.cancel("first")
        child.cancel("enough")
        try:
            await child.result()
        except ChildWorkflowError as error:
            child.cancel()
            return error.status
        return ""

    rig = Rig(parent)
    rig.think()
    rig.signal("go", 1).record()
    (command,) = rig.think()
    assert command.cancel_child.workflow_id == "c-1"
    assert (command.cancel_child.reason, command.cancel_child.run_id) == ("enough", "")
    rig.record().cancel_answered(1).child_failed(1, status=6, message="cancelled")
    assert rig.run() == ['complete_workflow "CANCELLED"']
    assert replayed(parent, rig.events) == []


def test_a_signal_that_nobody_waits_for_any_more_stays_sent():
    @workflow
    async def parent(moment: str) -> str:
        sending = asyncio.create_task(workflow.external("w-2").signal(go, 1))
        if moment == "later":
            await asyncio.sleep(1)
        else:
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.sleep(5)
        return "left"

    assert Rig(parent, "at once").run() == ["schedule_timer 1 5s"]
    rig = Rig(parent, "later")
    assert rig.run() == ["schedule_timer 1 1s", "signal_workflow 1 go w-2"]
    assert rig.fire(1).run() == ["schedule_timer 2 5s"]
    assert rig.signal_answered(1).run() == []
    assert rig.fire(2).run() == ['complete_workflow "left"']


def test_headers_reach_children_through_interceptors():
    @workflow
    async def parent() -> list[int]:
        tenant.set("acme")
        child = workflow.start_child(refund, "abc")
        left = workflow.start_child(refund, "left")
        left.cancel()
        return [await refund("ab"), await child.result()]

    carried = [CarryContext(tenant=tenant)]
    machine = new_machine(parent, interceptors=carried)
    rig = Rig(parent)
    rig.machine = machine
    commands = list(rig.think())
    starts = [command.start_child_workflow for command in commands]
    assert [(start.workflow_id, start.input.data) for start in starts] == [
        ("r-1-3", b'"ab"'),
        ("r-1-1", b'"abc"'),
    ]
    assert all(start.headers[0].value.data == b'"acme"' for start in starts)
    rig.record().child_completed(1, 2).child_completed(2, 3)
    assert rig.run() == ["complete_workflow [2,3]"]


def test_an_unread_failure_of_an_intercepted_child_is_not_complained_of():
    @workflow
    async def parent() -> str:
        workflow.start_child(refund, "abc")
        await go.wait()
        return "done"

    rig = Rig(parent)
    rig.machine = new_machine(parent, interceptors=[CarryContext()])
    rig.run()
    rig.child_failed(1, type="E", message="m").signal("go", 1)
    assert rig.run() == ['complete_workflow "done"']


def test_an_id_made_up_for_another_run_is_taken_over():
    @workflow
    async def parent() -> int:
        child = workflow.start_child(refund, "abc")
        await child.signal(go, 1)
        return await child.result()

    rig = Rig(parent)
    rig.run()
    rig.signal_answered(1)
    rig.run()
    machine = new_machine(parent, run_id="r-9")
    assert machine.run_task(rig.events) == []


def test_another_child_is_another_step():
    rig = Rig(calling, "o-1")
    rig.run()

    @workflow(name="calling")
    async def changed(order: str) -> int:
        return await refund.options(id="chosen")(order)

    with pytest.raises(DeterminismError) as caught:
        replayed(changed, rig.events)
    assert caught.value.event == "ChildWorkflowStarted 1 (refund r-1-1)"
    assert caught.value.command == "StartChildWorkflow 1 (refund chosen)"


def test_other_messages_are_other_steps():
    def telling(word, other):
        @workflow(name="telling")
        async def code() -> None:
            handle = workflow.external(other)
            await (handle.signal("go") if word == "signal" else handle.cancel())

        return code

    for word, text in (
        ("signal", "SignalWorkflowInitiated 1 (go a)"),
        ("cancel", "CancelWorkflowInitiated 1 (a)"),
    ):
        rig = Rig(telling(word, "a"))
        rig.run()
        with pytest.raises(DeterminismError) as caught:
            replayed(telling(word, "b"), rig.events)
        assert caught.value.event == text
        assert "(go b)" in caught.value.command or "(b)" in caught.value.command


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"child_workflow_completed": {"child_seq": 3}}, "child 3 is not open"),
        ({"signal_workflow_delivered": {"signal_seq": 3}}, "signal_workflow_delivered 3 answers"),
        ({"cancel_workflow_failed": {"cancel_seq": 3}}, "cancel_workflow_failed 3 answers"),
    ],
)
def test_an_answer_to_nothing_is_a_damaged_history(event, text):
    rig = Rig(calling, "o-1")
    rig.run()
    with pytest.raises(HistoryError, match=text):
        replayed(calling, [*rig.events, HistoryEvent(seq=3, **event)])


def test_these_words_belong_to_workflow_code():
    for word in (lambda: workflow.start_child(refund, "a"), lambda: workflow.external("w")):
        with pytest.raises(RuntimeError, match="workflow code"):
            word()


def test_a_replayed_file_may_be_of_any_run():
    rig = Rig(calling, "o-1")
    rig.run()
    rig.child_completed(1, 3).run()
    assert replay({"events": rig.export()["events"]}, [calling]) == []
    assert short(replayed(calling, rig.events[:1])[0]).startswith("start_child_workflow 1 refund")
