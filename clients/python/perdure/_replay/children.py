"""Owns the commands that reach other workflows: children, and signals and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from perdure._replay.commands import WORK, Request, describe_work
from perdure.v1.command_pb2 import CancelChild, Command, SignalWorkflow, StartChildWorkflow
from perdure.v1.payload_pb2 import Header, Payload


class ChildRequest(Request):
    """StartChildWorkflow; `future` receives the recorded end.

    `options` has the fields of the command that say what is run, and how. The id of a child that
    was given none is made of its parent's run; a history that was recorded for another run, as
    before a reset, may have another one, which then is the id.
    """

    __slots__ = ("cancel_due", "future", "headers", "named", "options", "run_id", "value")

    KIND = "start_child_workflow"
    EVENT = "child_workflow_started"
    REFUSAL = "child_workflow_failed"
    TABLE = WORK

    def __init__(self, options: StartChildWorkflow, source: str) -> None:
        super().__init__(source)
        self.options = options
        self.value: Payload | None = None
        self.headers: Sequence[Header] = ()
        self.named = True
        """Whether the author chose the id."""
        self.run_id = ""
        self.cancel_due: str | None = None
        """Why it is to be cancelled as soon as it is known to be started."""
        self.future: asyncio.Future[Any]

    @property
    def workflow_id(self) -> str:
        """Identifies the child."""
        return self.options.workflow_id

    @property
    def workflow_type(self) -> str:
        """Names its workflow type."""
        return self.options.workflow_type

    def describe(self) -> str:
        name = f"{self.workflow_type} {self.workflow_id}" if self.named else self.workflow_type
        return describe_work("StartChildWorkflow", self.seq, name)

    def fits(self, recorded: Any) -> bool:
        same_id = not self.named or recorded.child_workflow_id == self.workflow_id
        same = (recorded.child_seq, recorded.workflow_type) == (self.seq, self.workflow_type)
        return same and same_id

    def adopt(self, recorded: Any) -> None:
        """Takes over the ids that the history holds."""
        self.options.workflow_id = recorded.child_workflow_id
        self.run_id = recorded.child_run_id

    def to_proto(self) -> Command:
        start = StartChildWorkflow(seq=self.seq, input=self.value, headers=self.headers)
        start.MergeFrom(self.options)
        return Command(start_child_workflow=start, source=self.source)


class MessageRequest(Request):
    """A message to a child or to any other workflow; `future` receives the recorded answer."""

    __slots__ = ("future", "run_id", "target")

    TABLE = WORK

    def __init__(self, target: ChildRequest | str, source: str, *, run_id: str = "") -> None:
        super().__init__(source)
        self.target = target
        self.run_id = run_id
        self.future: asyncio.Future[Any] | None = None
        """Absent when nobody waits for the answer."""

    @property
    def workflow_id(self) -> str:
        """Identifies the workflow."""
        return self.target if isinstance(self.target, str) else self.target.workflow_id


class SignalRequest(MessageRequest):
    """SignalWorkflow."""

    __slots__ = ("payload", "signal_name")

    KIND = "signal_workflow"
    EVENT = "signal_workflow_initiated"

    def __init__(self, target: ChildRequest | str, source: str, *, run_id: str = "") -> None:
        super().__init__(target, source, run_id=run_id)
        self.signal_name = ""
        self.payload: Payload | None = None

    def describe(self) -> str:
        return describe_work("SignalWorkflow", self.seq, f"{self.signal_name} {self.workflow_id}")

    def fits(self, recorded: Any) -> bool:
        return (recorded.signal_seq, recorded.signal_name, recorded.workflow_id) == (
            self.seq,
            self.signal_name,
            self.workflow_id,
        )

    def to_proto(self) -> Command:
        signal = SignalWorkflow(
            seq=self.seq,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            signal_name=self.signal_name,
            payload=self.payload,
        )
        return Command(signal_workflow=signal, source=self.source)


class CancelOtherRequest(MessageRequest):
    """CancelChild: for a child, and for any other workflow."""

    __slots__ = ("reason",)

    KIND = "cancel_child"
    EVENT = "cancel_workflow_initiated"

    def __init__(self, target: ChildRequest | str, source: str, *, run_id: str = "") -> None:
        super().__init__(target, source, run_id=run_id)
        self.reason = ""

    def describe(self) -> str:
        return describe_work("CancelChild", self.seq, self.workflow_id)

    def fits(self, recorded: Any) -> bool:
        return (recorded.cancel_seq, recorded.workflow_id) == (self.seq, self.workflow_id)

    def to_proto(self) -> Command:
        cancel = CancelChild(
            seq=self.seq, workflow_id=self.workflow_id, run_id=self.run_id, reason=self.reason
        )
        return Command(cancel_child=cancel, source=self.source)
