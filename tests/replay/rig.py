"""Stands in for the server: records the commands of one run and delivers what a test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from google.protobuf import json_format

from perdure._replay.machine import Machine
from perdure.converter import Converter
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    ActivityTimedOut,
    CancelWorkflowDelivered,
    CancelWorkflowFailed,
    CancelWorkflowInitiated,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowStarted,
    History,
    HistoryEvent,
    SearchAttributesUpserted,
    SideEffectRecorded,
    SignalReceived,
    SignalWorkflowDelivered,
    SignalWorkflowFailed,
    SignalWorkflowInitiated,
    StepCompleted,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
    UpdateCompleted,
    UpdateRejected,
    UpdateRequested,
    WorkflowAwaitingSignal,
    WorkflowCancelled,
    WorkflowCancelRequested,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowStarted,
)

CONVERTER = Converter()
START_US = 1_800_000_000_000_000
MACHINES: list[Machine] = []
"""Machines of the current test; the fixture in conftest closes them."""


def new_machine(definition: Any, **changes: Any) -> Machine:
    given = {
        "namespace": "main",
        "workflow_id": "w-1",
        "run_id": "r-1",
        "task_queue": "queue",
        "converter": CONVERTER,
    }
    machine = Machine(definition, **(given | changes))
    MACHINES.append(machine)
    return machine


@dataclass
class Rig:
    """One run. Events get the time `now_us`; `run` shows the code what is new and records it."""

    definition: Any
    value: Any = None
    now_us: int = START_US
    events: list[HistoryEvent] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    begun: dict[str, Any] = field(default_factory=dict)
    """What the first event says besides, or instead."""

    def __post_init__(self) -> None:
        self.machine = new_machine(self.definition)
        payload = None if self.value is None else CONVERTER.encode(self.value)
        self.activities: dict[int, str] = {}
        self.timers: dict[int, int] = {}
        self.children: dict[int, tuple[str, str]] = {}
        self.taken: set[str] = set()
        """Workflow ids that are in use."""
        self.steps: dict[int, str] = {}
        """The steps that the code has begun, by number, also those that have ended."""
        self.closed = False
        self.commands: list[Command] = []
        first = {
            "workflow_type": self.definition.name,
            "task_queue": "queue",
            "input": payload,
            "seed": 7,
            "attempt": 1,
            "first_run_id": "r-1",
        }
        self.add(workflow_started=WorkflowStarted(**(first | self.begun)))

    def add(self, **event: Any) -> HistoryEvent:
        made = HistoryEvent(seq=len(self.events) + 1, **event)
        made.timestamp.FromMicroseconds(self.now_us)
        self.events.append(made)
        return made

    def after(self, seconds: float) -> Rig:
        self.now_us += round(seconds * 1e6)
        return self

    # What the world does.

    def complete(self, seq: int = 1, value: Any = None) -> Rig:
        result = CONVERTER.encode(value)
        name = self.activities.pop(seq)
        self.add(activity_completed=ActivityCompleted(activity_seq=seq, name=name, result=result))
        return self

    def fail(self, seq: int = 1, message: str = "no", **failure: Any) -> Rig:
        name = self.activities.pop(seq)
        what = Failure(message=message, **failure)
        self.add(
            activity_failed=ActivityFailed(activity_seq=seq, name=name, failure=what, attempt=3)
        )
        return self

    def time_out(self, seq: int = 1) -> Rig:
        what = Failure(message="too slow", kind=FailureKind.FAILURE_KIND_TIMEOUT, timeout_type=2)
        name = self.activities.pop(seq)
        self.add(activity_timed_out=ActivityTimedOut(activity_seq=seq, name=name, failure=what))
        return self

    def confirm_cancel(self, seq: int = 1) -> Rig:
        what = Failure(message="cancelled", kind=FailureKind.FAILURE_KIND_CANCELLED)
        name = self.activities.pop(seq)
        self.add(activity_cancelled=ActivityCancelled(activity_seq=seq, name=name, failure=what))
        return self

    def schedule_outside(self, number: int = 1, name: str = "audit") -> Rig:
        """A caller schedules an activity; it ends like any other, under the negative number."""
        self.activities[-number] = name
        self.add(
            activity_scheduled=ActivityScheduled(
                activity_seq=-number, name=name, task_queue="queue", external=True
            )
        )
        return self

    def cancel_outside(self, number: int = 1) -> Rig:
        self.add(activity_cancel_requested=ActivityCancelRequested(activity_seq=-number))
        return self

    def fire(self, seq: int = 1) -> Rig:
        self.now_us = max(self.now_us, self.timers.pop(seq))
        self.add(timer_fired=TimerFired(timer_seq=seq))
        return self

    def signal(self, name: str, value: Any = None) -> Rig:
        payload = None if value is None else CONVERTER.encode(value)
        self.add(signal_received=SignalReceived(signal_name=name, payload=payload))
        return self

    def update(self, name: str, value: Any = None) -> Rig:
        payload = None if value is None else CONVERTER.encode(value)
        self.add(update_requested=UpdateRequested(update_name=name, input=payload))
        return self

    def cancel(self, reason: str = "") -> Rig:
        self.add(workflow_cancel_requested=WorkflowCancelRequested(reason=reason))
        return self

    def child_completed(self, seq: int = 1, value: Any = None) -> Rig:
        workflow_id, _ = self.children.pop(seq)
        completed = ChildWorkflowCompleted(
            child_seq=seq,
            child_workflow_id=workflow_id,
            child_run_id=f"run-{seq}",
            result=None if value is None else CONVERTER.encode(value),
        )
        self.add(child_workflow_completed=completed)
        return self

    def child_failed(self, seq: int = 1, *, status: int = 5, **failure: Any) -> Rig:
        """Ends a child in another way; status 5 is FAILED, 6 CANCELLED."""
        workflow_id, workflow_type = self.children.pop(seq)
        failed = ChildWorkflowFailed(
            child_seq=seq,
            child_workflow_id=workflow_id,
            child_run_id=f"run-{seq}",
            failure=Failure(**failure),
            status=status,
            workflow_type=workflow_type,
        )
        self.add(child_workflow_failed=failed)
        return self

    def signal_answered(self, seq: int = 1, failure: str = "") -> Rig:
        if failure:
            self.add(
                signal_workflow_failed=SignalWorkflowFailed(
                    signal_seq=seq, failure=Failure(type="WORKFLOW_NOT_FOUND", message=failure)
                )
            )
        else:
            self.add(signal_workflow_delivered=SignalWorkflowDelivered(signal_seq=seq))
        return self

    def cancel_answered(self, seq: int = 1, failure: str = "") -> Rig:
        if failure:
            self.add(
                cancel_workflow_failed=CancelWorkflowFailed(
                    cancel_seq=seq, failure=Failure(type="WORKFLOW_NOT_FOUND", message=failure)
                )
            )
        else:
            self.add(cancel_workflow_delivered=CancelWorkflowDelivered(cancel_seq=seq))
        return self

    def step_ended(self, seq: int = 1, value: Any = None) -> Rig:
        result = CONVERTER.encode(value)
        self.add(
            step_completed=StepCompleted(
                step_seq=seq, name=self.steps[seq], result=result, attempt=1
            )
        )
        return self

    def step_failed(self, seq: int = 1, message: str = "no", **failure: Any) -> Rig:
        what = Failure(message=message, **failure)
        self.add(
            step_completed=StepCompleted(
                step_seq=seq, name=self.steps[seq], failure=what, attempt=1
            )
        )
        return self

    def begin_again(self, event_seq: int, **reset: Any) -> Rig:
        """Returns another run that begins with the first events of this one; nothing is at hand."""
        again = Rig(self.definition, self.value, self.now_us)
        again.events = [*self.events[:event_seq]]
        again.tasks = [seq for seq in self.tasks if seq <= event_seq]
        for event in again.events:
            if event.HasField("activity_scheduled"):
                scheduled = event.activity_scheduled
                again.activities[scheduled.activity_seq] = scheduled.name
        again.add(workflow_reset={"event_seq": event_seq, "from_run_id": "r-0", **reset})
        return again

    # What the worker does.

    def think(self) -> list[Command]:
        """Lets the code see what is new; its commands stay with the rig until `record`."""
        events = self.events[self.machine.last_seq :]
        self.tasks.append(len(self.events))
        self.commands += self.machine.run_task(events)
        self.steps.update({step.seq: step.name for step in self.machine.take_steps()})
        return self.commands

    def record(self) -> Rig:
        """Records the commands, in order."""
        for command in self.commands:
            kind = command.WhichOneof("command")
            getattr(self, f"_record_{kind}")(getattr(command, kind))
        self.commands = []
        return self

    def run(self) -> list[str]:
        """Thinks and records; gives the commands in short form."""
        said = [short(command) for command in self.think()]
        self.record()
        return said

    def export(self) -> dict[str, Any]:
        """The history as a person would store it, without stacks: those name this machine."""
        events = History(events=self.events)
        for event in events.events:
            for kind in ("workflow_failed", "update_rejected"):
                if event.HasField(kind):
                    getattr(event, kind).failure.ClearField("stack_trace")
        history = json_format.MessageToDict(events, preserving_proto_field_name=True)
        return {
            "workflow_id": "w-1",
            "run_id": "r-1",
            "workflow_type": self.definition.name,
            "tasks": self.tasks,
            **history,
        }

    def _record_schedule_activity(self, command: Any) -> None:
        self.activities[command.seq] = command.name
        self.add(
            activity_scheduled=ActivityScheduled(
                activity_seq=command.seq,
                name=command.name,
                task_queue=command.task_queue or "queue",
                input=command.input if command.HasField("input") else None,
                options=command.options if command.HasField("options") else ActivityOptions(),
            )
        )

    def _record_cancel_activity(self, command: Any) -> None:
        self.add(activity_cancel_requested=ActivityCancelRequested(activity_seq=command.seq))

    def _record_schedule_timer(self, command: Any) -> None:
        fire_at = self.now_us + command.duration.ToMicroseconds()
        self.timers[command.seq] = fire_at
        event = self.add(
            timer_scheduled=TimerScheduled(timer_seq=command.seq, duration=command.duration)
        )
        event.timer_scheduled.fire_at.FromMicroseconds(fire_at)

    def _record_cancel_timer(self, command: Any) -> None:
        self.timers.pop(command.seq, None)
        self.add(timer_cancelled=TimerCancelled(timer_seq=command.seq))

    def _record_wait_for_signal(self, command: Any) -> None:
        self.add(
            workflow_awaiting_signal=WorkflowAwaitingSignal(
                wait_seq=command.seq,
                signal_name=command.signal_name,
                timer_seq=command.timer_seq,
            )
        )

    def _record_upsert_search_attributes(self, command: Any) -> None:
        self.add(
            search_attributes_upserted=SearchAttributesUpserted(
                seq=command.seq, patch=command.patch
            )
        )

    def _record_start_child_workflow(self, command: Any) -> None:
        ids = {"child_seq": command.seq, "child_workflow_id": command.workflow_id}
        if command.workflow_id in self.taken:
            in_use = Failure(type="ID_IN_USE", message="the workflow id is in use")
            failed = ChildWorkflowFailed(failure=in_use, workflow_type=command.workflow_type, **ids)
            self.add(child_workflow_failed=failed)
            return
        self.children[command.seq] = (command.workflow_id, command.workflow_type)
        started = ChildWorkflowStarted(
            child_run_id=f"run-{command.seq}", workflow_type=command.workflow_type, **ids
        )
        self.add(child_workflow_started=started)

    def _record_signal_workflow(self, command: Any) -> None:
        initiated = SignalWorkflowInitiated(
            signal_seq=command.seq,
            workflow_id=command.workflow_id,
            run_id=command.run_id,
            signal_name=command.signal_name,
            payload=command.payload,
        )
        self.add(signal_workflow_initiated=initiated)

    def _record_cancel_child(self, command: Any) -> None:
        initiated = CancelWorkflowInitiated(
            cancel_seq=command.seq,
            workflow_id=command.workflow_id,
            run_id=command.run_id,
            reason=command.reason,
        )
        self.add(cancel_workflow_initiated=initiated)

    def _record_complete_update(self, command: Any) -> None:
        completed = UpdateCompleted(requested_seq=command.requested_seq, result=command.result)
        self.add(update_completed=completed)

    def _record_reject_update(self, command: Any) -> None:
        rejected = UpdateRejected(requested_seq=command.requested_seq, failure=command.failure)
        self.add(update_rejected=rejected)

    def _record_record_side_effect(self, command: Any) -> None:
        recorded = SideEffectRecorded(
            side_effect_seq=command.seq, name=command.name, value=command.value
        )
        self.add(side_effect_recorded=recorded)

    def _record_complete_workflow(self, command: Any) -> None:
        self.closed = True
        self.add(workflow_completed=WorkflowCompleted(result=command.result))

    def _record_fail_workflow(self, command: Any) -> None:
        self.closed = True
        self.add(workflow_failed=WorkflowFailed(failure=command.failure))

    def _record_continue_as_new(self, command: Any) -> None:
        self.closed = True
        event = WorkflowContinuedAsNew(
            new_run_id="run-2",
            workflow_type=command.workflow_type,
            carried_signals=command.unconsumed_signals,
        )
        if command.HasField("input"):
            event.input.CopyFrom(command.input)
        self.add(workflow_continued_as_new=event)

    def _record_cancel_workflow(self, command: Any) -> None:
        self.closed = True
        self.add(workflow_cancelled=WorkflowCancelled())


def short(command: Command) -> str:
    """A command as `Kind seq name-or-value`."""
    kind = command.WhichOneof("command")
    assert kind is not None
    what = getattr(command, kind)
    if kind == "complete_workflow":
        said = what.result.data.decode() if what.result.encoding == "" else repr(what.result.data)
    elif kind == "continue_as_new":
        said = f"{what.workflow_type} {what.input.data.decode()}".strip()
    elif kind == "fail_workflow":
        said = f"{what.failure.type}: {what.failure.message}"
    elif kind == "complete_update":
        said = f"{what.requested_seq} {what.result.data.decode()}"
    elif kind == "reject_update":
        said = f"{what.requested_seq} {what.failure.type}: {what.failure.message}"
    elif kind == "schedule_timer":
        said = f"{what.seq} {what.duration.ToTimedelta() / timedelta(seconds=1):g}s"
    else:
        parts = (
            getattr(what, "seq", 0),
            getattr(what, "name", ""),
            getattr(what, "signal_name", ""),
            getattr(what, "workflow_type", ""),
            getattr(what, "workflow_id", ""),
        )
        said = " ".join(str(part) for part in parts if part)
        said += f" timer {what.timer_seq}" if getattr(what, "timer_seq", 0) else ""
    return f"{kind} {said}".strip()


def replayed(definition: Any, events: Sequence[HistoryEvent]) -> list[Command]:
    """The commands left after a full replay."""
    machine = new_machine(definition)
    try:
        return machine.run_task(events)
    finally:
        machine.close()


def same_when_cached(definition: Any, events: Sequence[HistoryEvent], split: int) -> None:
    """Asserts that a run cached at `split` and one replayed stand with the same commands."""
    machine = new_machine(definition)
    first = machine.run_task(events[:split])
    recorded = sum(1 for event in events[split:] if is_recorded_command(event))
    second = machine.run_task(events[split:])
    machine.close()
    stand, replay = first[recorded:] + second, replayed(definition, events)
    assert [steps_of(command) for command in stand] == [steps_of(command) for command in replay]


def steps_of(command: Command) -> Command:
    """The command without the signals it names: a run cannot name one that came after it closed."""
    kind = command.WhichOneof("command")
    if kind in {"complete_workflow", "fail_workflow", "cancel_workflow", "continue_as_new"}:
        getattr(command, kind).ClearField("unconsumed_signals")
    return command


def is_recorded_command(event: HistoryEvent) -> bool:
    kind = event.WhichOneof("event")
    if kind == "workflow_continued_as_new":
        return not event.workflow_continued_as_new.external
    if kind in {"activity_scheduled", "activity_cancel_requested"}:
        return getattr(event, kind).activity_seq > 0
    if kind == "child_workflow_failed":
        return not event.child_workflow_failed.child_run_id
    return kind in {
        "child_workflow_started",
        "signal_workflow_initiated",
        "side_effect_recorded",
        "cancel_workflow_initiated",
        "update_completed",
        "update_rejected",
        "timer_scheduled",
        "timer_cancelled",
        "workflow_awaiting_signal",
        "search_attributes_upserted",
        "workflow_completed",
        "workflow_failed",
        "workflow_cancelled",
    }


def parse(export: str) -> tuple[History, list[int]]:
    """The history and the task boundaries of a stored file."""
    stored = json.loads(export)
    return json_format.ParseDict({"events": stored["events"]}, History()), stored["tasks"]
